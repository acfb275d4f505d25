"""Texts asked for while a training runs: an LLM describes who is chosen, and the network reads it in the next round.

After E-LLaGNN (arXiv 2407.14996), whose training asks an LLM about some of the nodes of a graph, and whose prediction
asks none. Nodes are the molecules of the training part, since a network over the library reads no others' texts. By
"uncertainty" those are chosen about which networks disagree that were trained on parts of the training part (query by
bagging: Abe and Mamitsuka, ICML 1998); GLANCE (arXiv 2510.10849) found a network's uncertainty the best way to choose.

On a set that is annotated whole, `Budget` reads the annotations of the chosen molecules alone, so that a choice can be
held against one at random, against all and against none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.training.driver import FitProgress, TrainResources, fit_all
from distill.data.annotations import Annotations
from distill.data.dataset import Dataset
from distill.data.splits import Split
from distill.data.subset import Pool, choose
from distill.features.library_graph import NodeChoice, node_choice
from distill.features.neighbours import fingerprints_of
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import Recipe, recipe
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

UNCERTAINTY = "uncertainty"
MEMBERS, PART = 3, 0.6  # networks, and the share of the training part that each learns from
WITHOUT_TEXTS, WITH_TEXTS = "library-sage", "e-llagnn-sage"


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


@dataclass(frozen=True, kw_only=True)
class Service:
    """Who describes molecules, and where what was written is read.

    Attributes:
        describe: has molecules described, by their SMILES.
        fetch: reads what is written about all molecules of the dataset.
    """

    describe: Callable[[Sequence[str]], None]
    fetch: Callable[[], Annotations]


@dataclass(frozen=True, kw_only=True)
class OnDemand:
    """How much may be asked, and in which order.

    Attributes:
        share: of the training part's molecules, above 0 and at most 1.
        by: `UNCERTAINTY`, or a way to choose of `distill.features.library_graph`.
        rounds: in how many parts the budget is spent; by uncertainty networks are trained before each of them.
        seed: of the draws.
    """

    share: float
    by: str
    rounds: int = 1
    seed: int = 0

    def enrich(
        self,
        model_inputs: ModelInputs,
        split: Split,
        service: Service,
        *,
        folder: Path,
        resources: TrainResources,
        show: Callable[[FitProgress], None] | None = None,
    ) -> ModelInputs:
        """Return the dataset with the texts of the chosen molecules, and none of the others.

        Args:
            model_inputs: the dataset; its own annotations are not read.
            split: its training part is asked about, and its labels alone decide.
            service: that describes; what is in the store is not asked for.
            folder: where fits lie; the same call goes on where it was stopped.
            resources: the workers.
            show: called with the progress of fits.

        Raises:
            UsageError: the budget is less than one molecule.
            TrainingError: the workers kept dying.
        """
        number = int(self.share * len(split.train))
        if not number:
            raise UsageError(
                f"--llm-budget {self.share:g} of {counted(len(split.train), 'training molecule')} is none: give more."
            )
        chosen = np.empty(0, dtype=np.int64)
        known = replace(model_inputs, annotations=None)
        order = None if self.by == UNCERTAINTY else self._order(node_choice(self.by), model_inputs, split, number)
        for last in np.linspace(0, number, self.rounds + 1).astype(int)[1:]:
            ranked = self._most_uncertain(known, split, folder, resources, show) if order is None else order
            new = ranked[~np.isin(ranked, chosen)][: last - len(chosen)]
            chosen = np.concatenate([chosen, new])
            known = replace(model_inputs, annotations=self._written(new, chosen, model_inputs, service))
        return known

    def _written(
        self, new: NDArray[np.int64], chosen: NDArray[np.int64], model_inputs: ModelInputs, service: Service
    ) -> Annotations:
        smiles = model_inputs.dataset.smiles
        stored = service.fetch()
        missing = [smiles[row] for row in new.tolist() if stored.texts[row] is None]
        logger.info(
            "%s are chosen by %s, %d of them not in the store", counted(len(new), "molecule"), self.by, len(missing)
        )
        if missing:
            service.describe(missing)
            stored = service.fetch()
        return stored.only(np.isin(np.arange(len(smiles)), chosen).tolist())

    def _order(self, by: NodeChoice, model_inputs: ModelInputs, split: Split, number: int) -> NDArray[np.int64]:
        smiles = [model_inputs.dataset.smiles[row] for row in split.train.tolist()]
        mols = model_inputs.dataset.mols()
        pool = Pool(smiles, fingerprints_of([mols[row] for row in split.train.tolist()]))
        order: NDArray[np.int64] = split.train[choose(pool, number, self.seed, by=by).rows]
        return order

    def _most_uncertain(
        self,
        known: ModelInputs,
        split: Split,
        folder: Path,
        resources: TrainResources,
        show: Callable[[FitProgress], None] | None,
    ) -> NDArray[np.int64]:
        """Return the training molecules, those first about which networks disagree the most."""
        reads_texts = known.annotations is not None and known.annotated[split.train].any()
        network: Recipe = recipe(WITH_TEXTS if reads_texts else WITHOUT_TEXTS)
        batch = Batch(known)
        for member in range(MEMBERS):
            draw = np.random.default_rng([self.seed, member]).permutation(split.train)
            part = np.sort(draw[: max(2, int(PART * len(split.train)))])
            batch.add(network, split, self.seed + member, train=part, name=f"{network.name}, part {member + 1}")
        outcomes = fit_all(batch.fit_set, folder, resources, show)
        spread = disagreement([outcome.prediction for outcome in outcomes], known.dataset.labels[split.train])
        ranked: NDArray[np.int64] = split.train[np.argsort(-spread[split.train], kind="stable")]
        return ranked


def disagreement(predictions: Sequence[NDArray[np.float32]], labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far networks differ about each molecule: (molecules,).

    It is the standard deviation of what they predict, in units of that of the labels, averaged over the targets; of
    logits it is that of the logits.

    Args:
        predictions: of each network, (molecules, targets).
        labels: of the training part, (rows, targets).
    """
    unit = np.nanstd(labels.astype(np.float64), axis=0)
    spread = np.std(np.stack(predictions).astype(np.float64), axis=0) / np.where(unit > 0, unit, 1.0)
    return np.asarray(spread.mean(axis=1))
