"""From a prepared library and its teachers to what a student's training streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.runtime.session import RaySession
from cluster.training.shards import sizes
from cluster.training.stream import Stream
from distill.data.splits import Split
from distill.learn.distillation import LibrarySource, Weights, targets_from
from distill.learn.fits import columns_of
from distill.learn.inputs import ModelInputs
from distill.learn.objective import Whitening
from distill.learn.recipes import Recipe, recipe
from distill.learn.teacher_outputs import TeacherOutputs
from distill.library.beside.scores import score_library, scored, texts_of
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.stream import LibraryStream, Statements
from distill.models.card import ModelCard
from teacher.errors import UsageError

LEAST_EPOCHS = 5


@dataclass(frozen=True, kw_only=True)
class LibraryTeaching:
    """A library that a student learns from beside the labels.

    Attributes:
        library: the prepared library.
        selection: its molecules that are learned of.
        epochs: times that training goes through them; None chooses (`scheduled`).
        batch_size: molecules of a step.
        labelled_share: of them, labelled ones.
    """

    library: PreparedLibrary
    selection: Selection
    epochs: int | None
    batch_size: int
    labelled_share: float

    def check(self, students: Sequence[Recipe]) -> None:
        """Refuse students that read what the library does not have.

        Raises:
            UsageError: one reads other descriptors, or rules.
        """
        there = self.library.manifest.plan.descriptors
        for known in students:
            if known.rules:
                raise UsageError(
                    "A prepared library has no values of rules, so no student that reads them learns from it: let a "
                    "teacher read them, and leave out --rules here."
                )
            if known.reads == "fingerprint" and known.descriptors != there:
                raise UsageError(
                    f"The library in {self.library.folder} was prepared with the descriptors '{there}', and the "
                    f"student reads '{known.descriptors}': give --descriptors {there}, or prepare the library again."
                )

    def scheduled(self, known: Recipe, labelled: int) -> Recipe:
        """Return a student's recipe as it is trained on the library.

        Where no number of epochs is given they are `LEAST_EPOCHS`, or as many as it takes for the labelled molecules to
        come round as often as they would without the library.

        Args:
            known: the recipe.
            labelled: molecules of the training part.
        """
        in_a_step, of_library = sizes(self.batch_size, self.labelled_share)
        in_an_epoch = max(1, len(self.selection) / of_library) * in_a_step
        least = max(LEAST_EPOCHS, math.ceil(known.schedule.epochs * labelled / in_an_epoch))
        schedule = replace(known.schedule, epochs=self.epochs or least, batch_size=self.batch_size)
        return replace(known, schedule=schedule)

    def can_ask(self, card: ModelCard) -> bool:
        """Tell whether a teacher reads what the library has: molecules alone, or embeddings of annotations."""
        return recipe(card.recipe).role == "gnn" or texts_of(self.library, card) is not None

    def score(
        self, teachers: Sequence[Path], session: RaySession, show: Callable[[int, int], None] | None = None
    ) -> list[Path]:
        """Let teachers score the molecules, each once; return the folders of their scores.

        Args:
            teachers: the folders of those that can be asked (`can_ask`).
            session: the Ray cluster to run on.
            show: called with the number of scores that are there, and that there are to be.
        """
        each = len(self.selection)

        def shown(number: int) -> Callable[[int], None]:
            return lambda done: show(number * each + done, len(teachers) * each) if show else None

        return [
            score_library(self.library, self.selection, teacher, session, shown(number))
            for number, teacher in enumerate(teachers)
        ]

    def source(
        self,
        outputs: Sequence[TeacherOutputs],
        scores: Sequence[Path | None],
        weights: Weights,
        split: Split,
        model_inputs: ModelInputs,
    ) -> LibrarySource:
        """Return the library as students learn from it.

        Args:
            outputs: what all teachers say of the dataset.
            scores: of each of them the folder of its scores; None of those that cannot be asked.
            weights: how much the student listens to whom.
            split: of the dataset.
            model_inputs: the dataset.
        """
        dataset = model_inputs.dataset
        targets = targets_from(outputs, weights, split, dataset.kind)
        widths = {name: column.shape[1] for name, column in columns_of(targets).items()}
        asked = [(each, folder) for each, folder in zip(outputs, scores, strict=True) if folder]
        roles = [recipe(each.teacher).role for each, _ in asked]
        representations: dict[str, tuple[int, Whitening | None]] = {}
        for place, (each, _) in enumerate(asked):
            fitting = [other for other in outputs if recipe(other.teacher).role == roles[place]]
            name = f"{roles[place]}{next(n for n, other in enumerate(fitting) if other is each)}"
            if f"hidden.{name}" in widths:
                representations[f"hidden.{name}"] = place, Whitening.fit(each.representation, split.train)
            for kind in ("same", "mapped"):
                if f"{kind}.{name}" in widths:
                    representations[f"{kind}.{name}"] = place, None
        folders = [folder for _, folder in asked]
        spoken = {
            folder: scored(self.library, self.selection, folder)
            for folder, role in zip(folders, roles, strict=True)
            if role == "lm"
        }
        said = Statements(
            dataset.kind,
            folders,
            roles,
            representations,
            {"labels": dataset.labels.shape[1], **widths},
            {folder.name: molecules.digest for folder, molecules in spoken.items()},
        )

        def stream(known: Recipe) -> Stream:
            scaler = model_inputs.scaler(known, split) if known.reads == "fingerprint" else None
            return LibraryStream(self.library, self.selection, said, scaler)

        return LibrarySource(stream=stream, labelled_share=self.labelled_share, facts=self._facts(spoken.values()))

    def _facts(self, spoken: Iterable[Selection]) -> dict[str, Any]:
        """Say what was learned of, fit for a card.

        Args:
            spoken: of each language teacher, the molecules of which it says something.
        """
        return {
            "molecules": len(self.selection),
            "annotated": max(map(len, spoken), default=0),
            "sha256": self.selection.digest,
            "library": self.library.manifest.digest,
            "labelled_left_out": self.selection.excluded,
            "labelled_share": self.labelled_share,
        }
