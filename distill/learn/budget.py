"""Annotations under a budget: those of the molecules that an LLM would be asked about, if it may be asked so often.

So that a choice (`distill.features.library_graph`) can be held against one at random, against all and against none, on
a set that is annotated whole.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from distill.data.annotations import Annotations
from distill.data.dataset import Dataset
from distill.data.subset import Pool, choose
from distill.features.library_graph import NodeChoice
from distill.features.neighbours import fingerprints_of
from teacher.errors import UsageError
from teacher.wording import counted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many molecules an LLM may describe, and which.

    Attributes:
        share: of the molecules, above 0 and at most 1.
        by: what makes one telling; labels decide nothing.
        seed: of the draws.
    """

    share: float
    by: NodeChoice = "coverage"
    seed: int = 0

    def spend(self, annotations: Annotations, dataset: Dataset) -> Annotations:
        """Return the annotations of the chosen molecules; all others have none.

        Raises:
            UsageError: the budget is less than one molecule.
        """
        number = int(self.share * len(dataset))
        if not number:
            raise UsageError(f"--llm-budget {self.share:g} of {counted(len(dataset), 'molecule')} is none: give more.")
        pool = Pool(list(dataset.smiles), fingerprints_of(dataset.mols()))
        rows = choose(pool, number, self.seed, by=self.by).rows
        kept = annotations.only(np.isin(np.arange(len(dataset)), rows).tolist())
        read = len(dataset) - kept.missing
        logger.info("an LLM may describe %d molecules, chosen by %s; %d of them are annotated", number, self.by, read)
        return kept
