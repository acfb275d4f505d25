"""Pictures that are drawn ahead of the engines, in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from cluster.annotation import annotate
from cluster.annotation.batches import Batch
from cluster.annotation.draw import AHEAD, draw_rows, drawn
from cluster.annotation.pool import Pool
from cluster.runtime.session import RaySession
from cluster.store.store import Store
from teacher.chemistry.depiction import draw
from teacher.chemistry.drawing import SafeDrawer, UndrawableError, unpack
from teacher.chemistry.molecule import key_of, mol_of
from teacher.llm.prompt import Picture, Prompt
from teacher.llm.request import build_request
from teacher.llm.spec import Spec

SIZE = 64
MOLECULES = ["C", "CCN", "c1ccccc1", "CC(=O)Nc1ccc(O)cc1"]


@pytest.fixture
def seeing(spec: Spec) -> Spec:
    return spec.model_copy(update={"image_size": SIZE})


@pytest.fixture
def drawer() -> Iterator[SafeDrawer]:
    """A drawer that dies over ethanol, and cannot draw water."""
    with closing(SafeDrawer(module="tests.support.deadly_drawer")) as drawer:
        yield drawer


def table(molecules: list[str]) -> pa.Table:
    rows = [{"key": key_of(smiles), "smiles": smiles, "source": 0, "row": row} for row, smiles in enumerate(molecules)]
    return pa.Table.from_pylist(rows)


def test_a_drawing_comes_out_as_it_was_drawn(drawer: SafeDrawer) -> None:
    for smiles, packed in zip(MOLECULES, drawer.draw(MOLECULES, SIZE), strict=True):
        assert isinstance(packed, bytes)
        assert unpack(packed, SIZE).tobytes() == draw(mol_of(smiles), SIZE).tobytes()


def test_files_of_the_users_are_not_run_where_molecules_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "select.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    with closing(SafeDrawer()) as drawer:
        assert all(isinstance(packed, bytes) for packed in drawer.draw(MOLECULES, SIZE))


def test_what_kills_the_one_who_draws_costs_itself(drawer: SafeDrawer) -> None:
    many = ["C"] * 20
    *first, dead, undrawn, last = drawer.draw([*many, "CCO", "O", "CCN"], SIZE)
    assert all(isinstance(packed, bytes) for packed in [*first, last])
    assert isinstance(dead, UndrawableError)
    assert str(dead) == "kills RDKit (SIGSEGV)"
    assert isinstance(undrawn, UndrawableError)
    assert str(undrawn) == "nothing to see"


def test_a_request_carries_the_picture_that_was_drawn_before(
    seeing: Spec, describe: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = draw_rows(table(MOLECULES[-1:]), SIZE).to_pylist()[0]
    expected, _ = build_request(row["smiles"], row["key"], seeing, describe)
    monkeypatch.delattr("teacher.llm.request.draw")
    request, _ = build_request(row["smiles"], row["key"], seeing, describe, drawing=row["drawing"])
    (there,), (here,) = ([part for part in each.content if isinstance(part, Picture)] for each in (expected, request))
    assert (here.uuid, here.image.tobytes()) == (there.uuid, there.image.tobytes())


def test_batches_are_drawn_side_by_side_and_none_is_lost(ray_here: RaySession) -> None:
    block = table([f"{'C' * length}O" for length in range(1, 41)])
    ref = ray.put(block)
    batches = [Batch(ref, start, 8) for start in range(0, 40, 8)]
    done = [
        ray.get(batch.block).slice(batch.start, batch.rows) for batch in drawn(batches, SIZE, lambda: ray_here.cpus)
    ]
    found = pa.concat_tables(done)
    assert sorted(found.column("key").to_pylist()) == sorted(block.column("key").to_pylist())
    assert found.column("drawing").null_count == 0


def test_as_many_batches_are_drawn_ahead_as_suits_the_machines_that_are_there_by_then(
    ray_here: RaySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with an autoscaler, which brings machines for what waits to run."""
    taken: list[int] = []
    cores = iter([1.0, 1.0])
    ref = ray.put(table(MOLECULES))

    def slow(block: pa.Table, *_: object) -> tuple[pa.Table, int]:
        time.sleep(3)  # until the last one is taken
        return block, block.num_rows

    def endless() -> Iterator[Batch]:
        for number in count(1):
            taken.append(number)
            yield Batch(ref, 0, 1)

    monkeypatch.setattr("cluster.annotation.draw._draw", slow)
    with closing(drawn(endless(), SIZE, lambda: next(cores, 16.0))) as batches:
        next(batches)
        assert len(taken) == AHEAD * 16


def test_a_batch_that_could_not_be_drawn_ahead_comes_as_it_was(
    ray_here: RaySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise RuntimeError("the machine is gone")

    monkeypatch.setattr("cluster.annotation.draw._draw", lost)
    ref = ray.put(table(MOLECULES))
    batches = [Batch(ref, start, 2) for start in (0, 2)]
    assert sorted(drawn(batches, SIZE, lambda: ray_here.cpus), key=lambda batch: batch.start) == batches


def test_a_run_with_pictures_has_them_drawn_ahead_and_one_without_draws_nothing(
    run: Callable, seeing: Spec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alkanols.smi"
    path.write_text("".join(f"{'C' * length}O\n" for length in range(1, 101)))
    rows: list[int] = []

    def watched(batches: Iterator[Batch], size: int, cpus: Callable[[], float]) -> Iterator[Batch]:
        for batch in drawn(batches, size, cpus):
            assert ray.get(batch.block).column("drawing").null_count == 0
            rows.append(batch.rows)
            yield batch

    monkeypatch.setattr(annotate, "drawn", watched)
    ledger = run(path, spec=seeing, pool=Pool(concurrency=16)).ledger
    assert (ledger.accepted, sum(rows)) == (100, 100)
    assert len(rows) > 1
    run(path)
    assert sum(rows) == 100


def test_a_molecule_that_cannot_be_drawn_is_a_dead_letter_that_says_why(
    run: Callable, seeing: Spec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.smi"
    path.write_text("CCO\nCCN\n")

    def refused(batches: Iterator[Batch], size: int, cpus: Callable[[], float]) -> Iterator[Batch]:
        for batch in batches:
            block = draw_rows(ray.get(batch.block).slice(batch.start, batch.rows), size)
            is_ethanol = pa.compute.equal(block["smiles"], "CCO")
            reason = pa.compute.if_else(is_ethanol, "kills RDKit (SIGSEGV)", None)
            yield Batch(ray.put(block.set_column(block.num_columns - 1, "undrawn", reason)), 0, block.num_rows)

    monkeypatch.setattr(annotate, "drawn", refused)
    ledger = run(path, spec=seeing).ledger
    assert (ledger.accepted, ledger.dead) == (1, 1)
    ((_, letter),) = store.dead_letters(seeing.id)
    assert letter.message == "This molecule cannot be drawn: kills RDKit (SIGSEGV)."
