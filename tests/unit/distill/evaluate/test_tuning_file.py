"""What `gallon evaluate --trials` found, as the other commands take it up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.training.driver import TrainResources
from distill.data.dataset import Dataset, read
from distill.data.splits import Split, split
from distill.evaluate.budget import Settings
from distill.evaluate.search import Search
from distill.evaluate.tuning import FILE, _recipes, found_in, tuned
from distill.judge.judged import SeededSplit
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from distill.rules.rule import Rule
from distill.rules.rule_set import RuleSet
from teacher.errors import UsageError

PARAMS = {"width": 64, "dropout": 0.25, "learning_rate": 2e-3, "weight_decay": 1e-4}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = [f"{'C' * length}O,{length}" for length in range(1, 21)]
    (tmp_path / "data.csv").write_text("\n".join(["smiles,y", *rows]) + "\n")
    return read(tmp_path / "data.csv", targets=["y"])


@pytest.fixture
def parts(dataset: Dataset) -> Split:
    return split(dataset, "random")


def entry(dataset: Dataset, parts: Split, /, **changes: Any) -> dict[str, Any]:
    of_here = {"dataset": dataset.sha256, "split": parts.sha256}
    return {"method": "gin", "params": PARAMS, "value": -1.0, "trials": 5, **of_here, **changes}


def written(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / FILE
    file.write_text(json.dumps({str(number): one for number, one in enumerate(entries)}))
    return file


def test_settings_and_schedule_are_those_that_were_found(dataset: Dataset, parts: Split, tmp_path: Path) -> None:
    baseline = entry(dataset, parts, method="random_forest", params={"min_samples_leaf": 3})
    defaults = entry(dataset, parts, method="gat", params=None)
    recipes, said = found_in(written(tmp_path, entry(dataset, parts), baseline, defaults), dataset, parts)
    assert set(recipes) == {"gin", "gat"} and said == []
    gin = recipes["gin"]
    assert (gin.settings["width"], gin.settings["dropout"], gin.schedule.learning_rate) == (64, 0.25, 2e-3)
    assert gin.settings["layers"] == recipe("gin").settings["layers"]
    assert recipes["gat"] == recipe("gat")


def test_the_search_that_fits_best_counts(dataset: Dataset, parts: Split, tmp_path: Path) -> None:
    elsewhere = entry(dataset, parts, dataset="other", trials=99, params={**PARAMS, "width": 512})
    short = entry(dataset, parts, trials=2, params={**PARAMS, "width": 256})
    recipes, said = found_in(written(tmp_path, entry(dataset, parts), elsewhere, short), dataset, parts)
    assert recipes["gin"].settings["width"] == 64 and said == []


def test_settings_of_other_data_or_another_split_are_taken_and_told(
    dataset: Dataset, parts: Split, tmp_path: Path
) -> None:
    _, (said,) = found_in(written(tmp_path, entry(dataset, parts, split="other")), dataset, parts)
    assert "found under another split" in said
    _, (said,) = found_in(written(tmp_path, entry(dataset, parts, dataset="other", split="other")), dataset, parts)
    assert "found with other molecules or labels than those of data" in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file"),
        (b"{", "holds no settings of this version"),
        (b"[]", "holds no settings of this version"),
        (b'{"1": {"method": "gin"}}', "holds no settings of this version"),
        (b"{}", "holds settings of no network"),
    ],
)
def test_a_file_without_settings_is_refused(
    content: bytes | None, sentence: str, dataset: Dataset, parts: Split, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        found_in(tmp_path / FILE, dataset, parts)


def test_what_was_found_with_other_rules_is_not_taken_up(
    dataset: Dataset, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def search(new: Sequence[Search[Any]], trials: int, judge: object) -> None:
        found.extend(one.name for one in new)
        for one in new:
            one.ask(trials)
            one.tell([0.0] * trials)

    monkeypatch.setattr("distill.evaluate.tuning.search", search)
    case = SeededSplit(seed=0, split=parts)
    settings = Settings(methods=["rules"], folds=0, folder=tmp_path, resources=TrainResources())
    for smarts in ("[OX2H]", "[CX4]", "[OX2H]"):
        rules = RuleSet(task="solubility", rules=(Rule(smarts=smarts),))
        tuned(ModelInputs(dataset, None, tmp_path, rules=rules), case, settings, 1)
    assert found == ["rules", "rules"]


def test_settings_that_a_network_does_not_have_are_refused(dataset: Dataset, parts: Split, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no settings of this version"):
        found_in(written(tmp_path, entry(dataset, parts, params={"width": 64})), dataset, parts)


@pytest.mark.parametrize(
    ("rows", "searched"),
    [
        (["mugsi", "student"], {"dmpnn"}),
        (["mugsi", "minimol", "student"], {"dmpnn", "minimol"}),  # which says nothing of atoms
        (["gnn+lm", "minimol"], {"dmpnn", "minimol"}),
        (["gnn+lm", "gin"], {"gin"}),
        (["glnn", "gat"], {"gat"}),
        (["student+gnn"], {"dmpnn"}),
        (["student", "random_forest"], set()),
    ],
)
def test_whichever_graph_teacher_may_be_distilled_is_searched(
    rows: Sequence[str], searched: set[str], tmp_path: Path
) -> None:
    settings = Settings(methods=rows, folder=tmp_path, resources=TrainResources(workers=1))
    assert {name for name in _recipes(settings) if recipe(name).role == "gnn"} == searched
