"""What rules say of molecules, as numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.features.vectors import in_chunks
from distill.rules.rule import Rule, descriptor_functions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

MOST_MATCHES = 1_000  # of a SMARTS in a molecule


def rule_values(mols: Sequence[Mol], rules: Sequence[Rule], workers: int = 1) -> NDArray[np.float32]:
    """Return the values of R rules for N molecules, float32 of shape (N, R).

    NaN stands where RDKit computes no value, or a divisor is 0. `Ipc`, which grows exponentially with the molecule,
    stands as log(1 + Ipc).

    Args:
        mols: the molecules.
        rules: the rules.
        workers: processes to share the work.
    """
    return in_chunks(functools.partial(_values, rules=tuple(rules)), mols, workers)


def _values(mols: Sequence[Mol], rules: tuple[Rule, ...]) -> NDArray[np.float32]:
    numbers = {name: measure for rule in rules for name, measure in _measures(rule)}
    values = np.empty((len(mols), len(rules)), dtype=np.float32)
    for row, mol in enumerate(mols):
        measured = {name: measure(mol) for name, measure in numbers.items()}
        values[row] = [_value(rule, measured) for rule in rules]
    values[~np.isfinite(values)] = np.nan
    return values


def _value(rule: Rule, measured: dict[str, float]) -> float:
    (name, _), *divisor = _measures(rule)
    value = measured[name]
    if divisor:
        by = measured[divisor[0][0]]
        value = value / by if by else np.nan
    if (rule.above is None and rule.below is None) or np.isnan(value):
        return value
    return float((rule.above is None or value > rule.above) and (rule.below is None or value < rule.below))


@functools.cache
def _measures(rule: Rule) -> tuple[tuple[str, Callable[[Mol], float]], ...]:
    """Return what a rule is computed of: a number, and perhaps a divisor, each with a name of its own."""
    found: list[tuple[str, Callable[[Mol], float]]] = []
    for descriptor, smarts in ((rule.descriptor, rule.smarts), (rule.per_descriptor, rule.per_smarts)):
        if descriptor:
            found.append((descriptor, functools.partial(_described, name=descriptor)))
        elif smarts:
            found.append((f"count {smarts}", _counter(smarts)))
    return tuple(found)


def _described(mol: Mol, name: str) -> float:
    try:
        value = float(descriptor_functions()[name](mol))
    except Exception:  # noqa: BLE001
        return np.nan  # as with RDKit's own `CalcMolDescriptors`: a molecule that it cannot describe has no value
    return float(np.log1p(value)) if name == "Ipc" else value


def _counter(smarts: str) -> Callable[[Mol], float]:
    from rdkit.Chem import MolFromSmarts

    pattern = MolFromSmarts(smarts)
    return lambda mol: float(len(mol.GetSubstructMatches(pattern, maxMatches=MOST_MATCHES)))
