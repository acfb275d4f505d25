"""Networks by name. Naming one loads no torch; building it imports the module that it is in."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

GENERATED = ("_propagate", "_edge_updater")  # ends of the names of PyG's modules


@dataclass(frozen=True, slots=True)
class NetworkRef:
    """Where a network is defined: `module:name` of its class, or of a function that chooses one.

    Called with the number of targets and the settings, it builds the network.
    """

    place: str

    def __call__(self, targets: int, **settings: Any) -> nn.Module:
        """Import the network and build it."""
        module, name = self.place.split(":")
        known = set(sys.modules)
        network: nn.Module = getattr(import_module(module), name)(targets, **settings)
        _drop_generated(sys.modules.keys() - known)
        return network


def _drop_generated(modules: Iterable[str]) -> None:
    """Remove the files of modules that PyG has generated: it leaves one for each convolution of each process.

    They lie in the temporary folder, and are not read again.
    """
    for name in modules:
        file = getattr(sys.modules[name], "__file__", None)
        if name.endswith(GENERATED) and file and Path(file).parent == Path(gettempdir()):
            Path(file).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A graph network that can be built by name.

    Attributes:
        summary: what it is, with its source.
        build: makes the network; takes the number of targets and the settings.
        settings: their defaults.
    """

    summary: str
    build: NetworkRef
    settings: Mapping[str, Any]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "gcn": Architecture(
            summary="GCN of GALLON: 3 layers of 32 on raw atom features, no bonds",
            build=NetworkRef("teacher.nn.gnn.convolutional:GCN"),
            settings={"width": 32, "layers": 3, "dropout": 0.3},
        ),
        "gin": Architecture(
            summary="GIN with bond features (GINE)",
            build=NetworkRef("teacher.nn.gnn.convolutional:GIN"),
            settings={"width": 128, "layers": 4, "dropout": 0.1},
        ),
        "gat": Architecture(
            summary="GATv2 with bond features",
            build=NetworkRef("teacher.nn.gnn.convolutional:GATv2"),
            settings={"width": 128, "layers": 4, "dropout": 0.1, "heads": 4},
        ),
        "dmpnn": Architecture(
            summary="directed-edge message passing (D-MPNN)",
            build=NetworkRef("teacher.nn.gnn.dmpnn:DMPNN"),
            settings={"width": 128, "layers": 3, "dropout": 0.1},
        ),
    }
)
