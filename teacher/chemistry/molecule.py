"""From a molecule as somebody wrote it down to its canonical SMILES and key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from teacher.chemistry.bounds import Notation, is_long, why_too_dense

if TYPE_CHECKING:
    from rdkit.Chem import Mol

KEY_BYTES = 16
PARSER_VERSION = 2  # of what `parse` makes of a text; raise it with every change of that

# Beyond these a picture shows nothing and RDKit may take minutes for a layout: such rows are refused at once.
MAX_ATOMS = 500
MAX_LENGTH: dict[Notation, int] = {"smiles": 4_000, "molblock": 200_000}

HEADER_WORDS = frozenset({"smiles", "smi", "canonical_smiles", "canonicalsmiles", "isomeric_smiles", "structure"})


class InvalidMoleculeError(ValueError):
    """The text is no molecule that can be annotated; the message says why."""


@dataclass(frozen=True, slots=True)
class Molecule:
    """A parsed molecule.

    Attributes:
        smiles: canonical isomeric SMILES, as RDKit writes it.
        key: 128-bit BLAKE2b digest of `smiles` (16 bytes), the identity of the molecule in the store.
        mol: the sanitised RDKit molecule.
    """

    smiles: str
    key: bytes
    mol: Mol


def key_of(smiles: str) -> bytes:
    """Return the 128-bit key (16 bytes) of a canonical SMILES."""
    return blake2b(smiles.encode(), digest_size=KEY_BYTES).digest()


def record_key(key: bytes, columns: str) -> bytes:
    """Return the 128-bit key (16 bytes) of a molecule under specs that show cells of its row.

    Args:
        key: of the molecule.
        columns: the cells as `teacher.llm.row_columns.pack_cells` writes them; without any the molecule's key is the
            record's.
    """
    return blake2b(key + columns.encode(), digest_size=KEY_BYTES).digest() if columns else key


def parse(raw: bytes, notation: Notation = "smiles") -> Molecule:
    """Parse one molecule out of a library row.

    What RDKit keeps apart is another molecule: isotopes, charges, salts, and the numbers of atoms that a reaction maps
    (`[CH3:1][OH:2]` is not `CO`). Take such numbers out of a library whose molecules are meant without them.

    Args:
        raw: the bytes of the row's molecule: a SMILES, or a whole MDL mol block.
        notation: how `raw` is written.

    Raises:
        InvalidMoleculeError: as `read_mol`.
    """
    mol = read_mol(raw, notation)
    with _rdkits_own_errors():
        return from_mol(mol)


def read_mol(raw: bytes, notation: Notation = "smiles") -> Mol:
    """Return the sanitised RDKit molecule of a library row; its canonical SMILES would take half as long again.

    Args:
        raw: the bytes of the row's molecule: a SMILES, or a whole MDL mol block.
        notation: how `raw` is written.

    Raises:
        InvalidMoleculeError: empty, a SMILES but no UTF-8, a header line, too long, too large, or refused by RDKit.
    """
    if len(raw) > MAX_LENGTH[notation]:
        raise InvalidMoleculeError(f"is {len(raw):,} bytes long, more than {MAX_LENGTH[notation]:,}")
    # A mol block's title may be in any encoding, and what counts of it is ASCII.
    try:
        text = raw.decode(errors="replace" if notation == "molblock" else "strict")
    except UnicodeDecodeError as error:
        raise InvalidMoleculeError(f"is not UTF-8 (byte {error.start})") from None
    if not text.strip():
        raise InvalidMoleculeError("is empty")
    text = text.strip() if notation == "smiles" else text
    with _rdkits_own_errors():
        if is_long(raw, notation) and (why := why_too_dense(text, notation)):
            raise InvalidMoleculeError(why)
        mol = _from_molblock(text) if notation == "molblock" else _from_smiles(text)
    if not 0 < mol.GetNumAtoms() <= MAX_ATOMS:
        raise InvalidMoleculeError(f"has {mol.GetNumAtoms()} atoms; 1 to {MAX_ATOMS} can be annotated")
    return mol


def mol_of(smiles: str) -> Mol:
    """Return the RDKit molecule of a canonical SMILES, in half the time of parsing an unknown text.

    Raises:
        InvalidMoleculeError: RDKit does not read what it once wrote.
    """
    return _from_smiles(smiles)


def from_mol(mol: Mol) -> Molecule:
    """Return the molecule of a sanitised RDKit `mol`, on its canonical SMILES."""
    from rdkit import Chem

    smiles = Chem.MolToSmiles(mol)
    return Molecule(smiles=smiles, key=key_of(smiles), mol=mol)


def _from_smiles(text: str) -> Mol:
    from rdkit import Chem

    with _quiet_rdkit():
        mol = Chem.MolFromSmiles(text)
        if mol is not None:
            return mol
        if text.lower() in HEADER_WORDS:
            raise InvalidMoleculeError("looks like a header line")
        raise InvalidMoleculeError(_why_rejected(Chem.MolFromSmiles(text, sanitize=False)))


def _from_molblock(text: str) -> Mol:
    from rdkit import Chem

    with _quiet_rdkit():
        mol = Chem.MolFromMolBlock(text)
        if mol is not None:
            return mol
        raise InvalidMoleculeError(_why_rejected(Chem.MolFromMolBlock(text, sanitize=False)))


def _why_rejected(unsanitized: Mol | None) -> str:
    """Say why RDKit rejected a molecule: it cannot be read at all, or its chemistry is impossible."""
    from rdkit import Chem

    if unsanitized is None:
        return "cannot be read by RDKit"
    try:
        Chem.SanitizeMol(unsanitized)
    except Chem.MolSanitizeException as error:
        return f"is rejected by RDKit: {error}"
    return "is rejected by RDKit"


@contextmanager
def _rdkits_own_errors() -> Iterator[None]:
    """Take a broken invariant inside RDKit for what it is: a molecule that it cannot represent."""
    try:
        yield
    except RuntimeError as error:
        raise InvalidMoleculeError(f"breaks RDKit: {' '.join(str(error).split())[:200]}") from None


@contextmanager
def _quiet_rdkit() -> Iterator[None]:
    """Keep RDKit's own words about a rejected molecule off stderr: the reason travels in the error."""
    from rdkit import rdBase

    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block
