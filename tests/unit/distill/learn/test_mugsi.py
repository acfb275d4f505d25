"""A student that is compared with its teacher part by part, as MuGSI does."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cluster.training.fit import Outcome
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from cluster.training.results import read_outcome
from distill.data.dataset import read
from distill.data.splits import Split, split
from distill.learn.distillation import MUGSI, mugsi_targets
from distill.learn.fits import NOTHING, Batch, DistillationTargets
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import Recipe, recipe
from distill.learn.teacher_outputs import TeacherOutputs, with_parts
from distill.models.model_store import PREFIX
from teacher.tiny import library

WIDTH = 8
MOLECULES = 24
EPOCHS = 20


@pytest.fixture(scope="module")
def model_inputs(tmp_path_factory: pytest.TempPathFactory) -> ModelInputs:
    folder = tmp_path_factory.mktemp("data")
    rows = [f"{smiles},{len(smiles)}" for smiles in sorted(library.read(None)[:200], key=len)[-MOLECULES:]]
    (folder / "data.csv").write_text("\n".join(["smiles,length", *rows]) + "\n")
    return ModelInputs(read(folder / "data.csv", targets=["length"]), None, folder / "inputs")


@pytest.fixture(scope="module")
def parts(model_inputs: ModelInputs) -> Split:
    return split(model_inputs.dataset, "random")


@pytest.fixture(scope="module")
def outputs(model_inputs: ModelInputs, tmp_path_factory: pytest.TempPathFactory) -> TeacherOutputs:
    """What a graph network says that nobody has trained, of molecules and of their parts."""
    known = replace(recipe("dmpnn"), settings={"width": 6, "layers": 2, "dropout": 0.1})
    file = tmp_path_factory.mktemp("teacher") / "weights.safetensors"
    torch.manual_seed(0)
    network = known.build(1, **known.settings).eval()
    inside = {f"{PREFIX}{name}": value for name, value in network.state_dict().items()}
    save_file({**inside, "means": torch.zeros(1), "deviations": torch.ones(1)}, file)
    count = len(model_inputs.dataset)
    with torch.inference_mode():
        prediction, representation = (part.numpy() for part in network(model_inputs.graphs.batch(np.arange(count))))
    said = TeacherOutputs(
        teacher="dmpnn", prediction=prediction, representation=representation, fold=np.full(count, -1)
    )
    return with_parts(said, known, file, model_inputs)


def student(reads: str) -> Recipe:
    known = recipe(f"student-{reads}")
    settings = {**known.settings, "width": WIDTH, "dropout": 0.0}
    return replace(known, settings=settings, schedule=replace(known.schedule, epochs=EPOCHS))


def trained(known: Recipe, model_inputs: ModelInputs, parts: Split, targets: DistillationTargets, at: Path) -> Outcome:
    batch = Batch(model_inputs)
    batch.add(known, parts, 0, targets=targets)
    (fit,) = batch.fit_set.fits
    alone = ProcessGroup(0, 1, "cpu")
    Training(fit, shard_of([fit], batch.fit_set.inputs, batch.fit_set.columns, alone), alone, at).run()
    return read_outcome(at, fit.id)


@pytest.mark.parametrize("reads", ["atoms", "atoms-1hop"])
def test_each_term_changes_what_a_student_learns(
    reads: str, model_inputs: ModelInputs, parts: Split, outputs: TeacherOutputs, tmp_path: Path
) -> None:
    fitted = functools.partial(trained, student(reads), model_inputs, parts)
    alone = fitted(NOTHING, tmp_path)
    whole = fitted(mugsi_targets(outputs, MUGSI), tmp_path)
    named = {f"{term}.gnn" for term in MUGSI}
    assert named < set(whole.history[0]) and not named & set(alone.history[0])
    assert all(whole.history[0][name] > 0 for name in named)
    for term in MUGSI:
        (said,) = getattr(mugsi_targets(outputs, [term]), term).values()
        loud = DistillationTargets(**{term: {"gnn": (said[0], 100.0)}})  # the authors' weights are small
        taught = fitted(loud, tmp_path)
        assert set(taught.history[0]) - set(alone.history[0]) == {f"{term}.gnn"}
        assert np.abs(taught.prediction - alone.prediction).max() > 1e-4, term
        assert taught.history[-1][f"{term}.gnn"] < taught.history[0][f"{term}.gnn"], term


def test_a_student_is_the_same_network_whoever_teaches_it(
    model_inputs: ModelInputs, parts: Split, outputs: TeacherOutputs, tmp_path: Path
) -> None:
    known = student("atoms-1hop")
    silent = trained(known, model_inputs, parts, mugsi_targets(outputs, ["soft"]), tmp_path)
    parts_unheard = replace(mugsi_targets(outputs, ["soft"]), walks={"gnn": (outputs.walks, 0.0)})  # type: ignore[dict-item]
    structured = trained(known, model_inputs, parts, parts_unheard, tmp_path)
    assert structured.weights != silent.weights
    assert np.allclose(structured.prediction, silent.prediction, atol=1e-5)


def test_a_term_is_learnt_of_what_the_teacher_has_said_and_no_other(outputs: TeacherOutputs) -> None:
    some = mugsi_targets(outputs, ["soft", "walks"])
    assert some.soft["gnn"][1] == MUGSI["soft"] and some.walks["gnn"][1] == MUGSI["walks"]
    assert not (some.graph or some.communities or some.hidden)
    assert np.isfinite(outputs.walks).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("term", MUGSI)
def test_a_term_counts_as_much_as_it_weighs(
    term: str, model_inputs: ModelInputs, parts: Split, outputs: TeacherOutputs
) -> None:
    (said,) = getattr(mugsi_targets(outputs, [term]), term).values()
    heard, rows = {}, parts.train
    for weight in (1.0, 3.0):
        batch = Batch(model_inputs)
        batch.add(student("atoms"), parts, 0, targets=DistillationTargets(**{term: {"gnn": (said[0], weight)}}))
        (fit,) = batch.fit_set.fits
        columns = {name: torch.from_numpy(batch.fit_set.columns[of][rows]) for name, of in fit.targets.items()}
        torch.manual_seed(0)
        total, count = fit.build()(batch.fit_set.inputs[fit.inputs].batch(rows), columns)[f"{term}.gnn"]
        heard[fit.id] = float(total / count)
    one, three = heard.values()
    assert three == pytest.approx(3 * one, rel=1e-5) and one > 0
