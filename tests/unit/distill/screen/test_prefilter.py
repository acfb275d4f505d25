"""A student that reads the text of a SMILES says roughly what its teacher does, and a prefilter keeps what it likes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cluster.library.kept import keep_columns
from cluster.library.source import resolve
from distill.models.model_store import NGRAMS, WEIGHTS
from distill.screen import ngram_student, prefilter, screening
from distill.screen.ngram_student import NGramStudent, recall, shares_that_find
from distill.screen.selection import Selection
from teacher.errors import UsageError
from teacher.tiny import library
from tests.support.models import TARGET, untrained_student

ROWS = 400
FACTS = {"model": "a digest", "library": ["library.smi"]}


@pytest.fixture(scope="module")
def smiles() -> list[bytes]:
    return [text.encode() for text in library.read(None)[:1_500]]


@pytest.fixture(scope="module")
def values(smiles: list[bytes]) -> np.ndarray:
    """Two properties that n-grams can tell: one of numbers, one of shares."""
    nitrogens = np.array([text.count(b"N") + 0.3 * len(text) for text in smiles])
    double = np.array([text.count(b"=") / (len(text) + 1) for text in smiles])
    return np.stack([nitrogens, double], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def learnt(smiles: list[bytes], values: np.ndarray) -> NGramStudent:
    return NGramStudent.distilled(smiles, values, FACTS)


def test_it_says_what_it_was_distilled_from(learnt: NGramStudent, smiles: list[bytes], values: np.ndarray) -> None:
    assert min(learnt.card["r2"]) > 0.9
    said = learnt.score(smiles)
    assert said.shape == values.shape
    assert [np.corrcoef(*pair)[0, 1] > 0.95 for pair in zip(said.T, values.T, strict=True)] == [True, True]
    assert np.allclose(learnt.score(smiles[5:7]), said[5:7], atol=1e-4)  # whatever stands beside it
    assert learnt.score([]).shape == (0, 2)
    assert recall(learnt.card["found_at"][0]["highest"], 0.2) == 1


def test_it_is_kept_in_a_file_for_the_model_that_it_was_distilled_from(
    learnt: NGramStudent, smiles: list[bytes], tmp_path: Path
) -> None:
    learnt.save(tmp_path / NGRAMS)
    again = NGramStudent.load(tmp_path / NGRAMS, FACTS)
    assert again is not None and again.card == learnt.card
    assert np.array_equal(again.score(smiles[:50]), learnt.score(smiles[:50]))
    assert NGramStudent.load(tmp_path / NGRAMS, {**FACTS, "model": "another"}) is None
    assert NGramStudent.load(tmp_path / NGRAMS, {**FACTS, "library": ["other.smi"]}) is None
    assert NGramStudent.load(tmp_path / "nothing", FACTS) is None
    (tmp_path / NGRAMS).write_bytes(b"damage")
    assert NGramStudent.load(tmp_path / NGRAMS, FACTS) is None


def test_recall_is_the_share_of_the_best_that_are_kept() -> None:
    values = np.arange(1_000, dtype=np.float32)
    said = values.copy()
    said[995:] = 0  # five of the best ten, and of the worst ten none, are taken for bad
    highest, lowest = (shares_that_find(said, values)[end] for end in ("highest", "lowest"))
    assert [recall(highest, share) for share in (0.0001, 0.003, 0.02, 0.5, 0.998, 1.0)] == [0, 0.3, 0.5, 0.5, 0.8, 1]
    assert [recall(lowest, share) for share in (0.0005, 0.006, 0.02)] == [0.0, 0.1, 1.0]


def in_units(student: Path, unit: float) -> Path:
    """Let a student predict values that are so many times as large."""
    weights = load_file(student / WEIGHTS)
    save_file({**weights, "deviations": weights["deviations"] * np.float32(unit)}, student / WEIGHTS)
    return student


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefilter, "LEAST", 100)
    monkeypatch.setattr(ngram_student, "PENALTIES", (100.0,))


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize(("keep", "kept", "unit"), [(0.1, 40, 1.0), (25, 25, 1e6), (25, 25, 1e-9)])
@pytest.mark.parametrize("times", [1, 2])
def test_only_what_a_prefilter_keeps_is_scored(
    smiles: list[bytes], tmp_path: Path, keep: float, kept: int, unit: float, times: int
) -> None:
    student = in_units(untrained_student(tmp_path), unit)
    file = tmp_path / "library.smi"
    rows = [text.decode() for text in dict.fromkeys(smiles[:600])][: ROWS // times] * times
    file.write_text("\n".join(rows) + "\n")
    sources = resolve([str(file)])
    selection = Selection(prefilter=keep, lowest=True)
    done = screening.screen(
        sources, student, tmp_path / "out.csv", limit=None, kept=keep_columns(sources), selection=selection
    )
    assert (done.rows, done.left_out) == (kept, ROWS - kept)
    assert done.recall is not None and 0 <= done.recall <= 1
    said = NGramStudent.load(student / NGRAMS, {"model": screening._digest(student), "library": [str(file)]})
    assert said is not None and said.card["molecules"] + 2 * said.card["held_out"] == ROWS // times  # each once
    scores = said.score([row.encode() for row in rows])[:, 0]
    assert np.isfinite(scores).all() and len(np.unique(scores)) > ROWS // times / 2
    best = np.argsort(scores, kind="stable")[:kept]
    written = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [int(row["row"]) - 1 for row in written] == sorted(best.tolist())
    assert all(rows[int(row["row"]) - 1] == row["smiles"] for row in written)
    assert any(row[TARGET] for row in written)
    state = (student / NGRAMS).stat().st_mtime_ns
    screening.screen(sources, student, tmp_path / "again.csv", limit=None, selection=selection)
    assert (student / NGRAMS).stat().st_mtime_ns == state
    screening.screen(sources, student, tmp_path / "few.csv", limit=ROWS // 2, selection=selection)
    assert (student / NGRAMS).stat().st_mtime_ns != state  # nor is what is told of its first rows told of all
    state = (student / NGRAMS).stat().st_mtime_ns
    other = file.rename(tmp_path / "other.smi")
    screening.screen(resolve([str(other)]), student, tmp_path / "other.csv", limit=None, selection=selection)
    assert (student / NGRAMS).stat().st_mtime_ns != state  # what is told of a library is not told of another


def test_mol_blocks_have_no_text_to_be_filtered_by(tmp_path: Path) -> None:
    (tmp_path / "library.sdf").write_text("\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n")
    sources = resolve([str(tmp_path / "library.sdf")])
    with pytest.raises(UsageError, match="holds mol blocks"):
        screening.screen(
            sources, untrained_student(tmp_path), tmp_path / "out.csv", limit=None, selection=Selection(prefilter=0.1)
        )
