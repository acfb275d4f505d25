"""Tuning the methods of a comparison on Ray: as many trials for each, and nothing done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from rdkit import RDConfig
from rdkit.Chem import Descriptors, MolFromSmiles

from cluster.runtime.session import RaySession
from cluster.training.driver import FitProgress, TrainResources
from distill.data.dataset import read
from distill.data.splits import split
from distill.evaluate.budget import Settings
from distill.evaluate.tuning import FILE, found_in, tuned
from distill.judge.judged import SeededSplit
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import INPUTS, recipe

MOLECULES = 60
TRIALS = 2
STUDENTS = [f"student-{reads}" for reads in INPUTS]


@pytest.fixture(scope="module")
def model_inputs(tmp_path_factory: pytest.TempPathFactory) -> ModelInputs:
    """The first NCI molecules that RDKit carries, with their logP."""
    folder = tmp_path_factory.mktemp("data")
    with (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").open() as file:
        smiles = [line.split()[0] for line in islice(file, MOLECULES)]
    rows = [f"{one},{Descriptors.MolLogP(mol)}" for one in smiles if (mol := MolFromSmiles(one))]
    (folder / "data.csv").write_text("\n".join(["smiles,logp", *rows]) + "\n")
    return ModelInputs(read(folder / "data.csv", targets=["logp"]), None, folder / "inputs")


def short(name: str):
    """Return a recipe that is trained for a moment."""
    known = recipe(name)
    return replace(known, schedule=replace(known.schedule, epochs=2))


def settings_in(folder: Path) -> Settings:
    return Settings(
        methods=["random_forest", "gin", "student", "student+gnn", "gallon"],
        folder=folder,
        resources=TrainResources(workers=1),
        recipes={name: short(name) for name in ("gin", *STUDENTS)},
    )


def written(folder: Path) -> dict[Path, int]:
    """Return when each result of a fit was written."""
    return {file: file.stat().st_mtime_ns for kept in ("fits", "baselines") for file in (folder / kept).rglob("out*")}


def test_every_method_has_its_trials_and_none_is_done_twice(
    tmp_path: Path, model_inputs: ModelInputs, ray_here: RaySession
):
    case = SeededSplit(seed=0, split=split(model_inputs.dataset, "random"))
    shown: list[FitProgress] = []
    first = tuned(model_inputs, case, settings_in(tmp_path), TRIALS, shown.append)

    found = json.loads((tmp_path / FILE).read_text()).values()
    assert {one["method"]: one["trials"] for one in found} == dict.fromkeys(["random_forest", "gin", *STUDENTS], TRIALS)
    assert set(first.tuned) == {"random_forest"}
    assert set(first.recipes) == {"gin", *STUDENTS}
    assert all(known.schedule.epochs == 2 for known in first.recipes.values())
    assert len(list((tmp_path / "fits").glob("*/outcome.json"))) == TRIALS * 4
    assert len(list((tmp_path / "baselines").iterdir())) == TRIALS
    assert all(done.done <= done.all for done in shown)

    recipes, said = found_in(tmp_path / FILE, model_inputs.dataset, case.split)
    assert said == []
    assert {name: known.settings for name, known in recipes.items()} == {
        name: known.settings for name, known in first.recipes.items()
    }

    before = written(tmp_path)
    assert tuned(model_inputs, case, settings_in(tmp_path), TRIALS) == first
    (tmp_path / FILE).unlink()  # as after a search that was stopped before its end
    assert tuned(model_inputs, case, settings_in(tmp_path), TRIALS) == first
    assert written(tmp_path) == before
