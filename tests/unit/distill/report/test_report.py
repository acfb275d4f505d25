"""The report of a comparison: what stands in its files, and that nothing out of the data gets into the page as HTML."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rdkit import RDConfig
from rdkit.Chem import Descriptors, MolFromSmiles

from distill.data.dataset import Dataset, Target, read
from distill.data.splits import split
from distill.evaluate.methods import REFERENCE
from distill.evaluate.provenance import provenance
from distill.features.features_id import features_id
from distill.judge import prediction_file
from distill.judge.curve import FewerLabels
from distill.judge.judged import Judged, SeededSplit
from distill.judge.run import Run, scored
from distill.judge.summary import summarize
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import main_metric
from distill.models.card import ModelCard
from distill.models.model_store import FORMAT
from distill.report import html
from distill.report.comparison import write
from distill.report.plots import MOST_POINTS, limits_of, parity
from distill.report.training_section import training_section
from teacher.errors import UsageError
from tests.support.browser import opened

MOLECULES = 120
SCRIPT = "<script>alert('x')</script>"
METHODS = ("gradient_boosting", "student", REFERENCE)


def molecules() -> list[str]:
    """Return the first molecules of the NCI set that RDKit carries."""
    with (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").open() as file:
        return [line.split()[0] for line in islice(file, MOLECULES)]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Molecules with their refractivity."""
    return dataset(tmp_path_factory.mktemp("numbers"), lambda mol: f"{Descriptors.MolMR(mol):.2f}")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Molecules, and whether they hold nitrogen."""
    return dataset(
        tmp_path_factory.mktemp("classes"), lambda mol: str(int(any(a.GetAtomicNum() == 7 for a in mol.GetAtoms())))
    )


def dataset(folder: Path, label) -> Dataset:
    rows = [f"{smiles},{label(MolFromSmiles(smiles))}" for smiles in molecules() if MolFromSmiles(smiles)]
    path = folder / "data.csv"
    path.write_text("\n".join(["smiles,y", *rows]) + "\n")
    return read(path, targets=["y"])


def runs_of(judged: Judged, methods: Sequence[str] = METHODS) -> list[Run]:
    """Return runs of methods that err the more, the later they come."""
    runs = []
    for error, method in enumerate(methods, start=1):
        for split_ in judged.splits:
            noise = np.random.default_rng(split_.seed).normal(scale=error / 4, size=judged.labels.shape)
            said = judged.labels + (noise if judged.kind == "classification" else 4 * noise)
            said = np.clip(said, 0, 1) if judged.kind == "classification" else said
            chosen = "atoms" if method.startswith("student") else None
            runs.append(scored(judged, split_, said, method=method, seed=split_.seed, chosen=chosen))
    return runs


def cases_of(of: Dataset, seeds: int, kind: str) -> list[SeededSplit]:
    return [SeededSplit(seed=seed, split=split(of, kind, seed=seed)) for seed in range(seeds)]


def report(folder: Path, of: Dataset, *, seeds: int = 3, kind: str = "random", methods: Sequence[str] = METHODS) -> str:
    """Write a report of hand-made runs, and return its page."""
    cases = cases_of(of, seeds, kind)
    judged = Judged.of(of, cases)
    return written(folder, of, cases, judged, runs_of(judged, methods))


def written(folder: Path, of: Dataset, cases: list[SeededSplit], judged: Judged, runs: Sequence[Run]) -> str:
    summary = summarize(judged, runs, REFERENCE)
    return write(folder, judged, runs, summary, made_of=made_of(of, cases, folder, trials=7)).read_text()


def made_of(of: Dataset, cases: list[SeededSplit], folder: Path, trials: int = 0) -> dict[str, Any]:
    return provenance(ModelInputs(of, None, folder / "inputs"), cases, trials)


class Page(HTMLParser):
    """The elements of a page that are open, all that were, and their ids."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def marked(page: str) -> dict[str, str]:
    """Return the methods of the table, in order, each with what its row says: bold, better, worse."""
    words = {"▲": "better", "▼": "worse", "": ""}
    table = page[page.index('<h2 id="table">') : page.index('<h2 id="labels">')]
    rows = re.findall(r'<tr( class="best")?><th scope="row">([^<]*)<.*?<td>([▲▼]?)', table)
    return {method: " ".join(filter(None, ["bold" if best else "", words[mark]])) for best, method, mark in rows}


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, numbers: Dataset, classes: Dataset):
    for of in (numbers, classes):
        page = report(tmp_path / of.kind, of)
        parsed = Page(page)
        assert parsed.open == []
        assert len(set(parsed.ids)) == len(parsed.ids)
        assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
        assert "http:" not in page
        assert "https:" not in page
        assert "@import" not in page
        assert set(re.findall(r'(?:href|src)="(.)', page)) <= {"#"}
        assert "nan" not in page.lower().replace("name", "")


def test_json_inside_a_page_cannot_end_its_script() -> None:
    value = {"name": "</script><script>alert(1)</script><!--"}
    text = str(html.data(value))
    assert "<" not in text
    assert json.loads(text) == value


@pytest.mark.parametrize("page", ["distill/report/comparison.html.j2", "distill/report/run.html.j2"])
def test_a_page_loads_nothing_by_default(page: str) -> None:
    text = Path(page).read_text()
    assert "Content-Security-Policy\" content=\"default-src 'none'; " in text


def test_what_comes_from_the_data_is_escaped(tmp_path: Path, numbers: Dataset):
    evil = replace(
        numbers,
        name=SCRIPT,
        targets=(Target(SCRIPT, "regression"),),
        smiles=tuple(f"{smiles} {SCRIPT}" for smiles in numbers.smiles),
    )
    page = report(tmp_path, evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 3
    assert json.loads((tmp_path / "table.json").read_text())["dataset"]["name"] == SCRIPT


def test_the_best_is_bold_and_what_surely_differs_is_marked(tmp_path: Path, numbers: Dataset):
    best_first, best_last = (
        report(tmp_path / name, numbers, seeds=8, methods=methods)
        for name, methods in (("first", METHODS), ("last", METHODS[::-1]))
    )
    assert marked(best_first) == {"gradient_boosting": "bold better", "student": "better", REFERENCE: ""}
    assert marked(best_last) == {REFERENCE: "bold", "student": "worse", "gradient_boosting": "worse"}
    assert "gradient_boosting has the lowest RMSE" in best_first
    assert "it is significantly better than all 2 others" in best_first
    assert "significantly better than none of them" in best_first


def test_the_table_has_room_on_a_screen(tmp_path: Path, numbers: Dataset):
    report(tmp_path, numbers, seeds=5, methods=(*METHODS, "student+both+transfer", "random_forest"))
    page = tmp_path / "comparison.html"
    long_words = page.read_text().replace("atoms ×5", "fingerprint ×2, atoms-1hop ×2, atoms ×1")
    page.write_text(long_words)
    with opened(page, viewport={"width": 1400, "height": 900}) as browser:
        overflow = "[...document.querySelectorAll('.wide')].map(box => box.scrollWidth - box.clientWidth)"
        assert set(browser.evaluate(overflow)) == {0}


def test_the_page_says_what_its_intervals_are_worth(tmp_path: Path, numbers: Dataset):
    assert "Nadeau and Bengio over the 3 splits" in report(tmp_path / "random", numbers)
    on_one_split = report(tmp_path / "scaffold", numbers, kind="scaffold")
    assert re.search(r"a bootstrap over the \d+ test molecules, scaffold by scaffold, and over the seeds", on_one_split)
    assert "One seed does not tell" in report(tmp_path / "one", numbers, seeds=1, kind="scaffold")
    assert re.search(r"the test part has \d scaffolds, and fewer", report(tmp_path / "few", numbers, seeds=1))
    assert "only method" in report(tmp_path / "alone", numbers, methods=["student"])


def test_where_pre_training_may_have_seen_the_set_the_page_says_so(tmp_path: Path, numbers: Dataset):
    cases = cases_of(numbers, 1, "random")
    judged = Judged.of(numbers, cases)
    runs = runs_of(judged)
    told = {}
    for overlap in (None, "hiv is measured by assays that MiniMol has seen"):
        network = {"title": "MiniMol", "version": "0.1.1", "licence": "MIT", "data": "PubChem", "overlap": overlap}
        facts = {**made_of(numbers, cases, tmp_path), "pretrained": {"minimol": network}}
        told[overlap] = write(tmp_path, judged, runs, summarize(judged, runs, REFERENCE), made_of=facts).read_text()
        assert "minimol reads vectors of MiniMol 0.1.1, pre-trained on PubChem" in told[overlap]
    assert ["assays that MiniMol has seen" in page for page in told.values()] == [False, True]
    assert "minimol" not in report(tmp_path, numbers, methods=METHODS)


@pytest.mark.parametrize("methods", [METHODS, METHODS[:2]])  # with the reference and without
def test_the_page_tells_how_settings_and_intervals_came_about(
    tmp_path: Path, numbers: Dataset, methods: Sequence[str]
) -> None:
    page = " ".join(report(tmp_path, numbers, methods=methods).split())
    assert page.count("Settings were tuned under the first seed's split alone") == 1
    assert page.count("the t-test of Nadeau and Bengio over the 3 splits") == 1


def test_the_page_shows_which_rules_count(tmp_path: Path, numbers: Dataset):
    told = [{"rule": f"rule {place}", "why": SCRIPT, "worse_by": 0.5 - 0.01 * place} for place in range(30)]
    cases = [SeededSplit(seed=0, split=split(numbers, "random"))]
    judged = Judged.of(numbers, cases)
    made_of = provenance(ModelInputs(numbers, None, tmp_path), cases, trials=0)
    runs = runs_of(judged)
    for counting, known in ((told, True), ([], False)):
        facts = {**made_of, **({"rules_that_count": counting} if counting else {})}
        path = write(tmp_path, judged, runs, summarize(judged, runs, REFERENCE), made_of=facts)
        assert ("Rules that count" in path.read_text()) == known
        if known:
            assert "rule 19</th><td>0.310" in path.read_text() and "rule 20</th>" not in path.read_text()
            assert SCRIPT not in path.read_text()


def test_scores_with_fewer_labels_are_drawn_and_kept_until_a_comparison_without(tmp_path: Path, numbers: Dataset):
    cases = cases_of(numbers, 2, "random")
    judged = Judged.of(numbers, cases)
    runs = runs_of(judged)
    fewer = [
        FewerLabels(labels=labels, judged=judged, runs=runs, summary=summarize(judged, runs, REFERENCE))
        for labels in (20, 60)
    ]
    facts = made_of(numbers, cases, tmp_path)
    page = write(tmp_path, judged, runs, fewer[0].summary, made_of=facts, fewer=fewer).read_text()
    assert f"{main_metric('regression').upper()} of each method over the number of labels" in page
    assert list(prediction_file.with_fewer(tmp_path)) == [20, 60]
    page = write(tmp_path, judged, runs, fewer[0].summary, made_of=facts).read_text()
    assert "over the number of labels" not in page
    assert not prediction_file.with_fewer(tmp_path)


def test_published_scores_stand_beside_a_table_of_their_set_alone(tmp_path: Path, numbers: Dataset):
    page = report(tmp_path / "lipo", replace(numbers, name="lipo", benchmark=True))
    assert page.index("Uni-Mol") < page.index("GEM") < page.index("D-MPNN")  # the best first
    assert "Defaults of gallon were developed on lipo" in page
    free = replace(numbers, name="freesolv", benchmark=True)
    assert "No default of gallon was chosen on freesolv" in report(tmp_path / "free", free)
    for own in (numbers, replace(numbers, name="freesolv"), replace(numbers, name="lipo")):  # files of such names
        page = report(tmp_path / "own", own)
        assert not re.search("Uni-Mol|Defaults of gallon|No default of gallon", page)
    as_numbers = report(tmp_path / "bace", replace(numbers, name="bace", benchmark=True))
    assert "Uni-Mol" not in as_numbers  # whose scores are of classes


def test_gains_are_drawn_with_their_intervals(tmp_path: Path, numbers: Dataset):
    page = report(tmp_path, numbers)
    assert f"Gain of each method over {REFERENCE}" in page
    assert page.count(">gradient_boosting<") == 3  # in the figure and in two tables
    assert "Gain of each" not in report(tmp_path / "none", numbers, methods=("student", "gradient_boosting"))


def test_tables_are_made_again_out_of_the_predictions(tmp_path: Path, numbers: Dataset, classes: Dataset):
    for of, kind in ((numbers, "random"), (classes, "scaffold")):
        folder = tmp_path / of.kind
        page = report(folder, of, kind=kind)
        files = {name: (folder / name).read_bytes() for name in ("table.json", "table.csv")}
        kept = prediction_file.read(folder / prediction_file.FILE)
        again = write(
            tmp_path / "again",
            kept.judged,
            kept.runs,
            summarize(kept.judged, kept.runs, REFERENCE),
            made_of=kept.made_of,
        )
        assert {name: (tmp_path / "again" / name).read_bytes() for name in files} == files
        assert again.read_text() == page


def test_a_file_of_predictions_lists_its_molecules_once_a_method(tmp_path: Path, numbers: Dataset):
    report(tmp_path, numbers, kind="random")
    file = pq.ParquetFile(tmp_path / prediction_file.FILE)
    methods = {run.method for run in prediction_file.read(tmp_path / prediction_file.FILE).runs}
    assert file.num_row_groups == len(methods)


@pytest.mark.parametrize("damage", ["nothing", "text", "other table", "metadata"])
def test_a_file_that_holds_no_predictions_is_told(tmp_path: Path, numbers: Dataset, damage: str):
    file = tmp_path / prediction_file.FILE
    if damage != "nothing":
        report(tmp_path, numbers)
        table = pq.read_table(file)
        if damage == "text":
            file.write_text("method,seed")
        elif damage == "other table":
            pq.write_table(table.drop(["predicted"]), file)
        else:
            pq.write_table(table.replace_schema_metadata({b"gallon": b'{"format": "gallon predictions 1"}'}), file)
    with pytest.raises(UsageError, match="without --recompute"):
        prediction_file.read(file)


def test_the_worst_molecules_come_first(tmp_path: Path, numbers: Dataset):
    page = report(tmp_path, numbers)
    errors = [
        abs(float(truth) - float(said)) for truth, said in re.findall(r"measured ([\d.]+), predicted ([-\d.]+)", page)
    ]
    assert len(errors) == 12
    assert errors == sorted(errors, reverse=True)
    assert f"Where {REFERENCE} is most wrong" in page


def test_without_the_reference_the_best_is_looked_at(tmp_path: Path, numbers: Dataset):
    page = report(tmp_path, numbers, methods=("student", "gradient_boosting"))
    assert "Where student is most wrong" in page
    assert "gain over" not in page


def test_json_tells_all_and_csv_the_table(tmp_path: Path, classes: Dataset):
    report(tmp_path, classes, kind="scaffold")
    facts = json.loads((tmp_path / "table.json").read_text())
    assert facts["trials"] == 7
    assert facts["dataset"]["sha256"] == classes.sha256
    assert [of["seeds"] for of in facts["splits"]] == [[0, 1, 2]]
    counts = facts["splits"][0]["labels"][0]
    assert counts["train"] + counts["valid"] + counts["test"] == len(classes)
    assert sum(counts[f"{part}_positive"] for part in ("train", "valid", "test")) == int(classes.labels.sum())
    assert {(run["method"], run["seed"]) for run in facts["runs"]} == {(m, s) for m in METHODS for s in range(3)}
    assert {"roc_auc", "average_precision"} <= set(facts["runs"][0]["test"])
    assert facts["versions"]["rdkit"]
    assert facts["machine"]["cores"]
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["method"] for row in rows) == sorted(METHODS)
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in facts["rows"]]
    assert next(row["chosen"] for row in rows if row["method"] == "student") == "atoms x3"


def test_what_cannot_be_scored_is_left_open(tmp_path: Path, classes: Dataset):
    labels = np.hstack([np.zeros_like(classes.labels), classes.labels])
    labels[0] = 1  # in the training part
    parts = split(classes, "random")
    of = replace(classes, labels=labels, targets=(Target("rare", "classification"), Target("common", "classification")))
    train = np.union1d(parts.train, [0])
    case = SeededSplit(
        seed=0,
        split=replace(parts, train=train, valid=np.setdiff1d(parts.valid, [0]), test=np.setdiff1d(parts.test, [0])),
    )
    judged = Judged.of(of, [case])
    runs = [replace(run, valid=float("nan")) for run in runs_of(judged)]
    page = written(tmp_path, of, [case], judged, runs)
    assert "1 target that it cannot judge, left out" in page
    assert "common, the first target that the test part can judge" in page
    assert json.loads((tmp_path / "table.json").read_text())["runs"][0]["valid"] is None


def test_a_plot_of_many_points_does_not_grow_with_them():
    truth = np.linspace(0, 1, 20 * MOST_POINTS)
    limits = limits_of(truth, [truth, truth * 100])
    assert limits[1] < 3
    assert len(parity(truth, truth * 100, limits, "many")) < 100_000


def put_model(folder: Path, of: Dataset, history: Sequence[dict[str, float]] = ()) -> None:
    """Write the card of a model as `gallon teach` does."""
    card = ModelCard(
        recipe="gcn",
        settings={},
        descriptors="none",
        features=features_id(),
        targets=of.targets,
        dataset={"name": of.name, "sha256": of.sha256},
        split={"kind": "random", "sha256": "0", "description": "random"},
        seed=0,
        metrics={"test": {"rmse": 0.5}},
        history=history,
    )
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"format": FORMAT, **asdict(card)}))


def test_what_was_learnt_can_stand_inside_another_page(tmp_path: Path, numbers: Dataset):
    history = [{"epoch": epoch, "loss": 1 / epoch, "score": -1 / epoch} for epoch in (1, 2, 3)]
    folders = [tmp_path / "one", tmp_path / "<b>two"]
    for folder in folders:
        report(folder, numbers)
        put_model(folder / "gcn", numbers, history)
    both = [training_section(folder) for folder in folders]
    assert [model.metric for each in both for model in each.models] == ["rmse", "rmse"]
    parsed = Page("".join(f"{each.models[0].curve}" for each in both))
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert [each.comparison for each in both] == [(folder / "comparison.html").read_text() for folder in folders]


def test_a_model_that_was_saved_without_its_history_has_no_curve(tmp_path: Path, numbers: Dataset):
    put_model(tmp_path / "gcn", numbers)
    (model,) = training_section(tmp_path).models
    assert model.curve is None
