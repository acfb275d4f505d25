"""What a prompt is told of a molecule by RDKit."""

from __future__ import annotations

import pytest

from teacher.chemistry.facts import structure_of
from teacher.chemistry.facts_text import facts_text
from teacher.chemistry.molecule import parse


def text_of(smiles: str) -> str:
    return facts_text(parse(smiles.encode()).mol)


def parts_of(smiles: str) -> list[str]:
    return text_of(smiles).split("; ")


def test_aspirin_is_told_in_one_line() -> None:
    assert text_of("CC(=O)Oc1ccccc1C(=O)O") == (
        "formula C9H8O4; molecular weight 180.16; formal charge 0; aromatic rings 1; aliphatic rings 0; "
        "functional groups carboxylic acid x1, ester x1; hydrogen-bond donors 1; hydrogen-bond acceptors 3; "
        "rotatable bonds 2; logP 1.31; TPSA 63.6; stereocentres 0; stereogenic double bonds 0"
    )


@pytest.mark.parametrize(
    ("smiles", "part"),
    [
        ("C", "functional groups none"),
        ("OCCO", "functional groups alcohol x2"),
        ("CC(=O)[O-]", "formal charge -1"),
        ("C[N+](C)(C)C", "formal charge +1"),
        ("C[C@H](N)C(=O)O", "stereocentres 1"),
        ("CC(N)C(=O)O", "stereocentres 1 (1 unspecified)"),
        ("F/C=C/F", "stereogenic double bonds 1"),
        ("FC=CF", "stereogenic double bonds 1 (1 unspecified)"),
        ("c1ccc2cccc2cc1", "aliphatic rings 2"),  # as RDKit counts azulene
    ],
)
def test_each_part_says_what_rdkit_computes(smiles: str, part: str) -> None:
    assert part in parts_of(smiles)


@pytest.mark.parametrize("smiles", ["CC(=O)Oc1ccccc1C(=O)O", "C1CCCCC1C(=O)NCC(=O)N", "CC=CC(F)(Cl)Br", "[U]"])
def test_the_groups_are_those_that_answers_are_checked_against(smiles: str) -> None:
    groups = next(part for part in parts_of(smiles) if part.startswith("functional groups "))
    told = [each.rpartition(" x")[0] for each in groups.removeprefix("functional groups ").split(", ")]
    assert tuple(filter(None, told)) == structure_of(parse(smiles.encode()).mol).functional_groups
