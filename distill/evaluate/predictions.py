"""What baselines predict, kept: a comparison that is started again does not fit them again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cache import cached_arrays
from distill.evaluate.baselines.baseline import Baseline, Examples
from distill.evaluate.baselines.catalog import BASELINES
from distill.features.features_id import features_id
from distill.features.vectors import fingerprint_features
from teacher.provenance import digest, installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.splits import Split
    from distill.learn.inputs import ModelInputs


FORMAT = 2  # of what is kept


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a baseline says of all molecules, (molecules, targets), and how long it took to fit."""

    values: NDArray[np.float32]
    seconds: float


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

    def predict(self, split: Split, seed: int, settings: Mapping[str, Any] | None = None) -> Predicted:
        """Return what a model of the training part says of all molecules."""
        file = self.folder / f"{self._id(split, seed, settings)}.safetensors"
        kept = cached_arrays(file, lambda: self._fit_and_predict(split, seed, settings))
        return Predicted(kept["values"], float(kept["seconds"]))

    def _fit_and_predict(
        self, split: Split, seed: int, settings: Mapping[str, Any] | None
    ) -> dict[str, NDArray[np.float32]]:
        dataset, inputs = self.model_inputs.dataset, self._inputs()
        train, valid = (Examples(inputs[rows], dataset.labels[rows]) for rows in (split.train, split.valid))
        begun = time.monotonic()
        fitted = self.baseline.fit(train, valid, kind=dataset.kind, settings=settings, seed=seed)
        seconds = np.array(time.monotonic() - begun, dtype=np.float32)
        return {"values": fitted.predict(inputs), "seconds": seconds}

    def _inputs(self) -> NDArray[Any]:
        if self.baseline.represent is fingerprint_features:
            return self.model_inputs.fingerprints("all")
        if self.baseline.pretrained and self.baseline.pretrained != "tabpfn":
            return self.model_inputs.pretrained(self.baseline.pretrained)
        return self.baseline.represent(self.model_inputs.dataset.mols())

    def _id(self, split: Split, seed: int, settings: Mapping[str, Any] | None) -> str:
        name = next(name for name, known in BASELINES.items() if known is self.baseline)
        chosen = {**self.baseline.defaults, **(settings or {})}
        facts = [FORMAT, name, chosen, self.model_inputs.dataset.sha256, split.sha256, seed, features_id()]
        facts.append(installed(self.baseline.packages))
        if self.baseline.pretrained:
            facts.append(self.model_inputs.pretraining(self.baseline.pretrained)["version"])
        return digest(facts)
