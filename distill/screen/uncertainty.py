"""How unsure a model is of molecules: what is worth labelling next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from teacher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rdkit.Chem import Mol

    from distill.screen.saved_model import SavedModel


class Uncertainty:
    """Asks a model how unsure it is; each target counts alike, whatever its unit.

    Args:
        model: one that knows of its errors.

    Raises:
        UsageError: it does not.
    """

    def __init__(self, model: SavedModel) -> None:
        if not model.doubts:
            raise UsageError("This model knows nothing of its errors: distill it again with this version of gallon.")
        self._model = model
        self.labelled = frozenset(model.training)

    def of(self, mols: Sequence[Mol]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ask about N molecules.

        Returns:
            of each target, (N, T), half the width of a number's interval, or the entropy of a class's probability in
            bits, NaN where nothing tells; and the similarity of each molecule to the nearest labelled one, (N,).
        """
        said = self._model.predict_with_doubt(list(mols))
        classes = np.array([target.kind == "classification" for target in self._model.card.targets])
        unsure = np.where(classes, entropy(said.values), said.half.astype(np.float64))
        return unsure, said.similarity.astype(np.float64)

    def relative(self, unsure: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how unsure a model is of each of N molecules, (N,), beside their mean, 1: the mean over the targets.

        Args:
            unsure: (N, T), as `of` tells it; targets of which nothing tells are left out.

        Raises:
            UsageError: of no target anything tells.
        """
        known = unsure[:, np.isfinite(unsure).all(axis=0)]
        known = known[:, known.mean(axis=0) > 0]
        if not known.shape[1]:
            raise UsageError(
                "The student's validation part was too small to tell how unsure it is: distill it from more labels, or "
                "choose without --student."
            )
        mean: NDArray[np.float64] = (known / known.mean(axis=0)).mean(axis=1)
        return mean


def entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the entropy of the two classes in bits, between 0 and 1, in the shape of the probabilities."""
    from scipy.special import entr

    likely = probabilities.astype(np.float64)
    bits: NDArray[np.float64] = (entr(likely) + entr(1 - likely)) / np.log(2)
    return bits
