"""A screening goes on where it was stopped, and writes what is asked for."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.library.kept import keep_columns
from cluster.library.source import resolve
from distill.screen import screening
from distill.screen.selection import Condition, Selection
from teacher.errors import UsageError
from tests.support.models import TARGET, untrained_student

FILES, ROWS_OF_EACH = 5, 3


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_student(tmp_path_factory.mktemp("model"))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of a few rows, one of which holds no molecule; each file is a part."""
    monkeypatch.setattr(screening, "PART_ROWS", ROWS_OF_EACH)
    names = []
    for number in range(FILES):
        file = tmp_path / f"library{number}.smi"
        file.write_text(f"{'C' * (number + 1)}O one{number}\n{'nonsense' if number == 1 else 'CCN'} two\nc1ccccc1\n")
        names.append(str(file))
    return names


def screened(library: list[str], student: Path, out: Path, **options: object) -> screening.Screened:
    sources = resolve(library)
    return screening.screen(sources, student, out, limit=None, kept=keep_columns(sources), **options)  # type: ignore[arg-type]


def stopping_after(rows: int) -> Callable[[int], None]:
    def show(done: int) -> None:
        if done > rows:
            raise KeyboardInterrupt

    return show


@pytest.mark.parametrize(
    "options",
    [{}, {"selection": Selection(top=4)}, {"selection": Selection(where=(Condition.read("similarity>0.1"),))}],
)
def test_a_screening_goes_on_where_it_was_stopped(
    library: list[str], student: Path, tmp_path: Path, options: dict[str, Selection]
) -> None:
    screened(library, student, tmp_path / "whole.csv", **options)
    out = tmp_path / "out.csv"
    for rows in (0, ROWS_OF_EACH, 3 * ROWS_OF_EACH):
        with pytest.raises(KeyboardInterrupt):
            screened(library, student, out, show=stopping_after(rows), **options)
        assert not out.exists()
    done = screened(library, student, out, **options)
    assert (done.rows, done.invalid) == (FILES * ROWS_OF_EACH, 1)
    assert done.resumed == 4 * ROWS_OF_EACH
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "out.csv.parts").exists()


def test_who_screens_something_else_begins_anew(library: list[str], student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        screened(library, student, out, show=stopping_after(2 * ROWS_OF_EACH))
    assert screened(library, student, out, doubt=False).resumed == 0
    with pytest.raises(KeyboardInterrupt):
        screened(library, student, out, show=stopping_after(2 * ROWS_OF_EACH))
    Path(library[0]).write_text("CCCCCC changed\nCC\nC\n")
    assert screened(library, student, out).resumed == 0
    assert "changed" in out.read_text()


@pytest.mark.parametrize("what", ["a file among others", "a file of its name"])
def test_what_is_not_of_a_screening_is_neither_replaced_nor_removed(
    library: list[str], student: Path, tmp_path: Path, what: str
) -> None:
    theirs = tmp_path / "out.csv.parts"
    if what == "a file among others":
        theirs.mkdir()
        theirs /= "a.smi"
    theirs.write_text("CCO\n")
    with pytest.raises(UsageError, match=r"out\.csv\.parts is not of a screening"):
        screened(library, student, tmp_path / "out.csv")
    assert theirs.read_text() == "CCO\n" and not (tmp_path / "out.csv").exists()


def test_a_file_beside_the_parts_of_a_screening_outlives_them(
    library: list[str], student: Path, tmp_path: Path
) -> None:
    out, theirs = tmp_path / "out.csv", tmp_path / "out.csv.parts" / "a.smi"
    with pytest.raises(KeyboardInterrupt):
        screened(library, student, out, show=stopping_after(ROWS_OF_EACH))
    theirs.write_text("CCO\n")
    (theirs.parent / ".gallon-0123.arrow").touch()  # of a process that was killed
    assert screened(library, student, out).resumed
    assert list(theirs.parent.iterdir()) == [theirs]


def test_only_rows_that_meet_the_conditions_are_written(library: list[str], student: Path, tmp_path: Path) -> None:
    screened(library, student, tmp_path / "all.csv")
    every = list(csv.DictReader((tmp_path / "all.csv").open()))
    median = sorted(float(row[TARGET]) for row in every if row[TARGET])[7]
    similar = sorted(float(row["similarity"]) for row in every if row[TARGET])[4]
    conditions = [f"{TARGET} < {median}", f"similarity>={similar}", "in_domain != true"]
    selection = Selection(where=tuple(map(Condition.read, conditions)))
    done = screened(library, student, tmp_path / "some.csv", selection=selection)
    expected = [
        row
        for row in every
        if row[TARGET] and float(row[TARGET]) < median and float(row["similarity"]) >= similar
        if row["in_domain"] == "False"
    ]
    assert 0 < len(expected) < 7
    assert list(csv.DictReader((tmp_path / "some.csv").open())) == expected
    assert (done.rows, done.written) == (len(every), len(expected))


@pytest.mark.parametrize("lowest", [False, True])
def test_the_best_rows_come_first(library: list[str], student: Path, tmp_path: Path, lowest: bool) -> None:
    screened(library, student, tmp_path / "all.csv")
    every = [row for row in csv.DictReader((tmp_path / "all.csv").open()) if row[TARGET]]
    screened(library, student, tmp_path / "top.csv", selection=Selection(top=6, lowest=lowest))
    expected = sorted(every, key=lambda row: float(row[TARGET]), reverse=not lowest)[:6]  # stable: of equals the first
    assert list(csv.DictReader((tmp_path / "top.csv").open())) == expected


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("logS<-4", Condition("logS", "less", -4.0)),
        (" a b >= 1e-3 ", Condition("a b", "greater_equal", 1e-3)),
        ("in_domain==TRUE", Condition("in_domain", "equal", True)),
        ("x!=2", Condition("x", "not_equal", 2.0)),
    ],
)
def test_conditions_are_read_as_people_write_them(text: str, condition: Condition) -> None:
    assert Condition.read(text) == condition


@pytest.mark.parametrize(
    ("where", "options", "sentence"),
    [
        (["logS"], {}, "is no condition"),
        (["logS<abc"], {}, "is no condition"),
        (["nothing<3"], {}, f"There is no column 'nothing' to select rows by: there are {TARGET}"),
        (["name<3"], {}, "There is no column 'name'"),
        ([f"{TARGET}=true"], {}, "of another kind"),
        ([], {"top": 0}, "at least 1"),
        ([], {"by": TARGET}, "with --top or --prefilter only"),
        ([], {"top": 3, "by": "smiles"}, "There is no column 'smiles'"),
        ([], {"prefilter": 1.5}, "a whole number of them, not 1.5"),
        ([], {"prefilter": 0.1, "by": "similarity"}, "ranks by a target"),
        ([], {"prefilter": 0.1}, "cannot teach a prefilter"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused_before_anything_is_scored(
    library: list[str], student: Path, tmp_path: Path, where: list[str], options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        selection = Selection(where=tuple(map(Condition.read, where)), **options)  # type: ignore[arg-type]
        screened(library, student, tmp_path / "out.csv", selection=selection)
