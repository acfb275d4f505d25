"""What a run measures of itself, read where Prometheus reads it: from Ray's metrics endpoint."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from cluster import metrics
from cluster.annotation.metrics import AnnotatorMetrics
from cluster.runs.workers import WorkerReporter
from cluster.runtime.instruments import Counter, Gauge, Histogram
from cluster.store.store import Store
from cluster.training.metrics import TrainingMetrics
from tests.support.scripted import Script

SAMPLE = re.compile(r"^ray_(gallon_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
NO_ANSWER = 60.0  # seconds in which a metric must have come

Samples = dict[str, dict[str, float]]


def scrape(run: str | None = None) -> Samples:
    """Read the metrics of one run from all nodes: name -> value of its last tag -> sum over the workers."""
    samples: Samples = defaultdict(lambda: defaultdict(float))
    for node in ray.nodes():
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            page = answer.read().decode()
        for name, text, value in SAMPLE.findall(page):
            labels = dict(LABEL.findall(text))
            kind = labels.get("outcome") or labels.get("reason") or labels.get("kind") or labels.get("state") or ""
            if run in {None, labels["run"]}:
                samples[name][kind] += float(value)
    return samples


def wait_for(found: Callable[[Samples], object], run: str | None = None) -> Samples:
    deadline = time.monotonic() + NO_ANSWER
    while not found(samples := scrape(run)):
        assert time.monotonic() < deadline, f"the metrics do not come: {dict(samples)}"
        time.sleep(0.5)
    return samples


@pytest.fixture
def watched_run(run, store, tmp_path: Path) -> Iterator[tuple[Samples, list[Samples]]]:
    """Metrics in the middle of a run of 83 rows, and all that were seen, the last ones at its end."""
    # What a worker counts in its last seconds may be lost, and those who stand beside what kills are tried last.
    good = ["C" * number for number in range(1, 80)]
    path = tmp_path / "alkanes.smi"
    path.write_text("\n".join(["CCO", *good, "C", "OCC", "nothing"]) + "\n")
    script = Script(delay=0.1, nonsense=frozenset({good[30]}), cut_off={good[40]: 1}, poison=frozenset({"CC"}))
    seen: list[Samples] = []

    def look() -> None:
        while not (runs := store.runs()):
            time.sleep(0.1)
        (this,) = runs
        while not done.wait(0.5):
            seen.append(scrape(this))

    done = threading.Event()
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        run(path, script=script)
    finally:
        done.set()
        watcher.join()
    # Annotator and driver report each in their own time: in the middle is when both have.
    both = ("gallon_molecules_total", "accepted"), ("gallon_store_bytes", "")
    middle = next(samples for samples in seen if all(samples[name][kind] for name, kind in both))
    yield middle, seen


def test_the_metrics_of_a_run_move_while_it_runs(watched_run: tuple[Samples, list[Samples]]) -> None:
    middle, seen = watched_run
    end = seen[-1]
    assert end["gallon_rows_total"] == {"todo": 80, "skipped": 2, "invalid": 1}
    assert 0 < middle["gallon_molecules_total"]["accepted"] < end["gallon_molecules_total"]["accepted"] < 80
    assert end["gallon_retries_total"].keys() == {"schema", "finish"}
    assert end["gallon_engine_deaths_total"][""] >= 1
    assert end["gallon_dead_letters_total"]["RejectedError"] >= 1
    for name in ("engine_seconds_count", "commit_seconds_count", "grounding_count", "worker_seconds_total"):
        assert 0 < middle[f"gallon_{name}"][""] < end[f"gallon_{name}"][""]
    assert middle["gallon_tokens_total"]["prompt"] < end["gallon_tokens_total"]["prompt"]
    assert any(samples["gallon_in_flight"][""] > 0 for samples in seen)  # not in each moment: an engine dies, too
    assert middle["gallon_store_bytes"][""] > 0
    assert 80 in (sum(middle["gallon_run_molecules"].values()), sum(end["gallon_run_molecules"].values()))


def test_an_annotator_with_gpus_counts_their_time(ray_here, store: Store) -> None:
    run = "a run with GPUs"
    counted = AnnotatorMetrics(run, gpus=2, signer=WorkerReporter(store, run, gpus=2))
    time.sleep(0.1)
    with counted.committing([], []):
        pass
    samples = wait_for(lambda samples: samples["gallon_gpu_seconds_total"], run="a run with GPUs")
    assert samples["gallon_gpu_seconds_total"][""] == pytest.approx(2 * samples["gallon_worker_seconds_total"][""])


def test_a_training_shows_its_loss_and_its_pace(ray_here) -> None:
    training = TrainingMetrics("a training", "gnn")
    training.trained(64, loss=0.5)
    training.trained(64, loss=0.25)
    training.validated(0.75)
    samples = wait_for(lambda samples: samples["gallon_validation_score"], run="a training")
    assert samples["gallon_trained_molecules_total"][""] == 128
    assert samples["gallon_loss"][""] == 0.25
    assert samples["gallon_validation_score"][""] == 0.75


def test_every_metric_has_a_name_of_its_own_and_says_what_it_is() -> None:
    declared = [thing for thing in vars(metrics).values() if isinstance(thing, Counter | Gauge | Histogram)]
    assert declared
    assert len({metric.name for metric in declared}) == len(declared)
    assert all(metric.name.startswith("gallon_") and metric.description.endswith(".") for metric in declared)
