"""Training on Ray Train: any number of fits, spread over workers, each written down when it is done.

A fit that has its result in the folder is not done again, and one that was interrupted goes on from its last
checkpoint there, so the same call resumes after a killed worker, driver or cluster. Workers on several machines need
a folder that all of them reach.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cluster.causes import causes
from cluster.periodic import every
from teacher.errors import GallonError, UsageError
from teacher.inputs import Inputs
from teacher.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cluster.ray_session import RaySession

MAX_FAILURES = 3  # times that the group of workers is started again
LOOK_SECONDS = 1.0
LEAST_BATCH = 3  # half of it, and no less stands in the last step, is still two molecules

Terms = Mapping[str, "tuple[Tensor, Tensor]"]


class Learner(Protocol):
    """What is trained: a torch module that can be scored and asked.

    Called with a batch and its targets it returns the terms of its loss: for each the sum over what there is to learn,
    already weighted, and the number of things that it sums, both scalars. The loss is the sum of the terms' means.
    """

    def __call__(self, batch: Any, targets: Mapping[str, Tensor]) -> Terms:
        """Return the terms of the loss."""

    def predict(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return predictions (B, targets) and representations (B, width)."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most; the best by the validation score is kept.
        batch_size: molecules of a step, over all workers together, 3 or more; the last step of an epoch takes between a
            half and one and a half of them. None takes all at once.
        learning_rate: after the warm-up.
        decay: "cosine" lets it fall to zero until the last epoch, "none" keeps it.
        warm_up: share of the steps over which it rises from zero.
        weight_decay: of AdamW, decoupled.
        gradient_norm: at most, over all parameters; None does not clip.
    """

    epochs: int
    batch_size: int | None = 64
    learning_rate: float = 1e-3
    decay: Literal["cosine", "none"] = "cosine"
    warm_up: float = 0.05
    weight_decay: float = 1e-4
    gradient_norm: float | None = 5.0

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < LEAST_BATCH:
            raise ValueError(
                f"A batch of {self.batch_size} leaves steps of one molecule, which BatchNorm cannot learn."
            )

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from zero, out of so many."""
        warm = min(1.0, (step + 1) / max(1.0, self.warm_up * steps))
        cooled = (1 + math.cos(math.pi * step / steps)) / 2 if self.decay == "cosine" else 1.0
        return self.learning_rate * warm * cooled


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One network to train.

    Attributes:
        id: digest of all that decides its result; the folder of its result is named by it.
        name: what people call it.
        build: makes the `Learner`, a torch module at its random start.
        inputs: the name of what it reads.
        targets: the name of the column behind each target of the learner; "labels" must be among them.
        train, valid: int64, rows to learn from and rows to choose the best epoch by.
        score: maps truth and prediction, both (rows, targets), to a number; greater is better. Where it is NaN the
            training loss judges the epochs.
        schedule: how long and how fast.
        seed: of the start, the order of the molecules, and dropout.
    """

    id: str
    name: str
    build: Callable[[], Any]
    inputs: str
    targets: Mapping[str, str]
    train: np.ndarray
    valid: np.ndarray
    score: Callable[[np.ndarray, np.ndarray], float]
    schedule: Schedule
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """Fits, and what they read and learn from.

    Attributes:
        inputs: by name; all of one kind have the same rows.
        columns: float32 by name, one entry a row, NaN where nothing is known.
    """

    fits: Sequence[Fit]
    inputs: Mapping[str, Inputs]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a fit.

    Attributes:
        prediction: float32, shape (rows, targets), for every row of its inputs.
        representation: float32, shape (rows, width).
        score: the best validation score, or where none was to be had, less the training loss of the same epoch.
        epochs: trained; `best_epoch` counts from one.
        history: of each epoch the terms of the loss, the loss, and the score.
        weights: the file with the learner's parameters at its best epoch, in safetensors.
        seconds: of training.
    """

    prediction: np.ndarray
    representation: np.ndarray
    score: float
    epochs: int
    best_epoch: int
    history: Sequence[Mapping[str, float]]
    weights: Path
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainers:
    """The workers that train.

    Attributes:
        workers: how many.
        cpus: threads of each.
        gpus: of each.
        together: whether all share every fit, each with its part of the molecules, or each takes fits of its own. None
            shares when there are fewer fits than workers that can. More workers than can share a fit stay idle.
    """

    workers: int = 1
    cpus: int = 1
    gpus: int = 0
    together: bool | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """How many fits are done, out of how many."""

    done: int
    all: int


def plan_trainers(session: RaySession, workers: int | None) -> Trainers:
    """Fit the workers to the machines of a cluster: one a GPU, or one a core, unless a number is asked for.

    Raises:
        UsageError: the machines have no room for so many; Ray Train would wait for it for ever.
    """
    gpus = 1 if session.gpus else 0
    most = session.room(cpus=1, gpus=gpus)
    number = workers or max(1, most)
    if number > most:
        each = "a CPU and a GPU" if gpus else "a CPU"
        raise UsageError(
            f"The Ray cluster has room for {counted(most, 'training worker')} with {each} each, not for {number:,}: "
            "lower --workers, or start more machines."
        )
    cpus = next(cpus for cpus in range(int(session.cpus // number), 0, -1) if session.room(cpus, gpus) >= number)
    return Trainers(workers=number, cpus=cpus, gpus=gpus)


def fit_all(
    campaign: Campaign, folder: Path, trainers: Trainers, show: Callable[[Done], None] | None = None
) -> list[Outcome]:
    """Do all fits that are not done yet, and return the outcome of each.

    Args:
        campaign: the fits.
        folder: where results and checkpoints lie; is made where it is missing.
        trainers: the workers.
        show: called about once a second with the progress.

    Raises:
        TrainingError: the workers kept dying (what was done is kept, and the same call goes on), or a network diverged.
    """
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    left = list({fit.id: fit for fit in campaign.fits if not is_done(folder, fit.id)}.values())
    if left:
        for fit in left:
            failure_of(folder, fit.id).unlink(missing_ok=True)
        with _watched(folder, [fit.id for fit in campaign.fits], show):
            _train(left, campaign, folder, trainers)
    for fit in left:
        if (failure := failure_of(folder, fit.id)).is_file():
            raise TrainingError(failure.read_text(encoding="utf-8"))
    return [read_outcome(folder, fit.id) for fit in campaign.fits]


class TrainingError(GallonError):
    """Training did not come to its end."""


def is_done(folder: Path, fit: str) -> bool:
    """Tell whether a fit has its result."""
    return (folder / fit / "outcome.json").is_file()


def failure_of(folder: Path, fit: str) -> Path:
    """Return the file that says why a fit came to nothing, if it did."""
    return folder / f"{fit}.failed"


def read_outcome(folder: Path, fit: str) -> Outcome:
    """Read the result of a fit."""
    from safetensors.numpy import load_file

    facts = json.loads((folder / fit / "outcome.json").read_text(encoding="utf-8"))
    arrays = load_file(folder / fit / "outputs.safetensors")
    return Outcome(
        prediction=arrays["prediction"],
        representation=arrays["representation"],
        weights=folder / fit / "weights.safetensors",
        **facts,
    )


def _train(fits: Sequence[Fit], campaign: Campaign, folder: Path, trainers: Trainers) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    from cluster.fitting import Group, Work, part_of, work

    workers, together = arranged(fits, trainers)
    groups = [Group(number, workers, "cpu") for number in range(workers)] if together else [Group(0, 1, "cpu")]
    order = Work(
        fits=ray.put(list(fits)),
        parts=[ray.put(part_of(fits, campaign.inputs, campaign.columns, group)) for group in groups],
        folder=folder,
        together=together,
        threads=trainers.cpus,
    )
    resources = {"CPU": float(trainers.cpus), **({"GPU": float(trainers.gpus)} if trainers.gpus else {})}
    trainer = TorchTrainer(
        work,
        train_loop_config={"work": order},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=bool(trainers.gpus), resources_per_worker=resources),
        run_config=RunConfig(
            name=f"training-{fits[0].id[:12]}",
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        first = next(iter(error.worker_failures.values()), error)
        if isinstance(cause := _root(first), GallonError):
            raise cause from error
        reason = str(cause).strip().split("\n", maxsplit=1)[0]
        raise TrainingError(
            f"Training failed {MAX_FAILURES + 1} times, the last time with: {reason} Fits that were done are kept in "
            f"{folder}; the same command goes on."
        ) from error
    except ControllerError as error:
        raise TrainingError(f"Ray Train could not start or hold its workers: {_root(error)}.") from error


def arranged(fits: Sequence[Fit], trainers: Trainers) -> tuple[int, bool]:
    """Return how many workers to start, and whether they share every fit."""
    from cluster.epochs import most_workers

    sharing = min(trainers.workers, *map(most_workers, fits))
    together = len(fits) < sharing if trainers.together is None else trainers.together
    return (sharing if together else min(trainers.workers, len(fits))), together


@contextmanager
def _watched(folder: Path, fits: Sequence[str], show: Callable[[Done], None] | None) -> Iterator[None]:
    if show is None:
        yield
        return

    def show_now() -> None:
        show(Done(sum(is_done(folder, fit) for fit in fits), len(fits)))

    with every(LOOK_SECONDS, show_now, "training-progress"):
        yield


def _root(error: BaseException) -> BaseException:
    """Return the error at the bottom of those that Ray has wrapped around it."""
    *_, bottom = causes(error)
    return bottom
