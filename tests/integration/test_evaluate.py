"""`gallon evaluate`: a comparison over repeated cross-validation, and its tables made again out of its predictions."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rdkit import RDConfig

from cluster.runtime.session import RaySession
from cluster.store.open import open_store
from tests.support.command import CommandHere, Done

MOLECULES = 100
COMPARED = ("--methods", "lightgbm,random_forest", "--split", "scaffold-cv", "--seeds", "5", "--labels", "40")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Molecules with the lengths of their names."""
    path = tmp_path / "lengths.csv"
    smiles = [line.split()[0] for line in (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()]
    path.write_text("\n".join(["smiles,length", *(f"{each},{len(each)}" for each in smiles[:MOLECULES])]) + "\n")
    return path


def told(done: Done) -> dict[str, Any]:
    """Return what a command in this process has written with `--json`."""
    assert done.status == 0, done.err
    facts: dict[str, Any] = json.loads(done.out.splitlines()[-1])
    return facts


def test_a_comparison_is_made_again_out_of_its_predictions(
    table: Path, ray_address: str, command_here: CommandHere, tmp_path: Path
) -> None:
    what = ("evaluate", table, "--target", "length", "--out", tmp_path / "results")
    first = told(command_here(*what, *COMPARED, "--ray", ray_address, "--json", store=tmp_path / "store"))
    assert [len(split["seeds"]) for split in first["splits"]] == [1] * 5
    assert {row["seeds"] for row in first["rows"]} == {5}
    assert first["verdict"].split(" has ")[0] == first["rows"][0]["method"]

    kept = pq.read_table(tmp_path / "results" / "predictions.parquet").to_pandas()
    judged = kept[kept["part"] == "test"].groupby("method", observed=True)["molecule"]
    assert set(judged.nunique()) == set(judged.count())  # once by each method, in five folds

    report = (tmp_path / "results" / "table.json").read_text()
    fewer = {each["labels"]: {row["seeds"] for row in each["rows"]} for each in json.loads(report)["fewer_labels"]}
    assert fewer == {40: {5}}
    assert {row["fits"] for row in first["rows"]} == {1} and all(row["spent"] > 0 for row in first["rows"])

    (tmp_path / "results" / "table.csv").unlink()
    table.unlink()
    again = told(command_here(*what, "--recompute", "--json", store=tmp_path / "store"))
    assert again == first
    assert (tmp_path / "results" / "table.csv").exists()
    assert (tmp_path / "results" / "table.json").read_text() == report


def test_without_predictions_nothing_can_be_made_again(command_here: CommandHere, tmp_path: Path) -> None:
    done = command_here("evaluate", "esol", "--recompute", "--out", tmp_path, store=tmp_path / "store")
    assert done.status == 2
    assert "There are no predictions in" in done.err and "Traceback" not in done.err


def test_rows_that_read_texts_are_also_made_with_those_of_other_specs(
    table: Path, ray_here: RaySession, command_here: CommandHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gallon.api.annotation.ray_session", lambda _: nullcontext(ray_here))
    store, texts = tmp_path / "store", tmp_path / "texts.jsonl"
    smiles = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
    about = {"telling": [f"a name of {len(each)} letters" for each in smiles], "silent": ["a molecule"] * len(smiles)}
    lines = [
        json.dumps({"smiles": one, "text": text, "model": model})
        for model, said in about.items()
        for one, text in zip(smiles, said, strict=True)
    ]
    texts.write_text("\n".join(lines) + "\n")
    told(command_here("import", texts, "--json", store=store))
    with open_store(str(store), create=False) as opened:
        specs = {spec.model.name: spec.id for spec in opened.specs().values()}
    what = ("evaluate", table, "--target", "length", "--out", tmp_path / "results")
    compared = ("--methods", "lightgbm,lm", "--seeds", "1", "--spec", specs["telling"])
    done = told(command_here(*what, *compared, "--other-spec", f"blind={specs['silent']}", "--json", store=store))
    assert done["other_specs"] == {"blind": specs["silent"]}
    rows = {row["method"]: row["mean"] for row in done["rows"]}
    assert rows.keys() == {"lightgbm", "lm", "lm [blind]"}  # what reads no texts is not done twice
    assert rows["lm"] != rows["lm [blind]"]
    assert "texts: blind" in (tmp_path / "results" / "comparison.html").read_text()
    refused = command_here(*what, *compared, "--other-spec", specs["silent"], store=store)
    assert refused.status == 2 and "is not NAME=SPEC" in refused.err
    refused = command_here(*what, *compared, "--other-spec", f"pre-trained={specs['silent']}", store=store)
    assert refused.status == 2 and "as rows of --start are called: rename it" in refused.err
