"""The transfer set of distillation: molecules without labels that students learn the teachers' predictions of.

What a teacher knows it can say of any molecule, labelled or not (Hinton et al., arXiv 1503.02531, section 2). So the
library that is to be scored also teaches the student that will score it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from cluster.library import Source
from distill.data.dataset import Dataset
from distill.data.distinct import distinct
from teacher.errors import UsageError


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
    known = set(dataset.keys)
    others = (molecule for molecule in distinct(sources) if molecule.key not in known)
    taken = list(islice(others, most))
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
