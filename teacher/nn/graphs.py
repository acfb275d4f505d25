"""Molecules as graphs for neural networks: atoms, directed bonds, and their features as PyG defines them.

PyG is imported where its tables are read: it takes longer than torch, and who works on fingerprints needs none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from rdkit.Chem import Mol

from teacher.nn.inputs import Matrix, starts, stretches

COLUMNS = (("uint8", 9), ("uint8", 3), ("int32", 2))  # of atoms, of bonds, of their ends
MOST_NEIGHBOURS, MOST_HYDROGENS, MOST_RADICAL_ELECTRONS = 10, 8, 4  # that PyG tells apart


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """Some molecules as one graph of several components, named as PyG names them.

    Attributes:
        x: int64, shape (atoms, 9): PyG's categorical features (`torch_geometric.utils.smiles.x_map`).
        edge_attr: int64, shape (directed bonds, 3): type, stereo, conjugation (`e_map`).
        edge_index: int64, shape (2, directed bonds): the atom that a bond leaves and the one that it enters. Bonds 2k
            and 2k + 1 are the two directions of one bond.
        batch: int64, shape (atoms): the molecule that each atom is of.
        num_graphs: the number of molecules.
    """

    x: torch.Tensor
    edge_attr: torch.Tensor
    edge_index: torch.Tensor
    batch: torch.Tensor
    num_graphs: int

    def to(self, device: str) -> GraphBatch:
        """Return the same batch on a device."""
        x, edge_attr, edge_index, batch = (
            column.to(device) for column in (self.x, self.edge_attr, self.edge_index, self.batch)
        )
        return GraphBatch(x, edge_attr, edge_index, batch, self.num_graphs)


@dataclass(frozen=True)
class Graphs:
    """One graph for each molecule, one after another.

    Attributes:
        atoms: uint8, shape (all atoms, 9).
        bonds: uint8, shape (all directed bonds, 3).
        ends: int32, shape (2, all directed bonds); atoms are numbered within their molecule.
        atom_starts, bond_starts: int64, shape (molecules + 1).
    """

    atoms: np.ndarray
    bonds: np.ndarray
    ends: np.ndarray
    atom_starts: np.ndarray
    bond_starts: np.ndarray

    @classmethod
    def of(cls, mols: Sequence[Mol]) -> Graphs:
        """Featurise molecules, with the numbers of `torch_geometric.utils.from_rdmol`, but several times as fast.

        What PyG does not know (a charge beyond +6, an axis that is a stereocentre) is clipped or counted as other.
        """
        described = [_describe(mol) for mol in mols]
        columns = [
            np.asarray([row for part in parts for row in part], dtype=dtype).reshape(-1, width)
            for parts, (dtype, width) in zip(zip(*described, strict=True), COLUMNS, strict=True)
        ]
        atoms, bonds, ends = columns
        return cls(
            atoms=atoms,
            bonds=bonds,
            ends=np.ascontiguousarray(ends.T),
            atom_starts=starts([mol.GetNumAtoms() for mol in mols]),
            bond_starts=starts([2 * mol.GetNumBonds() for mol in mols]),
        )

    def __len__(self) -> int:
        return len(self.atom_starts) - 1

    def take(self, rows: np.ndarray) -> Graphs:
        """Return the graphs of some rows."""
        atoms, atom_counts = stretches(self.atom_starts, rows)
        bonds, bond_counts = stretches(self.bond_starts, rows)
        return Graphs(
            self.atoms[atoms], self.bonds[bonds], self.ends[:, bonds], starts(atom_counts), starts(bond_counts)
        )

    def batch(self, rows: np.ndarray) -> GraphBatch:
        """Return the graphs of some rows as one."""
        atoms, atom_counts = stretches(self.atom_starts, rows)
        bonds, bond_counts = stretches(self.bond_starts, rows)
        ends = self.ends[:, bonds] + np.repeat(starts(atom_counts)[:-1], bond_counts)
        return GraphBatch(
            x=torch.from_numpy(self.atoms[atoms].astype(np.int64)),
            edge_attr=torch.from_numpy(self.bonds[bonds].astype(np.int64)),
            edge_index=torch.from_numpy(ends.astype(np.int64)),
            batch=torch.from_numpy(np.repeat(np.arange(len(rows)), atom_counts)),
            num_graphs=len(rows),
        )


@dataclass(frozen=True, slots=True)
class PairedBatch:
    """Graphs of some molecules, and their texts as vectors (molecules, features)."""

    graphs: GraphBatch
    texts: torch.Tensor

    def to(self, device: str) -> PairedBatch:
        """Return the same batch on a device."""
        return PairedBatch(self.graphs.to(device), self.texts.to(device))


@dataclass(frozen=True)
class Paired:
    """A graph and a vector for each molecule."""

    graphs: Graphs
    texts: Matrix

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Paired:
        """Return the graphs and vectors of some rows."""
        return Paired(self.graphs.take(rows), self.texts.take(rows))

    def batch(self, rows: np.ndarray) -> PairedBatch:
        """Return the graphs of some rows as one, and their vectors."""
        return PairedBatch(self.graphs.batch(rows), self.texts.batch(rows))


@cache
def atom_categories() -> tuple[int, ...]:
    """Return how many values each of the nine atom features can take."""
    from torch_geometric.utils.smiles import x_map

    return tuple(map(len, x_map.values()))


@cache
def bond_categories() -> tuple[int, ...]:
    """Return how many values each of the three bond features can take."""
    from torch_geometric.utils.smiles import e_map

    return tuple(map(len, e_map.values()))


def _describe(mol: Mol) -> tuple[list[list[int]], list[list[int]], list[tuple[int, int]]]:
    """Return the features of the atoms, those of the directed bonds, and the bonds' ends."""
    code = _code
    atoms = [
        [
            atom.GetAtomicNum(),
            code("chirality", str(atom.GetChiralTag()), "CHI_OTHER"),
            min(atom.GetTotalDegree(), MOST_NEIGHBOURS),
            code("formal_charge", min(max(atom.GetFormalCharge(), -5), 6)),
            min(atom.GetTotalNumHs(), MOST_HYDROGENS),
            min(atom.GetNumRadicalElectrons(), MOST_RADICAL_ELECTRONS),
            code("hybridization", str(atom.GetHybridization()), "OTHER"),
            atom.GetIsAromatic(),
            atom.IsInRing(),
        ]
        for atom in mol.GetAtoms()
    ]
    bonds, ends = [], []
    for bond in mol.GetBonds():
        features = [
            code("bond_type", str(bond.GetBondType()), "OTHER"),
            code("stereo", str(bond.GetStereo()), "STEREOANY"),
            bond.GetIsConjugated(),
        ]
        begin, end = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bonds += [features, features]
        ends += [(begin, end), (end, begin)]
    return atoms, bonds, ends


@cache
def _code(feature: str, value: Any, otherwise: str | None = None) -> int:
    """Return the number of a feature's value, or that of another where PyG does not know it."""
    from torch_geometric.utils.smiles import e_map, x_map

    values = {**x_map, **e_map}[feature]
    return int(values.index(value if value in values else otherwise))
