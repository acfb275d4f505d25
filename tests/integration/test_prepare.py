"""Preparing a library on a real Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.feather
import pytest

from cluster.library.errors import LibraryError
from cluster.library.source import NoMoleculeError, Source, resolve
from cluster.runtime.session import RaySession
from distill.library.manifest import MANIFEST, Manifest, read_manifest, shard_name
from distill.library.prepare import Prepared, prepare
from teacher.errors import UsageError
from teacher.files import OutputError
from teacher.tiny import library
from tests.support import deadly_shard, full_shard
from tests.support.command import CommandHere

ROWS = 90


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Two files, read in blocks of 20 rows."""
    monkeypatch.setattr("cluster.library.rows.in_blocks.__defaults__", (20,))
    smiles = library.read(None)[:ROWS]
    rows = [*smiles[:50], "nonsense", smiles[3], *smiles[50:]]
    (tmp_path / "a.smi").write_text("\n".join(rows[:70]) + "\n")
    (tmp_path / "b.csv").write_text("smiles\n" + "\n".join(rows[70:]) + "\n")
    return resolve([str(tmp_path / "a.smi"), str(tmp_path / "b.csv")])


def run(sources: list[Source], folder: Path, session: RaySession, **options: object) -> Prepared:
    usual = {"descriptors": "lean", "limit": None, "session": session}
    return prepare(sources, folder, **{**usual, **options})  # type: ignore[arg-type]


def rows_of(folder: Path, manifest: Manifest) -> list[tuple[int, int, str | None]]:
    tables = [pyarrow.feather.read_table(folder / shard_name(number)) for number in range(len(manifest.shards))]
    columns = ("source", "row", "smiles")
    return [row for table in tables for row in zip(*(table[name].to_pylist() for name in columns), strict=True)]


def test_every_row_of_a_library_is_in_a_shard_in_its_order(
    sources: list[Source], ray_here: RaySession, tmp_path: Path
) -> None:
    seen: list[int] = []
    prepared = run(sources, tmp_path / "out", ray_here, show=seen.append)
    manifest = read_manifest(tmp_path / "out")
    assert manifest == prepared.manifest
    assert manifest.shards == (20, 20, 20, 10, 20, 2) and sum(manifest.shards) == manifest.rows == ROWS + 2
    assert (manifest.invalid, manifest.duplicates, manifest.molecules) == (1, 1, ROWS)
    rows = rows_of(tmp_path / "out", manifest)
    assert [row[:2] for row in rows] == [*((0, row) for row in range(1, 71)), *((1, row) for row in range(1, 23))]
    assert rows[50][2] is None and rows[51][2] == rows[3][2]
    assert seen[-1] == ROWS + 2


def test_a_preparation_goes_on_where_it_was_stopped(
    sources: list[Source], ray_here: RaySession, tmp_path: Path
) -> None:
    whole = run(sources, tmp_path / "whole", ray_here).manifest
    folder = tmp_path / "out"

    def stop(rows: int) -> None:
        if rows >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(sources, folder, ray_here, show=stop)
    with pytest.raises(UsageError, match="is not complete"):
        read_manifest(folder)
    there = {file.name: file.stat().st_mtime_ns for file in folder.glob("shard-*.arrow")}
    assert len(there) >= 2
    again = run(sources, folder, ray_here)
    assert again.manifest == whole and again.new_shards <= 6 - 2
    assert {name: (folder / name).stat().st_mtime_ns for name in there} == there
    assert run(sources, folder, ray_here).new_shards == 0


def test_a_shard_of_rows_that_have_changed_or_that_is_damaged_is_made_again(
    sources: list[Source], ray_here: RaySession, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    first = run(sources, folder, ray_here).manifest
    (tmp_path / "b.csv").write_text("smiles\nCCO\n")
    (folder / shard_name(1)).write_bytes(b"ARROW1")
    second = run(sources, folder, ray_here)
    assert second.new_shards == 2 and second.manifest.shards == (20, 20, 20, 10, 1)
    assert second.manifest.digest != first.digest
    assert len(list(folder.glob("shard-*.arrow"))) == 5


def test_what_is_not_a_library_of_the_same_files_is_left_alone(
    sources: list[Source], ray_here: RaySession, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    run(sources[1:], folder, ray_here)
    before = (folder / MANIFEST).read_text()
    with pytest.raises(UsageError, match=r"prepared otherwise \(descriptors\)"):
        run(sources[1:], folder, ray_here, descriptors="none")
    with pytest.raises(UsageError, match="holds files and no prepared library"):
        run(sources, tmp_path, ray_here)
    assert (folder / MANIFEST).read_text() == before
    assert run(sources, folder, ray_here, overwrite=True).manifest.rows == ROWS + 2


def test_a_library_of_other_features_is_refused(
    sources: list[Source], ray_here: RaySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(sources[1:], tmp_path / "out", ray_here)
    monkeypatch.setattr("distill.library.manifest.features_id", lambda: "0-rdkit-1")
    with pytest.raises(UsageError, match="prepare it again with --overwrite"):
        read_manifest(tmp_path / "out")


def test_a_library_that_ends_too_early_or_holds_nothing_ends_in_one_sentence(
    ray_here: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "none.smi").write_text("nonsense\nrubbish\n")
    with pytest.raises(NoMoleculeError, match="None of the 2 rows"):
        run(resolve([str(tmp_path / "none.smi")]), tmp_path / "none", ray_here)
    good = tmp_path / "good.smi"
    good.write_text("CCO\n")
    sources = resolve([str(good)])
    good.unlink()
    with pytest.raises(LibraryError, match=r"good\.smi"):
        run(sources, tmp_path / "gone", ray_here)


def test_a_row_that_rdkit_does_not_survive_costs_itself(
    ray_here: RaySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cluster.library.rows.in_blocks.__defaults__", (3,))
    monkeypatch.setattr("distill.library.prepare.write_shard", deadly_shard.write_or_die)
    monkeypatch.setattr("distill.library.prepare.write_shard_safely", deadly_shard.write_safely)
    (tmp_path / "a.smi").write_text("CC\nCCC\nCCCC\nCN\nCCO\nnonsense\nCCCCC\n")
    manifest = run(resolve([str(tmp_path / "a.smi")]), tmp_path / "out", ray_here).manifest
    assert (manifest.rows, manifest.molecules, manifest.invalid) == (7, 5, 2)
    assert manifest.reasons == {"kills RDKit (SIGSEGV)": 1, "cannot be read by RDKit": 1}
    assert caplog.text.count("died, which is tried again row by row") == 1
    table = pyarrow.feather.read_table(tmp_path / "out" / shard_name(1))
    assert (table["smiles"].to_pylist(), table["raw"].to_pylist()) == (["CN", None, None], [None, b"CCO", b"nonsense"])


def test_a_disk_that_fills_under_a_worker_is_told_in_one_sentence_and_the_work_is_not_done_again(
    sources: list[Source],
    ray_here: RaySession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("distill.library.prepare.write_shard", full_shard.write_on_a_full_disk)
    with pytest.raises(OutputError, match=r"shard-00000\d\.arrow cannot be written: No space left on device\."):
        run(sources, tmp_path / "out", ray_here)
    assert "tried again" not in caplog.text


def test_the_command_prepares_a_library(ray_address: str, command_here: CommandHere, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO\nOCC\nnonsense\n")
    done = command_here("prepare", tmp_path / "a.smi", "--out", tmp_path / "out", "--json", store=tmp_path / "store")
    facts = json.loads(done.out.splitlines()[-1])
    assert (facts["rows"], facts["molecules"], facts["duplicates"], facts["invalid"]) == (3, 1, 1, 1)
    assert facts["reasons"] == {"cannot be read by RDKit": 1}
