"""The one training loop, for graph teachers, language teachers and students."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor

from cluster.training.batch_norm import with_shared_statistics
from cluster.training.examples import examples_of
from cluster.training.fit import Fit, Schedule
from cluster.training.group import DataShard, ProcessGroup
from cluster.training.metrics import TrainingMetrics
from cluster.training.reporter import Reporter
from cluster.training.results import TrainingError, drop_share, note_share
from cluster.training.shards import steps
from teacher import strict_json
from teacher.files import drop_leftovers, replacing, replacing_folder

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
SHARE_SECONDS = 2.0  # between notes of how much is done
STEPS_BETWEEN_LOOKS = 100  # at the clock, which a group of workers agrees on
PREDICT_ROWS = 512
RUN_DIGITS = 12  # of a fit's id, on the dashboard


@dataclass
class Best:
    """The best epoch so far, its validation score, and the weights at its end."""

    score: float = -math.inf
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class AveragedLearner:
    """The moving average of a learner in training: what is kept does not hang on one epoch that validates well by luck.

    A classification fit is validated by the ROC-AUC of a few molecules, whose strict maximum is often one of the first
    epochs. An exponential moving average changes slowly, and so does its score (Polyak and Juditsky, SIAM J. Control
    Optim. 1992, 30, 838). Statistics of BatchNorm are averaged as well. `tests/benchmarks/epoch_choice.py` compares
    ways to choose.

    Args:
        learner: whose weights are averaged.
        schedule: how long it remembers: a share of the epochs.
    """

    def __init__(self, learner: Any, schedule: Schedule) -> None:
        self._memory = max(1.0, schedule.averaging * schedule.epochs)
        self._of = learner
        self.learner = copy.deepcopy(learner) if self._memory > 1 else learner

    def update(self, epoch: int) -> None:
        """Take in the weights at the end of an epoch, counted from one; at first it is the mean of all so far."""
        if self.learner is self._of:
            return
        share = 1 / min(self._memory, epoch)
        with torch.no_grad():
            averages = self.learner.state_dict()
            for name, value in self._of.state_dict().items():
                if value.is_floating_point():
                    averages[name].lerp_(value, share)
                else:
                    averages[name].copy_(value)


def generators_of(device: str) -> list[torch.Generator]:
    """Return what torch draws random numbers from, dropout's among them: for the CPU, and for a GPU that trains."""
    place = torch.device(device)
    if place.type != "cuda":
        return [torch.default_generator]
    torch.cuda.init()  # type: ignore[no-untyped-call]
    number = torch.cuda.current_device() if place.index is None else place.index
    return [torch.default_generator, torch.cuda.default_generators[number]]


class DivergenceError(TrainingError):
    """A network came to nothing before it had learnt anything; another try would end the same."""


class Training:
    """One fit in training on one worker."""

    def __init__(
        self, fit: Fit, part: DataShard, group: ProcessGroup, folder: Path, reporter: Reporter | None = None
    ) -> None:
        torch.manual_seed(fit.seed)
        self._fit, self._part, self._group, self._folder = fit, part, group, folder
        self._learner = fit.build().to(group.device)
        if group.size > 1:
            self._learner = with_shared_statistics(self._learner)
        self._average = AveragedLearner(self._learner, fit.schedule)
        self._optimizer = torch.optim.AdamW(
            self._learner.parameters(),
            lr=fit.schedule.learning_rate,
            weight_decay=fit.schedule.weight_decay,
            fused=True,  # one pass over each parameter: a step of a student on fingerprints takes a third less
        )
        self._examples = examples_of(fit, part, group)
        self._called = torch.nn.parallel.DistributedDataParallel(self._learner) if group.size > 1 else self._learner
        self._inputs, self._labels = part.inputs[fit.inputs], part.columns[fit.targets["labels"]]
        self._steps = steps(fit)
        self._epoch, self._step = 0, 0  # that are done, and of the next epoch
        self._sums: dict[str, Tensor] = {}  # of that epoch, for each term of the loss: its sum, and of how many things
        self._seconds = 0.0
        self._begun = self._saved = time.monotonic()
        self._noted = -math.inf
        self._best = Best()
        self._history: list[dict[str, float]] = []
        self._reporter = reporter or Reporter()
        self._metrics = TrainingMetrics(fit.id[:RUN_DIGITS], fit.name)

    def run(self) -> None:
        """Train to the end, from where it was interrupted, and write the result down."""
        self._restore()
        logger.info("fit %s (%s) begins after epoch %d", self._fit.id, self._fit.name, self._epoch)
        self._begun = self._saved = time.monotonic()
        while self._epoch < self._fit.schedule.epochs:
            if not self._validate(self._train_epoch()):
                break
            self._save_if_due()
            if self._group.agreed(self._reporter.is_due):
                self._reporter.report(self._fit.name, self._history[-1])
        if not self._best.epoch:
            raise DivergenceError(
                f"The loss of '{self._fit.name}' is no finite number from its first epoch on: look for values among "
                "the labels that are far from all others."
            )
        self._finish()

    # An epoch

    def _train_epoch(self) -> dict[str, float]:
        """Go once through the molecules, or through those that are left; return the mean of each term of the loss."""
        self._learner.train()
        for batch, targets in self._examples.of_epoch(self._epoch, self._step):
            device = self._group.device
            terms = self._called(batch.to(device), {name: column.to(device) for name, column in targets.items()})
            self._descend(terms, self._epoch * self._steps + self._step)
            for name, (total, count) in terms.items():
                # On the device, where they are: to read them here would wait for the GPU in each step.
                more = torch.stack([total.detach(), count]).float()
                self._sums[name] = self._sums[name] + more if name in self._sums else more
            self._step += 1
            self._note_share_if_due()
            if self._step % STEPS_BETWEEN_LOOKS == 0 and self._step < self._steps:
                self._save_if_due()
        whole = self._whole_sums()
        self._epoch, self._step, self._sums = self._epoch + 1, 0, {}
        return {name: float(total / count.clamp(min=1)) for name, (total, count) in whole.items()}

    def _whole_sums(self) -> dict[str, Tensor]:
        """Return the sums of the epoch so far over the whole group."""
        return {name: self._group.total(both.clone()).cpu() for name, both in self._sums.items()}

    def _descend(self, terms: dict[str, tuple[Tensor, Tensor]], step: int) -> None:
        """Take one step down the loss: the sum of the terms' means over the whole group's molecules."""
        counts = self._group.total(torch.stack([count for _, count in terms.values()]).float())
        means = [total / count.clamp(min=1) for (total, _), count in zip(terms.values(), counts, strict=True)]
        self._optimizer.zero_grad(set_to_none=True)
        loss = torch.stack(means).sum() * self._group.size  # since the group's gradients are averaged
        loss.backward()  # type: ignore[no-untyped-call]
        if self._fit.schedule.gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._learner.parameters(), self._fit.schedule.gradient_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = self._fit.schedule.rate(step, self._steps * self._fit.schedule.epochs)
        self._optimizer.step()

    # Asking and judging

    def _predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and representations, of averaged weights, of those rows that this worker looks after."""
        learner = self._average.learner
        places = self._part.places(self._group.mine(rows))
        asked = places if len(places) else np.zeros(1, dtype=np.int64)
        learner.eval()
        with torch.inference_mode():
            answers = [
                learner.predict(self._inputs.batch(asked[first : first + PREDICT_ROWS]).to(self._group.device))
                for first in range(0, len(asked), PREDICT_ROWS)
            ]
        prediction, representation = (
            np.concatenate([part.float().cpu().numpy() for part in column])[: len(places)]
            for column in zip(*answers, strict=True)
        )
        return prediction, representation

    def _truth(self, rows: np.ndarray) -> np.ndarray:
        """Return what predictions of those rows that this worker looks after are compared with."""
        labels = torch.from_numpy(self._labels[self._part.places(self._group.mine(rows))])
        with torch.inference_mode():
            truth: np.ndarray = self._average.learner.truth(labels.to(self._group.device)).cpu().numpy()
        return truth

    def _validate(self, terms: dict[str, float]) -> bool:
        """Score an epoch on the validation molecules, and keep the weights if it is the best.

        Returns:
            Whether the fit can go on: one whose loss or predictions are no longer finite has nothing more to learn.
        """
        self._average.update(self._epoch)
        valid = self._fit.valid
        prediction, _ = self._predict(valid)
        both = self._group.gather((self._truth(valid), prediction))
        truths, predictions = (np.concatenate(column) for column in zip(*both, strict=True))
        loss = sum(terms.values())
        if not (math.isfinite(loss) and np.isfinite(predictions).all()):
            return False
        score = self._fit.score(truths, predictions)
        if math.isnan(score):
            score = -loss
        self._history.append({"epoch": self._epoch, **terms, "loss": loss, "score": score})
        if not self._group.number:
            self._metrics.trained(self._examples.molecules, loss)
            self._metrics.validated(score)
        if not self._best.epoch or score > self._best.score:
            weights = {name: value.detach().cpu().clone() for name, value in self._average.learner.state_dict().items()}
            self._best = Best(score, self._epoch, weights)
        return True

    # What is written down

    @property
    def _checkpoint(self) -> Path:
        return self._folder / f"{self._fit.id}.pt"

    def _note_share_if_due(self) -> None:
        """Say how much of the fit is done, where the last note is old."""
        if not self._group.number and time.monotonic() - self._noted > SHARE_SECONDS:
            done = self._epoch * self._steps + self._step
            note_share(self._folder, self._fit.id, done / (self._steps * self._fit.schedule.epochs))
            self._noted = time.monotonic()

    def _restore(self) -> None:
        """Go on from the last checkpoint, if there is one; what a killed worker left half written goes."""
        file = self._checkpoint
        if not self._group.number:
            drop_leftovers(file)
            drop_leftovers(self._folder / self._fit.id)
        if not self._group.agreed(file.is_file()):
            return
        state = torch.load(file, map_location="cpu", weights_only=True)
        self._learner.load_state_dict(state["learner"])
        self._average.learner.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = Best(**state["best"])
        self._epoch, self._step = state["epoch"], state.get("step", 0)
        sums = {} if self._group.number else state.get("sums", {})  # which are those of the whole group
        self._sums = {name: both.to(self._group.device) for name, both in sums.items()}
        self._seconds, self._history = state["seconds"], state["history"]
        for generator, drawn in zip(generators_of(self._group.device), state.get("generators", []), strict=False):
            generator.set_state(drawn)

    def _save_if_due(self) -> None:
        """Write a checkpoint where the last one is old, in the middle of an epoch, too."""
        now = time.monotonic()
        self._seconds, self._begun = self._seconds + now - self._begun, now
        if self._group.agreed(now - self._saved > CHECKPOINT_SECONDS):
            self._save(self._whole_sums())
            self._saved = now

    def _save(self, sums: dict[str, Tensor]) -> None:
        if self._group.number:
            return
        state = {
            "learner": self._learner.state_dict(),
            "average": self._average.learner.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": vars(self._best),
            "epoch": self._epoch,
            "step": self._step,
            "sums": sums,
            "seconds": self._seconds,
            "history": self._history,
            "generators": [generator.get_state() for generator in generators_of(self._group.device)],
        }
        with replacing(self._checkpoint) as aside, aside.open("wb") as file:
            torch.save(state, file)
        logger.info("checkpoint of fit %s after epoch %d, best score %.4g", self._fit.id, self._epoch, self._best.score)

    def _finish(self) -> None:
        """Write the result, whole or not at all, and drop the checkpoint."""
        self._average.learner.load_state_dict(self._best.weights)
        rows = np.arange(sum(len(part) for part in self._group.gather(self._group.mine(self._part.rows))))
        answers = self._group.gather((self._group.mine(rows), *self._predict(rows)))
        if self._group.number:
            return
        asked, prediction, representation = (np.concatenate(column) for column in zip(*answers, strict=True))
        order = np.argsort(asked)
        outputs = {"prediction": prediction[order], "representation": representation[order]}
        facts = {
            "score": self._best.score,
            "epochs": self._epoch,
            "best_epoch": self._best.epoch,
            "history": self._history,
            "seconds": round(self._seconds, 3),
        }
        files = ("weights.safetensors", "outputs.safetensors", "outcome.json")
        with replacing_folder(self._folder / self._fit.id, ours=files) as aside:
            save_file(self._best.weights, aside / "weights.safetensors")
            save_arrays(outputs, aside / "outputs.safetensors")
            (aside / "outcome.json").write_text(strict_json.dumps(facts), encoding="utf-8")
        self._checkpoint.unlink(missing_ok=True)
        drop_share(self._folder, self._fit.id)
        best = (self._best.score, self._best.epoch, self._epoch)
        logger.info("fit %s is done: score %.4g in epoch %d of %d", self._fit.id, *best)
