"""The molecules to train on and to test with: SMILES files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, parse
from teacher.errors import UsageError


def read(files: Sequence[Path] | None) -> list[str]:
    """Return the first column of every line, as it stands.

    Args:
        files: text files, may be compressed; None means the 4,999 molecules of the NCI that come with RDKit.

    Raises:
        UsageError: a file cannot be read.
    """
    import fsspec
    from rdkit import RDConfig

    smiles: list[str] = []
    for file in files or [Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"]:
        try:
            with fsspec.open(file, "rt", encoding="utf-8", compression="infer") as lines:
                smiles.extend(words[0] for line in lines if (words := line.split(maxsplit=1)))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read {file}: {error}") from None
    return smiles


def valid(smiles: Iterable[str]) -> Iterator[Molecule]:
    """Yield the molecules of SMILES, but for those that are none."""
    for text in smiles:
        try:
            molecule = parse(text.encode())
        except InvalidMoleculeError:
            continue
        yield molecule
