"""Where TabPFN's weights are. They are files of their own, which gallon never downloads: some ask for a licence."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from teacher.errors import UsageError
from teacher.file_digest import digest_of

PACKAGE = "tabpfn"
FOLDER = "GALLON_TABPFN"  # names the folder of the weights
PARTS = ("regressor", "classifier")
SUFFIXES = (".safetensors", ".ckpt")  # which TabPFN reads as tensors and plain values only, as torch has it from 2.6 on
SOURCE = "https://huggingface.co/Prior-Labs"


def check_tabpfn() -> None:
    """Check that the package is installed and its weights are there, without importing it.

    Raises:
        UsageError: they are not.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise UsageError(
            "The baseline 'tabpfn' needs the package tabpfn: install it by pip install 'gallon[tabular]', or leave the "
            "baseline out."
        )
    for part in PARTS:
        tabpfn_weights(part)


def tabpfn_weights(part: str) -> Path:
    """Return the file of the weights for numbers ("regressor") or for classes ("classifier").

    Raises:
        UsageError: no folder is named, or there is not exactly one such file in it.
    """
    named = os.environ.get(FOLDER)
    folder = Path(named).expanduser() if named else None
    files = sorted(file for file in folder.glob(f"*{part}*") if file.suffix in SUFFIXES) if folder else []
    if len(files) != 1:
        found = f"there are {len(files)} such files in {folder}" if folder else "none is named"
        raise UsageError(
            f"The baseline 'tabpfn' needs a folder with TabPFN's weights, one file for each of {' and '.join(PARTS)} "
            f"(of {part} {found}): download them from {SOURCE}, and name the folder by the environment variable "
            f"{FOLDER}; or leave the baseline out."
        )
    return files[0]


def tabpfn_digest() -> str:
    """Return a digest of the weights."""
    return digest_of([tabpfn_weights(part) for part in PARTS])
