"""Training on real workers of Ray, who share fits or take them each."""

from __future__ import annotations

import functools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray
import torch
from rdkit import Chem
from rdkit.Chem.Crippen import MolLogP

from cluster.runtime.session import RaySession
from cluster.training.data_parallel import run_worker
from cluster.training.driver import FitProgress, TrainResources, fit_all
from cluster.training.fit import Fit, FitSet, Schedule
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.results import TrainingError
from cluster.training.worker import WorkerConfig
from distill.data.dataset import Target
from distill.learn.objective import NetworkWithLoss, NetworkWithTargets, Objective, Scale
from distill.learn.recipes import RECIPES, Recipe
from teacher.errors import UsageError
from teacher.nn.alignment import IDENTITY, SHARED_WIDTH
from teacher.nn.gnn.convolutional import GIN
from teacher.nn.graphs import Graphs
from teacher.nn.inputs import Matrix
from teacher.tiny import library
from tests.support.streams import MemoryStream

MOLECULES = 120
FEATURES = 20


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    return -float(np.sqrt(np.mean((truth - prediction) ** 2)))


@pytest.fixture(scope="module")
def fit_set() -> FitSet:
    """Learn logP from graphs, without dropout."""
    mols = [mol for smiles in library.read(None)[:200] if (mol := Chem.MolFromSmiles(smiles))][:MOLECULES]
    labels = np.array([[MolLogP(mol)] for mol in mols], dtype=np.float32)
    labels[5] = np.nan
    scale = Scale.of(labels[:90], [Target("logP", "regression")])
    network = functools.partial(GIN, 1, width=16, layers=2, dropout=0.0)
    fit = Fit(
        id="logp",
        name="logP",
        build=functools.partial(NetworkWithLoss, network, scale, Objective(), {}),
        inputs="graphs",
        targets={"labels": "labels"},
        train=np.arange(90),
        valid=np.arange(90, 105),
        score=rmse,
        schedule=Schedule(epochs=4, batch_size=32, learning_rate=3e-3),
    )
    vectors = np.random.default_rng(0).normal(size=(len(mols), FEATURES)).astype(np.float32)
    inputs = {"graphs": Graphs.of(mols), "vectors": Matrix(vectors)}
    return FitSet(fits=[fit], inputs=inputs, columns={"labels": labels})


def without_dropout(known: Recipe, left_over: int, fit_set: FitSet) -> Fit:
    """Return a fit of a small network of some kind, whose last step would have so few molecules."""
    (fit,) = fit_set.fits
    fingerprint = known.reads == "fingerprint"
    settings = {name: 0.0 if name.endswith("dropout") else value for name, value in known.settings.items()}
    settings |= {"width": 16, **({"features": FEATURES} if fingerprint else {})}
    scale = Scale.of(fit_set.columns["labels"], [Target("logP", "regression")])
    build = functools.partial(NetworkWithLoss, functools.partial(known.build, 1, **settings), scale, Objective(), {})
    return replace(
        fit,
        id=f"{known.name}-{left_over}",
        build=build,
        inputs="vectors" if fingerprint else "graphs",
        train=np.arange(64 + left_over),
        schedule=Schedule(epochs=3, batch_size=32),
    )


def beside_a_stream(fit: Fit, fit_set: FitSet) -> Fit:
    """Return a fit that half of its molecules reach as a stream, in windows that end within steps."""
    rows = np.arange(32, 90)
    labels = {"labels": fit_set.columns["labels"][rows]}
    stream = MemoryStream(fit_set.inputs[fit.inputs].take(rows), labels, window=21)
    faster = replace(fit.schedule, learning_rate=1e-2)
    changes = {"train": np.arange(32), "stream": stream, "labelled_share": 0.25, "schedule": faster}
    return replace(fit, id=f"{fit.id}-stream", **changes)


def aligned(fit: Fit, fit_set: FitSet) -> tuple[Fit, dict[str, np.ndarray]]:
    """Return a fit that aligns molecules with texts, some of which repeat or are missing, and its column."""
    vectors = np.concatenate([fit_set.inputs["vectors"].values, np.zeros((MOLECULES, IDENTITY))], axis=1)  # type: ignore[attr-defined]
    vectors[:, -1] = np.arange(MOLECULES) // 2
    vectors[::5] = np.nan
    network = functools.partial(GIN, SHARED_WIDTH, width=16, layers=2, dropout=0.0)
    build = functools.partial(NetworkWithTargets, network, (), (FEATURES, 1.0))
    texts = {"texts": vectors.astype(np.float32)}
    stream = MemoryStream(fit_set.inputs["graphs"].take(np.arange(90)), {"labels": texts["texts"][:90]}, window=40)
    alone_on_it = {"stream": stream, "train": np.zeros(0, dtype=np.int64), "labelled_share": 0.0}
    targets = {"labels": "texts"}
    return replace(fit, id="aligned", build=build, targets=targets, score=no_score, **alone_on_it), texts


def no_score(*_: object) -> float:
    return float("nan")


def test_two_workers_learn_what_one_learns(ray_here: RaySession, fit_set: FitSet, tmp_path: Path) -> None:
    fits = [
        without_dropout(known, left_over, fit_set)
        for known in RECIPES.values()
        if known.reads in ("graphs", "fingerprint")
        for left_over in (1, 3)
    ]
    streamed = [without_dropout(RECIPES[name], 0, fit_set) for name in ("gin", "student-fingerprint")]
    fits += [beside_a_stream(fit, fit_set) for fit in streamed]
    alone_on_it = {"id": "stream alone", "train": np.zeros(0, dtype=np.int64), "labelled_share": 0.0}
    fits.append(replace(fits[-2], **alone_on_it))
    of_texts, texts = aligned(fit_set.fits[0], fit_set)
    many = replace(fit_set, fits=[*fits, of_texts], columns={**fit_set.columns, **texts})
    alone, together = (
        fit_all(many, tmp_path / str(workers), TrainResources(workers=workers, together=True)) for workers in (1, 2)
    )
    for fit, one, two in zip(many.fits, alone, together, strict=True):
        losses = [[epoch["loss"] for epoch in outcome.history] for outcome in (one, two)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4), fit.id
        assert losses[0][-1] < losses[0][0], fit.id
        # A bias before a BatchNorm has no gradient but rounding, which AdamW scales up to whole steps.
        assert np.allclose(one.prediction, two.prediction, atol=0.02), fit.id
        columns = SHARED_WIDTH if fit is of_texts else 1
        assert one.prediction.shape == (MOLECULES, columns) and one.representation.shape == (MOLECULES, 16)


@pytest.mark.parametrize("molecules", [2, 3, 5])
def test_more_workers_than_molecules_for_them_learn_all_the_same(
    molecules: int, ray_here: RaySession, fit_set: FitSet, tmp_path: Path
) -> None:
    fit = without_dropout(RECIPES["student-atoms"], 1, fit_set)
    few = replace(fit_set, fits=[replace(fit, id="few", train=np.arange(molecules), valid=np.arange(99, 100))])
    (outcome,) = fit_all(few, tmp_path, TrainResources(workers=2, together=True))
    assert outcome.epochs == 3 and np.isfinite(outcome.prediction).all()


def test_what_is_done_is_not_done_again(ray_here: RaySession, fit_set: FitSet, tmp_path: Path) -> None:
    first = fit_all(fit_set, tmp_path, TrainResources())
    shown: list[FitProgress] = []
    again = fit_all(fit_set, tmp_path, TrainResources(), shown.append)
    assert [(known.done, known.all) for known in shown] == [(1, 1)]
    assert again[0].seconds == first[0].seconds and np.array_equal(again[0].prediction, first[0].prediction)
    assert not (tmp_path / "logp.pt").exists()


class Fragile(torch.nn.Linear):
    """Kills its worker in the middle of an epoch, so many times."""

    def __init__(self, tombs: Path, deaths: int) -> None:
        super().__init__(2, 1)
        self._tombs, self._deaths, self._calls = tombs, deaths, 0

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._calls += 1
        died = len(list(self._tombs.iterdir()))
        if self._calls == 7 and died < self._deaths:
            (self._tombs / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(vectors), vectors


def fragile(tmp_path: Path, deaths: int, name: str = "fragile") -> FitSet:
    (tmp_path / "tombs").mkdir()
    values = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    labels = values.sum(axis=1, keepdims=True)
    scale = Scale.of(labels, [Target("sum", "regression")])
    build = functools.partial(Fragile, tmp_path / "tombs", deaths)
    fits = [
        Fit(
            id=f"{name}{seed}",
            name=name,
            build=functools.partial(NetworkWithLoss, build, scale, Objective(), {}),
            inputs="vectors",
            targets={"labels": "labels"},
            train=np.arange(30),
            valid=np.arange(30, 40),
            score=rmse,
            schedule=Schedule(epochs=5, batch_size=10),
            seed=seed,
        )
        for seed in range(2)
    ]
    return FitSet(fits=fits, inputs={"vectors": Matrix(values)}, columns={"labels": labels})


GROUP = TrainResources(workers=2, together=True)


@pytest.mark.parametrize("resources", [TrainResources(), GROUP], ids=["independent", "together"])
def test_training_goes_on_after_a_killed_worker_and_says_so(
    resources: TrainResources, ray_here: RaySession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(ray_here.logs.iterdir())
    outcomes = fit_all(fragile(tmp_path, deaths=1), tmp_path / "fits", resources)
    assert [outcome.epochs for outcome in outcomes] == [5, 5]
    assert [len(outcome.history) for outcome in outcomes] == [5, 5]
    new = set(ray_here.logs.iterdir()) - before
    if resources is GROUP:
        told = "".join(file.read_text() for file in new if file.name.startswith("train-controller-"))
        assert "died" in told  # of the others some may die of it, too
    else:
        assert caplog.text.count("the worker of fragile died") == 1


class Interrupting(torch.nn.Linear):
    """Sends its driver SIGINT as soon as it is trained, and does not end."""

    def __init__(self, driver: int) -> None:
        super().__init__(2, 1)
        self._driver = driver

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(self._driver, signal.SIGINT)
        time.sleep(3_600)
        return super().forward(vectors), vectors


@pytest.mark.parametrize("resources", [TrainResources(), GROUP], ids=["independent", "together"])
def test_an_interrupt_ends_a_training_and_its_workers_and_so_does_the_next(
    resources: TrainResources, ray_here: RaySession, tmp_path: Path
) -> None:
    endless = fragile(tmp_path, deaths=0)
    scale = Scale.of(endless.columns["labels"], [Target("sum", "regression")])
    build = functools.partial(NetworkWithLoss, functools.partial(Interrupting, os.getpid()), scale, Objective(), {})
    interrupted = replace(endless, fits=[replace(endless.fits[0], build=build)])
    with pytest.raises(KeyboardInterrupt):
        fit_all(interrupted, tmp_path / "fits", resources)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    while ray.available_resources().get("CPU", 0) < ray_here.cpus:
        time.sleep(0.1)


def test_the_logs_of_workers_name_their_fits(ray_here: RaySession, tmp_path: Path) -> None:
    fit_all(fragile(tmp_path, deaths=1, name="logged"), tmp_path / "fits", TrainResources())
    told = "".join(file.read_text() for file in ray_here.logs.iterdir() if file.name.startswith("train-worker-"))
    assert told.count("fit logged0 (logged) begins after epoch") == 2
    assert told.count("fit logged1 is done: score") == 1


def test_a_group_reports_epochs_to_ray_train(
    ray_here: RaySession, fit_set: FitSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's loop in this process, with more reports than Ray Train would take in a short time."""
    reported: list[dict[str, float | str]] = []
    monkeypatch.setattr("cluster.training.reporter.REPORT_SECONDS", -1.0)
    monkeypatch.setattr("cluster.training.worker.log_in_worker", lambda *_: None)
    monkeypatch.setattr("ray.train.report", reported.append)
    monkeypatch.setattr("cluster.training.data_parallel.get_device", lambda: "cpu")
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr("ray.train.get_context", lambda: context)
    part = shard_of(fit_set.fits, fit_set.inputs, fit_set.columns, ProcessGroup(0, 1, "cpu"))
    config = WorkerConfig(fits=ray.put(list(fit_set.fits)), parts=[ray.put(part)], folder=tmp_path, threads=1)
    run_worker({"work": config})
    assert [(each["fit"], each["epoch"]) for each in reported] == [("logP", epoch) for epoch in range(1, 5)]
    assert all({"loss", "score"} <= each.keys() for each in reported)


class Raising(torch.nn.Linear):
    """Writes down each time that it is built, and raises an error when it is trained, by one of its workers."""

    def __init__(self, tries: Path, error: Exception) -> None:
        super().__init__(2, 1)
        self._error = error
        (tries / str(os.getpid())).touch()

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if os.environ.get("RANK", "0") == "0":
            raise self._error
        return super().forward(vectors), vectors


@pytest.mark.parametrize(
    ("resources", "error", "expected"),
    [
        (TrainResources(), UsageError("This is refused."), (UsageError, r"^This is refused\.$")),
        (TrainResources(), KeyError("width"), (TrainingError, r"error in its own code \(KeyError: 'width'\)")),
        (GROUP, KeyError("width"), (TrainingError, r"error in its own code \(KeyError: 'width'\)")),
    ],
    ids=["ours", "independent", "together"],
)
def test_an_error_of_the_code_ends_the_training_at_the_first_try(
    resources: TrainResources,
    error: Exception,
    expected: tuple[type[Exception], str],
    ray_here: RaySession,
    tmp_path: Path,
) -> None:
    several = fragile(tmp_path, deaths=0)
    tries = tmp_path / "tombs"
    scale = Scale.of(several.columns["labels"], [Target("sum", "regression")])
    build = functools.partial(NetworkWithLoss, functools.partial(Raising, tries, error), scale, Objective(), {})
    refused = replace(several, fits=[replace(several.fits[0], build=build)])
    with pytest.raises(expected[0], match=expected[1]) as told:
        fit_all(refused, tmp_path / "fits", resources)
    assert len(list(tries.iterdir())) == resources.workers and "\n" not in str(told.value)


def test_workers_that_keep_dying_end_in_one_sentence(
    ray_here: RaySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.training.driver.MAX_FAILURES", 1)
    with pytest.raises(TrainingError, match=r"the same command goes on") as error:
        fit_all(fragile(tmp_path, deaths=99), tmp_path / "fits", TrainResources())
    assert "\n" not in str(error.value)


def test_a_fit_that_diverges_ends_in_one_sentence_and_is_not_tried_again(
    ray_here: RaySession, fit_set: FitSet, tmp_path: Path
) -> None:
    diverging = replace(fit_set.fits[0], id="diverging")
    endless = {"labels": np.full_like(fit_set.columns["labels"], np.inf)}
    with pytest.raises(TrainingError, match=r"The loss of 'logP' is no finite number") as error:
        fit_all(replace(fit_set, fits=[diverging], columns=endless), tmp_path, TrainResources())
    assert "\n" not in str(error.value) and "tries" not in str(error.value)
    told = "".join(file.read_text() for file in ray_here.logs.iterdir() if file.name.startswith("train-worker-"))
    assert told.count("fit diverging came to nothing") == 1
