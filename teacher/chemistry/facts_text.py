"""What RDKit computes of a molecule, as one line of text for a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from teacher.chemistry.facts import count_groups

if TYPE_CHECKING:
    from rdkit.Chem import Mol, StereoInfo

NONE = "none"


def facts_text(mol: Mol) -> str:
    """Write the facts of a sanitised molecule: one line, parts separated by semicolons.

    Formula; average molecular weight in g/mol; formal charge; rings (`facts.Structure` says which count as aromatic);
    functional groups of `groups.yaml` with the number of places where each matches; hydrogen-bond donors and acceptors
    (Lipinski) and rotatable bonds (strict); logP (Wildman and Crippen); TPSA in square ångström, of N and O alone
    (Ertl); stereocentres and stereogenic double bonds with those that are left open.
    """
    from rdkit.Chem import FindPotentialStereo, GetFormalCharge, rdMolDescriptors

    log_p, _refractivity = rdMolDescriptors.CalcCrippenDescriptors(mol)
    stereo = list(FindPotentialStereo(mol))
    parts = {
        "formula": rdMolDescriptors.CalcMolFormula(mol),
        "molecular weight": f"{rdMolDescriptors._CalcMolWt(mol):.2f}",
        "formal charge": f"{GetFormalCharge(mol):+d}".replace("+0", "0"),
        "aromatic rings": rdMolDescriptors.CalcNumAromaticRings(mol),
        "aliphatic rings": rdMolDescriptors.CalcNumAliphaticRings(mol),
        "functional groups": _groups(mol),
        "hydrogen-bond donors": rdMolDescriptors.CalcNumHBD(mol),
        "hydrogen-bond acceptors": rdMolDescriptors.CalcNumHBA(mol),
        "rotatable bonds": rdMolDescriptors.CalcNumRotatableBonds(mol),
        "logP": _decimals(log_p, 2),
        "TPSA": _decimals(rdMolDescriptors.CalcTPSA(mol), 1),
        "stereocentres": _stereo(one for one in stereo if not _is_bond(one)),
        "stereogenic double bonds": _stereo(one for one in stereo if _is_bond(one)),
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _groups(mol: Mol) -> str:
    return ", ".join(f"{name} x{count}" for name, count in count_groups(mol).items()) or NONE


def _stereo(found: Iterable[StereoInfo]) -> str:
    """Count stereogenic places, and those of them whose configuration is not said."""
    specified = [one.specified.name != "Unspecified" for one in found]
    unsaid = specified.count(False)
    return f"{len(specified)} ({unsaid} unspecified)" if unsaid else str(len(specified))


def _is_bond(info: StereoInfo) -> bool:
    return bool(info.type.name.startswith("Bond"))


def _decimals(value: float, places: int) -> str:
    """Round, and write no negative zero."""
    return f"{round(value, places) + 0.0:.{places}f}"
