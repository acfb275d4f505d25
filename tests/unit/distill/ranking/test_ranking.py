"""An LLM's order of candidates for neighbours: what it is shown, what its answers say, and who reads them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import gallon
from cluster.library.cells import with_columns
from cluster.library.molecules import unique_entries
from cluster.library.source import resolve
from distill.data.annotations import Annotations
from distill.data.dataset import Dataset, read
from distill.data.splits import Split, split
from distill.features.library_graph import NEIGHBOURS, LibraryGraph
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from distill.ranking.prompt import candidates_of, column_names, ranking_prompt, record_keys
from distill.ranking.ranking import Ranking
from gallon.cli.app import app
from teacher.errors import UsageError
from teacher.llm.prompt import load
from teacher.llm.schema import for_grammar
from teacher.llm.validation import RejectedError, well_formed
from teacher.nn.library import LibraryInputs
from tests.support.molecules import write_chains

OFFERED = 10
LABELS = {"target": "length", "split": "random", "smiles_column": "smiles"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chains(tmp_path_factory.mktemp("data") / "chains.csv", first=9001)


@pytest.fixture(scope="module")
def dataset(table: Path) -> Dataset:
    return read(table, targets=["length"])


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, "random", seed=0)


@pytest.fixture(scope="module")
def offered(dataset: Dataset, parts: Split) -> LibraryGraph:
    return candidates_of(dataset, parts, OFFERED)


def ranked(dataset: Dataset, offered: LibraryGraph, text: str | None) -> Ranking:
    return Ranking.of(Annotations((text,) * len(dataset), "spec", "sha"), offered)


def test_candidates_are_training_molecules_never_the_molecule_itself_and_no_label_is_shown(
    table: Path, dataset: Dataset, parts: Split, tmp_path: Path
) -> None:
    prompt_file, candidates_file = gallon.ranking_prompt(
        table, **LABELS, out=tmp_path / "rank.yaml", candidates=OFFERED
    )
    assert load(str(prompt_file)).row_columns == column_names(OFFERED)
    rows = list(csv.DictReader(candidates_file.open()))
    assert list(rows[0]) == ["smiles", *column_names(OFFERED)]
    assert [row["smiles"] for row in rows] == list(dataset.smiles)
    training = {dataset.smiles[row] for row in parts.train}
    for row in rows:
        shown = {row[name] for name in column_names(OFFERED)} - {""}
        assert len(shown) == OFFERED and shown <= training - {row["smiles"]}
    assert "90" not in candidates_file.read_text() + prompt_file.read_text()  # as all labels begin
    with pytest.raises(UsageError, match="exists already"):
        gallon.ranking_prompt(table, **LABELS, out=tmp_path / "rank.yaml")


def test_the_command_names_the_files_that_it_has_written(table: Path, tmp_path: Path) -> None:
    words = ["prompt", "rank", str(table), "--target", "length", "--split", "random", "--out", str(tmp_path / "r.yaml")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(done.stdout) == {"path": str(tmp_path / "r.yaml"), "table": str(tmp_path / "r.csv")}
    done = CliRunner().invoke(app, [*words, "--overwrite"])
    assert done.stdout == f"Written to {tmp_path / 'r.yaml'} and {tmp_path / 'r.csv'}\n"


def test_an_answer_belongs_to_the_candidates_that_were_offered(
    table: Path, dataset: Dataset, parts: Split, offered: LibraryGraph, tmp_path: Path
) -> None:
    _, candidates_file = gallon.ranking_prompt(table, **LABELS, out=tmp_path / "rank.yaml", candidates=OFFERED)
    annotated = with_columns(resolve([str(candidates_file)]), column_names(OFFERED))
    asked = {entry.molecule.key: entry.key for entry in unique_entries(annotated)}
    assert [asked[key] for key in dataset.keys] == record_keys(dataset, offered)
    other = record_keys(dataset, candidates_of(dataset, split(dataset, "random", seed=1), OFFERED))
    assert len(set(other) & set(asked.values())) < len(dataset) / 10


def test_the_prompt_takes_an_order_and_nothing_else() -> None:
    prompt = ranking_prompt(["logS"], candidates=OFFERED, question="How soluble is it?")
    assert "How soluble is it?" in prompt["instructions"] and "logS" in ranking_prompt(["logS"])["instructions"]
    well_formed('{"order": [3, 1, 10]}', "stop", prompt["schema"])
    for answer in ("[3, 3]", "[0]", "[11]", "[]", '["3"]', "[1, 2, 3, 4, 5, 6, 7, 8, 9]"):
        with pytest.raises(RejectedError):
            well_formed(f'{{"order": {answer}}}', "stop", prompt["schema"])
    assert "uniqueItems" not in json.dumps(for_grammar(prompt["schema"]))  # which no grammar of vLLM's takes
    with pytest.raises(UsageError, match="an order of 8 candidates decides nothing"):
        ranking_prompt(["logS"], candidates=NEIGHBOURS)


@pytest.mark.parametrize("order", ["3", "[1, 1]", "[0]", "[11]", "[true]", "[1.0]", "[]", "null", None])
def test_what_is_no_order_of_what_was_offered_leaves_the_most_similar_first(
    order: str | None, dataset: Dataset, offered: LibraryGraph
) -> None:
    ranking = ranked(dataset, offered, order and f'{{"order": {order}}}')
    assert not ranking.answered.any() and ranking.facts["answered"] == 0
    for by in ("llm", "shuffled", "tanimoto"):
        assert np.array_equal(ranking.nearest(4, by).neighbours, offered.neighbours[:, :4])


def test_neighbours_come_in_the_llms_order_and_the_control_draws_out_of_the_same(
    dataset: Dataset, offered: LibraryGraph
) -> None:
    ranking = ranked(dataset, offered, '{"order": [10, 2]}')
    assert ranking.answered.all() and ranking.facts["candidates"] == OFFERED
    near = ranking.nearest(4, "llm")
    assert np.array_equal(near.neighbours, offered.neighbours[:, [9, 1, 0, 2]])
    assert np.array_equal(near.similarity, offered.similarity[:, [9, 1, 0, 2]])
    by_chance = ranking.nearest(OFFERED, "shuffled").neighbours
    assert np.array_equal(np.sort(by_chance), np.sort(offered.neighbours))
    assert not np.array_equal(by_chance[:, :4], offered.neighbours[:, :4])
    few = replace(offered, neighbours=np.where(np.arange(OFFERED) < 3, offered.neighbours, -1))
    assert (ranked(dataset, few, '{"order": [2]}').nearest(3, "shuffled").neighbours >= 0).all()
    assert not ranked(dataset, few, '{"order": [4]}').answered.any()  # there is no fourth


def test_a_network_over_the_library_takes_the_neighbours_that_the_llm_names(
    dataset: Dataset, parts: Split, offered: LibraryGraph, tmp_path: Path
) -> None:
    texts = tuple(f"text {number}" for number in range(len(dataset)))
    model_inputs = ModelInputs(dataset, Annotations(texts, "spec", "sha"), tmp_path)
    with pytest.raises(UsageError, match=r"'gallon prompt rank'.*--ranking"):
        model_inputs.inputs(recipe("e-llagnn-sage-ranked"), parts)
    last_first = ranked(dataset, offered, json.dumps({"order": list(range(OFFERED, OFFERED - NEIGHBOURS, -1))}))
    asked = replace(model_inputs, rankings={parts.sha256: last_first})
    read_by = {
        name: asked.inputs(recipe(name), parts)
        for name in ("e-llagnn-sage", "e-llagnn-sage-ranked", "e-llagnn-gcn-ranked", "e-llagnn-sage-shuffled")
    }
    near = {name: inputs.neighbours for name, (_, inputs) in read_by.items() if isinstance(inputs, LibraryInputs)}
    assert np.array_equal(near["e-llagnn-sage"], offered.neighbours[:, :NEIGHBOURS])
    assert np.array_equal(near["e-llagnn-sage-ranked"], offered.neighbours[:, ::-1][:, :NEIGHBOURS])
    assert np.array_equal(near["e-llagnn-gcn-ranked"], near["e-llagnn-sage-ranked"])
    assert len({each.tobytes() for each in near.values()}) == 3 and len({name for name, _ in read_by.values()}) == 3
    assert all(np.isin(each, [*parts.train.tolist(), -1]).all() for each in near.values())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"methods": "e-llagnn-sage-ranked"}, "--labels and e-llagnn-sage-ranked: an LLM has ordered neighbours"),
        (
            {"methods": "student+lm", "lm": "e-llagnn-gcn-ranked"},
            "--labels and e-llagnn-gcn-ranked: an LLM has ordered",
        ),
        ({"methods": "llm-few-shot"}, "--labels and llm-few-shot: the LLM predicted with labels"),
        ({"methods": "mmf-few-shot"}, "--labels and mmf-few-shot: the LLM predicted with labels"),
        ({"methods": "student+pseudo-labels"}, r"--labels and student\+pseudo-labels: the LLM predicted with labels"),
        ({"lm": "mmf-few-shot"}, "--labels and mmf-few-shot: the LLM predicted with labels"),
        (
            {"llm_budget": 0.5, "budget_by": "uncertainty"},
            "--labels and --budget-by uncertainty: networks that saw all",
        ),
        ({"trials": 5}, "--labels and --trials: the search would see the labels"),
    ],
)
def test_what_an_llm_or_a_choice_made_of_all_labels_is_not_compared_with_fewer(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        gallon.evaluate("esol", label_counts=[50], **options)
