"""Which molecules are learned from, which choose the settings, and which judge.

A number without its split says little: one scaffold variant against another moves BBBP by 15 points of ROC-AUC. So a
split carries a hash of what it put where, and every table can print it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from distill.data.dataset import Dataset
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

SplitKind = Literal["scaffold", "random-scaffold", "scaffold-cv", "random", "time", "column"]
KINDS: tuple[SplitKind, ...] = get_args(SplitKind)
DRAWN: frozenset[SplitKind] = frozenset({"random", "random-scaffold", "scaffold-cv"})  # what depends on a seed
PARTS = ("train", "valid", "test")
PART_WORDS = {"train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "test": 2}

TRAIN, VALID, TEST = 0.8, 0.1, 0.1
CV_FOLDS = 5  # of scaffold-cv


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The parts of a dataset: disjoint, none of them empty, together all of it.

    Attributes:
        train: int64 indices into the dataset, ascending, of the molecules that are learned from.
        valid: of those that settings and stopping are chosen by.
        test: of those that judge.
        kind: how the parts were made.
        seed: what a random kind drew with, else None.
        chirality: whether scaffolds that differ in chirality alone are different ones; None where no scaffold counts.
        sha256: digest of the keys in each part, whatever their order: the same hash means the same parts.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    kind: SplitKind
    seed: int | None
    chirality: bool | None
    sha256: str

    def describe(self) -> str:
        """Say in a line what a reader of a table must know to make the same split."""
        settings = []
        if self.chirality is not None:
            settings.append("with chirality" if self.chirality else "without chirality")
        if self.seed is not None:
            settings.append(f"seed {self.seed}")
        if self.seed is not None and self.kind == "scaffold-cv":
            repeat, fold = divmod(self.seed, CV_FOLDS)
            settings[-1] += f" (repeat {repeat + 1}, fold {fold + 1} of {CV_FOLDS})"
        sizes = f"{len(self.train):,} / {len(self.valid):,} / {len(self.test):,} molecules"
        return ", ".join([f"{self.kind} split", *settings, sizes, f"sha256 {self.sha256[:12]}"])


def split(dataset: Dataset, kind: SplitKind = "scaffold", *, seed: int = 0, chirality: bool = False) -> Split:
    """Split a dataset 80 / 10 / 10 (by `scaffold-cv` 70 / 10 / 20), or as its split column says.

    The kinds:

    - `scaffold`: DeepChem's `ScaffoldSplitter`. Molecules are grouped by their Bemis-Murcko scaffold (J. Med. Chem.
      1996, 39, 2887); groups come from the largest to the smallest, those of one size from the last to the first by
      their first molecule; each goes whole into training while it fits there, else into validation while training and
      validation together stay below 90 %, else into the test. The order of the rows decides between groups of a size.
    - `random-scaffold`: as `random_scaffold_split` of Hu et al. (ICLR 2020, pretrain-gnns): the same groups in a random
      order; each goes into validation while it fits there, else into the test while it fits there, else into training.
      Unlike there, it is groups in the order of their scaffolds that are permuted, so the order of the rows is nothing.
    - `scaffold-cv`: repeated five-fold cross-validation over groups of a scaffold, as Ash et al. (J. Chem. Inf. Model.
      2025, 65, 9398) recommend. Five seeds in a row share one repeat, a division into five folds of about the same
      size, and each of them judges by another fold; 10 % of the molecules, groups again, are for validation.
    - `random`: molecules in a random order; again the order of the rows is nothing.
    - `time`: the oldest molecules are learned from, the newest judge, as in a project that goes on. Molecules of one
      moment (a year, say) stay together: a part ends where the time changes, as close to its size as that is.
    - `column`: what the split column says: train, valid (or val, validation), test, in any letter case.

    Args:
        dataset: what to split.
        kind: one of `KINDS`.
        seed: for the random kinds.
        chirality: keep the chirality of scaffolds. Published tables and DeepChem leave it out; GALLON keeps it.

    Raises:
        UsageError: a part would be empty, there is no such kind, or a column is missing or says something else.
    """
    (parts,) = splits_under([seed], dataset, kind, chirality=chirality)
    return parts


def splits_under(
    seeds: Sequence[int], dataset: Dataset, kind: SplitKind = "scaffold", *, chirality: bool = False
) -> list[Split]:
    """Split a dataset as `split` does, once under each seed.

    Scaffolds, which take most of the time, are found once for all seeds, and a kind that draws nothing is split once.

    Raises:
        UsageError: as `split` does.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no split '{kind}'; known are {', '.join(KINDS)}.")
    scaffolds = _scaffolds(dataset, chirality) if "scaffold" in kind else {}
    chiral = chirality if "scaffold" in kind else None
    if kind in DRAWN:
        return [_made(dataset, kind, scaffolds, seed=seed, chirality=chiral) for seed in seeds]
    return [_made(dataset, kind, scaffolds, seed=None, chirality=chiral)] * len(seeds)


def _made(
    dataset: Dataset,
    kind: SplitKind,
    scaffolds: dict[str, list[int]],
    *,
    seed: int | None,
    chirality: bool | None,
) -> Split:
    parts = [np.array(sorted(part), dtype=np.int64) for part in _divided(dataset, kind, scaffolds, seed or 0)]
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise UsageError(
                f"The {kind} split of {dataset.name} ({counted(len(dataset), 'molecule')}) leaves its {name} part "
                "empty; use another kind of split, or more molecules."
            )
    train, valid, test = parts
    return Split(
        train=train,
        valid=valid,
        test=test,
        kind=kind,
        seed=seed,
        chirality=chirality,
        sha256=_digest(dataset, parts),
    )


def _divided(dataset: Dataset, kind: SplitKind, scaffolds: dict[str, list[int]], seed: int) -> Sequence[Iterable[int]]:
    divide: dict[SplitKind, Callable[[], Sequence[Iterable[int]]]] = {
        "scaffold": lambda: _by_size(scaffolds, len(dataset)),
        "random-scaffold": lambda: _by_chance(scaffolds, len(dataset), seed),
        "scaffold-cv": lambda: _by_fold(scaffolds, len(dataset), *divmod(seed, CV_FOLDS)),
        "random": lambda: _shuffled(dataset, seed),
        "time": lambda: _by_time(dataset),
        "column": lambda: _by_column(dataset),
    }
    return divide[kind]()


def folds(train: NDArray[np.int64], labels: NDArray[np.float32], k: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """Divide the training part into k parts, each to be held out once.

    Molecules are dealt out one by one in a random order, so that sizes differ by one at most; where there is a single
    target with two classes they are dealt class by class (those without a label last), which spreads each evenly.

    Args:
        train: int64 indices into the dataset.
        labels: float32 of shape (N, T), of the whole dataset.
        k: how many parts.
        seed: of the random order.

    Returns:
        k disjoint arrays of indices into the dataset, ascending, together `train`.

    Raises:
        UsageError: k is less than two, or there are fewer molecules than parts.
    """
    if k < 2 or len(train) < k:
        raise UsageError(
            f"{counted(len(train), 'training molecule')} cannot be divided into {counted(k, 'fold')}; choose from 2 "
            "to as many as there are molecules, or --folds 0, which divides nothing."
        )
    order = np.random.default_rng(seed).permutation(np.sort(train))
    if labels.shape[1] == 1 and set(np.unique(labels[~np.isnan(labels)])) == {0.0, 1.0}:
        order = order[np.argsort(labels[order, 0], kind="stable")]  # NaN comes last
    return [np.sort(order[part::k]) for part in range(k)]


def _scaffolds(dataset: Dataset, chirality: bool) -> dict[str, list[int]]:
    """Return the molecules of each scaffold; those without rings share the empty one."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, mol in enumerate(dataset.mols()):
        groups[scaffold_of(mol, chirality=chirality)].append(index)
    return groups


def scaffold_of(mol: Mol, *, chirality: bool = False) -> str:
    """Return the Bemis-Murcko scaffold of a molecule as SMILES; the empty one for a molecule without rings."""
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    scaffold: str = MurckoScaffoldSmiles(mol=mol, includeChirality=chirality)  # type: ignore[no-untyped-call]
    return scaffold


def _by_size(scaffolds: dict[str, list[int]], molecules: int) -> Sequence[list[int]]:
    train: list[int] = []
    valid: list[int] = []
    test: list[int] = []
    for group in sorted(scaffolds.values(), key=lambda group: (len(group), group[0]), reverse=True):
        if len(train) + len(group) <= TRAIN * molecules:
            train += group
        elif len(train) + len(valid) + len(group) <= (TRAIN + VALID) * molecules:
            valid += group
        else:
            test += group
    return train, valid, test


def _by_chance(scaffolds: dict[str, list[int]], molecules: int, seed: int) -> Sequence[list[int]]:
    train: list[int] = []
    valid: list[int] = []
    test: list[int] = []
    groups = [scaffolds[scaffold] for scaffold in sorted(scaffolds)]
    for place in np.random.default_rng(seed).permutation(len(groups)):
        group = groups[place]
        if len(valid) + len(group) <= int(VALID * molecules):
            valid += group
        elif len(test) + len(group) <= int(TEST * molecules):
            test += group
        else:
            train += group
    return train, valid, test


def _by_fold(scaffolds: dict[str, list[int]], molecules: int, repeat: int, fold: int) -> Sequence[Iterable[int]]:
    """Judge by one fold, and validate by some of the others' groups.

    The largest groups are dealt first, each to the smallest fold, so that one large scaffold does not make a fold of
    twice the size; chance decides among groups of a size.
    """
    chance = np.random.default_rng(repeat)
    names = sorted(scaffolds)
    shuffled = [scaffolds[names[place]] for place in chance.permutation(len(names))]
    dealt: list[list[list[int]]] = [[] for _ in range(CV_FOLDS)]
    sizes = [0] * CV_FOLDS
    for group in sorted(shuffled, key=len, reverse=True):
        smallest = sizes.index(min(sizes))
        dealt[smallest].append(group)
        sizes[smallest] += len(group)
    others = [group for number, groups in enumerate(dealt) if number != fold for group in groups]
    train: list[int] = []
    valid: list[int] = []
    for place in np.random.default_rng([repeat, fold]).permutation(len(others)):
        group = others[place]
        if len(valid) + len(group) <= int(VALID * molecules):
            valid += group
        else:
            train += group
    return train, valid, [index for group in dealt[fold] for index in group]


def _shuffled(dataset: Dataset, seed: int) -> Sequence[Iterable[int]]:
    by_key = np.array(sorted(range(len(dataset)), key=dataset.keys.__getitem__))
    order = np.random.default_rng(seed).permutation(by_key)
    return np.split(order, [int(TRAIN * len(order)), int((TRAIN + VALID) * len(order))])


def _by_time(dataset: Dataset) -> Sequence[Iterable[int]]:
    if dataset.times is None:
        raise UsageError(f"A time split of {dataset.name} needs the column that says when; name it by --time-column.")
    times = np.array(dataset.times)
    order = np.argsort(times, kind="stable")
    ends = [*(np.flatnonzero(np.diff(times[order])) + 1), len(order)]  # where a moment ends
    cuts = [0]
    for share, left in ((TRAIN, 2), (TRAIN + VALID, 1)):  # as many moments are left for the parts behind
        possible = [end for end in ends[:-left] if end > cuts[-1]] or [len(order)]
        cuts.append(min(possible, key=lambda end: abs(end - share * len(order))))
    return np.split(order, cuts[1:])


def _by_column(dataset: Dataset) -> Sequence[list[int]]:
    if dataset.groups is None:
        raise UsageError(
            f"A column split of {dataset.name} needs the column that holds train, valid and test; name it."
        )
    parts: tuple[list[int], ...] = ([], [], [])
    for index, group in enumerate(dataset.groups):
        word = group.strip().lower()
        if word not in PART_WORDS:
            raise UsageError(
                f"The split column of {dataset.name} says '{group}' of {dataset.smiles[index]}; "
                "it may say train, valid and test."
            )
        parts[PART_WORDS[word]].append(index)
    return parts


def _digest(dataset: Dataset, parts: Sequence[NDArray[np.int64]]) -> str:
    digest = hashlib.sha256()
    for name, part in zip(PARTS, parts, strict=True):
        digest.update(name.encode())
        digest.update(b"".join(sorted(dataset.keys[index] for index in part)))
    return digest.hexdigest()
