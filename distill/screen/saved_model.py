"""A saved model that predicts: its network out of its folder, and what it reads of molecules."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from scipy.special import expit

from distill.features.vectors import Scaler, student_features
from distill.learn.model_store import SCALER, WEIGHTS, usable_card
from distill.learn.network import Network
from distill.learn.recipes import recipe
from teacher.errors import UsageError
from teacher.nn.graphs import Graphs
from teacher.nn.inputs import Inputs, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol


class SavedModel:
    """A saved student or graph teacher that predicts molecules.

    Raises:
        UsageError: the folder holds no whole model, or one that needs texts, or features of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.card = usable_card(folder)
        self._recipe = recipe(self.card.recipe)
        if self._recipe.role == "lm":
            raise UsageError(f"The model in {folder} reads annotations; a library is scored by a student.")
        try:
            scaler = load_arrays(folder / SCALER) if self._recipe.reads == "fingerprint" else None
            self._scaler = Scaler.from_arrays(scaler) if scaler else None
            features = {"features": len(self._scaler.keep)} if self._scaler else {}
            settings = {**self.card.settings, **features}
            build = functools.partial(self._recipe.build, len(self.card.targets), **settings)
            self._network = Network.load(folder / WEIGHTS, build)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            raise UsageError(f"The model in {folder} is damaged ({reason}): train it again.") from None

    def predict(self, mols: list[Mol]) -> NDArray[np.float32]:
        """Return probabilities of classes and values in the labels' units: (molecules, targets)."""
        inputs: Inputs
        if self._scaler:
            inputs = Matrix(self._scaler.transform(student_features(mols, self.card.descriptors)))
        else:
            inputs = Graphs.of(mols)
        values, _ = self._network.predict(inputs, np.arange(len(mols)))
        classes = np.array([target.kind == "classification" for target in self.card.targets])
        predicted: NDArray[np.float32] = np.where(classes, expit(values), values).astype(np.float32)
        return predicted
