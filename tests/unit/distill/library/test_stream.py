"""Which molecules of a prepared library are learned of, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayTaskError

from distill.features.vectors import Scaler, student_features
from distill.learn.distillation import Weights
from distill.learn.objective import Whitening
from distill.learn.recipes import recipe
from distill.library import stream as stream_module
from distill.library.beside import scores as scores_module
from distill.library.beside.scores import Scorer, _LoadedTeacher, read_scores, score_library
from distill.library.manifest import shard_name
from distill.library.prepared import PreparedLibrary
from distill.library.shard import read_facts
from distill.library.stream import LibraryStream, Statements
from distill.library.teaching import LibraryTeaching
from distill.screen.saved_model import SavedModel
from teacher.chemistry.molecule import parse
from teacher.errors import GallonError, UsageError
from teacher.files import OutputError
from teacher.nn.graphs import Graphs
from tests.support.models import untrained_student
from tests.support.prepared import library_of

ALKANES = ["C" * length for length in range(1, 61)]
KNOWN = ["CC", "CCCC", "CCO"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> PreparedLibrary:
    """Four shards of 15 alkanes, a row without a molecule in each, and a repeated one."""
    shards = [[*ALKANES[first : first + 15], "nonsense", "CCC"] for first in range(0, 60, 15)]
    return library_of(tmp_path_factory.mktemp("library"), shards)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_student(tmp_path_factory.mktemp("teacher"), "gin")


def keys(smiles: list[str]) -> list[bytes]:
    return [parse(each.encode()).key for each in smiles]


def test_labelled_molecules_duplicates_and_rows_without_one_are_left_out(library: PreparedLibrary) -> None:
    selection = library.select(keys(KNOWN), None, seed=0)
    assert (len(selection), selection.excluded) == (58, 2)
    assert [rows.tolist() for rows in selection.rows] == [[0, 2, *range(4, 15)], *[list(range(15))] * 3]
    with pytest.raises(UsageError, match="holds no molecule beside the labelled ones"):
        library.select(keys(ALKANES), None, seed=0)


def test_molecules_are_drawn_over_the_whole_library(library: PreparedLibrary) -> None:
    drawn = library.select(keys(KNOWN), 28, seed=3)
    everything = library.select(keys(KNOWN), None, seed=0)
    assert len(drawn) == 28 and min(map(len, drawn.rows)) >= 3
    assert all(
        set(some.tolist()) <= set(every.tolist()) for some, every in zip(drawn.rows, everything.rows, strict=True)
    )
    assert drawn.digest == library.select(keys(KNOWN), 28, seed=3).digest != library.select(keys(KNOWN), 28, 4).digest
    assert library.select(keys(KNOWN), 1000, seed=0).digest == everything.digest


def test_a_teacher_says_of_a_shard_what_it_says_of_its_molecules_and_is_asked_once(
    library: PreparedLibrary, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(teacher, library.folder, tmp_path)
    scorer.score(1, np.array([2, 7]))
    asked: list[int] = []
    ask = _LoadedTeacher._ask
    monkeypatch.setattr(
        _LoadedTeacher, "_ask", lambda self, file, rows, of: asked.extend(rows.tolist()) or ask(self, file, rows, of)
    )
    selection = library.select([], None, seed=0)
    missing = scores_module.missing_rows(library, tmp_path, 1, selection)
    scorer.score(1, missing)
    assert asked == [row for row in range(15) if row not in (2, 7)]
    facts = read_facts(library.shard(1))
    assert facts is not None
    found = read_scores(tmp_path, 1, facts.digest)
    assert found is not None and found.rows.tolist() == list(range(15))
    mols = [parse(smiles.encode()).mol for smiles in ALKANES[15:30]]
    assert np.allclose(found.prediction, SavedModel(teacher).predict(mols), atol=1e-4)
    assert len(scores_module.missing_rows(library, tmp_path, 1, selection)) == 0
    assert read_scores(tmp_path, 1, "of other rows") is None


def test_a_stream_brings_every_molecule_with_what_all_teachers_say_of_it(
    library: PreparedLibrary, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "WINDOW", 20)
    selection = library.select(keys(KNOWN), 40, seed=0)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        scorer = Scorer(teacher, library.folder, folder)
        for number, rows in enumerate(selection.rows):
            scorer.score(number, rows.astype(np.int64))
    representation = np.random.default_rng(0).normal(size=(30, 128)).astype(np.float32)
    whitening = Whitening.fit(representation, np.arange(30))
    widths = {"labels": 1, "soft.gnn": 1, "soft.lm": 1, "hidden.gnn1": whitening.directions.shape[0]}
    said = Statements("regression", folders, ["gnn", "gnn"], {"hidden.gnn1": (1, whitening)}, widths, {})
    smiles = [ALKANES[15 * number + row] for number, rows in enumerate(selection.rows) for row in rows.tolist()]
    mols = {len(each): parse(each.encode()).mol for each in smiles}
    scaler = Scaler.fit(student_features(list(mols.values()), "lean"))
    streams = [LibraryStream(library, selection, said, scale) for scale in (None, scaler)]
    sizes: list[list[int]] = []
    for graphs, vectors in zip(*(stream.windows([0, 1]) for stream in streams), strict=True):
        (of_graphs, columns), (of_vectors, same) = graphs.load(), vectors.load()
        rows = np.arange(graphs.size)
        assert isinstance(of_graphs, Graphs)
        atoms = np.diff(of_graphs.atom_starts).tolist()
        sizes.append(atoms)
        here = [mols[length] for length in atoms]
        expected = scaler.transform(student_features(here, "lean"))
        assert np.allclose(of_vectors.batch(rows).numpy(), expected)
        assert np.allclose(columns["soft.gnn"], SavedModel(teacher).predict(here), atol=1e-4)
        assert np.isnan(columns["labels"]).all() and np.isnan(columns["soft.lm"]).all()
        assert columns["hidden.gnn1"].shape == (graphs.size, 29) and np.isfinite(columns["hidden.gnn1"]).all()
        assert same.keys() == columns.keys() == widths.keys()
    assert sorted(length for window in sizes for length in window) == sorted(mols)
    assert min(map(len, sizes[:-1])) >= 20
    (folders[1] / "000002.safetensors").unlink()
    with pytest.raises(GallonError, match=r"The scores of shard 2 .* are gone"):
        [window.load() for window in streams[0].windows([0, 1])]


def test_of_what_a_language_teacher_never_spoke_nothing_is_learned_and_lost_scores_are_an_error(
    library: PreparedLibrary, teacher: Path, tmp_path: Path
) -> None:
    rows = np.arange(3)
    said = Statements("regression", [tmp_path], ["lm"], {}, {"labels": 1, "soft.lm": 1}, {})
    for number in (1, 2):
        Scorer(teacher, library.folder, tmp_path).score(number, rows)
    scores_module.list_scored(library, tmp_path, [1])
    scores_module.list_scored(library, tmp_path, [2])
    assert np.isnan(said.columns(library, 0, rows)["soft.lm"]).all()
    assert np.isfinite(said.columns(library, 1, rows)["soft.lm"]).all()
    (tmp_path / "000001.safetensors").unlink()
    damaged = tmp_path / "000002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for number in (1, 2):
        with pytest.raises(
            GallonError, match=rf"The scores of shard {number} .* are gone or damaged: run 'gallon embed'"
        ):
            said.columns(library, number, rows)
    (tmp_path / "scored.json").write_text("[")
    with pytest.raises(GallonError, match=r"The scores of shard 0 .* are gone or damaged"):
        said.columns(library, 0, rows)


def test_a_training_is_another_once_a_language_teacher_says_something_of_more_molecules(
    library: PreparedLibrary, teacher: Path, tmp_path: Path
) -> None:
    selection = library.select(keys(KNOWN), 28, seed=3)
    teaching = LibraryTeaching(library=library, selection=selection, epochs=1, batch_size=16, labelled_share=0.5)
    dataset = SimpleNamespace(kind="regression", labels=np.zeros((4, 1), dtype=np.float32))
    outputs: Any = SimpleNamespace(teacher="lm", prediction=np.zeros((4, 1), dtype=np.float32))
    inputs: Any = SimpleNamespace(dataset=dataset)
    split: Any = None

    def known() -> tuple[str, int]:
        source = teaching.source([outputs], [tmp_path], Weights(hidden_lm=0.0), split, inputs)
        return source.stream(recipe("student-atoms")).digest, source.facts["annotated"]

    scorer = Scorer(teacher, library.folder, tmp_path)
    selected = selection.rows[1].astype(np.int64)
    scorer.score(1, selected[:2])
    first = known()
    scorer.score(1, np.setdiff1d(np.arange(15), selected))  # of which nothing is learned
    assert known() == first
    scorer.score(1, selected[2:3])
    assert (known()[0] != first[0], known()[1], first[1]) == (True, 3, 2)


@pytest.mark.parametrize(
    ("labelled", "epochs", "expected"),
    [(5, None, 5), (100, None, 50), (100, 3, 3)],  # 10 steps an epoch with 12 labelled molecules each: 60 * 100 / 120
)
def test_labelled_molecules_come_round_as_often_as_without_a_library(
    library: PreparedLibrary, labelled: int, epochs: int | None, expected: int
) -> None:
    selection = library.select([], 40, seed=0)
    teaching = LibraryTeaching(library=library, selection=selection, epochs=epochs, batch_size=16, labelled_share=0.75)
    schedule = teaching.scheduled(recipe("student-fingerprint"), labelled).schedule
    assert (schedule.epochs, schedule.batch_size) == (expected, 16)


def test_a_damaged_shard_is_told_before_anything_is_scored(library: PreparedLibrary, tmp_path: Path) -> None:
    selection = library.select([], None, seed=0)
    broken = library_of(tmp_path / "broken", [["CCO", "CCC"]])
    (tmp_path / "broken" / shard_name(0)).write_bytes(b"ARROW1")
    with pytest.raises(UsageError, match="is missing or damaged: run the same 'gallon prepare' again"):
        scores_module.missing_rows(broken, tmp_path, 0, selection)


def test_a_machine_that_does_not_reach_a_teacher_says_so_when_it_is_asked(
    library: PreparedLibrary, tmp_path: Path
) -> None:
    scorer = Scorer(tmp_path / "elsewhere", library.folder, tmp_path)  # an actor that fails here is only dead
    with pytest.raises(UsageError, match=r"There is no model in .*elsewhere"):
        scorer.score(0, np.zeros(1, dtype=np.int64))


def test_what_ends_a_scorer_is_told_as_it_was_raised(
    library: PreparedLibrary, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OutputError(Path("scores"), "No space left on device")

    def pool_on_a_full_disk(_actors: list[Any]) -> Any:
        def map_unordered(_ask: object, _work: object) -> Any:
            raise RayTaskError("score", "traceback", full).as_instanceof_cause()

        return SimpleNamespace(map_unordered=map_unordered)

    actor = SimpleNamespace(remote=lambda *_: None)
    monkeypatch.setattr("ray.remote", lambda **_: lambda _scorer: actor)
    monkeypatch.setattr("ray.util.ActorPool", pool_on_a_full_disk)
    session: Any = SimpleNamespace(gpus=0, room=lambda *_: 1)
    with pytest.raises(OutputError) as raised:
        score_library(library, library.select([], None, seed=0), teacher, session)
    assert raised.value is full
