"""Vectors of a library's molecules by a pre-trained network: each molecule is embedded once, whoever reads it.

MiniMol takes 17 to 39 ms of a core for a molecule, and who reads its vector 0.05: teachers of other seeds and
properties find the vectors in the library's folder. They are kept in half precision, 1 kB a molecule, and read as they
are kept, so that it makes no difference who embeds a molecule first.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.features.pretrained.encoders import VectorKind, encoder_of, pretrained_vectors
from distill.library.beside.row_arrays import ROWS, add_rows, file_of, halved, read_rows
from distill.library.manifest import MANIFEST
from distill.library.shard import read_columns
from teacher import strict_json
from teacher.files import write_text
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

VECTORS = "vectors"  # the folder in that of the library
VECTOR = "vector"


class MoleculeVectors:
    """The vectors that a pre-trained network gives a library's molecules.

    Args:
        library: the library's folder.
        kind: of network.
        text_encoder: that reads SMILES, where that is the network.

    Raises:
        UsageError: what the network needs is not installed, or the encoder cannot be loaded.
    """

    def __init__(self, library: Path, kind: VectorKind, text_encoder: str) -> None:
        self._kind, self._encoder = kind, text_encoder
        network = encoder_of(kind, text_encoder)
        self._folder = library / VECTORS / f"{kind}-{digest([kind, network.version], 16)}"
        if not (self._folder / MANIFEST).is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            facts = {"kind": kind, **asdict(network)}
            write_text(self._folder / MANIFEST, strict_json.dumps(facts, indent=2) + "\n")

    def of(self, shard: Path, number: int, shard_digest: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of rows of a shard, (rows, width), NaN where the network cannot read the molecule.

        Args:
            shard: its file.
            number: of the shard.
            shard_digest: of its rows.
            rows: ascending, one or more; all of them hold a molecule.
        """
        file = file_of(self._folder, number)
        kept = read_rows(file, shard_digest)
        missing = rows if kept is None else np.setdiff1d(rows, kept[ROWS])
        if kept is None or len(missing):
            kept = add_rows(file, shard_digest, {ROWS: missing, VECTOR: self._embedded(shard, missing)})
        vectors: NDArray[np.float32] = kept[VECTOR][np.searchsorted(kept[ROWS], rows)].astype(np.float32)
        return vectors

    def _embedded(self, shard: Path, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        smiles = read_columns(shard, ["smiles"])["smiles"].take(rows.tolist()).to_pylist()
        return halved(pretrained_vectors(self._kind, smiles, self._encoder, 1))
