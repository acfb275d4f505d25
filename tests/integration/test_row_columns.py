"""Cells of the user's rows in prompts, from the table to the store and out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import gallon
from cluster.library.cells import with_columns
from cluster.library.source import resolve
from cluster.records.completeness import verify
from cluster.records.export import tables
from cluster.records.integrity import audit
from cluster.store.store import Store
from distill.data.dataset import read
from distill.data.splits import split
from distill.report.run import write
from gallon.texts import annotations_of, rankings_of, record_keys
from teacher.chemistry.molecule import key_of
from teacher.errors import UsageError
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.prompt import Prompt, load
from teacher.llm.spec import PromptRef, Spec
from tests.support.command import CommandHere
from tests.support.prompts import PROMPT
from tests.support.scripted import Script

TABLE = "smiles,solvent\nCCO,water\nOCC,DMSO\nOCC,water \nCCN,water\nnothing,water\n"
LINE = "Measured in: {column:solvent}"


@pytest.fixture
def prompt_file(tmp_path: Path) -> str:
    path = tmp_path / "prompt.yaml"
    path.write_text(yaml.safe_dump({**PROMPT, "smiles": "SMILES: {smiles}", "columns": LINE}))
    return str(path)


@pytest.fixture
def prompt(prompt_file: str) -> Prompt:
    return load(prompt_file)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.csv"
    path.write_text(TABLE)
    return path


def test_a_molecule_has_a_record_for_each_of_its_cells(
    run, store: Store, spec: Spec, prompt: Prompt, library: Path, tmp_path: Path
) -> None:
    spec = spec.model_copy(update={"prompt": PromptRef.of(prompt), "columns": prompt.row_columns, "structured": False})
    sources = with_columns(resolve([str(library)]), spec.columns)
    script = Script(requests=tmp_path / "requests")
    told = run(library, spec=spec, prompt=prompt, script=script).ledger
    assert (told.rows, told.molecules, told.duplicates, told.invalid, told.accepted) == (5, 3, 1, 1, 3)
    again = run(library, spec=spec, prompt=prompt, script=script).ledger
    assert (again.accepted, again.new) == (3, 0)
    assert sorted((tmp_path / "requests").read_text().split()) == ["CCN", "CCO", "CCO"]
    report = verify(sources, limit=None, spec_id=spec.id, store=store)
    assert (report.molecules, report.accepted, report.missing) == (3, 3, 0)
    assert not list(audit(store, spec.id))
    _, parts = tables(store, spec)
    rows = [row for part in parts for row in part.to_pylist()]
    told_cells = sorted((row["smiles"], json.loads(row["columns"])["solvent"]) for row in rows)
    assert told_cells == [("CCN", "water"), ("CCO", "DMSO"), ("CCO", "water")]
    first_row = tmp_path / "first.csv"
    first_row.write_text("smiles,solvent\nCCO,DMSO\n")
    out = tmp_path / "pool.jsonl"
    assert gallon.export(out, molecules=first_row, spec_id=spec.id, store=store.url).rows == 1
    (told_row,) = map(json.loads, out.read_text().splitlines())
    assert (told_row["smiles"], told_row["columns"]) == ("CCO", '{"solvent":"DMSO"}')


def test_dead_letters_of_a_molecule_are_told_apart_by_its_cells(
    run, store: Store, spec: Spec, prompt: Prompt, library: Path, tmp_path: Path, command_here: CommandHere
) -> None:
    spec = spec.model_copy(update={"prompt": PromptRef.of(prompt), "columns": prompt.row_columns, "structured": False})
    lost = Script(rejected=frozenset({"CCO"}), unforeseen={"CCN": 99})
    assert run(library, spec=spec, prompt=prompt, script=lost).ledger.dead == 3
    lines = [line.split("\t") for line in command_here("dead", store=store.url).out.splitlines()]
    assert sorted((molecule, cells) for _, _, molecule, _, cells in lines) == [
        ("CCN", '{"solvent":"water"}'),
        ("CCO", '{"solvent":"DMSO"}'),
        ("CCO", '{"solvent":"water"}'),
        ("nothing", ""),
    ]
    command_here("dead", "--out", tmp_path / "dead.jsonl", store=store.url)
    told = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    solvents = {letter["row"]: letter["columns"].get("solvent") for letter in told}
    assert {solvents[1], solvents[2]} == {"water", "DMSO"} and solvents[5] is None
    page = write(store, None, tmp_path / "page.html", most=10).path.read_text()
    assert ">solvent: DMSO<" in page and ">solvent: water<" in page


def test_teachers_read_the_record_of_a_molecules_first_row_and_never_one_that_saw_the_target(
    run, store: Store, spec: Spec, prompt: Prompt, library: Path, tmp_path: Path
) -> None:
    spec = spec.model_copy(update={"prompt": PromptRef.of(prompt), "columns": prompt.row_columns, "structured": False})
    run(library, spec=spec, prompt=prompt)
    sources = with_columns(resolve([str(library)]), spec.columns)
    (first,) = record_keys([key_of("CCO")], sources)
    (record,) = store.fetch(spec.id, [first])
    assert record is not None and record.columns == {"solvent": "water"}
    labels = tmp_path / "labels.csv"
    labels.write_text("smiles,solvent,y\nCCO,DMSO,1\nCCN,water,5\nCCO,acetone,3\n")
    found = annotations_of(store.url, spec.id, read(labels, targets=["y"]), (), lambda: resolve([str(labels)]))
    assert found is not None and found.missing == 0
    labels.write_text("smiles,solvent\nCCO,1\nCCN,2\n")
    with pytest.raises(UsageError, match="column 'solvent' in sight, which is the target"):
        annotations_of(store.url, spec.id, read(labels, targets=["solvent"]), (), lambda: resolve([str(labels)]))


def test_an_llms_order_of_neighbours_is_stored_by_the_candidates_that_it_saw(
    run, store: Store, spec: Spec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "chains.csv"
    table.write_text("\n".join(["smiles,y", *(f"{'C' * length}O,{length}" for length in range(1, 31))]) + "\n")
    out = tmp_path / "rank.yaml"
    prompt_file, candidates = gallon.ranking_prompt(table, target="y", split="random", smiles_column="smiles", out=out)
    prompt = load(str(prompt_file))
    ordering = spec.model_copy(update={"prompt": PromptRef.of(prompt), "columns": prompt.row_columns})
    dataset = read(table, targets=["y"])
    script = Script(texts=('{"order": [9, 8, 7]}',), nonsense=frozenset({"CO", "CCO"}))
    assert run(candidates, spec=ordering, prompt=prompt, script=script).ledger.accepted == 28
    parts = split(dataset, "random", seed=0)
    (ranking,) = rankings_of(store.url, ordering.id, dataset, [parts, parts]).values()
    assert np.flatnonzero(~ranking.answered).tolist() == [0, 1]
    assert ranking.order[2, :4].tolist() == [8, 7, 6, 0]
    assert "2 molecules without an LLM's order of neighbours" in caplog.text
    with pytest.raises(UsageError, match="nothing is answered about the candidates of this split"):
        rankings_of(store.url, ordering.id, dataset, [split(dataset, "random", seed=3)])
    run(table, spec=spec)
    with pytest.raises(UsageError, match="does not order neighbours: name one of a prompt by 'gallon prompt rank'"):
        rankings_of(store.url, spec.id, dataset, [parts])


def test_a_record_whose_cells_are_others_than_its_key_says_is_a_defect(
    run, store: Store, spec: Spec, prompt: Prompt, library: Path
) -> None:
    spec = spec.model_copy(update={"prompt": PromptRef.of(prompt), "columns": prompt.row_columns, "structured": False})
    run(library, spec=spec, prompt=prompt)
    key, record = next(iter(store.records(spec.id)))
    forged = replace(record, columns={"solvent": "acetone"})
    store._redis.hset(f"gallon:{{{key[0]:02x}}}:{spec.id}:accepted", key, forged.pack())
    assert [defect.message for defect in audit(store, spec.id)] == ["is about another molecule: " + record.smiles]


def test_cells_are_shown_to_the_token_and_asked_for_by_name(tiny_engine: VllmEngine, prompt_file: str) -> None:
    shown = gallon.show_prompt("CCO", prompt=prompt_file, column=["solvent=a\nb<image>"])
    assert "SMILES: CCO\nMeasured in: a b‹image>\nJSON:" in shown.text
    for given, sentence in (
        ([], "shows the column 'solvent': give a value, --column solvent=VALUE"),
        (["solvent"], "'solvent' has no value"),
        (["solvent=a", "assay=b"], "shows no column 'assay': those that it shows are solvent"),
    ):
        with pytest.raises(UsageError, match=sentence):
            gallon.show_prompt("CCO", prompt=prompt_file, column=given)


def test_molecules_without_rows_are_refused_before_an_engine_starts(prompt_file: str) -> None:
    with pytest.raises(UsageError, match=r"shows columns of a row \(solvent\), which molecules by themselves do not"):
        gallon.describe("CCO", prompt=prompt_file)


def test_a_label_is_refused_before_anything_starts(prompt_file: str, library: Path) -> None:
    library.write_text("smiles,solvent\nC,0.5\nCC,0.7\n")
    with pytest.raises(UsageError, match="'solvent', and it holds numbers, as labels do"):
        gallon.plan_run(library, prompt=prompt_file, store=library.parent / "store")
    with pytest.raises(UsageError, match="shows no column 'assay' for --allow-column"):
        gallon.plan_run(library, prompt=prompt_file, allow_column=["assay"], store=library.parent / "store")
    plan = gallon.plan_run(library, prompt=prompt_file, allow_column=["solvent"], store=library.parent / "store")
    assert plan.report.missing == 2 and plan.prompt_tokens
