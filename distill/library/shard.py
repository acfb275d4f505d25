"""A shard: some rows of a library in their order, as an Arrow file that any Arrow reader opens.

Every row of the library is in a shard. One without a molecule keeps what the library says there and the reason; the
columns of its features are empty. A molecule takes about 0.35 kB, packed by Zstandard.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.features.sparse import Counter, SparseVectors
from distill.features.vectors import DescriptorSet, Scaler, descriptor_names
from teacher.chemistry.bounds import Notation
from teacher.chemistry.molecule import KEY_BYTES, InvalidMoleculeError, Molecule
from teacher.chemistry.parsing import parse_safely
from teacher.files import replacing
from teacher.nn.graphs import ATOM_FEATURES, BOND_FEATURES, Graphs, describe_graph
from teacher.nn.inputs import starts

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FACTS = b"gallon"  # the key of a shard's facts, as JSON, in the metadata of its schema
ENDS = 2  # of a bond
DIGITS = 32  # of a digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What is known of a shard without reading it.

    Attributes:
        digest: of its rows as the library has them.
        rows, molecules: how many it has, and how many of them hold a molecule.
        reasons: why the others do not, and how many for each reason.
    """

    digest: str
    rows: int
    molecules: int
    reasons: Mapping[str, int]


def digest_of_rows(rows: pa.Table) -> str:
    """Return a digest of what stands in rows, as `cluster.library.rows.read` yields them."""
    digest = hashlib.sha256()
    for raw, notation in zip(rows["raw"].to_pylist(), rows["notation"].to_pylist(), strict=True):
        digest.update(f"{notation} {len(raw)} ".encode() + raw)
    return digest.hexdigest()[:DIGITS]


def write_shard(
    rows: pa.Table, descriptors: DescriptorSet, file: Path, killers: Mapping[int, str] = MappingProxyType({})
) -> ShardFacts:
    """Describe the molecules of rows, and write them as a shard, whole or not at all.

    Args:
        rows: as `cluster.library.rows.read` yields them.
        descriptors: that stand beside the counts.
        file: to be written.
        killers: rows that are not described, by their places, and why.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    import pyarrow as pa

    described = Describer(descriptors)
    for place, (raw, notation) in enumerate(zip(rows["raw"].to_pylist(), rows["notation"].to_pylist(), strict=True)):
        described.add(raw, notation, killers.get(place))
    facts = ShardFacts(
        digest=digest_of_rows(rows),
        rows=rows.num_rows,
        molecules=described.errors.count(None),
        reasons=dict(Tally(error for error in described.errors if error is not None)),
    )
    table = pa.table({"source": rows["source"], "row": rows["row"], **described.columns()})
    _write(table.replace_schema_metadata({FACTS: json.dumps(asdict(facts))}), file)
    return facts


def read_facts(file: Path) -> ShardFacts | None:
    """Return what is known of a shard, or None where there is no whole one."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) as opened:
            metadata = pa.ipc.open_file(opened).schema.metadata or {}
        return ShardFacts(**json.loads(metadata[FACTS]))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def read_columns(file: Path, names: Sequence[str]) -> pa.RecordBatch:
    """Read some columns of a shard; others cost nothing."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as opened:
        places = [pa.ipc.open_file(opened).schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=places)
        return pa.ipc.open_file(opened, options=options).get_batch(0).select(list(names))


def graphs_of(file: Path) -> Graphs:
    """Return the graphs of a shard's rows; one without a molecule has no atoms."""
    batch = read_columns(file, ["atoms", "bonds", "ends"])
    atoms, atom_starts = _bytes(batch["atoms"])
    bonds, bond_starts = _bytes(batch["bonds"])
    ends, _ = _bytes(batch["ends"])
    return Graphs.of_bonds(
        atoms.reshape(-1, ATOM_FEATURES),
        bonds.reshape(-1, BOND_FEATURES),
        ends.view("<u2").reshape(-1, ENDS),
        atom_starts // ATOM_FEATURES,
        bond_starts // BOND_FEATURES,
    )


def vectors_of(file: Path, scaler: Scaler) -> SparseVectors:
    """Return the features of a shard's rows; those of a row without a molecule are zero and unknown."""
    batch = read_columns(file, ["columns", "counts", "descriptors"])
    return SparseVectors(
        columns=batch["columns"].values.to_numpy(),
        counts=batch["counts"].values.to_numpy(),
        starts=batch["columns"].offsets.to_numpy().astype(np.int64),
        descriptors=batch["descriptors"].values.to_numpy().reshape(batch.num_rows, -1),
        scaler=scaler,
    )


class Describer:
    """The columns of a shard, row by row."""

    def __init__(self, descriptors: DescriptorSet) -> None:
        self._count = Counter(descriptors)
        self._width = len(descriptor_names(descriptors))
        self.errors: list[str | None] = []
        self._raws: list[bytes | None] = []
        self._molecules: list[Molecule | None] = []
        self._flat: dict[str, list[int]] = {name: [] for name in ("atoms", "bonds", "ends", "columns", "counts")}
        self._lengths: dict[str, list[int]] = {name: [] for name in self._flat}
        self._descriptors: list[NDArray[np.float32]] = []

    def add(self, raw: bytes, notation: Notation, refused: str | None = None) -> None:
        """Describe a row, unless it is refused for a reason. What nobody foresaw about its molecule costs it alone."""
        molecule, error = None, None
        flat: tuple[list[int], ...] = ([],) * len(self._flat)
        descriptors = np.full(self._width, np.nan, dtype=np.float32)
        try:
            if refused:
                raise InvalidMoleculeError(refused)
            parsed = parse_safely(raw, notation)
            *counted, descriptors = self._count(parsed.mol)
            flat = (*describe_graph(parsed.mol), *counted)
            molecule = parsed
        except InvalidMoleculeError as reason:
            error = str(reason)
        except Exception as reason:  # noqa: BLE001
            error = f"cannot be described: {type(reason).__name__}: {' '.join(str(reason).split())[:200]}"
        for name, values in zip(self._flat, flat, strict=True):
            self._flat[name] += values
            self._lengths[name].append(len(values))
        self._descriptors.append(descriptors)
        self._molecules.append(molecule)
        self.errors.append(error)
        self._raws.append(raw if error is not None else None)

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns as Arrow has them."""
        import pyarrow as pa

        return {
            "error": pa.array(self.errors, pa.string()),
            "raw": pa.array(self._raws, pa.binary()),
            "key": pa.array([known and known.key for known in self._molecules], pa.binary(KEY_BYTES)),
            "smiles": pa.array([known and known.smiles for known in self._molecules], pa.string()),
            "atoms": self._packed("atoms", np.uint8),
            "bonds": self._packed("bonds", np.uint8),
            "ends": self._packed("ends", np.uint16),
            "columns": _listed(np.array(self._flat["columns"], dtype=np.uint16), self._lengths["columns"]),
            "counts": _listed(np.array(self._flat["counts"], dtype=np.uint16), self._lengths["counts"]),
            "descriptors": _listed(np.concatenate(self._descriptors), [self._width] * len(self.errors)),
        }

    def _packed(self, name: str, dtype: type[np.integer[Any]]) -> pa.Array:
        import pyarrow as pa

        values = np.array(self._flat[name], dtype=np.dtype(dtype).newbyteorder("<"))
        places = starts(self._lengths[name]) * values.itemsize
        buffers = [None, pa.py_buffer(places.astype(np.int32)), pa.py_buffer(values)]
        return pa.Array.from_buffers(pa.binary(), len(self.errors), buffers)


def _listed(values: NDArray[Any], lengths: Sequence[int]) -> pa.Array:
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array(starts(lengths).astype(np.int32)), pa.array(values))


def _write(table: pa.Table, file: Path) -> None:
    import pyarrow as pa

    (batch,) = table.combine_chunks().to_batches()
    with replacing(file) as aside, pa.OSFile(str(aside), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)


def _bytes(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of a binary column, one after another, and where each row's begin (rows + 1)."""
    _, places, values = column.buffers()
    begins = np.frombuffer(places, dtype="<i4")[: len(column) + 1].astype(np.int64)
    return np.frombuffer(values, dtype=np.uint8)[: begins[-1]] if values else np.zeros(0, dtype=np.uint8), begins
