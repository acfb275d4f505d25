"""The faults: what is done to a run in full flight, whether it outlives that, and what it says where it does not."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from cluster.runs.run import ALIVE_SECONDS
from tests.chaos.scene import Driver, Scene, kill, wait_until

FROZEN_SECONDS = 30.0
SUSPENDED_SECONDS = 70.0
IMPORTED = 250  # of the first rows, before any that kills the parser


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        strike: lets it happen to a run.
        survived: whether the run is expected to go on by itself.
        last_words: the sentence that a run ends with which neither survives nor is killed itself.
    """

    strike: Callable[[Scene, Driver], None]
    survived: bool
    last_words: str = ""


def driver_killed(scene: Scene, driver: Driver) -> None:
    """SIGKILL of the driver."""
    driver.kill()


def driver_terminated(scene: Scene, driver: Driver) -> None:
    """SIGTERM of the driver, which ends in good order."""
    driver.terminate()


def annotator_killed(scene: Scene, driver: Driver) -> None:
    """SIGKILL of the actor that holds the engine."""
    kill([scene.annotator()])


def raylet_killed(scene: Scene, driver: Driver) -> None:
    """SIGKILL of the raylet of the machine that annotates; another machine comes in its place."""
    kill([scene.raylet()])
    if scene.machines:
        scene.machines.replace_annotating()


def head_killed(scene: Scene, driver: Driver) -> None:
    """SIGKILL of the control store of the Ray cluster; another cluster comes in its place."""
    kill([scene.head()])
    if scene.machines:
        driver.wait()
        scene.machines.replace_all()


def redis_killed(scene: Scene, driver: Driver) -> None:
    """SIGKILL of Redis in full flight; it starts again from its append-only file."""
    scene.redis.kill()
    scene.redis.wait()
    scene.start_redis()


def redis_frozen(scene: Scene, driver: Driver) -> None:
    """SIGSTOP of Redis for half a minute."""
    scene.redis.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    scene.redis.send_signal(signal.SIGCONT)


def redis_full(scene: Scene, driver: Driver) -> None:
    """Redis reaches its `maxmemory`; later it gets more."""
    client = scene.client
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    driver.wait()
    client.config_set("maxmemory", 0)


def disk_full(scene: Scene, driver: Driver) -> None:
    """The append-only file can grow no further, so Redis ends; later there is room, and it starts again."""
    size = (scene.folder / "appendonly.aof").stat().st_size
    psutil.Process(scene.redis.pid).rlimit(resource.RLIMIT_FSIZE, (size, size))
    wait_until(lambda: scene.redis.poll() is not None)
    driver.wait()
    scene.start_redis()


def engine_does_not_start(scene: Scene, driver: Driver) -> None:
    """The worker is killed, and the next engine fails at its first start."""
    befall(scene, "start", lambda: kill([scene.annotator()]))


def something_unforeseen(scene: Scene, driver: Driver) -> None:
    """The engine raises what nobody foresaw over one request."""
    befall(scene, "raise")


def engine_hangs(scene: Scene, driver: Driver) -> None:
    """The engine answers nothing any more."""
    befall(scene, "hang")


def befall(scene: Scene, trouble: str, then: Callable[[], None] = lambda: None) -> None:
    """Let trouble of a kind come to the engine, and wait until it has, or the run is over."""
    file = scene.trouble / trouble
    file.touch()
    then()
    wait_until(lambda: not file.exists() or scene.drivers[-1].poll() is not None)
    file.unlink(missing_ok=True)


def second_driver(scene: Scene, driver: Driver) -> None:
    """Another run on the same library and store at the same time."""
    scene.finish_well(scene.start())


def second_driver_apart(scene: Scene, driver: Driver) -> None:
    """Another run as in another container: the number of the first one's process means nothing to it."""
    scene.finish_well(scene.start(apart=True))


def second_driver_while_redis_is_frozen(scene: Scene, driver: Driver) -> None:
    """SIGSTOP of Redis, and another run that starts meanwhile: it does not wait for as long as one in full flight."""
    scene.redis.send_signal(signal.SIGSTOP)
    other = scene.start()
    time.sleep(FROZEN_SECONDS)
    scene.redis.send_signal(signal.SIGCONT)
    scene.finish_well(other, or_say="cannot be reached")


def driver_suspended(scene: Scene, driver: Driver) -> None:
    """SIGSTOP of the driver, so long that another run takes it for lost; then it goes on."""
    driver.send_signal(signal.SIGSTOP)
    time.sleep(SUSPENDED_SECONDS)
    if SUSPENDED_SECONDS < ALIVE_SECONDS:
        scene.store.stop_heartbeat(*scene.store.alive())
    scene.finish_well(scene.start())
    driver.send_signal(signal.SIGCONT)


def parser_killed(scene: Scene, driver: Driver) -> None:
    """SIGKILL of the processes that parse rows, while another run reads the library."""
    other = scene.start()
    wait_until(lambda: other.poll() is not None or scene.parsers() != [])
    kill(scene.parsers())
    scene.finish_well(other)


def redis_emptied(scene: Scene, driver: Driver) -> None:
    """SIGKILL of Redis, which comes back without its file: what is acknowledged is gone, and no run may hide it."""
    scene.empty_redis()
    driver.wait()
    scene.forget()


def import_beside(scene: Scene, driver: Driver) -> None:
    """`gallon import` of what another LLM wrote about a part of the library, into the same store."""
    path = scene.folder / "import.jsonl"
    smiles = scene.library.read_text().splitlines()[:IMPORTED]
    path.write_text("".join(json.dumps({"smiles": one, "text": "Made.", "model": "other"}) + "\n" for one in smiles))
    command = [sys.executable, "-m", "gallon", "import", str(path), "--store", scene.url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ledger = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    if not ledger or not (ledger["rows"] == ledger["molecules"] == ledger["accepted"] == IMPORTED):
        scene.witness.failures += 1


FAULTS = {
    "driver killed": Fault(driver_killed, survived=False),
    "driver terminated": Fault(driver_terminated, survived=False),
    "driver suspended": Fault(driver_suspended, survived=True),
    "annotator killed": Fault(annotator_killed, survived=True),
    "raylet killed": Fault(raylet_killed, survived=True),
    "head killed": Fault(head_killed, survived=False, last_words="is gone: start it again"),
    "Redis killed": Fault(redis_killed, survived=True),
    "Redis frozen": Fault(redis_frozen, survived=True),
    "Redis full": Fault(redis_full, survived=False, last_words="is full: raise its maxmemory"),
    "Redis emptied": Fault(redis_emptied, survived=False, last_words="came back empty"),
    "disk full": Fault(disk_full, survived=False, last_words="cannot be reached"),
    "engine does not start": Fault(engine_does_not_start, survived=True),
    "something unforeseen": Fault(something_unforeseen, survived=True),
    "engine hangs": Fault(engine_hangs, survived=True),
    "parser killed": Fault(parser_killed, survived=True),
    "second driver": Fault(second_driver, survived=True),
    "second driver in another namespace": Fault(second_driver_apart, survived=True),
    "second driver while Redis is frozen": Fault(second_driver_while_redis_is_frozen, survived=True),
    "import beside the run": Fault(import_beside, survived=True),
}
