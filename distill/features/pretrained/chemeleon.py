"""Vectors of molecules by CheMeleon (arXiv 2506.15792), a D-MPNN that was pre-trained on molecular descriptors.

Its network is chemprop's, which lives in an environment of its own since it is bound to one release of RDKit; a script
that the Python of that environment runs takes SMILES there and brings vectors back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from teacher.errors import GallonError, UsageError
from teacher.file_digest import digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCRIPT = Path(__file__).with_name("chemeleon_script.py")
WEIGHTS = "GALLON_CHEMELEON"  # names the file of the weights
SOURCE = "https://zenodo.org/records/15460715"


def chemeleon_weights() -> Path:
    """Return the file of the weights: the one that is named, or the one that chemprop keeps.

    Raises:
        UsageError: there is no such file.
    """
    named = os.environ.get(WEIGHTS)
    file = Path(named).expanduser() if named else Path.home() / ".chemprop" / "chemeleon_mp.pt"
    if not file.is_file():
        raise UsageError(
            f"The baseline 'chemeleon-linear' needs CheMeleon's weights, and there is no file {file}: download "
            f"chemeleon_mp.pt from {SOURCE}, and name it by the environment variable {WEIGHTS}; or leave the baseline "
            "out."
        )
    return file


def chemeleon_python() -> Path:
    """Return the Python of chemprop's environment.

    Raises:
        UsageError: there is no command `chemprop`, or no Python beside it.
    """
    command = shutil.which("chemprop")
    python = Path(command).resolve().with_name("python") if command else None
    if python is None or not python.exists():
        raise UsageError(
            "The baseline 'chemeleon-linear' needs a command 'chemprop' on the PATH, from an environment of its own "
            "(uv tool install chemprop==2.3.1, say); install it, or leave the baseline out."
        )
    return python


def chemeleon_digest() -> str:
    """Return a digest of the weights."""
    return digest_of([chemeleon_weights()])


def chemeleon_vectors(smiles: Sequence[str]) -> NDArray[np.float32]:
    """Return CheMeleon's vectors, float32 of shape (N, width), 2048 wide as published; NaN where chemprop reads none.

    Raises:
        UsageError: chemprop or the weights are missing.
        GallonError: chemprop could not read the weights, or failed.
    """
    python, weights = chemeleon_python(), chemeleon_weights()
    with TemporaryDirectory(prefix="gallon-chemeleon-") as folder:
        vectors = Path(folder, "vectors.npy")
        # Isolated: neither this process's PYTHONPATH nor the script's own folder stands before chemprop's packages.
        words = [python, "-I", SCRIPT, weights.resolve(), vectors]
        done = subprocess.run([*map(str, words)], input="\n".join(smiles), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["nothing was said"]
            raise GallonError(f"chemprop could not embed molecules with the weights in {weights} ({said[-1]}).")
        found: NDArray[np.float32] = np.load(vectors, allow_pickle=False)
    return found
