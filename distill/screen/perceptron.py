"""A student on fingerprints, asked with numpy alone: it needs no torch, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.models.ensemble import of_member
from distill.models.model_store import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

EPSILON = 1e-5  # of torch's BatchNorm
LAYER = 4  # modules of a hidden layer: linear, ReLU, BatchNorm, dropout


@dataclass(frozen=True, slots=True, eq=False)
class Perceptron:
    """The network of `teacher.nn.mlp.MLP`, the normalisation of each hidden layer folded into the next layer.

    Attributes:
        layers: of each layer the matrix, (inputs, outputs), and the bias; the last one is the head.
    """

    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]

    @classmethod
    def load(cls, file: Path, features: int, targets: int, member: int = 0) -> Perceptron:
        """Read the weights of a student in safetensors.

        Args:
            file: `distill.models.model_store.WEIGHTS`.
            features: that it reads.
            targets: that it predicts.
            member: which of an ensemble.

        Raises:
            SafetensorError, OSError, KeyError, ValueError: they are damaged, or of another network.
        """
        from safetensors.numpy import load_file

        stored = of_member(load_file(file), member)
        arrays = {name.removeprefix(PREFIX): array.astype(np.float64) for name, array in stored.items()}
        width = features
        scale, shift = np.ones(features), np.zeros(features)
        layers = []
        for name, normalised in _names(arrays):
            weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
            if weight.shape[1] != width:
                raise ValueError(f"a layer of {weight.shape[1]} inputs behind one of {width} outputs")
            layers.append(((weight * scale).T, weight @ shift + bias))
            width = len(bias)
            if normalised:
                scale = arrays[f"{normalised}.weight"] / np.sqrt(arrays[f"{normalised}.running_var"] + EPSILON)
                shift = arrays[f"{normalised}.bias"] - arrays[f"{normalised}.running_mean"] * scale
        if width != targets:
            raise ValueError(f"{width} outputs for {targets} targets")
        weight, bias = layers[-1]
        layers[-1] = weight * arrays["deviations"], bias * arrays["deviations"] + arrays["means"]
        return cls([(_float32(weight), _float32(bias)) for weight, bias in layers])

    def predict(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of classes and values in the labels' units, (rows, targets)."""
        *hidden, (weight, bias) = self.layers
        for inside, offset in hidden:
            vectors = vectors @ inside
            vectors += offset
            np.maximum(vectors, 0, out=vectors)
        answers: NDArray[np.float32] = vectors @ weight + bias
        return answers


def _names(arrays: Mapping[str, object]) -> list[tuple[str, str | None]]:
    """Return the names of the layers, each with that of its normalisation; the head has none."""
    places = next(number for number in count() if f"body.{number * LAYER}.weight" not in arrays)
    hidden = [(f"body.{number * LAYER}", f"body.{number * LAYER + 2}") for number in range(places)]
    return [*hidden, ("head", None)]


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
