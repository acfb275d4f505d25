"""The transfer set of distillation: molecules without labels that students learn the teachers' predictions of.

What a teacher knows it can say of any molecule, labelled or not (Hinton et al., arXiv 1503.02531, section 2). So the
library that is to be scored also teaches the student that will score it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from cluster.library import Source, read_all
from distill.data.dataset import Dataset
from teacher.errors import UsageError
from teacher.molecule import InvalidMoleculeError, Molecule, parse


def with_transfer_set(dataset: Dataset, sources: Sequence[Source], most: int) -> Dataset:
    """Return a dataset with molecules of a library behind its own, none of them labelled.

    They are the first distinct ones of the library that RDKit reads and that the dataset does not hold: so nothing is
    learnt about a molecule of its test part.

    Args:
        dataset: N molecules, which keep their places.
        sources: the files of the library, as `cluster.library.resolve` found them.
        most: how many molecules to take.

    Raises:
        UsageError: the library holds no such molecule.
    """
    taken = list(islice(_others(dataset, sources), most))
    if not taken:
        raise UsageError(f"The transfer set holds no molecule beside those of {dataset.name}: name another library.")
    smiles = [molecule.smiles for molecule in taken]
    unknown = np.full((len(taken), len(dataset.targets)), np.nan, dtype=np.float32)
    return replace(
        dataset,
        smiles=(*dataset.smiles, *smiles),
        keys=(*dataset.keys, *(molecule.key for molecule in taken)),
        labels=np.concatenate([dataset.labels, unknown]),
        groups=None,
        sha256=hashlib.sha256("\n".join([dataset.sha256, *smiles]).encode()).hexdigest(),
    )


def _others(dataset: Dataset, sources: Sequence[Source]) -> Iterator[Molecule]:
    """Yield the distinct molecules of a library that a dataset does not hold."""
    seen = set(dataset.keys)
    for block in read_all(sources):
        for row in block.to_pylist():
            try:
                molecule = parse(row["raw"], row["notation"])
            except InvalidMoleculeError:  # who screens the library is told of it, row by row
                continue
            if molecule.key not in seen:
                seen.add(molecule.key)
                yield molecule
