from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher.chemistry.depiction import draw
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import InvalidMoleculeError, parse

MOL_BLOCK = b"""
  ethanol

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 C   0  0
    2.0000    0.0000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [(b"OCC", b"CCO"), (b"C1=CC=CC=C1", b"c1ccccc1"), (b"[Na+].[Cl-]", b"[Cl-].[Na+]"), (b"CCO ", b"C(O)C\tname")],
)
def test_one_molecule_written_in_two_ways_has_one_key(one: bytes, other: bytes) -> None:
    assert parse(one).key == parse(other).key
    assert len(parse(one).key) == 16


def test_stereoisomers_are_different_molecules() -> None:
    assert parse(b"C[C@H](N)O").key != parse(b"C[C@@H](N)O").key


def test_a_mol_block_and_a_smiles_of_one_molecule_have_one_key() -> None:
    assert parse(MOL_BLOCK, "molblock").key == parse(b"CCO").key


@given(title=st.binary(max_size=80).filter(lambda title: not {*title} & {0, *b"\r\n"}))
def test_the_title_of_a_mol_block_never_costs_the_molecule(title: bytes) -> None:
    assert parse(title + MOL_BLOCK, "molblock").smiles == "CCO"
    assert parse(MOL_BLOCK.replace(b"  ethanol", title), "molblock").smiles == "CCO"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b" \t", "is empty"),
        (b"SMILES", "header"),
        (b"C1CC", "cannot be read"),
        (b"CN(C)(C)(C)C", "Explicit valence"),
        (b"c1ccc1c", "aromatic"),
        (b"CC\xffO", "not UTF-8"),
        (b"C" * 5_000, "5,000 bytes"),
        (b"C" * 600, "600 atoms"),
    ],
)
def test_what_is_no_molecule_is_refused_with_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidMoleculeError, match=reason):
        parse(raw)


def test_rdkit_says_nothing_on_its_own_about_a_bad_molecule(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidMoleculeError):
        parse(b"CN(C)(C)(C)C")
    assert capfd.readouterr().err == ""


@given(st.binary(max_size=60))
def test_any_bytes_are_a_molecule_or_refused(raw: bytes) -> None:
    try:
        molecule = parse(raw)
    except InvalidMoleculeError:
        return
    assert parse(molecule.smiles.encode()).mol.GetNumAtoms() == molecule.mol.GetNumAtoms()


def test_a_drawing_is_an_rgb_image_of_the_size_asked_for_and_not_blank() -> None:
    image = draw(parse(b"c1ccccc1O").mol, 160)
    assert (image.size, image.mode) == ((160, 160), "RGB")
    assert len(set(image.getdata())) > 2


def test_graph_text_names_every_bond_once_and_lone_atoms() -> None:
    assert graph_text(parse(b"CC(=O)[O-].[Na+]").mol) == "C0-C1 C1=O2 C1-O-3 Na+4"
    assert graph_text(parse(b"c1ccccc1C#N").mol).count(" ") == 7


def test_atoms_that_are_mapped_make_another_molecule() -> None:
    mapped = parse(b"[CH3:1][OH:2]")
    assert mapped.smiles == "[CH3:1][OH:2]"
    assert mapped.key != parse(b"CO").key
