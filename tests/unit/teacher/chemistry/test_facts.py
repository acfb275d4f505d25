"""The facts of molecules: which groups are there and which only seem to be, rings, bands, and words for groups."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rdkit import RDConfig
from rdkit.Chem import Fragments, Mol, MolFromSmarts

from teacher.chemistry.facts import (
    LOGP_MEDIUM,
    TPSA_MEDIUM,
    _band,
    facts_of,
    mentioned_groups,
    structure_of,
    vocabulary,
)
from teacher.chemistry.molecule import InvalidMoleculeError, parse

# Of each group: molecules that have it, and molecules that only seem to.
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "alcohol": (["CCO", "OC1CCCCC1", "OCC(O)CO", "CC[O-].[Na+]"], ["CC(=O)O", "Oc1ccccc1", "CCOC", "ON=C(C)C", "O"]),
    "phenol": (
        ["Oc1ccccc1", "[O-]c1ccccc1", "Oc1cccnc1", "Oc1ccc2ccccc2c1"],
        ["OCc1ccccc1", "OC1CCCCC1", "COc1ccccc1"],
    ),
    "ether": (
        ["CCOCC", "COc1ccccc1", "C1CCOC1", "C1OCCO1"],
        ["CC(=O)OC", "C1CO1", "c1ccoc1", "COC(=N)C", "COP(=O)(O)O"],
    ),
    "epoxide": (["C1CO1", "CC1OC1c1ccccc1", "O1C2CCCCC12"], ["C1CCO1", "C1CN1", "COC"]),
    "aldehyde": (["CC=O", "O=Cc1ccccc1", "C=O", "C=CC=O"], ["CC(C)=O", "O=CO", "O=CN", "O=COC"]),
    "ketone": (
        ["CC(C)=O", "O=C1C=CC(=O)C=C1", "O=c1ccoc2ccccc12"],
        ["CC=O", "CC(N)=O", "CC(=O)OC", "CC(=O)Cl", "CC(C)=S"],
    ),
    "carboxylic acid": (
        ["CC(=O)O", "CC(=O)[O-]", "O=CO", "OC(=O)c1ccccc1"],
        ["CC(=O)OC", "CC(=O)OO", "NC(=O)O", "CC(=O)NO"],
    ),
    "ester": (
        ["CC(=O)OC", "O=C1CCCO1", "O=COC", "O=c1ccc2ccccc2o1", "C=COC(C)=O"],
        ["CC(=O)O", "CC(=O)OC(C)=O", "COC(=O)OC", "NC(=O)OC", "CC(=O)SC", "COS(C)(=O)=O"],
    ),
    "amide": (
        ["CC(N)=O", "CN(C)C=O", "O=C1CCCN1", "O=c1cccc[nH]1", "CC(=O)NO", "CC(=O)NN", "CC(=O)n1ccnc1"],
        ["O=C1CCC(=O)N1", "NC(N)=O", "COC(N)=O", "CC(N)=S", "CS(N)(=O)=O", "NCC=O"],
    ),
    "imide": (
        ["O=C1CCC(=O)N1", "CC(=O)NC(C)=O", "O=C1NC(=O)c2ccccc12", "O=c1cc[nH]c(=O)[nH]1"],
        ["CC(N)=O", "NC(=O)NC(N)=O", "CC(=O)NCC(C)=O", "CC(=O)OC(C)=O"],
    ),
    "urea": (
        ["NC(N)=O", "CNC(=O)N(C)C", "O=C1NCCN1", "Cn1cnc2n(C)c(=O)n(C)c(=O)c12"],
        ["NC(N)=S", "NC(=O)OC", "CC(=O)N", "NC(=N)N"],
    ),
    "carbamate": (
        ["COC(N)=O", "CC(C)(C)OC(=O)NC", "O=C1NCCO1", "[O-]C(=O)NC"],
        ["NC(N)=O", "COC(=O)OC", "NCC(=O)OC", "COC(N)=S"],
    ),
    "primary amine": (
        ["CCN", "CC[NH3+]", "NC1CCCCC1", "NCC#N"],
        ["Nc1ccccc1", "CC(N)=O", "CNC", "NS(C)(=O)=O", "NN", "N", "NC#N"],
    ),
    "secondary amine": (
        ["CNC", "C[NH2+]C", "C1CCNCC1"],
        ["CNc1ccccc1", "CC(=O)NC", "CN", "c1cc[nH]c1", "CNO", "CC(C)=[NH+]C"],
    ),
    "tertiary amine": (
        ["CN(C)C", "C[NH+](C)C", "CN1CCCCC1"],
        ["CN(C)c1ccccc1", "CN(C)C=O", "C[N+](C)(C)C", "c1ccncc1", "CN=C", "CN(C)N=O"],
    ),
    "aromatic amine": (
        ["Nc1ccccc1", "CN(C)c1ccccc1", "[NH3+]c1ccccc1", "Nc1ccccn1", "c1ccc(Nc2ccccc2)cc1"],
        ["NCc1ccccc1", "CC(=O)Nc1ccccc1", "c1cc[nH]c1", "CS(=O)(=O)Nc1ccccc1", "NNc1ccccc1", "O=[N+]([O-])c1ccccc1"],
    ),
    "quaternary ammonium": (
        ["C[N+](C)(C)C", "C[n+]1ccccc1"],
        ["C[NH+](C)C", "C[N+](C)(C)[O-]", "CC(C)=[N+](C)C", "c1cc[nH+]cc1"],
    ),
    "imine": (
        ["CC(C)=NC", "N=C(C)C", "CC=[NH+]C", "O=C1CN=C(c2ccccc2)c2ccccc2N1"],
        ["c1ccncc1", "CC=NO", "CC(N)=N", "CC=NN", "CN=C=O", "C=[N+]=[N-]"],
    ),
    "amidine": (
        ["CC(N)=N", "NC=N", "CC(N)=[NH2+]", "C1=NCCN1"],
        ["NC(N)=N", "CC(=N)OC", "c1c[nH]cn1", "CSC(N)=N", "CC(N)=O"],
    ),
    "guanidine": (["NC(N)=N", "CNC(N)=[NH2+]", "N=C(N)NC(=N)N"], ["CC(N)=N", "NC(N)=O", "NC(N)=S", "Nc1ncccn1"]),
    "hydrazine": (
        ["NN", "CNNC", "NNc1ccccc1", "CC(=O)NN"],
        ["CC=NN", "CN=NC", "CN(C)N=O", "C[N+](=O)[O-]", "CN[N+](=O)[O-]", "c1cn[nH]c1"],
    ),
    "hydrazone": (["CC(C)=NN", "CC=NNC(N)=O", "C1CC=NN1"], ["CC(C)=NO", "CC=NN=CC", "CN=NC", "c1cn[nH]c1", "NN"]),
    "oxime": (["CC(C)=NO", "CC=NOC", "NC(C)=NO"], ["CC(=O)NO", "CON", "c1cnoc1", "CC=[N+](C)[O-]"]),
    "azo": (["CN=NC", "c1ccc(N=Nc2ccccc2)cc1"], ["CN=[N+]=[N-]", "CNNC", "CN=NN", "c1ccnnc1", "CN=[N+]([O-])C"]),
    "azide": (
        ["CN=[N+]=[N-]", "C[N-][N+]#N", "[N-]=[N+]=Nc1ccccc1"],
        ["C=[N+]=[N-]", "CN=NC", "N#[N+]c1ccccc1", "[N-]=[N+]=[N-]"],
    ),
    "nitrile": (["CC#N", "N#Cc1ccccc1", "CNC#N"], ["CSC#N", "[C-]#[N+]C", "C#C", "CC=N"]),
    "nitro": (
        ["C[N+](=O)[O-]", "CN(=O)=O", "O=[N+]([O-])c1ccccc1", "CN[N+](=O)[O-]"],
        ["CO[N+](=O)[O-]", "CN=O", "[O-][N+](=O)O", "CON=O"],
    ),
    "nitrate ester": (
        ["CO[N+](=O)[O-]", "CON(=O)=O", "O=[N+]([O-])OCC(CO[N+](=O)[O-])O[N+](=O)[O-]", "O=[N+]([O-])Oc1ccccc1"],
        ["C[N+](=O)[O-]", "CON=O", "[O-][N+](=O)O", "[Na+].[O-][N+](=O)[O-]", "CO[N+](C)(C)C"],
    ),
    "N-oxide": (["C[N+](C)(C)[O-]", "[O-][n+]1ccccc1"], ["CC=[N+](C)[O-]", "C[N+](=O)[O-]", "CN(C)O", "CC(C)=NO"]),
    "thiol": (["CCS", "Sc1ccccc1", "C[S-]"], ["CSC", "CC(=O)S", "CC(=S)S", "S", "CSSC"]),
    "thioether": (["CSC", "CSc1ccccc1", "C1CCSC1"], ["c1ccsc1", "CS", "CSSC", "CS(C)=O", "CC(=O)SC", "CSC#N"]),
    "disulfide": (["CSSC", "C1CCSS1"], ["CSC", "CSCSC", "c1cssc1=O"]),
    "sulfoxide": (["CS(C)=O", "C[S+](C)[O-]"], ["CS(C)(=O)=O", "CSC", "CS(=O)O", "COS(=O)OC"]),
    "sulfone": (["CS(C)(=O)=O", "O=S1(=O)CCCC1"], ["CS(C)=O", "CS(N)(=O)=O", "CS(=O)(=O)O", "COS(C)(=O)=O"]),
    "sulfonamide": (
        ["CS(N)(=O)=O", "CNS(=O)(=O)c1ccccc1", "O=C1NS(=O)(=O)c2ccccc12"],
        ["CS(C)(=O)=O", "CS(N)=O", "NS(N)(=O)=O", "CC(N)=O"],
    ),
    "sulfonate": (
        ["CS(=O)(=O)O", "CS(=O)(=O)[O-]", "COS(C)(=O)=O"],
        ["CS(=O)O", "COS(=O)(=O)O", "CS(C)(=O)=O", "CS(=O)(=O)Cl"],
    ),
    "thiocarbonyl": (["CC(N)=S", "NC(N)=S", "S=c1cccc[nH]1", "CC(C)=S"], ["CN=C=S", "CSC", "CC(=O)SC", "S=P(O)(O)O"]),
    "phosphate": (
        ["OP(=O)(O)O", "COP(=O)([O-])OC", "CCOP(=O)(O)OP(=O)(O)O"],
        ["CP(=O)(O)O", "COP(=S)(OC)OC", "CP(C)(C)=O", "COP(OC)OC"],
    ),
    "phosphonate": (["CP(=O)(O)O", "CP(=O)(OC)OC", "CP(=O)([O-])[O-]"], ["COP(=O)(O)O", "CP(C)(=O)O", "CP(C)(C)=O"]),
    "boronate": (
        ["CB(O)O", "OB(O)c1ccccc1", "CC1(C)OB(c2ccccc2)OC1(C)C", "C[B-](O)(O)O"],
        ["OB(O)O", "CB(C)C", "C[B-](F)(F)F"],
    ),
    "alkene": (["C=C", "CC=CC=O", "C1CC=CCC1", "C=C=C"], ["c1ccccc1", "CC", "C#C", "CC(C)=O", "CC=N"]),
    "alkyne": (["C#C", "CC#CC", "C#CCN"], ["CC#N", "C=C", "[C-]#[N+]C"]),
    "fluoro": (["CF", "Fc1ccccc1", "FC(F)(F)c1ccccc1"], ["CCl", "[F-].[Na+]", "C[B-](F)(F)F", "CS(=O)(=O)F"]),
    "chloro": (["CCl", "Clc1ccccc1", "CC(=O)Cl"], ["CF", "[Cl-].C[NH3+]", "Cl.CN", "CS(=O)(=O)Cl"]),
    "bromo": (["CBr", "Brc1ccccc1"], ["CCl", "[Br-].C[NH3+]", "Br"]),
    "iodo": (["CI", "Ic1ccccc1"], ["CBr", "[I-].C[N+](C)(C)C", "I"]),
}

# How often RDKit's own definition holds beside ours: "eq" in the same molecules, "le" wherever ours does, "ge" whenever
# theirs does. The last column says what makes the difference.
COUNTERPARTS: list[tuple[str, str, str, str]] = [
    ("phenol", "fr_Ar_OH", "eq", ""),
    ("epoxide", "fr_epoxide", "eq", ""),
    ("guanidine", "fr_guanido", "eq", ""),
    ("hydrazone", "fr_hdrzone", "eq", ""),
    ("oxime", "fr_oxime", "eq", ""),
    ("azide", "fr_azide", "eq", ""),
    ("sulfone", "fr_sulfone", "eq", ""),
    ("sulfonamide", "fr_sulfonamd", "eq", ""),
    ("phosphate", "fr_phos_acid", "eq", ""),
    ("alcohol", "fr_Al_OH", "le", "theirs has enols"),
    ("ether", "fr_ether", "le", "theirs has esters"),
    ("aromatic amine", "fr_aniline", "le", "theirs has anilides and other N on a heteroatom or a carbonyl"),
    ("primary amine", "fr_NH2", "le", "theirs has any NH2, of amides and on aromatic rings too"),
    ("secondary amine", "fr_NH1", "le", "theirs has any NH, of amides and of aromatic rings too"),
    ("tertiary amine", "fr_NH0", "le", "theirs has any N without H"),
    ("hydrazine", "fr_hdrzine", "le", "theirs has nitramines"),
    ("azo", "fr_azo", "le", "theirs has azoxy"),
    ("nitrile", "fr_nitrile", "le", "theirs has thiocyanates"),
    ("nitro", "fr_nitro", "le", "theirs has nitro on a metal"),
    ("thiol", "fr_SH", "le", "theirs has SH on C=S, C=O and P"),
    ("carbamate", "fr_alkyl_carbamate", "ge", "theirs is of NH and on alkyl only"),
    ("alkyne", "fr_term_acetylene", "ge", "theirs is terminal only"),
    ("amide", "fr_lactam", "ge", "theirs is the beta-lactam only"),
    ("nitro", "fr_nitro_arom", "ge", "theirs is on benzene only"),
    ("phenol", "fr_phenol", "ge", "theirs is on benzene only"),
    ("sulfonamide", "fr_prisulfonamd", "ge", "theirs is NH2 only"),
]


def mol_of(smiles: str) -> Mol:
    return parse(smiles.encode()).mol


@cache
def nci() -> list[tuple[Mol, frozenset[str]]]:
    """Return a thousand of RDKit's NCI compounds and the groups in them."""
    lines = Path(RDConfig.RDDataDir, "NCI", "first_5K.smi").read_text(encoding="utf-8").splitlines()[::5]
    mols = []
    for line in lines:
        try:
            mols.append(mol_of(line.split()[0]))
        except InvalidMoleculeError:
            continue
    return [(mol, frozenset(facts_of(mol).functional_groups)) for mol in mols]


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    return yaml.safe_load(files("teacher.chemistry").joinpath("groups.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_every_group_has_its_molecules() -> None:
    assert tuple(GROUPS) == vocabulary()
    assert all(having and lacking for having, lacking in GROUPS.values())


@pytest.mark.parametrize(
    ("name", "smiles"), [(name, smiles) for name, (having, _) in GROUPS.items() for smiles in having]
)
def test_group_is_found(name: str, smiles: str) -> None:
    assert name in facts_of(mol_of(smiles)).functional_groups


@pytest.mark.parametrize(
    ("name", "smiles"), [(name, smiles) for name, (_, lacking) in GROUPS.items() for smiles in lacking]
)
def test_what_only_seems_to_be_a_group_is_not_found(name: str, smiles: str) -> None:
    assert name not in facts_of(mol_of(smiles)).functional_groups


@pytest.mark.parametrize(
    ("smiles", "groups"),
    [
        pytest.param("CC(=O)Oc1ccccc1C(=O)O", {"carboxylic acid", "ester"}, id="aspirin"),
        pytest.param("CC(=O)Nc1ccc(O)cc1", {"phenol", "amide"}, id="paracetamol"),
        pytest.param("Cn1cnc2n(C)c(=O)n(C)c(=O)c12", {"imide", "urea"}, id="caffeine"),
        pytest.param("CCN(CC)CC(=O)Nc1c(C)cccc1C", {"amide", "tertiary amine"}, id="lidocaine"),
        pytest.param("NNC(=O)c1ccncc1", {"amide", "hydrazine"}, id="isoniazid"),
        pytest.param("CN(C)C(=N)NC(=N)N", {"guanidine"}, id="metformin"),
        pytest.param(
            "CC1(C)SC2C(NC(=O)Cc3ccccc3)C(=O)N2C1C(=O)O", {"carboxylic acid", "amide", "thioether"}, id="penicillin G"
        ),
        pytest.param("CCCCNC(=O)NS(=O)(=O)c1ccc(C)cc1", {"urea", "sulfonamide"}, id="tolbutamide"),
        pytest.param("CC(=O)NS(=O)(=O)c1ccc(N)cc1", {"amide", "aromatic amine", "sulfonamide"}, id="sulfacetamide"),
        pytest.param("CCC1(c2ccccc2)C(=O)NC(=O)NC1=O", {"imide", "urea"}, id="phenobarbital"),
        pytest.param("C[N+](C)(C)CCOC(C)=O", {"ester", "quaternary ammonium"}, id="acetylcholine"),
        pytest.param("NC(Cc1ccc(O)cc1)C(=O)O", {"phenol", "carboxylic acid", "primary amine"}, id="tyrosine"),
        pytest.param("[NH3+]C(CS)C(=O)[O-]", {"carboxylic acid", "primary amine", "thiol"}, id="cysteine zwitterion"),
        pytest.param("O=C1CN=C(c2ccccc2)c2cc(Cl)ccc2N1C", {"amide", "imine", "chloro"}, id="diazepam"),
        pytest.param("c1ccc2[nH]ccc2c1", set(), id="indole"),
    ],
)
def test_known_compounds_have_exactly_their_groups(smiles: str, groups: set[str]) -> None:
    assert set(facts_of(mol_of(smiles)).functional_groups) == groups


@pytest.mark.parametrize(("name", "fragment", "relation", "difference"), COUNTERPARTS)
def test_groups_agree_with_rdkit_fragments(name: str, fragment: str, relation: str, difference: str) -> None:
    count: Callable[[Mol], int] = getattr(Fragments, fragment)
    holds: Callable[[bool, bool], bool] = getattr(operator, relation)
    disagreeing = [mol for mol, groups in nci() if not holds(name in groups, count(mol) > 0)]
    assert not disagreeing, difference


def test_groups_are_listed_once_in_the_order_of_the_vocabulary() -> None:
    groups = facts_of(mol_of("CC(=O)Oc1ccc(OC=O)cc1C(=O)O.O=CO.CCl.CCO")).functional_groups
    assert groups == tuple(name for name in vocabulary() if name in groups)


@pytest.mark.parametrize(
    ("smiles", "aromatic", "aliphatic"),
    [
        ("C", 0, 0),
        ("c1ccccc1", 1, 0),
        ("C1CCCCC1", 0, 1),
        ("c1ccc2ccccc2c1", 2, 0),
        ("c1ccc2c(c1)CCCC2", 1, 1),
        ("c1ccc2[nH]ccc2c1", 2, 0),
        ("O=C1c2ccccc2C(=O)c2ccccc21", 2, 1),
        ("C1CC2CCC1CC2", 0, 3),  # symmetrised: the three equal rings of bicyclo[2.2.2]octane all count
        ("C1CCC2(CC1)CCCC2", 0, 2),
    ],
)
def test_rings_are_counted(smiles: str, aromatic: int, aliphatic: int) -> None:
    facts = facts_of(mol_of(smiles))
    assert (facts.aromatic_rings, facts.aliphatic_rings) == (aromatic, aliphatic)


@pytest.mark.parametrize(
    ("smiles", "counts"),
    [
        pytest.param("c1ccc2cccc2cc1", [(0, 2), (2, 0)], id="azulene"),
        pytest.param("Cc1ccc2c(C)ccc2c(C(C)C)c1", [(0, 2), (2, 0)], id="guaiazulene"),
        pytest.param("c1ccc2cccc2cc1.C1CCCCC1.c1ccccc1", [(1, 3), (3, 1)], id="azulene beside others"),
        pytest.param("c1ccc2ccccc2c1", [(2, 0)], id="naphthalene"),
        pytest.param("c1ccc2c(c1)c1ccccc12", [(2, 1)], id="biphenylene: the square is not aromatic"),
        pytest.param("c1ccc2c(c1)-c1cccc3cccc-2c13", [(3, 1)], id="fluoranthene: nor the ring of five"),
        pytest.param("C1=CC2=CC=CC2=C1", [(0, 2)], id="pentalene: nor what is antiaromatic"),
    ],
)
def test_rings_that_are_aromatic_by_their_perimeter_may_be_counted_either_way(
    smiles: str, counts: list[tuple[int, int]]
) -> None:
    found = structure_of(mol_of(smiles)).ring_counts()
    assert [(each["aromatic_rings"], each["aliphatic_rings"]) for each in found] == counts
    assert facts_of(mol_of(smiles)).ring_counts() == found


@pytest.mark.parametrize("medium", [TPSA_MEDIUM, LOGP_MEDIUM])
def test_bands_meet_at_their_thresholds(medium: tuple[float, float]) -> None:
    least, greatest = medium
    assert [_band(value, medium) for value in (least - 0.001, least, greatest, greatest + 0.001)] == [
        "low",
        "medium",
        "medium",
        "high",
    ]


@pytest.mark.parametrize(
    ("smiles", "polarity", "lipophilicity"),
    [
        pytest.param("CCCCCCCC", "low", "high", id="octane"),
        pytest.param("CCO", "low", "low", id="ethanol"),
        pytest.param("CC(=O)Oc1ccccc1C(=O)O", "medium", "medium", id="aspirin: 63.6 A2, logP 1.3"),
        pytest.param("OCC1OC(O)C(O)C(O)C1O", "medium", "low", id="glucose: 110.4 A2"),
        pytest.param("OCC1OC(OC2(CO)OC(CO)C(O)C2O)C(O)C(O)C1O", "high", "low", id="sucrose: 189.5 A2"),
    ],
)
def test_polarity_and_lipophilicity_are_banded(smiles: str, polarity: str, lipophilicity: str) -> None:
    facts = facts_of(mol_of(smiles))
    assert (facts.polarity, facts.lipophilicity) == (polarity, lipophilicity)


@pytest.mark.parametrize("smiles", ["NCC(=O)" * 125, "c1ccccc1" * 80, "C(F)(F)" * 160, "OC1C(O)C(O)OC1" * 50])
def test_the_largest_molecules_have_facts(smiles: str) -> None:
    assert facts_of(mol_of(smiles)).polarity in {"low", "high"}


def test_names_and_aliases_stand_for_one_group_each(entries: list[dict[str, Any]]) -> None:
    phrases = [phrase.lower().replace("-", " ") for entry in entries for phrase in (entry["name"], *entry["aliases"])]
    assert sorted(phrases) == sorted(set(phrases))


def test_entries_are_well_formed(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        assert set(entry) == {"name", "smarts", "aliases"}
        assert all(
            isinstance(phrase, str) and phrase == phrase.strip() for phrase in (entry["name"], *entry["aliases"])
        )
        assert entry["name"] == entry["name"].lower() or entry["name"] == "N-oxide"
        assert entry["smarts"]
        assert all(MolFromSmarts(smarts) is not None for smarts in entry["smarts"])


def test_every_name_and_alias_mentions_its_own_group_alone(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        for phrase in (entry["name"], *entry["aliases"]):
            for written in (phrase, f"{phrase}s", phrase.upper(), phrase.replace(" ", "-"), f"({phrase})."):
                assert mentioned_groups(written) == {entry["name"]}, written


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", set()),
        ("A hydroxyl group and two ketones.", {"alcohol", "ketone"}),
        ("a phenolic hydroxyl", {"phenol"}),
        ("the carboxylic acid amide", {"amide"}),
        ("the carboxylic\n  acid ester", {"ester"}),
        ("a carboxylic acid and an ester", {"carboxylic acid", "ester"}),
        ("a sulfonate ester", {"sulfonate"}),
        ("a secondary amine and a Schiff\u2011base", {"secondary amine", "imine"}),
        ("nitrobenzene, etherification, polyesters, hydrochloride", set()),
        ("4-chloro-3-nitro", {"chloro", "nitro"}),
        ("pyridine N-Oxides", {"N-oxide"}),
        ("two alkyl nitrates beside a nitro group", {"nitrate ester", "nitro"}),
        ("amines, halogens and carbonyls", set()),
        ("no ketone", {"ketone"}),
        ("ETHERS", {"ether"}),
    ],
)
def test_groups_are_read_out_of_free_text(text: str, groups: set[str]) -> None:
    assert mentioned_groups(text) == groups


@given(st.text())
def test_any_text_mentions_groups_of_the_vocabulary_only(text: str) -> None:
    assert mentioned_groups(text) <= set(vocabulary())


@given(st.lists(st.sampled_from(vocabulary())))
def test_listed_names_are_all_read(names: list[str]) -> None:
    assert mentioned_groups(", ".join(names)) == set(names)
