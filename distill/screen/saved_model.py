"""A saved model that predicts: its network out of its folder, and what it reads of molecules."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from scipy.special import expit

from distill.features.neighbours import fingerprints_of, nearest, unpacked
from distill.features.vectors import Scaler, student_features
from distill.learn.doubt import Doubt
from distill.learn.model_store import FINGERPRINTS, SCALER, TRAINING, TRAINING_SMILES, WEIGHTS, usable_card
from distill.learn.network import Network
from distill.learn.recipes import recipe
from teacher.errors import UsageError
from teacher.nn.graphs import Graphs
from teacher.nn.inputs import Inputs, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol
    from rdkit.DataStructs import ExplicitBitVect


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a model says of N molecules, and how far to trust it.

    Attributes:
        values: float32, (N, T); probabilities of classes, values in the labels' units.
        half: float32, (N, T); half the width of the interval, NaN for classes and where nothing tells.
        similarity: float32, (N,); Tanimoto's to the nearest molecule that the model has learned from.
        nearest: int64, (N,); which that is.
        in_domain: (N,); whether it is as near as nearly all of those are to each other.
    """

    values: NDArray[np.float32]
    half: NDArray[np.float32]
    similarity: NDArray[np.float32]
    nearest: NDArray[np.int64]
    in_domain: NDArray[np.bool_]


class SavedModel:
    """A saved student or graph teacher that predicts molecules.

    Attributes:
        card: what it is.
        training: SMILES of the molecules that it has learned from.

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
            self._doubt = Doubt.read(self.card.doubt, len(self.card.targets)) if self.card.doubt else None
            self._training: list[ExplicitBitVect] = []
            self.training: list[str] = []
            if self._doubt:
                self._training = unpacked(load_arrays(folder / TRAINING)[FINGERPRINTS])
                self.training = (folder / TRAINING_SMILES).read_text(encoding="utf-8").splitlines()
                if len(self.training) != len(self._training) or not self.training:
                    raise ValueError(f"{len(self._training)} fingerprints of {len(self.training)} training molecules")
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            raise UsageError(f"The model in {folder} is damaged ({reason}): train it again.") from None

    def predict(self, mols: list[Mol]) -> NDArray[np.float32]:
        """Return calibrated probabilities of classes and values in the labels' units: (molecules, targets)."""
        inputs: Inputs
        if self._scaler:
            inputs = Matrix(self._scaler.transform(student_features(mols, self.card.descriptors)))
        else:
            inputs = Graphs.of(mols)
        values, _ = self._network.predict(inputs, np.arange(len(mols)))
        classes = np.array([target.kind == "classification" for target in self.card.targets])
        if self._doubt:
            values = np.where(classes, self._doubt.calibrated(values), values)
        predicted: NDArray[np.float32] = np.where(classes, expit(values), values).astype(np.float32)
        return predicted

    @property
    def doubts(self) -> bool:
        """Whether the model knows about its errors."""
        return self._doubt is not None

    def predict_with_doubt(self, mols: list[Mol]) -> Predicted:
        """Return predictions, and how far to trust them; only of a model that `doubts`."""
        assert self._doubt is not None
        similarity, place = nearest(fingerprints_of(mols), self._training)
        return Predicted(
            values=self.predict(mols),
            half=self._doubt.half_widths(similarity).astype(np.float32),
            similarity=similarity.astype(np.float32),
            nearest=place,
            in_domain=similarity >= self._doubt.domain,
        )
