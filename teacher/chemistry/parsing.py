"""Parsing in a process of its own: a text that kills RDKit, or keeps it busy for ever, is no molecule.

`bounds` refuses what is known to do so; the process is for what is not known yet (`safe_process`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from teacher.chemistry.bounds import Notation, is_long
from teacher.chemistry.molecule import MAX_ATOMS, InvalidMoleculeError, Molecule, from_mol, key_of, parse, read_mol
from teacher.chemistry.safe_process import SECONDS, SafeProcess, serve

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Text = tuple[bytes, Notation]

TEXTS_AT_A_TIME = 200  # parsed in a twentieth of a second; asking costs a hundredth of that


@dataclass(frozen=True, slots=True)
class Parsed:
    """What is known of a molecule that was parsed elsewhere: its canonical SMILES, and its key (16 bytes)."""

    smiles: str
    key: bytes


class ParserEndedError(InvalidMoleculeError):
    """The parser ended over the text, which a machine that is short of time or memory may bring about, too."""


class SafeParser:
    """Parses texts in a process of its own, which is started with the first text; threads take turns.

    Args:
        seconds: after which a text is given up.
        module: what the process runs.
    """

    def __init__(self, seconds: float = SECONDS, module: str = __name__) -> None:
        self._process = SafeProcess(module, seconds, TEXTS_AT_A_TIME)

    def parse(self, texts: Sequence[Text]) -> list[Parsed | InvalidMoleculeError]:
        """Return for each text its molecule, or why it is none."""
        return self._process.work(texts, _question, _answers, ParserEndedError)

    def close(self) -> None:
        """End the process; the next text would start it again."""
        self._process.close()


@cache
def shared_parser() -> SafeParser:
    """Return this process's parser."""
    return SafeParser()


def read_mol_safely(raw: bytes, notation: Notation = "smiles") -> Mol:
    """Return the sanitised RDKit molecule of a text, as `read_mol` does, and try a long text elsewhere before.

    Raises:
        InvalidMoleculeError: as `read_mol`, or RDKit does not survive the text.
    """
    if is_long(raw, notation):
        (found,) = shared_parser().parse([(raw, notation)])
        if isinstance(found, InvalidMoleculeError):
            raise found
    return read_mol(raw, notation)


def read_mols_safely(texts: Sequence[Text]) -> list[Mol | InvalidMoleculeError]:
    """Return for each text its molecule, or why it is none, as `read_mol_safely` does, with less ado about each.

    A short SMILES that RDKit reads is done; whatever else there is about a text is found out by `read_mol`.
    """
    from rdkit import Chem, rdBase

    long = [place for place, (raw, notation) in enumerate(texts) if is_long(raw, notation)]
    tried = dict(zip(long, shared_parser().parse([texts[place] for place in long]), strict=True)) if long else {}
    found: list[Mol | InvalidMoleculeError] = []
    quiet = rdBase.BlockLogs()
    for place, (raw, notation) in enumerate(texts):
        if isinstance(verdict := tried.get(place), InvalidMoleculeError):
            found.append(verdict)
            continue
        mol = None
        if notation == "smiles" and verdict is None:
            with suppress(UnicodeDecodeError, RuntimeError):
                mol = Chem.MolFromSmiles(raw.decode().strip())
        found.append(mol if mol is not None and 0 < mol.GetNumAtoms() <= MAX_ATOMS else _read(raw, notation))
    del quiet
    return found


def _read(raw: bytes, notation: Notation) -> Mol | InvalidMoleculeError:
    try:
        return read_mol(raw, notation)
    except InvalidMoleculeError as error:
        return error


def parse_safely(raw: bytes, notation: Notation = "smiles") -> Molecule:
    """Parse a text as `parse` does, and try a long one elsewhere before.

    Raises:
        InvalidMoleculeError: as `read_mol_safely`.
    """
    return from_mol(read_mol_safely(raw, notation))


def _question(texts: Sequence[Text]) -> bytes:
    return json.dumps([(raw.decode("latin-1"), notation) for raw, notation in texts]).encode()


def _answers(line: bytes) -> list[Parsed | InvalidMoleculeError]:
    return [
        Parsed(smiles, key_of(smiles)) if smiles is not None else InvalidMoleculeError(reason)
        for smiles, reason in json.loads(line)
    ]


def main() -> None:
    """Parse what standard input asks for: each line is a list of texts with their notations, as JSON."""
    from rdkit import Chem  # noqa: F401  which is not to count as the first text's time

    serve(_answer)


def _answer(question: bytes) -> bytes:
    found = [_parsed(raw.encode("latin-1"), notation) for raw, notation in json.loads(question)]
    return json.dumps(found).encode()


def _parsed(raw: bytes, notation: Notation) -> tuple[str | None, str | None]:
    try:
        return parse(raw, notation).smiles, None
    except InvalidMoleculeError as error:
        return None, str(error)


if __name__ == "__main__":
    main()
