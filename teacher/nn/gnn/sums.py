"""Sums of rows that belong together: the messages at an atom, the atoms of a molecule, the neighbours of an atom."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from teacher.nn.graphs import GraphBatch


def sums(rows: Tensor, places: Tensor, number: int) -> Tensor:
    """Return the sums of the rows that go to the same place, (number, ...).

    PyG's `scatter` expands the places to the shape of the rows, and reads the gradient value by value: on a CPU that
    takes two to five times as long.

    Args:
        rows: shape (n, ...).
        places: int64, shape (n).
        number: of places.
    """
    return rows.new_zeros(number, *rows.shape[1:]).index_add_(0, places, rows)


@dataclass(frozen=True, slots=True)
class NormalisedAdjacency:
    """D^-1/2 (A + I) D^-1/2 over the atoms of a batch (Kipf and Welling, arXiv 1609.02907, eq. 2).

    A product with a sparse matrix takes the place of a message for each bond, which would be as large as the atoms and
    bonds together.

    Attributes:
        adjacency: A, sparse (CSR), (atoms, atoms).
        scale: the diagonal of D^-1/2, (atoms, 1).
    """

    adjacency: Tensor
    scale: Tensor

    @classmethod
    def of(cls, graph: GraphBatch) -> NormalisedAdjacency:
        """Read the bonds of molecules."""
        leaves, enters = graph.edge_index
        atoms, device = len(graph.x), enters.device
        bonds = torch.bincount(enters, minlength=atoms)
        rows = torch.cat([torch.zeros(1, dtype=torch.int64, device=device), bonds.cumsum(0)])
        columns, ones = leaves[torch.argsort(enters, stable=True)], torch.ones(len(leaves), device=device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse", UserWarning)  # that CSR is in beta, its invariants unchecked
            adjacency = torch.sparse_csr_tensor(rows, columns, ones, size=(atoms, atoms))
        return cls(adjacency, (1 + bonds).float().rsqrt()[:, None])

    def __matmul__(self, hidden: Tensor) -> Tensor:
        """Return the product with representations of atoms (atoms, width)."""
        own = hidden * self.scale
        summed: Tensor = _SymmetricProduct.apply(self.adjacency, own)  # type: ignore[no-untyped-call]
        return (summed + own) * self.scale


class _SymmetricProduct(torch.autograd.Function):
    """A symmetric sparse matrix times a dense one; the gradient takes the same matrix, which torch would transpose."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, dense: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ gradient
