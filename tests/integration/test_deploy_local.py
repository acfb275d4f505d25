"""deploy/local: a cluster of three nodes on one machine, a job submitted to it, and what Prometheus sees of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.scene import wait_until
from tests.support.panels import queries
from tests.support.redis_server import server_with_tls

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "deploy" / "local"
MOLECULES = 500
OF_OTHERS = ("vLLM", "Training", "Service")  # titles of panels that a job with the scripted engine leaves empty
OF_THINKING = "reasoning_tokens"  # which the job does not ask for

# `tests.support.drive` with the store of the environment.
DRIVE = 'import os, sys; from tests.support import drive; sys.argv.insert(2, os.environ["GALLON_STORE"]); drive.main()'

Environment = dict[str, str]
pytestmark = pytest.mark.timeout(900)  # six servers start, and a job runs for a minute


@pytest.fixture(scope="module")
def cluster() -> Iterator[Environment]:
    """The environment of a shell that has sourced what `up` wrote."""
    server = server_with_tls()
    if server is None or shutil.which("prometheus") is None:
        pytest.skip("there is no redis-server with TLS, or no prometheus (Debian has packages of these names)")
    folder = tempfile.mkdtemp(prefix="gallon-")  # of a short path, unlike pytest's
    here = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GALLON_"))}
    here |= {
        "PATH": f"{Path(sys.executable).parent}:{here['PATH']}",
        "RAY_metrics_report_interval_ms": "2000",
        "REDIS_SERVER": server,
        "WORKER_CPUS": "1",
    }
    try:
        subprocess.run([LOCAL / "up", folder], env=here, cwd=ROOT, check=True)
        shell = subprocess.run(
            ["bash", "-c", f". {folder}/env && env -0"], env=here, check=True, capture_output=True, text=True
        )
        yield dict(line.split("=", 1) for line in shell.stdout.strip("\0").split("\0"))
    finally:
        ray_folder = (Path(folder) / "logs" / "ray").resolve().parents[1]
        subprocess.run([LOCAL / "down", folder], env=here, check=True)
        shutil.rmtree(ray_folder)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def job(cluster: Environment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a job that annotates for about a minute; a tenth of its answers are nonsense."""
    folder = tmp_path_factory.mktemp("job")
    library, texts = folder / "library.smi", folder / "texts.json"
    library.write_text("".join(f"{'C' * (number % 100 + 1)}{'O' * (number // 100)}\n" for number in range(MOLECULES)))
    truth = {"functional_groups": [], "aromatic_rings": 0, "aliphatic_rings": 0, "description": "A chain."}
    texts.write_text(json.dumps(["nonsense", *[json.dumps({**truth, "polarity": "low", "lipophilicity": "low"})] * 9]))
    # The store's URL stays in the environment: what is submitted stands in Ray's logs and on its dashboard.
    submit(cluster, "scripted", "python", "-c", DRIVE, library, "--texts", texts, "--delay", "0.1")
    return "scripted"


def submit(cluster: Environment, job: str, *command: str | Path) -> None:
    line = ["ray", "job", "submit", "--submission-id", job, "--no-wait", "--", *command]
    subprocess.run(line, env=cluster, cwd=ROOT, check=True)


def job_status(cluster: Environment, job: str) -> str:
    token = Path(cluster["RAY_AUTH_TOKEN_PATH"]).read_text()
    url = f"{cluster['RAY_API_SERVER_ADDRESS']}/api/jobs/{job}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})) as page:
        status: str = json.load(page)["status"]
    return status


def answer(cluster: Environment, query: str) -> list[object]:
    url = f"{cluster['PROMETHEUS_URL']}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as page:
        found: list[object] = json.load(page)["data"]["result"]
    return found


def watch(cluster: Environment, job: str, queries: Iterable[str]) -> tuple[set[str], str]:
    """Follow a job to its end; return the queries that never had data meanwhile, and what it wrote."""
    unanswered = set(queries)
    while (status := job_status(cluster, job)) in {"PENDING", "RUNNING"}:
        unanswered -= {query for query in unanswered if answer(cluster, query)}
        time.sleep(1)
    logs = subprocess.run(["ray", "job", "logs", job], env=cluster, check=True, capture_output=True, text=True).stdout
    assert status == "SUCCEEDED", logs
    return unanswered, logs


def test_a_submitted_job_fills_the_panels_of_the_dashboard_and_ends_complete(cluster: Environment, job: str) -> None:
    shown = [query for name, query in queries() if not name.startswith(OF_OTHERS) and OF_THINKING not in query]
    unanswered, logs = watch(cluster, job, shown)
    assert not unanswered
    (ledger,) = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    assert (ledger["molecules"], ledger["pending"]) == (MOLECULES, 0)
    assert ledger["accepted"] > ledger["dead"] > 0


def test_vllm_and_training_fill_the_rest_of_the_panels(cluster: Environment, job: str, tmp_path: Path) -> None:
    watch(cluster, job, [])  # the nodes have room for one job at a time
    data = tmp_path / "sizes.csv"
    rows = [f"{'C' * length}{end},{length}" for length in range(1, 81) for end in ("", "O", "N", "Cl")]
    data.write_text("\n".join(["smiles,size", *rows]) + "\n")
    teach = ("gallon", "teach", data, "--target", "size", "--split", "random", "--teacher", "gcn", "--folds", "0")
    commands = {
        "vLLM": ("gallon", "annotate", data, "--smiles-column", "smiles", "--model", "tiny", "--json"),
        "Training": (*teach, "--out", tmp_path / "models"),
    }
    for title, command in commands.items():
        submit(cluster, title.lower(), *command)
        unanswered, _ = watch(cluster, title.lower(), [query for name, query in queries() if name.startswith(title)])
        assert not unanswered


def test_prometheus_scrapes_every_node_and_knows_the_alerts(cluster: Environment, job: str) -> None:
    # Only nodes tell of their memory, at times not for minutes; the dashboard and the autoscaler are scraped besides.
    nodes = 'group by (instance) (last_over_time(ray_node_mem_total{job="ray"}[1h]))'
    wait_until(lambda: len(answer(cluster, nodes)) == 3)
    wait_until(lambda: not answer(cluster, 'up{job="ray"} == 0'))  # one may be late now and then
    with urllib.request.urlopen(f"{cluster['PROMETHEUS_URL']}/api/v1/rules", timeout=10) as page:
        (group,) = json.load(page)["data"]["groups"]
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    assert [rule["name"] for rule in group["rules"]] == re.findall(r"alert: (\w+)", alerts)
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}


def test_no_secret_is_in_a_log_or_a_process_list(cluster: Environment, job: str) -> None:
    secrets = [cluster["GALLON_STORE"].split("@")[0].rpartition(":")[2].encode()]
    secrets.append(Path(cluster["RAY_AUTH_TOKEN_PATH"]).read_bytes())
    logs = Path(cluster["RAY_AUTH_TOKEN_PATH"]).parent / "logs"
    written = [path.read_bytes() for folder in (logs, logs / "ray") for path in folder.glob("**/*") if path.is_file()]
    running = [" ".join(process.info["cmdline"] or []).encode() for process in psutil.process_iter(["cmdline"])]
    assert len(written) > 20
    assert not any(secret in text for secret in secrets for text in written + running)


def test_a_wrong_token_is_refused_with_one_sentence(cluster: Environment) -> None:
    stranger = {**cluster, "RAY_AUTH_TOKEN": "0123456789" * 4}
    del stranger["RAY_AUTH_TOKEN_PATH"]
    submitted = subprocess.run(["ray", "job", "submit", "--", "true"], env=stranger, check=False, capture_output=True)
    assert submitted.returncode != 0
    command = [sys.executable, "-m", "tests.support.drive", "README.md", cluster["GALLON_STORE"]]
    joined = subprocess.run(command, env=stranger, cwd=ROOT, check=False, capture_output=True, text=True)
    assert joined.returncode == 1
    assert "does not let us in" in joined.stderr.splitlines()[-1]
    assert "Traceback" not in joined.stderr
