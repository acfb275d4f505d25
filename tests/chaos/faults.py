"""The faults: what is done to a run in full flight, whether it outlives that, and what it says where it does not."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.chaos.scene import Driver, Scene, kill, wait_until

FROZEN_SECONDS = 30.0


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
    scene.finish(scene.start())


FAULTS = {
    "driver killed": Fault(driver_killed, survived=False),
    "driver terminated": Fault(driver_terminated, survived=False),
    "annotator killed": Fault(annotator_killed, survived=True),
    "raylet killed": Fault(raylet_killed, survived=True),
    "head killed": Fault(head_killed, survived=False, last_words="is gone: start it again"),
    "Redis killed": Fault(redis_killed, survived=True),
    "Redis frozen": Fault(redis_frozen, survived=True),
    "Redis full": Fault(redis_full, survived=False, last_words="is full: raise its maxmemory"),
    "disk full": Fault(disk_full, survived=False, last_words="cannot be reached"),
    "engine does not start": Fault(engine_does_not_start, survived=True),
    "something unforeseen": Fault(something_unforeseen, survived=True),
    "engine hangs": Fault(engine_hangs, survived=True),
    "second driver": Fault(second_driver, survived=True),
}
