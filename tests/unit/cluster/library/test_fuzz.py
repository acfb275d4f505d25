"""Bad bytes, wherever they come in: a clear error or a dead letter, and nothing else."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import composite

from cluster.library.errors import LibraryError
from cluster.library.rows import count, read_all
from cluster.library.source import resolve
from cluster.library.streams import LINE_LIMIT
from cluster.store.record import DeadLetter, Record
from teacher.chemistry.bounds import Notation
from teacher.chemistry.facts import Structure
from teacher.chemistry.molecule import InvalidMoleculeError, mol_of, parse
from teacher.llm.prompt import load
from teacher.llm.validation import RejectedError, validate

SMILES = ["CCO", "c1ccccc1O", "C[C@H](N)C(=O)O", "[Na+].[Cl-]", "O=C1CCCCC1"]
MOL_BLOCK = """
  fuzz

  2  1  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 O   0  0
  1  2  1  0
M  END
$$$$
"""


def parquet(smiles: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"smiles": smiles, "id": list(range(len(smiles)))}), sink)
    return sink.getvalue()


FILES: dict[str, bytes] = {
    "library.smi": "".join(f"{smiles}\tname\n" for smiles in SMILES).encode() * 5,
    "library.csv": ("id,smiles\n" + "".join(f'1,"{smiles}"\n' for smiles in SMILES)).encode() * 5,
    "library.sdf": MOL_BLOCK.encode() * 5,
    "library.parquet": parquet(SMILES * 20),
}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
KINDS = [(name, packed) for name in FILES for packed in PACK if packed == "" or "parquet" not in name]


@composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes that were cut, and in which some were replaced, lost, doubled or put in."""
    content = bytearray(whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole)
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(content)))
        lost = draw(st.integers(0, 8))
        content[place : place + lost] = draw(st.binary(max_size=8)) or content[place : place + 16]
    return bytes(content)


@pytest.mark.parametrize(("name", "packed"), KINDS)
@given(data=st.data())
def test_a_damaged_file_gives_rows_or_a_library_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, packed: str, data: st.DataObject
) -> None:
    content = data.draw(damaged(PACK[packed](FILES[name])) | st.binary(max_size=200))
    read_and_parse(tmp_path_factory, name + packed, content)


@pytest.mark.parametrize("name", ["library.smi", "library.csv", "library.sdf"])
@pytest.mark.parametrize("packed", [".gz", ".zst"])
@given(data=st.data())
def test_damage_before_packing_gives_rows_or_a_library_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, packed: str, data: st.DataObject
) -> None:
    content = data.draw(damaged(FILES[name]))
    read_and_parse(tmp_path_factory, name + packed, PACK[packed](content))


def read_and_parse(factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    """Do to a file what a run does to it."""
    path = factory.getbasetemp() / name
    path.write_bytes(content)
    rows = 0
    with suppress(LibraryError):
        sources = resolve([str(path)])
        for table in read_all(sources):
            for row in table.to_pylist():
                rows += 1
                assert row["row"] == rows
                assert len(row["raw"]) <= LINE_LIMIT
                parse_or_refuse(row["raw"], row["notation"])
        assert count(sources) == rows


def parse_or_refuse(raw: bytes, notation: Notation) -> None:
    try:
        molecule = parse(raw, notation)
    except InvalidMoleculeError as error:
        assert str(error)
    else:
        assert len(molecule.key) == 16
        with suppress(InvalidMoleculeError):
            mol_of(molecule.smiles)


smiles_like = st.text(alphabet="CNOSPFclnos()[]=#@+-123%/\\.:$*H", max_size=40).map(str.encode)


@given(raw=smiles_like | st.binary(max_size=60) | st.sampled_from(SMILES).flatmap(lambda s: damaged(s.encode())))
@example(b"C" * 5000)
@example(b"[" * 3000)
@example(b"(" * 3000)
@example(b"C1" * 1500)
@example(b"[999999999999Cl]")
@example(b"C%(99999999999)C")
@example("C\u2028C".encode())
@example(b"C\0C")
def test_any_bytes_are_a_smiles_or_refused(raw: bytes) -> None:
    parse_or_refuse(raw, "smiles")


@given(raw=damaged(MOL_BLOCK.encode()) | st.binary(max_size=300))
@example(MOL_BLOCK.replace("  2  1", "999999").encode())
@example(MOL_BLOCK.replace("  2  1", " -2 -1").encode())
@example(MOL_BLOCK.replace("V2000", "V3000").encode())
def test_any_bytes_are_a_mol_block_or_refused(raw: bytes) -> None:
    parse_or_refuse(raw, "molblock")


# What an LLM writes

DESCRIBE = load("describe").json_schema
FACTS = Structure(functional_groups=("ether",), aromatic_rings=1, aliphatic_rings=0)
ANSWER = json.dumps(
    {
        "functional_groups": ["ether"],
        "aromatic_rings": 1,
        "aliphatic_rings": 0,
        "polarity": "low",
        "lipophilicity": "high",
        "description": "An ether on a benzene ring.",
    }
).encode()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
answers = (
    damaged(ANSWER).map(lambda text: text.decode(errors="surrogateescape"))
    | st.binary(max_size=200).map(lambda text: text.decode(errors="replace"))
    | st.text(max_size=200)
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from(list(json.loads(ANSWER))), json_values).map(
        lambda some: json.dumps({**json.loads(ANSWER), **some})
    )
)


@given(text=answers, schema=st.sampled_from([None, DESCRIBE, {}, {"type": "object"}]))
@example("[" * 100_000, DESCRIBE)
@example('{"a":' * 100_000, {})
@example("9" * 10_000, {})
@example("-" * 1_000, None)
def test_any_text_is_accepted_or_rejected(text: str, schema: dict[str, object] | None) -> None:
    try:
        checked = validate(text, "stop", schema, FACTS)
    except RejectedError as error:
        assert str(error)
    else:
        assert 0 <= checked.grounding.score <= 1
        text.encode()


# What lies in the store

packed_values = (
    st.binary(max_size=100)
    | json_values.map(lambda value: zstandard.compress(json.dumps(value).encode()))
    | damaged(zstandard.compress(ANSWER))
)


@given(packed=packed_values)
@example(packed=b"\x28\xb5\x2f\xfd\xc0" + b"\xa5" * 100)  # says that it is 12 exabytes long
@pytest.mark.parametrize("kind", [Record, DeadLetter])
def test_what_is_no_record_is_told_as_the_audit_expects(kind: type[Record] | type[DeadLetter], packed: bytes) -> None:
    with pytest.raises(ValueError):
        kind.unpack(packed)
