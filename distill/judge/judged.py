"""What methods are judged by: the molecules with a label in the validation and test parts of all splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from distill.data.splits import PARTS, Split, scaffold_of
from distill.features.neighbours import Neighbours, packed_of
from distill.judge.cliffs import cliffs
from teacher.chemistry.molecule import mol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind
    from distill.data.dataset import Dataset, Target


@dataclass(frozen=True, kw_only=True)
class SeededSplit:
    """A seed and its split: with a deterministic kind of split all cases have the same one."""

    seed: int
    split: Split


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSplit:
    """The parts of a split that judge, under one seed.

    Attributes:
        seed: of the split, and of the training.
        sha256: of the split.
        learned: how many molecules with a label are learned from or choose under the whole split, whose test part is
            held against them also where a comparison with fewer labels hides most of them.
        valid, test: int64, rows of those with a label, ascending.
        similarity: float32, of each test molecule to the nearest training molecule, Tanimoto's of ECFP4.
    """

    seed: int
    sha256: str
    learned: int
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    similarity: NDArray[np.float32]

    @property
    def test_key(self) -> bytes:
        """The same for splits with the same test part, which tell nothing about other molecules than its own."""
        return self.test.tobytes()


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Molecules, labels, and splits, without the training parts.

    Attributes:
        name: of the dataset.
        smiles: of N molecules.
        labels: float32, (N, T), NaN where missing.
        targets: the T targets.
        splits: one for each seed.
        cliffs: (N, T), which labels form an activity cliff with those of another molecule of the whole dataset
            (`distill.judge.cliffs`); None for classes, and where nobody looked.
    """

    name: str
    smiles: Sequence[str]
    labels: NDArray[np.float32]
    targets: Sequence[Target]
    splits: Sequence[JudgedSplit]
    cliffs: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, dataset: Dataset, cases: Sequence[SeededSplit], like: Judged | None = None) -> Judged:
        """Return what the parts of splits hold.

        Args:
            dataset: the molecules and labels.
            cases: seeds and splits.
            like: of the whole splits, where these hide labels of them: the cliffs, and how many are learned from.
        """
        labelled = np.asarray((~np.isnan(dataset.labels)).any(axis=1))
        fingerprints = packed_of(dataset.mols())
        similarity: dict[str, NDArray[np.float32]] = {}
        splits = []
        for case in cases:
            parts = (getattr(case.split, part) for part in PARTS)
            train, valid, test = (rows[labelled[rows]] for rows in parts)
            if case.split.sha256 not in similarity:
                alike, _ = Neighbours.of(fingerprints[case.split.train]).nearest(fingerprints[test])
                similarity[case.split.sha256] = alike.astype(np.float32)
            splits.append(
                JudgedSplit(
                    seed=case.seed,
                    sha256=case.split.sha256,
                    learned=like.by_seed[case.seed].learned if like else len(train) + len(valid),
                    valid=valid,
                    test=test,
                    similarity=similarity[case.split.sha256],
                )
            )
        return cls(
            name=dataset.name,
            smiles=dataset.smiles,
            labels=dataset.labels,
            targets=dataset.targets,
            splits=splits,
            cliffs=like.cliffs if like else _cliffs(dataset),
        )

    @property
    def kind(self) -> Kind:
        """Whether all labels are classes or numbers."""
        return self.targets[0].kind

    @cached_property
    def by_seed(self) -> dict[int, JudgedSplit]:
        """The splits by their seeds."""
        return {each.seed: each for each in self.splits}

    def scaffolds(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return numbers of some molecules' scaffolds, from 0 on, without chirality; those without rings share one."""
        names = [scaffold_of(mol_of(self.smiles[row])) for row in rows]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _cliffs(dataset: Dataset) -> NDArray[np.bool_] | None:
    return cliffs(dataset.smiles, dataset.labels) if dataset.kind == "regression" else None
