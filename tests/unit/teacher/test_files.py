"""Outputs: refused before the work or written whole, and nothing else is touched."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from teacher.errors import UsageError
from teacher.files import (
    OutputError,
    check_folder,
    check_output,
    drop_leftovers,
    replacing,
    replacing_folder,
    write_text,
)

UNWRITABLE = Path("/proc")  # not even root can create a file there


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_the_body_writes_takes_the_place_of_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with replacing(out) as aside:
        aside.write_text("new")
        assert out.read_text() == "old"
    assert out.read_text() == "new"
    assert names(tmp_path) == ["out.csv"]


def test_a_body_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(out) as aside:
        aside.write_text(str(1 / 0))
    assert out.read_text() == "old"
    assert names(tmp_path) == ["out.csv"]


def test_only_what_was_left_of_this_output_is_dropped(tmp_path: Path) -> None:
    out, other = tmp_path / "a.pt", tmp_path / "b.pt"
    with ExitStack() as killed:
        for place in (out, other):
            killed.enter_context(replacing(place)).touch()
        (killed.enter_context(replacing_folder(out)) / "weights").touch()
        assert len(names(tmp_path)) == 3
        drop_leftovers(out)
        (left,) = names(tmp_path)
        drop_leftovers(other)
        assert not names(tmp_path) and left.endswith(".pt")
        killed.pop_all()


def test_a_disk_that_fills_is_one_sentence_and_leaves_the_old_file(small_disk: Path) -> None:
    out = small_disk / "out.txt"
    write_text(out, "old")
    with pytest.raises(OutputError, match="No space left"):
        write_text(out, "x" * (1 << 20))
    assert out.read_text() == "old"
    assert names(small_disk) == ["out.txt"]


def test_a_full_disk_is_refused_before_the_work(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(490 << 10))
    with pytest.raises(UsageError, match="No space left"):
        check_output(small_disk / "out.csv")
    with pytest.raises(UsageError, match="No space left"):
        check_folder(small_disk / "results" / "esol")
    assert names(small_disk) == ["other"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "elsewhere" / "out.csv")
    check_output(tmp_path / "link.csv")
    write_text(tmp_path / "link.csv", "new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "elsewhere" / "out.csv").read_text() == "new"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("é" * 127), "new")
    assert names(tmp_path) == ["é" * 127]


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("folder", "is a folder"),
        ("nowhere/out.csv", "There is no folder"),
        ("there.csv", "--overwrite"),
        ("there.csv/out.csv", "There is no folder"),
        ("pipe", "not a regular file"),
        ("x" * 300, "name too long"),
        (UNWRITABLE / "out.csv", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, out: str, sentence: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.csv").write_text("there")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=sentence):
        check_output(tmp_path / out)
    assert (tmp_path / "there.csv").read_text() == "there"
    assert names(tmp_path) == ["folder", "pipe", "there.csv"]


def test_a_file_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("there")
    check_output(tmp_path / "there.csv", overwrite=True)
    assert (tmp_path / "there.csv").read_text() == "there"


def test_an_input_is_never_an_output_whatever_leads_to_it(tmp_path: Path) -> None:
    library = tmp_path / "library.csv"
    library.write_text("smiles\nC\n")
    (tmp_path / "symbolic.csv").symlink_to(library)
    (tmp_path / "hard.csv").hardlink_to(library)
    (tmp_path / "folder").symlink_to(tmp_path)
    inputs = ["s3://bucket/nowhere.csv", str(tmp_path / "other.csv"), f"file://{library}"]
    for out in ("library.csv", "symbolic.csv", "hard.csv", "folder/library.csv"):
        with pytest.raises(UsageError, match="which this command reads"):
            check_output(tmp_path / out, inputs=inputs, overwrite=True)


@pytest.mark.parametrize("place", ["file.txt", "file.txt/below/it", UNWRITABLE / "results"])
def test_results_need_a_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file.txt").write_text("there")
    with pytest.raises(UsageError):
        check_folder(tmp_path / place)


def test_a_folder_is_replaced_whole_and_keeps_what_is_not_ours(tmp_path: Path) -> None:
    folder = tmp_path / "gcn"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "thesis.txt").write_text("years of work")
    (folder / "card.json").write_text("old")
    (folder / "scaler").write_text("old")
    with replacing_folder(folder, ours=["card.json", "scaler"]) as aside:
        (aside / "card.json").write_text("new")
        assert (folder / "card.json").read_text() == "old"
    assert names(folder) == ["card.json", "notes"]
    assert (folder / "card.json").read_text() == "new"
    assert (folder / "notes" / "thesis.txt").read_text() == "years of work"
    assert names(tmp_path) == ["gcn"]


def test_a_folder_whose_body_fails_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "gcn").mkdir()
    (tmp_path / "gcn" / "card.json").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "gcn", ours=["card.json"]) as aside:
        (aside / "card.json").write_text(str(1 / 0))
    assert (tmp_path / "gcn" / "card.json").read_text() == "old"
    assert names(tmp_path) == ["gcn"]
