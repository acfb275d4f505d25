"""What is true of a molecule, by RDKit: the facts against which an annotation is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from rdkit.Chem.FilterCatalog import FilterCatalog

Band = Literal["low", "medium", "high"]

# The least and the greatest value of the medium band; `Facts` says where they come from.
TPSA_MEDIUM = (60.0, 120.0)
LOGP_MEDIUM = (1.0, 3.0)

SEPARATOR = r"[\s\-\u2010-\u2015]+"  # what may stand between the words of a phrase: white space, hyphens, dashes


@dataclass(frozen=True, slots=True)
class Structure:
    """What an annotation's claims are counted against.

    Attributes:
        functional_groups: the names of the groups that are there, in the order of `vocabulary`.
        aromatic_rings: rings of the symmetrised SSSR whose bonds are all aromatic (`CalcNumAromaticRings`).
        aliphatic_rings: rings with at least one bond that is not aromatic (`CalcNumAliphaticRings`); with the
            aromatic rings they are all the rings.
        perimeter_rings: those of the aliphatic rings of which only a bond that they share is not aromatic. In azulene
            and its kin RDKit takes the perimeter for aromatic, and so neither ring; a chemist calls both aromatic.
    """

    functional_groups: tuple[str, ...]
    aromatic_rings: int
    aliphatic_rings: int
    perimeter_rings: int = field(default=0, kw_only=True)

    def ring_counts(self) -> list[dict[str, int]]:
        """Return the counts of aromatic and aliphatic rings that may be called right: one pair, or two."""
        return [
            {"aromatic_rings": self.aromatic_rings + moved, "aliphatic_rings": self.aliphatic_rings - moved}
            for moved in sorted({0, self.perimeter_rings})
        ]


@dataclass(frozen=True, slots=True)
class Facts(Structure):
    """All that RDKit computes of one molecule: its `Structure`, and two bands.

    Attributes:
        polarity: band of the topological polar surface area in Å², of N and O alone (Ertl et al., J. Med. Chem. 2000,
            43, 3714). Medium is 60 to 120: passively absorbed oral drugs stay below about 120, those that reach the
            brain below 60 to 70 (Kelder et al., Pharm. Res. 1999, 16, 1514).
        lipophilicity: band of the octanol-water logP of Wildman and Crippen (J. Chem. Inf. Comput. Sci. 1999, 39,
            868). Medium is 1 to 3, about the optimum for oral drugs (Waring, Expert Opin. Drug Discov. 2010, 5, 235).
    """

    polarity: Band
    lipophilicity: Band


@cache
def vocabulary() -> tuple[str, ...]:
    """Return the names of all functional groups that can be found, in the order of `groups.yaml`."""
    return tuple(group.name for group in _groups())


def structure_of(mol: Mol) -> Structure:
    """Compute what the claims about a sanitised molecule are counted against: a third of the time of all its facts."""
    from rdkit.Chem import rdMolDescriptors

    return Structure(
        functional_groups=_groups_in(mol),
        aromatic_rings=rdMolDescriptors.CalcNumAromaticRings(mol),
        aliphatic_rings=rdMolDescriptors.CalcNumAliphaticRings(mol),
        perimeter_rings=_perimeter_rings(mol) if mol.HasSubstructMatch(_inner_bond()) else 0,
    )


def facts_of(mol: Mol) -> Facts:
    """Compute the facts of a sanitised molecule."""
    from rdkit.Chem import rdMolDescriptors

    structure = structure_of(mol)
    log_p, _refractivity = rdMolDescriptors.CalcCrippenDescriptors(mol)
    return Facts(
        functional_groups=structure.functional_groups,
        aromatic_rings=structure.aromatic_rings,
        aliphatic_rings=structure.aliphatic_rings,
        perimeter_rings=structure.perimeter_rings,
        polarity=_band(rdMolDescriptors.CalcTPSA(mol), TPSA_MEDIUM),
        lipophilicity=_band(log_p, LOGP_MEDIUM),
    )


def matches_of_groups(mol: Mol) -> dict[str, list[frozenset[int]]]:
    """Return the atoms (by index) of each place where a functional group is found, by the group's name."""
    matches: dict[str, list[frozenset[int]]] = {}
    for entry in _catalog().GetMatches(mol):
        found = [frozenset(pair[1] for pair in match.atomPairs) for match in entry.GetFilterMatches(mol)]
        matches.setdefault(entry.GetDescription(), []).extend(found)
    return matches


def count_groups(mol: Mol) -> dict[str, int]:
    """Count the places of each functional group that is there; patterns that match the same atoms are one place."""
    return {
        name: len({frozenset(place) for pattern in _patterns()[name] for place in mol.GetSubstructMatches(pattern)})
        for name in _groups_in(mol)
    }


def mentioned_groups(text: str) -> frozenset[str]:
    """Return the functional groups that free text names, by name or alias.

    Phrases are found as whole words in any letter case, with spaces or hyphens between the words and an optional
    plural "s"; where several begin at one place the longest wins, and a word serves one phrase only. The text is not
    understood: "has no ketone" mentions a ketone, and so does "derived from a ketone".
    """
    pattern, names = _mentions()
    return frozenset(names[_spaced(match[1])] for match in pattern.finditer(text.lower()))


@dataclass(frozen=True, slots=True)
class _Group:
    """An entry of `groups.yaml`, whose header explains the fields."""

    name: str
    smarts: tuple[str, ...]
    aliases: tuple[str, ...]


@cache
def _groups() -> tuple[_Group, ...]:
    from teacher.plain_yaml import read_yaml

    entries = read_yaml(files("teacher.chemistry").joinpath("groups.yaml").read_text(encoding="utf-8"))
    return tuple(_Group(entry["name"], tuple(entry["smarts"]), tuple(entry["aliases"])) for entry in entries)


def _groups_in(mol: Mol) -> tuple[str, ...]:
    found = (entry.GetDescription() for entry in _catalog().GetMatches(mol))
    return tuple(dict.fromkeys(found))


@cache
def _catalog() -> FilterCatalog:
    """Compile the patterns once; a catalog walks them in C++, which takes two thirds of the time of a Python loop."""
    from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogEntry, SmartsMatcher

    catalog = FilterCatalog()
    for group in _groups():
        for smarts in group.smarts:
            catalog.AddEntry(FilterCatalogEntry(group.name, SmartsMatcher(group.name, smarts, 1)))
    return catalog


@cache
def _patterns() -> dict[str, tuple[Mol, ...]]:
    """Compile the patterns of each group by themselves: a catalog finds one place of each."""
    from rdkit import Chem

    return {group.name: tuple(map(Chem.MolFromSmarts, group.smarts)) for group in _groups()}


def _perimeter_rings(mol: Mol) -> int:
    """Count the rings that are aromatic but for bonds that they share with other rings."""
    rings = mol.GetRingInfo()

    def aromatic(bond: int) -> bool:
        return bool(mol.GetBondWithIdx(bond).GetIsAromatic())

    return sum(
        not all(map(aromatic, bonds))
        and all(mol.GetAtomWithIdx(atom).GetIsAromatic() for atom in atoms)
        and all(aromatic(bond) or rings.NumBondRings(bond) > 1 for bond in bonds)
        for atoms, bonds in zip(rings.AtomRings(), rings.BondRings(), strict=True)
    )


@cache
def _inner_bond() -> Mol:
    """Compile the bond without which no ring needs a second look; few molecules have one."""
    from rdkit import Chem

    return Chem.MolFromSmarts("a-,=;@a")


def _band(value: float, medium: tuple[float, float]) -> Band:
    least, greatest = medium
    if value < least:
        return "low"
    return "medium" if value <= greatest else "high"


@cache
def _mentions() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern of any phrase in lower case, and the group that each phrase names.

    Plain alternatives rather than a capturing group for each, and no IGNORECASE: `re` then rejects an alternative by
    its first letter, which is thirty times as fast.
    """
    names = {_spaced(phrase.lower()): group.name for group in _groups() for phrase in (group.name, *group.aliases)}
    longest_first = sorted(names, key=len, reverse=True)
    either = "|".join(SEPARATOR.join(map(re.escape, phrase.split())) for phrase in longest_first)
    return re.compile(rf"(?<!\w)({either})s?(?!\w)"), names


def _spaced(phrase: str) -> str:
    return re.sub(SEPARATOR, " ", phrase)
