"""Teachers, students, what is kept of them, and their comparison, on real Ray Train workers."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from rdkit.Chem.Crippen import MolLogP

from cluster.library.source import NoMoleculeError, resolve
from cluster.runtime.session import RaySession
from cluster.store.open import choose_spec
from cluster.store.store import Store
from cluster.training.driver import FitProgress, TrainResources
from distill.data.annotations import Annotations, fetch
from distill.data.dataset import read
from distill.data.guesses import Guesses
from distill.data.splits import Split, split
from distill.data.transfer import with_transfer_set
from distill.evaluate.budget import Settings
from distill.evaluate.comparison import compare
from distill.evaluate.provenance import provenance, rules_that_count
from distill.judge.judged import Judged, SeededSplit
from distill.judge.summary import summarize
from distill.learn import recipes, teacher_outputs
from distill.learn.distillation import PSEUDO_WEIGHTS, Weights, distill_student, targets_from
from distill.learn.inputs import ModelInputs
from distill.learn.network import Network
from distill.learn.recipes import INPUTS, recipe
from distill.learn.teach import Trained, teach
from distill.library.beside.embeddings import ShardTexts, TextSet, write_texts
from distill.library.beside.scores import read_scores, scored_shards
from distill.library.shard import read_facts
from distill.library.teaching import LibraryTeaching
from distill.models import model_store, packing
from distill.models.model_store import read_card
from distill.ranking.prompt import candidates_of
from distill.ranking.ranking import Ranking
from distill.report.comparison import write
from distill.rules.rule_set import RuleSet
from distill.screen.saved_model import SavedModel
from distill.screen.screening import screen
from gallon import learn, load
from gallon.pipeline import Learned
from teacher.chemistry.facts import facts_of
from teacher.errors import UsageError
from teacher.nn.inputs import Matrix
from teacher.nn.text_encoder import MINILM, embed, format_text
from teacher.tiny import library
from tests.support import deadly_scorer
from tests.support.models import untrained_student
from tests.support.prepared import library_of

MOLECULES = 80
OTHERS = 40  # molecules without labels
UNREAD = 3  # molecules without an annotation
STUDENTS = [f"student-{reads}" for reads in INPUTS]


@pytest.fixture(scope="module", autouse=True)
def short_schedules():
    """Train everything for a moment only."""
    kept = dict(recipes.RECIPES)
    for name, known in kept.items():
        recipes.RECIPES[name] = replace(known, schedule=replace(known.schedule, epochs=3))
    yield
    recipes.RECIPES.update(kept)


@pytest.fixture(scope="module")
def model_inputs(tmp_path_factory: pytest.TempPathFactory) -> ModelInputs:
    """NCI molecules with their logP, and a text about each but the first ones."""
    folder = tmp_path_factory.mktemp("data")
    mols = [mol for smiles in library.read(None)[:120] if (mol := Chem.MolFromSmiles(smiles))][:MOLECULES]
    rows = [f"{Chem.MolToSmiles(mol)},{MolLogP(mol)}" for mol in mols]
    (folder / "nci.csv").write_text("\n".join(["smiles,logP", *rows]) + "\n")
    dataset = read(folder / "nci.csv", targets=["logP"])
    texts = [f"lipophilicity: {facts_of(mol).lipophilicity}" for mol in dataset.mols()]
    texts = [None if place < UNREAD else text for place, text in enumerate(texts)]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return ModelInputs(dataset, Annotations(tuple(texts), "spec", digest), folder / "inputs")


@pytest.fixture(scope="module")
def parts(model_inputs: ModelInputs) -> Split:
    return split(model_inputs.dataset, "random")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def taught(ray_here: RaySession, model_inputs: ModelInputs, parts: Split, folder: Path) -> list[Trained]:
    return teach(
        model_inputs,
        parts,
        [recipe("gin"), recipe("lm")],
        seed=0,
        folds=2,
        folder=folder,
        resources=TrainResources(workers=2),
    )


@pytest.fixture(scope="module")
def distilled(taught: list[Trained], model_inputs: ModelInputs, parts: Split, folder: Path) -> Trained:
    found = teacher_outputs.read_all(teacher_outputs.find(folder), model_inputs, parts)
    return distill_student(
        model_inputs,
        parts,
        [outputs for outputs, _ in found],
        students=[recipe(name) for name in STUDENTS],
        weights=Weights(),
        seed=0,
        folder=folder,
        resources=TrainResources(workers=2),
        teachers=[card for _, card in found],
    )


def guessed(model_inputs: ModelInputs) -> Guesses:
    """An LLM that is wrong by a half, and says nothing of the first molecules."""
    values = model_inputs.dataset.labels[:, 0] + np.float32(0.5)
    values[:UNREAD] = np.nan
    return Guesses(values, np.ones_like(values), "guesses", "sha")


def of_others(wider: ModelInputs) -> Guesses:
    """An LLM that says 2 of each molecule without a label, but for the last."""
    values = np.full(len(wider.dataset), 2.0, dtype=np.float32)
    values[-1] = np.nan
    return Guesses(values, np.ones_like(values), "guesses", "sha of others")


def test_teachers_speak_of_every_molecule_and_out_of_fold_of_those_they_learn_from(
    taught: list[Trained], model_inputs: ModelInputs, parts: Split
) -> None:
    graph, _ = taught
    table = pq.read_table(graph.path / model_store.OUTPUTS).to_pandas()
    assert list(table.smiles) == list(model_inputs.dataset.smiles)
    assert set(table.fold[parts.train]) == {0, 1} and set(table.fold[parts.test]) == {-1}
    assert not table["prediction logP"].isna().any()
    assert set(graph.metrics) == {"train", "valid", "test"} and graph.metrics["test"]["rmse"] > 0


def test_a_molecule_without_annotation_has_no_language_lesson(taught: list[Trained], model_inputs: ModelInputs) -> None:
    table = pq.read_table(taught[1].path / model_store.OUTPUTS).to_pandas()
    assert table["prediction logP"].isna().tolist() == [place < UNREAD for place in range(MOLECULES)]
    assert model_inputs.annotations is not None and model_inputs.annotations.missing == UNREAD


def test_a_student_is_kept_with_all_that_made_it(distilled: Trained, model_inputs: ModelInputs, parts: Split) -> None:
    card = read_card(distilled.path)
    assert (card.dataset["sha256"], card.split["sha256"]) == (model_inputs.dataset.sha256, parts.sha256)
    assert [teacher["recipe"] for teacher in card.teachers] == ["gin", "lm"]
    assert card.spec == "spec" and card.seed == 0 and "torch" in card.versions
    assert card.metrics == distilled.metrics
    assert {file.suffix for file in distilled.path.iterdir()} == {".json", ".md", ".safetensors", ".smi"}
    assert len(card.doubt["half"][0]) == 1 and 0 < card.doubt["domain"] <= 1
    learned = (distilled.path / "training.smi").read_text().split()
    assert learned == [model_inputs.dataset.smiles[row] for row in parts.train]


@pytest.mark.parametrize("which", ["student", "gin"])
def test_a_kept_model_predicts_what_it_predicted(
    which: str, distilled: Trained, model_inputs: ModelInputs, parts: Split, folder: Path
) -> None:
    model = SavedModel(folder / which)
    predicted = model.predict(model_inputs.dataset.mols())
    error = predicted[parts.test] - model_inputs.dataset.labels[parts.test]
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(model.card.metrics["test"]["rmse"], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("card.json", None, "There is no model in"),
        ("card.json", b"{", "is damaged"),
        ("card.json", b'{"format": "gallon model 0"}', "another version of gallon"),
        ("card.json", b'{"format": "gallon model 2", "recipe": "gin"}', "is damaged"),
        ("weights.safetensors", None, "is damaged"),
        ("weights.safetensors", b"\x80\x04pickle", "is damaged"),
    ],
)
def test_a_damaged_model_is_refused(
    name: str, content: bytes | None, sentence: str, taught: list[Trained], tmp_path: Path
) -> None:
    shutil.copytree(taught[0].path, tmp_path / "model")
    (tmp_path / "model" / name).unlink() if content is None else (tmp_path / "model" / name).write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        SavedModel(tmp_path / "model")


def test_a_model_with_descriptors_of_another_version_is_refused(taught: list[Trained], tmp_path: Path) -> None:
    shutil.copytree(taught[0].path, tmp_path / "model")
    card = tmp_path / "model" / "card.json"
    card.write_text(card.read_text().replace('"descriptors": "lean"', '"descriptors": "fast"'))
    with pytest.raises(UsageError, match="another version of gallon"):
        SavedModel(tmp_path / "model")


def test_a_model_is_not_asked_about_features_of_another_version(
    taught: list[Trained], model_inputs: ModelInputs, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.models.model_store.features_id", lambda: "3-rdkit-2030.3.1")
    for use in (
        lambda: SavedModel(taught[0].path),
        lambda: teacher_outputs.read_all([taught[0].path], model_inputs, parts),
    ):
        with pytest.raises(UsageError, match=r"of version 2-rdkit-[\d.]+, and here they are of version 3-rdkit-2030"):
            use()


def test_a_teacher_of_something_else_is_refused(taught: list[Trained], model_inputs: ModelInputs, parts: Split) -> None:
    folders = [taught[0].path]
    with pytest.raises(UsageError, match="learnt from another split: random split, seed 0"):
        teacher_outputs.read_all(folders, model_inputs, split(model_inputs.dataset, "random", seed=1))
    with pytest.raises(UsageError, match="learnt from nci with other molecules or labels"):
        teacher_outputs.read_all(
            folders, replace(model_inputs, dataset=replace(model_inputs.dataset, sha256="other")), parts
        )
    with pytest.raises(UsageError, match="run 'gallon teach' on the same data first"):
        teacher_outputs.find(taught[0].path / "nothing")


def test_a_library_is_screened_row_by_row_in_order(
    distilled: Trained,
    ray_here: RaySession,
    model_inputs: ModelInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smiles = [*model_inputs.dataset.smiles[:5], "nonsense", "OCC"]
    (tmp_path / "library.smi").write_text("\n".join(smiles) + "\n")
    out = tmp_path / "scores.parquet"
    screened = screen(resolve([str(tmp_path / "library.smi")]), distilled.path, out, limit=None, session=ray_here)
    table = pq.read_table(out).to_pandas()
    assert (screened.rows, screened.invalid) == (7, 1)
    assert list(table.row) == [1, 2, 3, 4, 5, 6, 7]
    assert table.error.isna().tolist() == [True] * 5 + [False, True]
    assert table.smiles[6] == "OCC" and table.smiles.isna().sum() == 1 and np.isnan(table.logP[5])
    expected = SavedModel(distilled.path).predict(model_inputs.dataset.mols()[:5])[:, 0]
    assert np.allclose(table.logP[:5], expected, atol=1e-5)
    trained = set((distilled.path / "training.smi").read_text().split())
    for place, own in enumerate(smiles[:5]):
        assert (table.nearest_training[place] == own) == (own in trained) == (table.similarity[place] == 1)
    # What is a place of a model only here is sent to the workers.
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(distilled.path))
    hub = Path("hf://somebody/student")
    plain = screen(resolve([str(tmp_path / "library.smi")]), hub, out, limit=None, session=ray_here, doubt=False)
    assert plain.rows == 7 and pq.read_table(out).column_names == ["source", "row", "smiles", "logP", "error"]


def test_a_student_of_several_seeds_predicts_as_their_mean(
    ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    trained = distill_student(
        model_inputs,
        parts,
        [],
        students=[recipe("student-fingerprint")],
        weights=Weights(),
        seed=0,
        folder=tmp_path,
        resources=TrainResources(workers=1),
        teachers=[],
        seeds=2,
    )
    assert trained.name == "student-fingerprint, mean of 2 seeds" and read_card(trained.path).members == 2
    said = SavedModel(trained.path).predict_with_doubt(model_inputs.dataset.mols())
    error = said.values[parts.test] - model_inputs.dataset.labels[parts.test]
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(trained.metrics["test"]["rmse"], rel=1e-4)
    assert (said.spread > 0).all()  # no two networks are the same


def test_a_row_that_kills_a_process_of_a_cluster_costs_itself(
    ray_here: RaySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.screen.scoring.PROCESS", deadly_scorer.__name__)
    (tmp_path / "library.smi").write_text("CO\nCCO\nCN\n")
    (source,), out = resolve([str(tmp_path / "library.smi")]), tmp_path / "scores.csv"
    screened = screen([source], untrained_student(tmp_path / "model"), out, limit=None, session=ray_here, doubt=False)
    rows = list(csv.DictReader(out.open()))
    assert [row["error"] for row in rows] == ["", "kills RDKit (SIGSEGV)", ""]
    assert (screened.rows, screened.invalid) == (3, 1) and rows[0]["smiles"] == "CO" and not rows[1]["smiles"]


def test_a_target_called_like_another_column_is_written_beside_it(
    distilled: Trained, ray_here: RaySession, tmp_path: Path
) -> None:
    shutil.copytree(distilled.path, tmp_path / "student")
    card = tmp_path / "student" / "card.json"
    card.write_text(card.read_text().replace('"name": "logP"', '"name": "row"'))
    (tmp_path / "library.smi").write_text("CCO\nnonsense\n")
    (source,) = resolve([str(tmp_path / "library.smi")])
    out = tmp_path / "scores.csv"
    screen([source], tmp_path / "student", out, limit=None, session=ray_here)
    header, first, second = (line.split(",") for line in out.read_text().splitlines())
    assert header[:6] == ["source", "row", "smiles", "row_", "row_low", "row_high"]
    assert header[6:] == ["similarity", "nearest_training", "in_domain", "error"]
    assert (first[1], second[1]) == ("1", "2") and float(first[3]) and not second[3]


def test_a_library_without_a_molecule_is_not_screened(distilled: Trained, ray_here: RaySession, tmp_path: Path) -> None:
    (tmp_path / "library.smi").write_text("aspirin\n")
    out = tmp_path / "scores.csv"
    with pytest.raises(NoMoleculeError, match="None of the 1 row"):
        screen(resolve([str(tmp_path / "library.smi")]), distilled.path, out, limit=None, session=ray_here)
    assert list(tmp_path.iterdir()) == [tmp_path / "library.smi"]


@pytest.fixture(scope="module")
def with_library(model_inputs: ModelInputs, tmp_path_factory: pytest.TempPathFactory) -> ModelInputs:
    """The same molecules, and behind them others without labels, half of which are annotated."""
    assert model_inputs.annotations is not None
    file = tmp_path_factory.mktemp("library") / "library.smi"
    others = [smiles for smiles in library.read(None)[200:300] if Chem.MolFromSmiles(smiles)]
    file.write_text("\n".join([*model_inputs.dataset.smiles, "nonsense", *others, *others]))
    dataset = with_transfer_set(model_inputs.dataset, resolve([str(file)]), OTHERS)
    read = [f"text {place}" if place % 2 else None for place in range(OTHERS)]
    annotations = replace(model_inputs.annotations, texts=(*model_inputs.annotations.texts, *read), sha256="wider")
    return replace(model_inputs, transfer=replace(model_inputs, dataset=dataset, annotations=annotations))


def test_a_transfer_set_is_of_other_molecules_without_labels(
    model_inputs: ModelInputs, with_library: ModelInputs
) -> None:
    assert with_library.transfer is not None
    wider = with_library.transfer.dataset
    assert len(set(wider.keys)) == len(wider) == MOLECULES + OTHERS
    assert wider.keys[:MOLECULES] == model_inputs.dataset.keys
    assert np.isnan(wider.labels[MOLECULES:]).all()
    assert (wider.labels[:MOLECULES] == model_inputs.dataset.labels).all()
    described = with_library.describe_transfer()
    assert (described["molecules"], described["annotated"]) == (OTHERS, OTHERS // 2)


def test_teachers_speak_of_the_transfer_set_as_they_predict_it(
    taught: list[Trained], model_inputs: ModelInputs, with_library: ModelInputs, parts: Split, folder: Path
) -> None:
    assert with_library.transfer is not None
    (graph, _), (language, _) = teacher_outputs.read_all(teacher_outputs.find(folder), with_library, parts)
    (alone, _), _ = teacher_outputs.read_all(teacher_outputs.find(folder), model_inputs, parts)
    assert np.allclose(graph.prediction[:MOLECULES], alone.prediction)
    predicted = SavedModel(folder / "gin").predict(with_library.transfer.dataset.mols()[MOLECULES:])
    assert np.allclose(graph.prediction[MOLECULES:], predicted, atol=1e-4)
    assert graph.representation.shape[0] == MOLECULES + OTHERS and np.isfinite(graph.representation).all()
    silent = np.isnan(language.prediction[MOLECULES:, 0])
    assert silent.tolist() == [place % 2 == 0 for place in range(OTHERS)]


def test_a_teacher_of_graph_and_text_teaches_those_that_it_can_read(
    ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    quick = replace(recipe("mmf-few-shot"), schedule=replace(recipe("mmf").schedule, epochs=3))
    with pytest.raises(UsageError, match="The LLM's own predictions are needed"):
        model_inputs.inputs(quick, parts)
    asked = replace(model_inputs, guesses=guessed(model_inputs))
    (trained,) = teach(asked, parts, [quick], seed=0, folds=2, folder=tmp_path, resources=TrainResources(workers=1))
    ((outputs, card),) = teacher_outputs.read_all([trained.path], model_inputs, parts)
    assert list(card.experts)[-1] == "few-shot" and sum(card.experts.values()) == pytest.approx(1, abs=0.01)
    assert "few-shot" in (trained.path / "README.md").read_text()
    assert np.isnan(outputs.prediction[:, 0]).tolist() == [place < UNREAD for place in range(MOLECULES)]
    assert (card.spec, card.encoder) == ("spec", "minilm") and np.isfinite(card.metrics["test"]["rmse"])
    with pytest.raises(UsageError, match="reads annotations; a library is scored by a student"):
        SavedModel(trained.path)
    student = distill_student(
        model_inputs,
        parts,
        [outputs],
        students=[recipe("student-fingerprint")],
        weights=Weights(),
        seed=0,
        folder=tmp_path,
        resources=TrainResources(workers=1),
        teachers=[card],
    )
    assert [teacher["recipe"] for teacher in read_card(student.path).teachers] == ["mmf-few-shot"]


@pytest.mark.parametrize("name", ["e-llagnn-sage", "library-sage"])
def test_a_network_over_a_library_predicts_new_molecules_of_which_nothing_is_written(
    name: str, ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    known = recipe(name)
    quick = replace(known, schedule=replace(known.schedule, epochs=3))
    (trained,) = teach(
        model_inputs, parts, [quick], seed=0, folds=0, folder=tmp_path, resources=TrainResources(workers=1)
    )
    ((outputs, card),) = teacher_outputs.read_all([trained.path], model_inputs, parts)
    assert np.isfinite(outputs.prediction).all()
    assert card.spec == ("spec" if name == "e-llagnn-sage" else None)
    model = SavedModel(trained.path)  # which has no store to read texts from
    assert np.allclose(model.predict(model_inputs.dataset.mols()), outputs.prediction, atol=1e-3)
    assert model.doubts and np.isfinite(load(trained.path).values(["CCO", "c1ccccc1"])).all()


def test_a_network_whose_neighbours_an_llm_chose_predicts_new_molecules_without_it(
    ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    candidates = candidates_of(model_inputs.dataset, parts, 16)
    texts = tuple('{"order": [16, 12, 8]}' if place % 2 else None for place in range(MOLECULES))
    ranking = Ranking.of(Annotations(texts, "ranked", "sha"), candidates)
    asked = replace(model_inputs, rankings={parts.sha256: ranking})
    (trained,) = teach(
        asked,
        parts,
        [recipe("e-llagnn-sage-ranked")],
        seed=0,
        folds=0,
        folder=tmp_path,
        resources=TrainResources(workers=1),
    )
    ((outputs, card),) = teacher_outputs.read_all([trained.path], model_inputs, parts)
    assert (card.ranking["by"], card.ranking["spec"], card.ranking["answered"]) == ("llm", "ranked", MOLECULES // 2)
    told = (trained.path / "README.md").read_text()
    assert "out of 16 candidates in an LLM's order" in told and "predicted without an LLM" in told
    said = SavedModel(trained.path).predict(model_inputs.dataset.mols())
    asked_about = np.arange(MOLECULES) % 2 == 1
    assert np.isfinite(said).all()
    assert np.abs(said - outputs.prediction)[asked_about].max() > np.abs(said - outputs.prediction)[~asked_about].max()


def test_a_teacher_that_borrows_texts_also_speaks_of_molecules_without(
    ray_here: RaySession, model_inputs: ModelInputs, with_library: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    (trained,) = teach(
        model_inputs, parts, [recipe("e-llagnn")], seed=0, folds=2, folder=tmp_path, resources=TrainResources(workers=1)
    )
    ((outputs, card),) = teacher_outputs.read_all([trained.path], with_library, parts)
    assert len(outputs.prediction) == MOLECULES + OTHERS and np.isfinite(outputs.prediction).all()
    assert card.spec == "spec" and np.isfinite(card.metrics["test"]["rmse"])


def test_nothing_can_be_borrowed_where_nothing_is_annotated(model_inputs: ModelInputs, parts: Split) -> None:
    assert model_inputs.annotations is not None
    texts = [None if place in parts.train else text for place, text in enumerate(model_inputs.annotations.texts)]
    silent = replace(model_inputs, annotations=replace(model_inputs.annotations, texts=tuple(texts), sha256="silent"))
    with pytest.raises(UsageError, match="nothing to borrow"):
        silent.inputs(recipe("e-llagnn"), parts)


def test_texts_of_another_spec_are_refused(
    taught: list[Trained], with_library: ModelInputs, parts: Split, folder: Path
) -> None:
    assert with_library.transfer is not None and with_library.transfer.annotations is not None
    other = replace(with_library.transfer.annotations, spec="other")
    model_inputs = replace(with_library, transfer=replace(with_library.transfer, annotations=other))
    with pytest.raises(UsageError, match="of spec spec, not of other"):
        teacher_outputs.read_all(teacher_outputs.find(folder), model_inputs, parts)


def test_texts_in_another_encoding_are_refused(
    taught: list[Trained], with_library: ModelInputs, parts: Split, folder: Path
) -> None:
    assert with_library.transfer is not None
    assert [read_card(trained.path).encoder for trained in taught] == [None, "minilm"]
    model_inputs = replace(with_library, transfer=replace(with_library.transfer, encoder="another"))
    with pytest.raises(UsageError, match="reads by minilm, not another: name it by --encoder"):
        teacher_outputs.read_all(teacher_outputs.find(folder), model_inputs, parts)


def test_a_teacher_on_a_pre_trained_networks_vectors_is_kept_and_asked(
    ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    (trained,) = teach(
        replace(model_inputs, annotations=None),
        parts,
        [recipe("smiles-encoder")],
        seed=0,
        folds=0,
        folder=tmp_path,
        resources=TrainResources(workers=1),
    )
    card = read_card(trained.path)
    assert (card.encoder, card.pretrained["title"]) == ("minilm", "minilm")
    assert "Reads vectors of minilm" in (trained.path / model_store.README).read_text()
    said = pq.read_table(trained.path / model_store.OUTPUTS).to_pandas()["prediction logP"]
    asked = SavedModel(trained.path).predict(model_inputs.dataset.mols())[:, 0]
    assert np.allclose(asked, said, atol=1e-3)


RULES = [{"descriptor": "MolLogP"}, {"smarts": "[#8]", "above": 0}]


def test_a_teacher_and_a_student_on_rules_take_them_along(
    ray_here: RaySession, with_library: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    rules = RuleSet.collected("lipophilicity", RULES, {})
    textless = replace(with_library, annotations=None)
    resources = TrainResources(workers=1)
    on_rules = replace(textless, rules=rules)
    (trained,) = teach(on_rules, parts, [recipe("rules")], seed=0, folds=0, folder=tmp_path, resources=resources)
    with pytest.raises(UsageError, match="'rules-all' is a control of 'gallon evaluate'"):
        teach(on_rules, parts, [recipe("rules-all")], seed=0, folds=0, folder=tmp_path, resources=resources)
    found = teacher_outputs.read_all([trained.path], textless, parts)  # by the rules in its own folder
    assert np.isfinite(found[0][0].prediction).all() and len(found[0][0].prediction) == MOLECULES + OTHERS
    assert textless.transfer is not None
    student = distill_student(
        replace(on_rules, transfer=replace(textless.transfer, rules=rules)),
        parts,
        [found[0][0]],
        students=[replace(recipe("student-fingerprint"), rules="given")],
        weights=Weights(),
        seed=0,
        folder=tmp_path,
        resources=resources,
        teachers=[found[0][1]],
    )
    for model in (trained, student):
        assert read_card(model.path).rules == {**rules.facts(), "sources": [{}]}
        assert "Reads 2 rules about lipophilicity" in (model.path / model_store.README).read_text()
    settings = Settings(methods=["rules"], folder=tmp_path, resources=resources)
    counting = rules_that_count(on_rules, [SeededSplit(seed=0, split=parts)], settings)  # of the fit that is there
    assert {each["rule"] for each in counting} == {rule.name for rule in rules.rules}
    assert counting[0]["worse_by"] >= counting[1]["worse_by"]
    assert rules_that_count(on_rules, [], replace(settings, methods=["gin"])) == []
    rare = {"smarts": "[#8]", "above": 1000}  # the same of all molecules, so that no network reads it
    with_rare = replace(textless, rules=RuleSet.collected("lipophilicity", [rare, *RULES], {}))
    several = [SeededSplit(seed=seed, split=split(textless.dataset, "random", seed=seed)) for seed in (1, 2)]
    by_name = {each["rule"]: each["worse_by"] for each in rules_that_count(with_rare, several, settings)}
    assert len(by_name) == 3 and [name for name, worse in by_name.items() if worse == 0] == ["count [#8] > 1000"]
    said = pq.read_table(trained.path / model_store.OUTPUTS).to_pandas()["prediction logP"]
    asked = SavedModel(trained.path).predict(textless.dataset.mols())[:, 0]
    assert np.allclose(asked, said, atol=1e-3)
    packing.pack(student.path, tmp_path / "student.zip")
    whole, packed = (
        SavedModel(place).predict(textless.dataset.mols()) for place in (student.path, tmp_path / "student.zip")
    )
    assert np.array_equal(whole, packed) and np.isfinite(whole).all()


def test_a_teacher_of_several_seeds_is_heard_as_their_mean(
    ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    first, second, mean = teach(
        model_inputs,
        parts,
        [recipe("gcn")],
        seed=4,
        folds=2,
        folder=tmp_path,
        resources=TrainResources(workers=1),
        seeds=2,
    )
    assert [each.name for each in (first, second, mean)] == ["gcn", "gcn-5", "gcn, mean of 2 seeds"]
    assert [read_card(each.path).seed for each in (first, second)] == [4, 5]
    said = [outputs for outputs, _ in teacher_outputs.read_all(teacher_outputs.find(tmp_path), model_inputs, parts)]
    assert all({0, 1} == set(outputs.fold[parts.train]) for outputs in said)
    assert not np.array_equal(said[0].fold, said[1].fold) and not np.allclose(said[0].prediction, said[1].prediction)
    together = np.mean([outputs.prediction[parts.test, 0] for outputs in said], axis=0)
    truth = model_inputs.dataset.labels[parts.test, 0]
    assert mean.metrics["test"]["rmse"] == pytest.approx(float(np.sqrt(np.mean((together - truth) ** 2))), rel=1e-4)
    heard, _ = targets_from(said, Weights(), parts, "regression").soft["gnn"]
    assert np.allclose(heard[parts.test, 0], together, atol=1e-5)


def test_a_student_learns_of_the_transfer_set(
    taught: list[Trained], with_library: ModelInputs, parts: Split, folder: Path, tmp_path: Path
) -> None:
    found = teacher_outputs.read_all(teacher_outputs.find(folder), with_library, parts)
    student = distill_student(
        with_library,
        parts,
        [outputs for outputs, _ in found],
        students=[recipe("student-fingerprint")],
        weights=Weights(),
        seed=0,
        folder=tmp_path,
        resources=TrainResources(workers=1),
        teachers=[card for _, card in found],
    )
    card = read_card(student.path)
    assert card.transfer == with_library.describe_transfer()
    assert card.dataset["sha256"] == with_library.dataset.sha256
    assert SavedModel(student.path).predict(with_library.dataset.mols()).shape == (MOLECULES, 1)


def test_a_graph_network_that_was_taught_predicts_new_molecules_as_any_student_does(
    taught: list[Trained], model_inputs: ModelInputs, parts: Split, folder: Path, tmp_path: Path
) -> None:
    (language,) = teacher_outputs.read_all([taught[1].path], model_inputs, parts)
    quick = replace(recipe("dmpnn"), schedule=replace(recipe("dmpnn").schedule, epochs=2))
    student = distill_student(
        model_inputs,
        parts,
        [language[0]],
        students=[quick],
        weights=Weights(),
        seed=0,
        folder=tmp_path,
        resources=TrainResources(workers=1),
        teachers=[language[1]],
    )
    card = read_card(student.path)
    assert (card.recipe, [each["recipe"] for each in card.teachers]) == ("dmpnn", ["lm"])
    assert {"soft.lm", "hidden.lm0"} <= set(card.history[0])
    assert "Taught by lm" in (student.path / "README.md").read_text()
    assert np.isfinite(load(student.path).values(["CCO", "c1ccccc1"])).all()


def test_a_student_learns_what_graph_teachers_say_of_a_prepared_library(
    taught: list[Trained], ray_here: RaySession, model_inputs: ModelInputs, parts: Split, folder: Path, tmp_path: Path
) -> None:
    """One of its 41 molecules is a labelled one, and two are annotated. The second time nobody is asked anything."""
    known = set(model_inputs.dataset.smiles)
    mols = [mol for smiles in library.read(None)[200:400] if (mol := Chem.MolFromSmiles(smiles))]
    smiles = list(dict.fromkeys(smiles for mol in mols if (smiles := Chem.MolToSmiles(mol)) not in known))[:OTHERS]
    rows = [*smiles[:20], model_inputs.dataset.smiles[int(parts.test[0])], "nonsense", *smiles[20:]]
    prepared = library_of(tmp_path / "prepared", [rows[:25], rows[25:]])
    found = teacher_outputs.read_all(teacher_outputs.find(folder), model_inputs, parts)
    outputs, students = [said for said, _ in found], [recipe("student-atoms"), recipe("student-fingerprint")]
    teaching = LibraryTeaching(
        library=prepared,
        selection=prepared.select(model_inputs.dataset.keys, None, 0),
        epochs=2,
        batch_size=16,
        labelled_share=0.5,
    )
    assert [each.teacher for each in outputs] == ["gin", "lm"] and not teaching.can_ask(found[1][1])
    texts = [format_text(each, "lipophilicity: high") for each in (rows[0], rows[3])]
    vectors = embed(texts, MINILM)
    where = TextSet.at(prepared.folder, "spec", MINILM)
    where.begin({"examples": []})
    facts = read_facts(prepared.shard(0))
    assert facts is not None and teaching.can_ask(found[1][1])
    none = np.full(2, np.nan, dtype=np.float32)
    write_texts(ShardTexts(np.array([0, 3]), texts, none, vectors.astype(np.float16)), where, 0, facts.digest)
    shown: list[tuple[int, int]] = []
    asked = [folder / "gin", folder / "lm"]
    scores = teaching.score(asked, ray_here, lambda done, of: shown.append((done, of)))
    assert shown[-1] == (2 * OTHERS, 2 * OTHERS)
    shown.clear()
    assert teaching.score(asked, ray_here, lambda done, of: shown.append((done, of))) == scores
    assert not shown
    assert scored_shards(scores[1]) == {facts.digest} and len(scored_shards(scores[0]) or ()) == len(prepared)
    spoken = read_scores(scores[1], 0, facts.digest)
    lm = recipe("lm")
    network = Network.load(folder / "lm" / "weights.safetensors", partial(lm.build, 1, **lm.settings, features=384))
    assert spoken is not None and spoken.rows.tolist() == [0, 3]
    assert np.allclose(spoken.prediction, network.predict(Matrix(vectors), np.arange(2))[0], atol=1e-2)
    assert spoken.of(np.array([0, 1, 3])).prediction[:, 0] == pytest.approx(
        [spoken.prediction[0, 0], np.nan, spoken.prediction[1, 0]], nan_ok=True
    )
    student = distill_student(
        model_inputs,
        parts,
        outputs,
        students=[teaching.scheduled(known, len(parts.train)) for known in students],
        weights=Weights(),
        seed=0,
        folder=tmp_path,
        resources=TrainResources(workers=2),
        teachers=[card for _, card in found],
        library=teaching.source(outputs, scores, Weights(), parts, model_inputs),
    )
    card = read_card(student.path)
    assert (card.transfer["molecules"], card.transfer["labelled_left_out"]) == (OTHERS, 1)
    assert card.transfer["annotated"] == 2
    assert card.transfer["library"] == prepared.manifest.digest
    assert len(card.history) == 2 and all(epoch["soft.gnn"] > 0 for epoch in card.history)
    assert all(epoch["soft.lm"] > 0 for epoch in card.history)
    assert "40 molecules without labels, none of them in the data (1 of the data was found there and left out)" in (
        student.path / model_store.README
    ).read_text(encoding="utf-8")
    assert SavedModel(student.path).predict(model_inputs.dataset.mols()).shape == (MOLECULES, 1)


def test_a_library_without_the_students_descriptors_is_refused(tmp_path: Path) -> None:
    prepared = library_of(tmp_path / "prepared", [["CCO"]])
    teaching = LibraryTeaching(
        library=prepared, selection=prepared.select([], None, 0), epochs=1, batch_size=8, labelled_share=0.5
    )
    teaching.check([recipe("student-atoms"), recipe("student-fingerprint")])
    with pytest.raises(UsageError, match="give --descriptors lean, or prepare the library again"):
        teaching.check([replace(recipe("student-fingerprint"), descriptors="none")])


def test_a_comparison_has_every_method_under_every_seed_and_is_resumed(
    ray_here: RaySession, with_library: ModelInputs, tmp_path: Path
) -> None:
    assert with_library.transfer is not None
    transfer = replace(with_library.transfer, guesses=of_others(with_library.transfer))
    model_inputs = replace(with_library, guesses=guessed(with_library), transfer=transfer)
    methods = ["random_forest", "gin", "lm", "teachers", "student", "student+both", "student+both+transfer"]
    methods += ["student+shuffled", "glnn", "mugsi-1hop", "gallon", "gnn+lm", "dmpnn+lm+transfer", "llm-few-shot"]
    methods += ["student+pseudo-labels"]
    settings = Settings(methods=methods, folder=tmp_path, resources=TrainResources(workers=1), folds=2)
    cases = [SeededSplit(seed=seed, split=split(model_inputs.dataset, "random", seed=seed)) for seed in range(2)]
    judged = Judged.of(model_inputs.dataset, cases)
    runs = compare(model_inputs, judged, cases, settings)
    assert [(run.method, run.seed) for run in runs] == [(name, seed) for name in methods for seed in range(2)]
    assert all(np.isfinite(run.test["rmse"]) and run.prediction.shape == (MOLECULES, 1) for run in runs)
    assert {run.chosen for run in runs if run.method in ("gallon", "glnn")} == {"gallon", "atoms"}
    assert {run.chosen for run in runs if run.method == "mugsi-1hop"} == {"atoms-1hop"}
    assert {run.chosen for run in runs if run.method == "gnn+lm"} == {"gin"}  # the only graph teacher of the table
    assert {run.chosen for run in runs if run.method == "dmpnn+lm+transfer"} == {"dmpnn"}
    # With choices, folds and teachers; `gnn+lm` is a network chosen out of one teacher.
    assert [run.fits for run in runs[::2]] == [1, 1, 1, 2, 3, 10, 10, 10, 4, 4, 3, 5, 4, 0, 7]
    for case in cases:  # distilled or not, it is the same student
        of_students = [name for name in methods if name.startswith("student") and "pseudo-labels" not in name]
        chosen = {run.chosen for run in runs if run.seed == case.seed and run.method in of_students}
        assert len(chosen) == 1 and chosen <= set(INPUTS)
    assert {run.chosen for run in runs if run.method == "student+pseudo-labels"} <= {
        f"weight {weight:g}" for weight in PSEUDO_WEIGHTS
    }
    said = {(run.method, run.seed): run.prediction for run in runs}
    assert np.allclose(said["teachers", 0][UNREAD:], (said["gin", 0] + said["lm", 0])[UNREAD:] / 2, atol=1e-5)
    assert np.allclose(said["teachers", 0][:UNREAD], said["gin", 0][:UNREAD])  # the language teacher is silent there
    assert np.allclose(said["llm-few-shot", 1][UNREAD:, 0], model_inputs.dataset.labels[UNREAD:, 0] + 0.5, atol=1e-5)
    shown: list[FitProgress] = []
    again = compare(model_inputs, judged, cases, settings, show=shown.append)
    of_baselines = len(cases)  # a random forest each
    assert [known.done for known in shown[:of_baselines]] == [1, 2]
    assert all(known.done == known.all and not known.rate for known in shown[of_baselines:])
    assert [run.test for run in again] == [run.test for run in runs]
    without = replace(model_inputs, transfer=None)
    with pytest.raises(
        UsageError, match=r"student\+both\+transfer, dmpnn\+lm\+transfer, student\+pseudo-labels learns"
    ):
        compare(without, judged, cases, settings)
    page = write(
        tmp_path,
        judged,
        runs,
        summarize(judged, runs, "student+both"),
        made_of=provenance(model_inputs, cases, trials=0),
    )
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert sorted(row["method"] for row in rows) == sorted(methods)
    assert "student+shuffled" in page.read_text()


def test_a_property_is_learned_in_one_call_and_again_for_nothing(
    ray_here: RaySession, model_inputs: ModelInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gallon.api.annotation.ray_session", lambda _: nullcontext(ray_here))
    dataset = model_inputs.dataset
    rows = [f"{smiles},{label}" for smiles, (label,) in zip(dataset.smiles, dataset.labels, strict=True)]
    (tmp_path / "nci.csv").write_text("\n".join(["smiles,logP", *rows]) + "\n")

    def learned() -> Learned:
        return learn(tmp_path / "nci.csv", target="logP", split="random", texts=False, out=tmp_path / "out")

    found = learned()
    assert found.annotation is None and [model.name for model in found.teachers] == ["dmpnn"]
    methods = {"gradient_boosting", "dmpnn", "student", "student+gnn"}
    assert {row.method for row in found.comparison.rows} == methods and found.comparison.page.is_file()
    assert np.isfinite(load(found.student.path).values(["CCO"])).all()
    assert read_card(found.student.path).teachers[0]["recipe"] == "dmpnn"
    fits = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "fits").rglob("*")}
    assert learned().student.metrics == found.student.metrics
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "fits").rglob("*")} == fits


def test_what_the_test_part_measures_decides_nothing(
    ray_here: RaySession, model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    """Two comparisons, whose test labels alone differ, choose alike and predict alike."""
    cases = [SeededSplit(seed=0, split=parts)]
    labels = model_inputs.dataset.labels.copy()
    labels[parts.test] = 9 - 5 * labels[parts.test]
    told = []
    for name, measured in (("as it is", model_inputs.dataset.labels), ("otherwise", labels)):
        inputs = replace(model_inputs, dataset=replace(model_inputs.dataset, labels=measured, sha256=name))
        settings = Settings(
            methods=["gin", "gcn", "student+gnn"],
            folder=tmp_path / name,
            resources=TrainResources(workers=1),
            folds=2,
        )
        told.append(compare(inputs, Judged.of(inputs.dataset, cases), cases, settings))
    for one, other in zip(*told, strict=True):
        assert (one.chosen, one.valid) == (other.chosen, pytest.approx(other.valid, rel=1e-3))
        assert np.allclose(one.prediction, other.prediction, atol=1e-3)
        assert one.test["rmse"] != pytest.approx(other.test["rmse"], rel=0.1)


def test_annotations_come_out_of_the_store_by_molecule(store: Store, model_inputs: ModelInputs, tmp_path: Path) -> None:
    from cluster.records.importer import import_annotations

    lines = [
        {"smiles": smiles, "text": f"about {smiles}", "model": "gpt"} for smiles in model_inputs.dataset.smiles[:3]
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    import_annotations(store, tmp_path / "texts.jsonl")
    found = fetch(store, choose_spec(store, None), model_inputs.dataset.keys)
    assert found.texts[:4] == (*(f"about {smiles}" for smiles in model_inputs.dataset.smiles[:3]), None)
    assert found.missing == MOLECULES - 3


def test_shuffled_texts_go_to_other_molecules_and_none_is_lost(model_inputs: ModelInputs) -> None:
    assert model_inputs.annotations is not None
    shuffled = model_inputs.annotations.shuffled(0)
    assert shuffled.sha256 != model_inputs.annotations.sha256
    assert sorted(map(str, shuffled.texts)) == sorted(map(str, model_inputs.annotations.texts))
    assert shuffled.texts[:UNREAD] == (None,) * UNREAD
