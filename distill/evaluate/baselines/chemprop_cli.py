"""Chemprop's directed message passing network (Heid et al., J. Chem. Inf. Model. 2024, 64, 9), by its command line.

From 2.3 on chemprop is bound to one release of RDKit, which need not be the one here. So it lives in an environment of
its own, and files carry molecules there and predictions back. Written for chemprop 2.3.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cells import Kind
from teacher.errors import GallonError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna import Trial
    from rdkit.Chem import Mol

    from distill.evaluate.baselines.baseline import Examples

COMMAND = "chemprop"
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


def chemprop_inputs(mols: Sequence[Mol]) -> NDArray[np.object_]:
    """Return the SMILES of N molecules, an array of N objects."""
    from rdkit.Chem import MolToSmiles

    return np.array([MolToSmiles(mol) for mol in mols], dtype=object)


def chemprop_space(trial: Trial) -> dict[str, Any]:
    """Return settings for an Optuna trial: the options of `chemprop train` that its own search varies."""
    return {
        "message-hidden-dim": trial.suggest_int("message-hidden-dim", 300, 1200, step=300),
        "depth": trial.suggest_int("depth", 2, 6),
        "ffn-num-layers": trial.suggest_int("ffn-num-layers", 1, 3),
        "dropout": trial.suggest_float("dropout", 0.0, 0.4, step=0.05),
    }


def chemprop_fit(
    train: Examples, valid: Examples, *, kind: Kind, settings: Mapping[str, Any], seed: int
) -> ChempropPredictor:
    """Learn all targets with one network, and keep its epoch with the least loss on `valid`.

    Args:
        train: SMILES and labels to learn from.
        valid: SMILES and labels to choose the epoch by.
        kind: what all targets are.
        settings: options of `chemprop train`, without their dashes.
        seed: of the weights and of the order.

    Raises:
        UsageError: there is no command `chemprop`.
        GallonError: it failed.
    """
    folder = TemporaryDirectory(prefix="gallon-chemprop-")
    files = {name: Path(folder.name, f"{name}.csv") for name in ("train", "valid")}
    _write(files["train"], train.inputs, train.labels)
    _write(files["valid"], valid.inputs, valid.labels)
    _run(
        "train",
        # It wants a test file too; what it says of that is not read.
        *("--data-path", files["train"], files["valid"], files["valid"]),
        *("--output-dir", folder.name),
        *("--task-type", kind),
        *("--data-seed", seed),
        *("--pytorch-seed", seed),
        *_options(settings),
    )
    return ChempropPredictor(folder)


@dataclass(frozen=True, slots=True)
class ChempropPredictor:
    """A trained network, in a folder that goes when this does."""

    folder: TemporaryDirectory[str]

    def predict(self, inputs: NDArray[Any], settings: Mapping[str, Any] = NO_SETTINGS) -> NDArray[np.float32]:
        """Return float32 of shape (N, T): probabilities of class 1, or numbers in the unit of the labels.

        Args:
            inputs: N SMILES.
            settings: options of `chemprop predict`, without their dashes.

        Raises:
            GallonError: `chemprop predict` failed.
        """
        asked, answered = Path(self.folder.name, "asked.csv"), Path(self.folder.name, "answered.csv")
        _write(asked, inputs, np.empty((len(inputs), 0), np.float32))
        model = Path(self.folder.name, "model_0", "best.pt")
        _run("predict", "--test-path", asked, "--model-paths", model, "--preds-path", answered, *_options(settings))
        with answered.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        return np.array([row[1:] for row in rows], dtype=np.float32)


def _write(path: Path, smiles: NDArray[Any], labels: NDArray[np.float32]) -> None:
    """Write SMILES and labels with a header; missing labels stay empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", *(f"target_{place}" for place in range(labels.shape[1]))])
        for one, row in zip(smiles, labels, strict=True):
            writer.writerow([one, *("" if np.isnan(label) else f"{label:.9g}" for label in row)])


def _options(settings: Mapping[str, Any]) -> list[object]:
    """Return settings as words of a command line."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _run(*words: object) -> None:
    command = shutil.which(COMMAND)
    if command is None:
        raise UsageError(
            f"The baseline 'chemprop' needs a command '{COMMAND}' on the PATH, from an environment of its own "
            "(uv tool install chemprop==2.3.1, say); install it, or leave the baseline out."
        )
    done = subprocess.run([command, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing was said"]
        raise GallonError(f"'chemprop {words[0]}' failed ({said[-1]}); run it by hand to see more.")
