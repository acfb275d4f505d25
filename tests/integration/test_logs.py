"""What the logs of a run tell, of whom, and what stands in none of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cluster.runtime import patience
from cluster.runtime.logs import logging_to
from cluster.runtime.session import RaySession
from cluster.store.connection import StoreGoneError
from cluster.store.embedded import embedded_redis
from cluster.store.store import Store
from teacher.errors import EngineStartError
from teacher.llm.spec import Spec
from tests.support.scripted import Script

WARN = """
import logging, os, sys, time
from contextlib import suppress
from pathlib import Path
import ray
from cluster.runtime import patience
from cluster.runtime.chatter import chatter_off_screen
from cluster.runtime.logs import logging_to
from cluster.runtime.session import ray_session
with logging_to(Path(sys.argv[1]), "annotate") as log, chatter_off_screen(), ray_session(None):
    import ray.data, ray.train
    for name in ("ray", "ray.data._internal.actor_autoscaler", "ray.train", "ray.serve"):
        logging.getLogger(name).warning("the pool of %s cannot grow", name)
        logging.getLogger(name).info("chatter of %s", name)
    with suppress(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(max_retries=0)(lambda: os._exit(1)).remote())
    while "A worker died" not in log.read_text():
        time.sleep(0.1)
logging.getLogger("ray").warning("nobody is logged to")
"""

SCRIPT = """
import logging, os, sys
import gallon
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
with gallon.session():
    import ray.data
    logging.getLogger("gallon.api").warning("No engine on this machine")
    logging.getLogger("script").warning("its own line")
    print("its progress", file=sys.stderr)
    logging.getLogger("ray.data").info("chatter")
    logging.getLogger("ray.data").warning("the pool cannot grow")
"""


@dataclass
class Logs:
    """What a run has logged: in its own process, and in its annotators'."""

    driver: str = ""
    annotators: list[str] = field(default_factory=list)


@contextmanager
def logged(folder: Path, session: RaySession, verbose: int = 0) -> Iterator[Logs]:
    """Log a run, and read its logs when it has ended."""
    found = Logs()
    before = set(session.logs.glob("annotator-*.log"))
    with logging_to(folder, "annotate", verbose=verbose) as path:
        try:
            yield found
        finally:
            found.driver = path.read_text()
            new = set(session.logs.glob("annotator-*.log")) - before
            found.annotators = [each.read_text() for each in sorted(new, key=lambda each: each.stat().st_mtime)]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.smi"
    path.write_text("CCO\nCCN\nnonsense\n")
    return path


def test_the_logs_of_a_run_tell_how_it_began_and_ended(
    run, ray_here: RaySession, library: Path, tmp_path: Path
) -> None:
    with logged(tmp_path / "logs", ray_here) as logs:
        result = run(library)
    assert f"run {result.run} of spec" in logs.driver and f"the first of them {library}" in logs.driver
    assert f"run {result.run} is finished after" in logs.driver and "accepted=2" in logs.driver
    assert str(ray_here.logs) in logs.driver
    (annotator,) = logs.annotators
    assert f"annotator of run {result.run}" in annotator and "the engine is ready" in annotator


def test_the_logs_of_a_run_name_deaths_of_engines_and_what_was_tried_again(
    run, ray_here: RaySession, library: Path, tmp_path: Path
) -> None:
    script = Script(
        poison=frozenset({"CCN"}), start_error="out of memory", failing_starts=1, starts=tmp_path / "starts"
    )
    with logged(tmp_path / "logs", ray_here) as logs:
        run(library, script=script, start_waits=(0.1,))
    (annotator,) = logs.annotators
    assert "WARNING cluster.annotation.engine_host: the engine does not start, and is tried again" in annotator
    assert "out of memory" in annotator
    assert annotator.count("the engine died") == 4
    assert annotator.count("claimed anew") == 4
    assert "CCN" not in annotator + logs.driver


def test_the_log_of_a_run_names_deaths_of_workers(run, ray_here: RaySession, library: Path, tmp_path: Path) -> None:
    with logged(tmp_path / "logs", ray_here) as logs:
        run(library, script=Script(deadly=frozenset({"CCN"})))
    died = [line for line in logs.driver.splitlines() if "a worker died" in line and "is replaced" in line]
    assert len(died) == len(logs.annotators) - 1 == 4


def test_the_log_of_a_run_names_why_it_failed(run, ray_here: RaySession, library: Path, tmp_path: Path) -> None:
    with logged(tmp_path / "logs", ray_here) as logs, pytest.raises(EngineStartError):
        run(library, script=Script(start_error="no kernel image"))
    assert "ERROR cluster.runs.run: run" in logs.driver and "no kernel image" in logs.driver
    assert "the engine does not start" in "".join(logs.annotators)


def test_what_befalls_single_molecules_is_logged_when_it_is_asked_for(
    run, ray_here: RaySession, library: Path, tmp_path: Path, spec: Spec
) -> None:
    script = Script(cut_off={"CCO": 1}, nonsense=frozenset({"CCN"}))
    with logged(tmp_path / "quiet", ray_here) as quiet:
        run(library, script=script)
    with logged(tmp_path / "loud", ray_here, verbose=2) as loud:
        run(library, script=script, spec=spec.model_copy(update={"graph": False}))
    for words in ("is tried again (finish)", "is a dead letter (schema)", "claim "):
        assert words not in "".join(quiet.annotators)
        assert words in "".join(loud.annotators)


def test_no_password_of_the_store_is_in_any_log(
    run, ray_here: RaySession, library: Path, tmp_path: Path, store: Store
) -> None:
    store._redis.acl_setuser(
        "logger", enabled=True, passwords=["+Sekret"], categories=["+@all"], keys=["*"], channels=["*"]
    )
    with_password = Store(store.url.replace("unix://", "unix://logger:Sekret@"))
    with logged(tmp_path / "logs", ray_here, verbose=2) as logs:
        run(library, script=Script(poison=frozenset({"CCN"})), store=with_password)
    with_password.close()
    store._redis.acl_deluser("logger")
    assert "claim" in "".join(logs.annotators)
    others = [file.read_text() for role in ("planner", "gallon-driver") for file in ray_here.logs.glob(f"{role}*.log")]
    assert "3 rows are planned, 2 to be annotated" in "".join(others)
    assert not [text for text in (logs.driver, *logs.annotators, *others) if "Sekret" in text]


def test_waiting_for_a_store_that_is_gone_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TRIES", 1)
    with logging_to(tmp_path / "logs", "annotate") as path:
        with pytest.raises(StoreGoneError), embedded_redis(tmp_path / "store") as url:
            store = Store(url)
            Store(url)._redis.shutdown(nosave=True)
            store.runs()
        text = path.read_text()
    assert "started the embedded Redis" in text
    assert f"Redis at {url} does not answer; the next try is in 0.2 s" in text


def test_what_ray_warns_of_reaches_the_log_and_nothing_of_ray_the_terminal(
    own_environment: None, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WARN, str(tmp_path)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    (log,) = tmp_path.glob("annotate-*.log")
    text = log.read_text()
    for name in ("ray", "ray.data._internal.actor_autoscaler", "ray.train", "ray.serve"):
        assert text.count(f"WARNING {name}: the pool of {name} cannot grow") == 1
    assert "chatter" not in text and "nobody is logged to" not in text


def test_what_a_script_writes_to_standard_error_in_a_session_is_there(own_environment: None) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for line in ("WARNING gallon.api: No engine on this machine", "WARNING script: its own line", "its progress"):
        assert line in lines
    assert done.stderr.count("the pool cannot grow") == 1
    assert "chatter" not in done.stderr
