"""What baselines predict, kept: a comparison that is started again does not fit them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cache import cached
from distill.evaluate.baseline import Baseline, Examples
from distill.evaluate.baselines import BASELINES
from distill.features.features_id import features_id
from distill.features.vectors import fingerprint_features
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.splits import Split
    from distill.learn.inputs import ModelInputs


@dataclass(frozen=True, eq=False)
class CachedPredictions:
    """One baseline on one dataset.

    Attributes:
        folder: where predictions are kept.
        baseline: the model.
        model_inputs: the dataset.
    """

    folder: Path
    baseline: Baseline
    model_inputs: ModelInputs

    def predict(self, split: Split, seed: int, settings: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """Return the predictions for all molecules, (molecules, targets), of a model of the training part."""
        file = self.folder / f"{self._id(split, seed, settings)}.safetensors"
        return cached(file, lambda: self._fit_and_predict(split, seed, settings))

    def _fit_and_predict(self, split: Split, seed: int, settings: Mapping[str, Any] | None) -> NDArray[np.float32]:
        dataset, inputs = self.model_inputs.dataset, self._inputs()
        train, valid = (Examples(inputs[rows], dataset.labels[rows]) for rows in (split.train, split.valid))
        return self.baseline.fit(train, valid, kind=dataset.kind, settings=settings, seed=seed).predict(inputs)

    def _inputs(self) -> NDArray[Any]:
        if self.baseline.represent is fingerprint_features:
            return self.model_inputs.fingerprints("all")
        return self.baseline.represent(self.model_inputs.dataset.mols())

    def _id(self, split: Split, seed: int, settings: Mapping[str, Any] | None) -> str:
        name = next(name for name, known in BASELINES.items() if known is self.baseline)
        chosen = {**self.baseline.defaults, **(settings or {})}
        facts = [name, chosen, self.model_inputs.dataset.sha256, split.sha256, seed, features_id()]
        return digest(facts)
