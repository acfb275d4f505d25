"""A shard: some rows of a library in their order, as an Arrow file that any Arrow reader opens.

Every row of the library is in a shard. One without a molecule keeps what the library says there and the reason; the
columns of its features are empty. A molecule takes about 0.35 kB, packed by Zstandard.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distill.features.environments import EnvironmentFinder, OfAtoms
from distill.features.sparse import SparseVectors, counted
from distill.features.vectors import DescriptorSet, Scaler, completed, computed_names, describer
from teacher.chemistry.bounds import Notation
from teacher.chemistry.molecule import KEY_BYTES, InvalidMoleculeError
from teacher.chemistry.parsing import parse_safely
from teacher.errors import UsageError
from teacher.files import replacing
from teacher.nn.graph_features import ATOM_FEATURES, BOND_FEATURES, describe_graph
from teacher.nn.graphs import Graphs

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FACTS = b"gallon"  # the key of a shard's facts, as JSON, in the metadata of its schema
ENDS = 2  # of a bond
DIGITS = 32  # of a digest


class DamagedShardError(UsageError):
    """A shard of a prepared library is missing, or cannot be read; to prepare it again writes it anew."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} is missing or damaged: run the same 'gallon prepare' again.")


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
        reasons=dict(Counter(error for error in described.errors if error is not None)),
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


def facts_of(file: Path) -> ShardFacts:
    """Return what is known of a shard.

    Raises:
        DamagedShardError: it is missing or damaged.
    """
    facts = read_facts(file)
    if facts is None:
        raise DamagedShardError(file)
    return facts


def read_columns(file: Path, names: Sequence[str]) -> pa.RecordBatch:
    """Read some columns of a shard; others cost nothing.

    Raises:
        DamagedShardError: it is missing or damaged.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) as opened:
            places = [pa.ipc.open_file(opened).schema.get_field_index(name) for name in names]
            options = pa.ipc.IpcReadOptions(included_fields=places)
            return pa.ipc.open_file(opened, options=options).get_batch(0).select(list(names))
    except (OSError, ValueError, KeyError, OverflowError, pa.ArrowNotImplementedError) as error:
        raise DamagedShardError(file) from error


def graphs_of(file: Path) -> Graphs:
    """Return the graphs of a shard's rows; one without a molecule has no atoms.

    Raises:
        DamagedShardError: as `read_columns`.
    """
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
    """Return the features of a shard's rows; those of a row without a molecule are zero and unknown.

    Raises:
        DamagedShardError: as `read_columns`.
    """
    batch = read_columns(file, ["columns", "counts", "descriptors"])
    return SparseVectors(
        columns=batch["columns"].values.to_numpy(),
        counts=batch["counts"].values.to_numpy(),
        starts=batch["columns"].offsets.to_numpy().astype(np.int64),
        descriptors=batch["descriptors"].values.to_numpy().reshape(batch.num_rows, -1),
        scaler=scaler,
    )


class Describer:
    """The columns of a shard, row by row; of a molecule nothing is kept but its numbers."""

    def __init__(self, descriptors: DescriptorSet) -> None:
        self._descriptors = descriptors
        self._describe = describer(descriptors)
        self._environments = EnvironmentFinder()
        self.errors: list[str | None] = []
        self._raws: list[bytes | None] = []
        self._keys: list[bytes | None] = []
        self._smiles: list[str | None] = []
        self._graphs: tuple[Packed, ...] = (Packed("B"), Packed("B"), Packed("H"))  # as `describe_graph` has them
        self._values: list[Sequence[float] | None] = []

    def add(self, raw: bytes, notation: Notation, refused: str | None = None) -> None:
        """Describe a row, unless it is refused for a reason. What nobody foresaw about its molecule costs it alone."""
        error, key, smiles, values = None, None, None, None
        graph: tuple[Sequence[int], ...] = ((),) * len(self._graphs)
        of_atoms: OfAtoms = ()
        try:
            if refused:
                raise InvalidMoleculeError(refused)
            parsed = parse_safely(raw, notation)
            described = self._describe(parsed.mol), describe_graph(parsed.mol), self._environments.find(parsed.mol)
            values, graph, of_atoms = described
            key, smiles = parsed.key, parsed.smiles
        except InvalidMoleculeError as reason:
            error = str(reason)
        except Exception as reason:  # noqa: BLE001
            error = f"cannot be described: {type(reason).__name__}: {' '.join(str(reason).split())[:200]}"
        for column, numbers in zip(self._graphs, graph, strict=True):
            column.add(numbers)
        self._environments.add(of_atoms)
        self._values.append(values)
        self._keys.append(key)
        self._smiles.append(smiles)
        self.errors.append(error)
        self._raws.append(raw if error is not None else None)

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns as Arrow has them."""
        import pyarrow as pa

        environments = self._environments.found()
        columns, counts, begins = counted(environments)
        descriptors = completed(self._computed(), environments, self._descriptors)
        width = descriptors.shape[1]
        atoms, bonds, ends = (packed.column() for packed in self._graphs)
        return {
            "error": pa.array(self.errors, pa.string()),
            "raw": pa.array(self._raws, pa.binary()),
            "key": pa.array(self._keys, pa.binary(KEY_BYTES)),
            "smiles": pa.array(self._smiles, pa.string()),
            "atoms": atoms,
            "bonds": bonds,
            "ends": ends,
            "columns": _listed(columns, begins),
            "counts": _listed(counts, begins),
            "descriptors": _listed(descriptors.reshape(-1), np.arange(len(descriptors) + 1) * width),
        }

    def _computed(self) -> NDArray[np.float32]:
        """Return what `describer` computed of each row, NaN where it holds no molecule."""
        width = len(computed_names(self._descriptors))
        unknown = (np.nan,) * width
        rows = [unknown if values is None else values for values in self._values]
        return np.array(rows, dtype=np.float32).reshape(len(rows), width)


class Packed:
    """A column of small numbers, several of each row.

    Args:
        kind: of a number, as `array` has it: a byte, or two.
    """

    def __init__(self, kind: Literal["B", "H"]) -> None:
        self._numbers: array[int] = array(kind)
        self._begins = array("i", [0])

    def add(self, numbers: Sequence[int]) -> None:
        """Take in those of one more row."""
        self._numbers.extend(numbers)
        self._begins.append(len(self._numbers) * self._numbers.itemsize)

    def column(self) -> pa.Array:
        """Return the column as Arrow has it: bytes, the lowest of a number first."""
        import pyarrow as pa

        numbers = np.array(self._numbers)
        little = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
        buffers = [None, pa.py_buffer(np.array(self._begins, dtype=np.int32)), pa.py_buffer(little)]
        return pa.Array.from_buffers(pa.binary(), len(self._begins) - 1, buffers)


def _listed(values: NDArray[Any], begins: NDArray[np.int64]) -> pa.Array:
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array(begins.astype(np.int32)), pa.array(values))


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
