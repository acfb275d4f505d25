"""Molecules as graphs for neural networks: atoms, directed bonds, and their features as PyG defines them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rdkit.Chem import Mol

from teacher.nn.graph_features import ATOM_FEATURES, BOND_FEATURES, describe_graph
from teacher.nn.inputs import Matrix, StatesBatch, TokenStates, starts, stretches


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
        atoms, bonds, ends = bytearray(), bytearray(), array("I")
        for mol in mols:
            of_atoms, of_bonds, of_ends = describe_graph(mol)
            atoms += of_atoms
            bonds += of_bonds
            ends.extend(of_ends)
        return cls.of_bonds(
            np.frombuffer(atoms, dtype=np.uint8).reshape(-1, ATOM_FEATURES),
            np.frombuffer(bonds, dtype=np.uint8).reshape(-1, BOND_FEATURES),
            np.array(ends, dtype=np.int32).reshape(-1, 2),
            starts([mol.GetNumAtoms() for mol in mols]),
            starts([mol.GetNumBonds() for mol in mols]),
        )

    @classmethod
    def of_bonds(
        cls, atoms: np.ndarray, bonds: np.ndarray, ends: np.ndarray, atom_starts: np.ndarray, bond_starts: np.ndarray
    ) -> Graphs:
        """Return the graphs of molecules of which each bond is given once.

        Args:
            atoms: uint8, (atoms, 9).
            bonds: uint8, (bonds, 3).
            ends: integers, (bonds, 2).
            atom_starts: int64, (molecules + 1).
            bond_starts: int64, (molecules + 1).
        """
        both = np.concatenate([ends, ends[:, ::-1]], axis=1).reshape(-1, 2)
        return cls(
            atoms=atoms,
            bonds=np.repeat(bonds, 2, axis=0),
            ends=np.ascontiguousarray(both.T.astype(np.int32)),
            atom_starts=atom_starts,
            bond_starts=2 * bond_starts,
        )

    @classmethod
    def joined(cls, parts: Sequence[Graphs]) -> Graphs:
        """Return the graphs of several, one after another."""
        return cls(
            np.concatenate([part.atoms for part in parts]),
            np.concatenate([part.bonds for part in parts]),
            np.concatenate([part.ends for part in parts], axis=1),
            starts(np.concatenate([np.diff(part.atom_starts) for part in parts])),
            starts(np.concatenate([np.diff(part.bond_starts) for part in parts])),
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
    """Graphs of some molecules, their texts as states of tokens, and what an LLM predicts, if it is asked.

    Attributes:
        graphs, texts: of the same molecules.
        guesses: float32, shape (molecules, 3): value, confidence, and whether there is one
            (`teacher.nn.fusion.GUESS`); None where nobody was asked.
    """

    graphs: GraphBatch
    texts: StatesBatch
    guesses: torch.Tensor | None = None

    def to(self, device: str) -> PairedBatch:
        """Return the same batch on a device."""
        guesses = None if self.guesses is None else self.guesses.to(device)
        return PairedBatch(self.graphs.to(device), self.texts.to(device), guesses)


@dataclass(frozen=True)
class Paired:
    """A graph and a text for each molecule, and what an LLM predicts of it, if it is asked."""

    graphs: Graphs
    texts: TokenStates
    guesses: Matrix | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Paired:
        """Return what is read of some rows."""
        return Paired(self.graphs.take(rows), self.texts.take(rows), self.guesses and self.guesses.take(rows))

    def batch(self, rows: np.ndarray) -> PairedBatch:
        """Return the graphs of some rows as one, their texts, and what is predicted of them."""
        guesses = None if self.guesses is None else self.guesses.batch(rows)
        return PairedBatch(self.graphs.batch(rows), self.texts.batch(rows), guesses)


def join_batches(batches: Sequence[Any]) -> Any:
    """Return several batches of one kind, vectors or graphs, as one: the molecules of the first, then the next."""
    if isinstance(batches[0], torch.Tensor):
        return torch.cat(list(batches))
    atoms = starts([len(batch.x) for batch in batches])[:-1].tolist()
    graphs = starts([batch.num_graphs for batch in batches])
    return GraphBatch(
        x=torch.cat([batch.x for batch in batches]),
        edge_attr=torch.cat([batch.edge_attr for batch in batches]),
        edge_index=torch.cat([batch.edge_index + first for batch, first in zip(batches, atoms, strict=True)], dim=1),
        batch=torch.cat([batch.batch + first for batch, first in zip(batches, graphs.tolist(), strict=False)]),
        num_graphs=int(graphs[-1]),
    )
