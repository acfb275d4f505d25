"""The embedded Redis: one server a folder, of any name, that only its owner reaches."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cluster.store.connection import StoreError, StoreGoneError
from cluster.store.embedded import SETTINGS, embedded_redis
from cluster.store.open import open_store
from cluster.store.store import Store
from teacher.errors import UsageError
from tests.support.records import KEYS, ROWS, record


def test_what_was_acknowledged_survives_a_killed_redis(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store")) as store:
        store.register("spec", "run", ROWS)
        store.commit("spec", "run", [(key, record()) for key in KEYS[:20]], [(1, 1)] * 20)
        os.kill(store._redis.info("server")["process_id"], signal.SIGKILL)
    with open_store(str(tmp_path / "store")) as store:
        counts = store.counts("spec")
    assert (counts.accepted, counts.pending) == (20, 30)


def test_an_embedded_redis_is_on_the_disk_before_it_answers(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store")) as store:
        kept = {name: store._redis.config_get(name)[name] for name in ("appendonly", "appendfsync")}
    assert kept == {"appendonly": "yes", "appendfsync": "always"}


def test_the_last_user_of_an_embedded_redis_stops_it(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with embedded_redis(folder) as url:
        with embedded_redis(folder) as same:
            assert same == url
        Store(url).close()
    with pytest.raises(StoreGoneError):
        Store(url)


NAMES = ["my store", "it's", 'a"b', "lab#1", "100%41", "é", "a\\b", "trailing ", "-x", "~", "new\nline", "?x=[y]@z:1"]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"not \xff unicode"), "long" * 50])
def test_a_folder_of_any_name_holds_a_store(tmp_path: Path, name: str) -> None:
    with open_store(str(tmp_path / name)) as store:
        store.register("spec", "run", ROWS)
    with open_store(str(tmp_path / name), create=False) as store:
        assert store.counts("spec").pending == len(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def servers(folder: Path) -> list[int]:
    """Return the processes of the Redis servers that run in a folder."""
    found = []
    for process in psutil.process_iter(["name", "pid"]):
        with suppress(psutil.Error, OSError):
            if process.info["name"].startswith("redis") and folder.samefile(f"/proc/{process.pid}/cwd"):
                found.append(process.pid)
    return found


def test_there_is_one_server_however_its_users_name_their_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 30)
    with open_store(str(folder)) as store, tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as other:
        monkeypatch.setenv("TMPDIR", other)
        with open_store(str(folder)) as same:
            same.register("spec", "run", ROWS)
            assert store.counts("spec").pending == len(ROWS)
            assert len(servers(folder)) == 1


def test_a_server_that_does_not_answer_is_waited_for_and_never_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    with open_store(str(folder)) as store:
        store.register("spec", "run", ROWS)
        (server,) = servers(folder)
        os.kill(server, signal.SIGSTOP)
        with monkeypatch.context() as impatient:
            impatient.setattr("cluster.store.connection.CONNECT_SECONDS", 0.3)
            impatient.setattr("cluster.store.embedded.PATIENCE_SECONDS", 1.0)
            with pytest.raises(StoreGoneError, match=f"does not answer .process {server} on"), open_store(str(folder)):
                pass
        assert servers(folder) == [server]
        awake = threading.Timer(1.0, os.kill, (server, signal.SIGCONT))
        awake.start()
        with open_store(str(folder)) as same:
            assert same.counts("spec").pending == len(ROWS)
        awake.join()
        assert servers(folder) == [server]


def test_a_server_that_reads_its_data_back_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    with open_store(str(folder)) as store:
        pipeline = store._redis.pipeline(transaction=False)
        for number in range(5_000):
            pipeline.set(f"key{number}", "value")
        pipeline.execute()
    monkeypatch.setattr("cluster.store.embedded.PATIENCE_SECONDS", 1.0)
    monkeypatch.setitem(SETTINGS, "key-load-delay", "500")  # microseconds: Redis answers after each 1,000 keys
    with open_store(str(folder)) as store:
        assert store._redis.dbsize() == 5_000


def test_a_server_on_another_machine_is_named(tmp_path: Path) -> None:
    with (tmp_path / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"host": "elsewhere", "process": 7, "socket": "/home/me/store/redis.sock"}))
        lock.flush()
        tmp_path.chmod(0o700)
        with pytest.raises(StoreGoneError, match=r"another machine .process 7 on elsewhere"), open_store(str(tmp_path)):
            pass
    assert not servers(tmp_path)


def test_who_only_looks_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no annotations"), open_store(str(tmp_path / "typo"), create=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_there_is_closed_to_others_or_refused(tmp_path: Path) -> None:
    for name in ("empty", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    with open_store(str(tmp_path / "empty")):
        assert (tmp_path / "empty").stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "empty").glob("appendonly*"))
    (tmp_path / "empty").chmod(0o755)
    with open_store(str(tmp_path / "empty")):
        assert (tmp_path / "empty").stat().st_mode & 0o077 == 0
    (tmp_path / "shared" / "file").write_text("")
    with pytest.raises(StoreError, match="a folder of its own"), open_store(str(tmp_path / "shared")):
        pass
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o755


def test_only_its_owner_can_enter_an_embedded_redis(tmp_path: Path) -> None:
    with embedded_redis(tmp_path / "store") as url:
        assert (tmp_path / "store").stat().st_mode & 0o077 == 0
        assert Path(url.removeprefix("unix://")).stat().st_mode & 0o077 == 0
