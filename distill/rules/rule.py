"""One rule: a number that is computed of a molecule, in a small language of which nothing is ever run as code.

A rule is a JSON object. It has one of RDKit's descriptors by name (`descriptor`) or the number of matches of a SMARTS
(`smarts`), which may be divided by another one (`per_descriptor`, `per_smarts`), and which becomes 1 or 0 where
bounds are given (`above`, `below`). `why` is for people:

    {"descriptor": "MolLogP", "above": 5, "why": "lipophilic molecules do not dissolve"}
    {"smarts": "[OX2H]", "per_descriptor": "HeavyAtomCount"}
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from teacher.wording import counted

LONGEST_SMARTS, DEEPEST_SMARTS = 300, 8  # characters; environments inside environments
LONGEST_WHY = 300
HEAVIEST = 118  # atomic number of oganesson

# What people and LLMs call descriptors, without case, dots, blanks and a leading "calc" or "get".
OTHER_NAMES = {
    **dict.fromkeys(("logp", "clogp", "alogp", "xlogp", "crippenclogp", "crippendescriptors", "logd"), "MolLogP"),
    **dict.fromkeys(("mr", "molarrefractivity", "crippenmr"), "MolMR"),
    **dict.fromkeys(("mw", "molecularweight", "molweight", "weight"), "MolWt"),
    **dict.fromkeys(("exactmw", "exactmass"), "ExactMolWt"),
    **dict.fromkeys(("hbd", "numhbd", "hbonddonors", "hydrogenbonddonors", "numhydrogenbonddonors"), "NumHDonors"),
    **dict.fromkeys(
        ("hba", "numhba", "hbondacceptors", "hydrogenbondacceptors", "numhydrogenbondacceptors"), "NumHAcceptors"
    ),
    **dict.fromkeys(("numlipinskihbd", "lipinskihbd"), "NHOHCount"),
    **dict.fromkeys(("numlipinskihba", "lipinskihba"), "NOCount"),
    **dict.fromkeys(("psa", "polarsurfacearea", "topologicalpolarsurfacearea"), "TPSA"),
    **dict.fromkeys(("numrings", "rings"), "RingCount"),
    **dict.fromkeys(("numheavyatoms", "heavyatoms"), "HeavyAtomCount"),
    **dict.fromkeys(("rotatablebonds", "numrotbonds"), "NumRotatableBonds"),
    "aromaticrings": "NumAromaticRings",
    "fsp3": "FractionCSP3",
}


class RuleError(ValueError):
    """Something is no rule, and cannot be made one; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A number that is computed of a molecule.

    Attributes:
        descriptor, smarts: one of them: one of RDKit's descriptors, or a substructure whose matches are counted.
        per_descriptor, per_smarts: what it is divided by, if it is; nothing is known where that is 0.
        above, below: bounds; with them the number is 1 between them, else 0.
        why: it bears on the property, in words.
    """

    descriptor: str | None = None
    smarts: str | None = None
    per_descriptor: str | None = None
    per_smarts: str | None = None
    above: float | None = None
    below: float | None = None
    why: str = ""

    @property
    def name(self) -> str:
        """The rule in short; rules that mean the same have the same."""
        text = self.descriptor or f"count {self.smarts}"
        if self.per_descriptor or self.per_smarts:
            text += f" per {self.per_descriptor or f'count {self.per_smarts}'}"
        text += "" if self.above is None else f" > {self.above:g}"
        return text if self.below is None else f"{text} < {self.below:g}"

    def facts(self) -> dict[str, Any]:
        """Return it as JSON has it, without what it does not say."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def checked(given: Mapping[str, Any], *, as_written: bool = False) -> Rule:
    """Return a rule as it was given, repaired where it is plain what was meant.

    Names of descriptors are found in any case, with the modules of RDKit's that they stand in, and by what else they
    are usually called; the symbol of an element becomes its SMARTS.

    Args:
        given: the fields of a rule.
        as_written: take its SMARTS for SMARTS even where it reads like the symbol of an element, as in files of rules
            that were checked before.

    Raises:
        RuleError: it is none.
    """
    if not isinstance(given, Mapping):
        raise RuleError("it is no JSON object")
    known = {name: value for name, value in given.items() if value not in (None, "")}
    if unknown := sorted(known.keys() - Rule.__dataclass_fields__.keys()):
        raise RuleError(f"it has a field '{str(unknown[0])[:40]}', which no rule has")
    if ("descriptor" in known) == ("smarts" in known):
        raise RuleError("it needs a descriptor or a SMARTS, one of them")
    if "per_descriptor" in known and "per_smarts" in known:
        raise RuleError("it is divided by a descriptor and by a SMARTS: name one of them")
    above, below = (_number(known.get(name)) for name in ("above", "below"))
    if above is not None and below is not None and above >= below:
        raise RuleError(f"nothing lies above {above:g} and below {below:g}")
    return Rule(
        **{name: _descriptor(known[name]) for name in ("descriptor", "per_descriptor") if name in known},
        **{name: _smarts(known[name], as_written=as_written) for name in ("smarts", "per_smarts") if name in known},
        above=above,
        below=below,
        why=" ".join(str(known.get("why", "")).split())[:LONGEST_WHY],
    )


@functools.cache
def descriptor_functions() -> dict[str, Any]:
    """Return RDKit's descriptors by name: functions of a molecule."""
    from rdkit.Chem.Descriptors import descList

    return dict(descList)


def _descriptor(given: Any) -> str:
    text = str(given)
    exact = text.rsplit(".", maxsplit=1)[-1].strip()
    if exact in descriptor_functions():
        return exact
    plain = re.sub(r"[^a-z0-9]", "", exact.lower())
    short = re.sub(r"^(calc|get)", "", plain)
    for word in (plain, short):
        if word in _plain_names():
            return _plain_names()[word]
        if word in OTHER_NAMES:
            return OTHER_NAMES[word]
    raise RuleError(f"RDKit has no descriptor '{text[:60]}'")


@functools.cache
def _plain_names() -> dict[str, str]:
    return {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in descriptor_functions()}


def _smarts(given: Any, *, as_written: bool) -> str:
    text = str(given).strip()
    if len(text) > LONGEST_SMARTS or text.count("$(") > DEEPEST_SMARTS:
        raise RuleError(f"a SMARTS of {counted(len(text), 'character')} is too long or too deep")
    # An element's symbol alone stands for its atom; several atoms in brackets are meant without these.
    candidates: tuple[str, ...] = (text, f"[{text}]", text.removeprefix("[").removesuffix("]"))
    if text in _symbols_like_two_atoms() and not as_written:
        candidates = (f"[{text}]",)
    for candidate in candidates:
        if canonical := _canonical_smarts(candidate):
            # What is read again must not turn into an element: the bond that SMARTS leaves out is written.
            return "-,:".join(canonical) if canonical in _symbols_like_two_atoms() and not as_written else canonical
    raise RuleError(f"RDKit reads no SMARTS in '{text[:60]}'")


@functools.cache
def _symbols_like_two_atoms() -> frozenset[str]:
    """Return the symbols of elements that SMARTS may take for two atoms, as "Ca" for a carbon at an aromatic atom."""
    from rdkit.Chem import GetPeriodicTable

    symbols = map(GetPeriodicTable().GetElementSymbol, range(1, HEAVIEST + 1))
    return frozenset(symbol for symbol in symbols if len(symbol) == 2) - {"Cl", "Br"}  # which SMARTS has unbracketed


def _canonical_smarts(text: str) -> str | None:
    from rdkit import rdBase
    from rdkit.Chem import MolFromSmarts, MolToSmarts

    with rdBase.BlockLogs():
        pattern = MolFromSmarts(text)
    return MolToSmarts(pattern) if pattern is not None and pattern.GetNumAtoms() else None


def _number(given: Any) -> float | None:
    if given is None:
        return None
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(given, bool) or not math.isfinite(number):
        raise RuleError(f"'{str(given)[:40]}' is no number")
    return number
