"""deploy/slurm: the batch script on a real Slurm of one node, requeued in the middle of its work."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rdkit import RDConfig

from cluster.store.open import has_store, open_store
from tests.support.redis_server import free_port

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "slurm" / "gallon.sbatch"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
MOLECULES = 150
PATIENCE = 600  # seconds

Environment = dict[str, str]
pytestmark = pytest.mark.timeout(1800)  # Ray and an engine start twice

# Without accounting, users, or control groups: one node whose daemons and jobs belong to whoever runs the test. A job
# that was requeued waits until its credential has expired.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
NodeName={host} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of a shell on a cluster of one node."""
    if not all(map(shutil.which, PROGRAMS)):
        pytest.skip("there is no Slurm (Debian's package slurm-wlm)")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    controller, daemon = free_port(), free_port()
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname(),
            user=psutil.Process().username(),
            controller=controller,
            daemon=daemon,
            folder=folder,
            cpus=os.cpu_count(),
        )
    )
    here = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GALLON_", "SLURM_"))}
    here |= {"SLURM_CONF": str(configuration), "PATH": f"{Path(sys.executable).parent}:{here['PATH']}:/usr/sbin"}
    daemons = [subprocess.Popen([program, "-D"], env=here) for program in ("slurmctld", "slurmd")]
    try:
        wait_for(lambda: "idle" in output(here, "sinfo", "--noheader", "--format=%T"))
        yield here
    finally:
        output(here, "scancel", "--state=RUNNING")
        for process in reversed(daemons):
            process.terminate()
            process.wait(60)


def output(environment: Environment, *command: str | Path) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(1)


def test_a_job_that_is_requeued_in_the_middle_ends_complete(slurm: Environment, tmp_path: Path) -> None:
    library, store = tmp_path / "library.smi", tmp_path / "store"
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()[:MOLECULES]
    library.write_text("\n".join(lines))
    here = {**slurm, "GALLON_STORE": str(store), "HF_HUB_OFFLINE": "1"}
    log = tmp_path / "gallon.log"
    job = output(here, "sbatch", "--parsable", f"--output={log}", SCRIPT, library, "--model", "tiny")

    def accepted() -> int:
        if not has_store(str(store)):
            return 0
        with open_store(str(store)) as opened:
            return sum(opened.counts(spec_id).accepted for spec_id in opened.specs())

    def state() -> str:
        return output(here, "squeue", "--noheader", "--format=%T", "--states=all", f"--jobs={job}")

    wait_for(lambda: accepted() > 0)
    output(here, "scontrol", "requeue", job)
    wait_for(lambda: state() in {"PENDING", "RUNNING"})
    kept = accepted()
    assert 0 < kept < MOLECULES
    wait_for(lambda: state() not in {"PENDING", "RUNNING", "COMPLETING"})

    assert state() == "COMPLETED", log.read_text()
    # Among what Ray says, and after what the first run says where it has the time to.
    *_, said = [line for line in log.read_text().splitlines() if line.startswith('{"run"')]
    ledger = json.loads(said)
    assert (ledger["rows"], ledger["pending"], ledger["dead"]) == (MOLECULES, 0, 0)
    assert ledger["accepted"] == ledger["molecules"] == ledger["new"] + kept
    assert len(json.loads(output(here, "gallon", "status", "--json"))["runs"]) == 2
