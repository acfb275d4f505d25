"""Ray's start-up: files that only the user reads on short paths, and mistakes in one sentence."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import ray

from cluster.runtime import session
from cluster.runtime.private import LONGEST_PATH, private_folder
from cluster.runtime.session import RaySession, ray_session
from teacher.errors import GallonError, UsageError
from tests.support.namespace import APART, require_namespace
from tests.support.redis_server import start_redis

LOOK = """
import json, os, ray, tempfile
from cluster.runtime.session import ray_session

@ray.remote(num_cpus=0)
def leave_behind():
    return tempfile.mkdtemp()

with ray_session(None) as session:
    jobs = ray._private.worker.global_worker.gcs_client.get_all_job_info().values()
    left = ray.get(leave_behind.remote())
    facts = {"logs": str(session.logs), "token": os.environ["RAY_AUTH_TOKEN_PATH"], "local": session.local}
    print(json.dumps({**facts, "left": left, "jobs": [job.entrypoint for job in jobs]}))
"""


def test_ray_starts_with_a_long_temporary_folder_and_no_home_and_keeps_its_files_and_passwords_to_itself(
    own_environment: None, tmp_path: Path
) -> None:
    far = tmp_path / ("far" * 20)
    far.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"TMPDIR": str(far), "HOME": "/proc/nowhere"}
    command = [sys.executable, "-c", LOOK, "--store", "redis://:Sek ret@host"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["local"]
    private = Path(facts["token"]).parent
    assert Path(facts["logs"]).is_relative_to(private) and Path(facts["left"]).is_relative_to(private)
    assert not Path(facts["left"]).parent.exists()  # what workers leave behind goes with the session
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(facts["token"]).stat().st_mode) == 0o600
    assert any("redis://***@host" in job for job in facts["jobs"])
    assert "Sek" not in done.stdout + done.stderr


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the tests' own session, in which another cluster is refused."""
    monkeypatch.setattr(session, "_open", [])


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("localhost", "HOST:PORT"),
        ("http://127.0.0.1:8265", "HOST:PORT"),
        ("ray://127.0.0.1:10001", "HOST:PORT"),
        ("127.0.0.1:port", "HOST:PORT"),
        ("http://user:Sekret@127.0.0.1:8265", "HOST:PORT"),
    ],
)
def test_an_address_of_another_kind_is_refused_with_the_right_form(outside: None, address: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught, ray_session(address):
        pass
    assert "Sekret" not in str(caught.value)


def test_a_port_where_something_else_listens_is_no_cluster(outside: None, tmp_path: Path) -> None:
    server, port = start_redis(tmp_path / "redis")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        for number in (port, silent.getsockname()[1], 99_999):
            with pytest.raises(GallonError, match="No Ray cluster answers"), ray_session(f"127.0.0.1:{number}"):
                pass
    server.kill()
    server.wait()


def test_a_driver_without_a_node_on_its_machine_is_told_to_start_one(ray_here: RaySession) -> None:
    """As in another container than Ray's, or on the login node of a cluster."""
    require_namespace()
    address = ray.get_runtime_context().gcs_address
    join = f"from cluster.runtime.session import ray_session\nwith ray_session({address!r}):\n    pass"
    patient = {**os.environ, "RAY_gcs_server_request_timeout_seconds": "10"}  # and not for a minute
    done = subprocess.run(
        [*APART, sys.executable, "-c", join], env=patient, capture_output=True, text=True, check=False, timeout=240
    )
    assert "cannot be joined from here (No node" in done.stderr.splitlines()[-1]
    assert f"'ray start --address={address}' starts one" in done.stderr


def test_the_private_folder_is_short_and_never_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("far" * 20)))
    assert len(os.fsencode(private_folder())) <= LONGEST_PATH
    monkeypatch.setattr("cluster.runtime.private.BASES", ())
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(GallonError, match="TMPDIR"):
        private_folder()
    monkeypatch.setattr("cluster.runtime.private.LONGEST_PATH", 1_000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "trap").mkdir()
    (tmp_path / f"gallon-{os.getuid()}").symlink_to(tmp_path / "trap")
    with pytest.raises(GallonError, match="TMPDIR"):
        private_folder()
    (tmp_path / f"gallon-{os.getuid()}").unlink()
    assert stat.S_IMODE(private_folder().stat().st_mode) == 0o700
    with pytest.raises(GallonError, match="has room"):
        private_folder(least_free=1 << 60)


def test_a_cluster_that_is_asked_for_by_another_name_of_its_head_is_shared_by_that_name(ray_here: RaySession) -> None:
    """As `gallon learn --ray ray-head:6379` does it, whose steps have a session each."""
    name = f"localhost:{ray_here.address.rpartition(':')[2]}"
    join = (
        "from cluster.runtime.session import ray_session\n"
        f"with ray_session({name!r}) as one, ray_session({name!r}) as other:\n    print(one is other, one.address)"
    )
    done = subprocess.run([sys.executable, "-c", join], capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout.split() == ["True", ray_here.address], done.stderr


def test_calls_inside_a_session_share_it_and_another_cluster_is_refused(ray_here: RaySession) -> None:
    for address in (None, "auto", ray_here.address):
        with ray_session(address) as again:
            assert again.address == ray_here.address
    with pytest.raises(UsageError, match=f"uses the Ray cluster at {ray_here.address} already, and not elsewhere:6379"):
        ray_session("elsewhere:6379").__enter__()
