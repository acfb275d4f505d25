"""What a network learns of a library before it sees a label, and how one begins with it."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cluster.training import loop
from cluster.training.driver import TrainResources
from cluster.training.fit import FitSet
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from cluster.training.results import read_outcome
from distill.data.dataset import read
from distill.data.splits import split
from distill.features.vectors import CLIP, student_features
from distill.learn.recipes import recipe
from distill.learn.start import begun
from distill.library import pretrain as pretrain_module
from distill.library import targets as targets_module
from distill.library.beside.embeddings import ShardTexts, TextSet, write_texts
from distill.library.beside.scores import annotated
from distill.library.fields import FieldColumn, field_columns, field_values
from distill.library.prepared import PreparedLibrary
from distill.library.pretrain import Pretrained, Pretraining, explained, pretrain
from distill.library.shard import read_facts
from distill.library.targets import TARGETS, PretrainingTargets
from distill.models import pretraining as models
from distill.models.pretraining import Start
from teacher.chemistry.molecule import parse
from teacher.errors import UsageError
from tests.support.prepared import library_of

ALKANES = ["C" * length for length in range(1, 41)]
SHARDS = [[*ALKANES[:20], "nonsense"], ALKANES[20:]]
WEIGHTS = {"descriptors": 1.0, "fields": 0.5, "embedding": 2.0}


def key(smiles: str) -> bytes:
    return parse(smiles.encode()).key


def without_ray(fit_set: FitSet, folder: Path, _resources: TrainResources, _show: object = None) -> list[object]:
    """Do fits in this process."""
    outcomes = []
    alone = ProcessGroup(0, 1, "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    for fit in fit_set.fits:
        Training(fit, shard_of([fit], fit_set.inputs, fit_set.columns, alone), alone, folder).run()
        outcomes.append(read_outcome(folder, fit.id))
    return outcomes


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain_module, "fit_all", without_ray)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> PreparedLibrary:
    """Forty alkanes, the odd ones of which an LLM has described."""
    prepared = library_of(tmp_path_factory.mktemp("library"), SHARDS)
    texts = TextSet.at(prepared.folder, "1f2e", "minilm")
    texts.begin({"examples": [key("CCO").hex()]})
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float16)
    for number in range(2):
        rows = np.arange(1, 20, 2)
        carbons = 20 * number + rows + 1
        told = [json.dumps({"carbons": int(n), "size": "small" if n < 10 else "large"}) for n in carbons]
        facts = read_facts(prepared.shard(number))
        assert facts is not None
        write_texts(
            ShardTexts(rows, told, np.full(len(rows), np.nan, np.float32), vectors[carbons - 1]),
            texts,
            number,
            facts.digest,
        )
    return prepared


def how(library: PreparedLibrary, **changes: object) -> Pretraining:
    usual = Pretraining(
        recipe=replace(recipe("gin"), settings={"width": 8, "layers": 1, "dropout": 0.0}),
        weights=WEIGHTS,  # type: ignore[arg-type]
        texts=TextSet.find(library.folder),
        molecules=None,
        epochs=3,
        batch_size=8,
        seed=0,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pretrained(library: PreparedLibrary, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain_module, "fit_all", without_ray)
        return pretrain(
            library,
            how(library),
            without=[key("CCC")],
            folder=tmp_path_factory.mktemp("pretrained"),
            resources=TrainResources(),
        )


def test_fields_are_numbers_and_frequent_values_and_never_free_text() -> None:
    texts = [
        json.dumps({"rings": n, "groups": ["ester"] if n % 2 else [], "polar": n > 2, "about": f"text {n}"})
        for n in range(200)
    ]
    columns = field_columns([*texts, "no JSON", "[1]"])
    assert columns == (FieldColumn("groups", "ester"), FieldColumn("polar"), FieldColumn("rings"))
    values = field_values(columns, [texts[3], texts[2], "no JSON", '{"rings": 7, "groups": "ester"}'])
    expected = [[1, 1, 3], [0, 0, 2], [np.nan] * 3, [1, np.nan, 7]]
    assert np.array_equal(values, np.array(expected, dtype=np.float32), equal_nan=True)


def test_targets_are_standardised_and_unknown_where_nothing_is_written(library: PreparedLibrary) -> None:
    everything = library.select([], None, seed=0)
    texts = TextSet.find(library.folder)
    targets = PretrainingTargets.fit(library, everything, WEIGHTS, texts)  # type: ignore[arg-type]
    widths = {name: width for name, width, _ in targets.groups}
    assert list(widths) == ["descriptors", "fields", "embedding"] and (widths["fields"], widths["embedding"]) == (3, 8)
    first = targets.columns(library, 0, np.arange(20))[TARGETS]
    second = targets.columns(library, 1, np.arange(20))[TARGETS]
    values = np.concatenate([first, second])
    assert np.abs(values[np.isfinite(values)]).max() <= CLIP
    described = values[:, : widths["descriptors"]]
    assert np.allclose(np.nanmean(described, axis=0), 0, atol=0.2)
    raw = student_features([parse(smiles.encode()).mol for smiles in ALKANES], "lean")[:, 2048 : 2048 + 200]
    place = targets.names.index("exactmw")
    column = (raw[:, targets.descriptors[place]] - targets.means[place]) / targets.deviations[place]
    assert np.allclose(described[:, place], column, atol=1e-4)
    written = values[:, widths["descriptors"] :]
    assert np.isnan(written[::2]).all() and np.isfinite(written[1::2]).all()
    carbons = written[1::2, 0] * targets.deviations[widths["descriptors"]] + targets.means[widths["descriptors"]]
    assert np.allclose(carbons, np.arange(2, 41, 2), atol=1e-3)
    some = targets.columns(library, 1, np.array([3, 4, 7]))[TARGETS]
    assert np.allclose(some, second[[3, 4, 7]], atol=1e-5, equal_nan=True)


def test_without_annotations_or_with_no_weight_a_group_is_left_out(library: PreparedLibrary) -> None:
    everything = library.select([], None, seed=0)
    texts = TextSet.find(library.folder)
    alone = PretrainingTargets.fit(library, everything, WEIGHTS, None)  # type: ignore[arg-type]
    assert [name for name, _, _ in alone.groups] == ["descriptors"]
    described = {"descriptors": 0.0, "fields": 1.0, "embedding": 0.0}
    fields = PretrainingTargets.fit(library, everything, described, texts)  # type: ignore[arg-type]
    assert [(name, width) for name, width, _ in fields.groups] == [("fields", 3)] and len(fields.means) == 3
    with pytest.raises(UsageError, match="has nothing to learn with these weights"):
        PretrainingTargets.fit(library, everything, described, None)  # type: ignore[arg-type]


def test_what_is_explained_is_a_share_of_the_variance(library: PreparedLibrary) -> None:
    everything = library.select([], None, seed=0)
    targets = PretrainingTargets.fit(library, everything, WEIGHTS, TextSet.find(library.folder))  # type: ignore[arg-type]
    truth = targets.columns(library, 0, np.arange(20))[TARGETS]
    assert all(share == pytest.approx(1) for share in explained(targets, truth, np.nan_to_num(truth)).values())
    means = np.broadcast_to(np.nanmean(truth, axis=0), truth.shape)
    assert all(share == pytest.approx(0, abs=1e-5) for share in explained(targets, truth, means).values())


def test_a_network_learns_all_groups_and_its_card_says_what_it_has_seen(
    library: PreparedLibrary, pretrained: Pretrained
) -> None:
    card = models.read_card(pretrained.path)
    assert (card.recipe, card.molecules, card.validated, card.left_out) == ("gin", 36, 3, 1)
    losses = [epoch["loss"] for epoch in card.history]
    assert len(losses) == 3 and losses[-1] < losses[0] and min(card.history[0][name] for name in WEIGHTS) > 0
    assert card.explained.keys() == {"descriptors"}  # one of those held out has a text: that is no variance
    assert "none is a label" in card.labels
    start = Start.read(pretrained.path)
    assert len(start.seen) == 36 and models.short_keys([key("CCC")])[0] not in start.seen
    again = pretrain(library, how(library), without=[key("CCC")], folder=pretrained.path, resources=TrainResources())
    assert again.card.history == card.history


def repeated(library: PreparedLibrary, folder: Path) -> PreparedLibrary:
    """Return a library of which every second molecule has a text: one of five, told in vectors of its own size."""
    aligned = library_of(folder, SHARDS)
    texts = TextSet.at(aligned.folder, "2f3e", "minilm")
    texts.begin({"examples": [key("CCO").hex()]})
    for number in range(2):
        rows = np.arange(1, 20, 2)
        carbons = 20 * number + rows + 1
        vectors = np.stack([np.cos(carbons / width) for width in range(1, 13)], axis=1).astype(np.float16)
        facts = read_facts(aligned.shard(number))
        assert facts is not None
        told = [f"size {n // 8}" for n in carbons]
        write_texts(ShardTexts(rows, told, np.full(10, np.nan, np.float32), vectors), texts, number, facts.digest)
    return aligned


@pytest.fixture
def sparse(tmp_path: Path) -> PreparedLibrary:
    """The alkanes, of which an LLM has described three."""
    prepared = library_of(tmp_path / "sparse", SHARDS)
    texts = TextSet.at(prepared.folder, "3f4e", "minilm")
    texts.begin({"examples": []})
    facts = read_facts(prepared.shard(1))
    assert facts is not None
    told = [json.dumps({"carbons": carbons}) for carbons in (22, 25, 28)]
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float16)
    said = ShardTexts(np.array([1, 4, 7]), told, np.full(3, np.nan, np.float32), vectors)
    write_texts(said, texts, 1, facts.digest)
    return prepared


def test_few_annotations_of_a_large_library_decide_what_is_learned_of_them(
    sparse: PreparedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets_module, "SAMPLE", 5)
    weights = {**WEIGHTS, "alignment": 1.0}
    molecules, texts = sparse.select([], None, seed=0), TextSet.find(sparse.folder)
    targets = PretrainingTargets.fit(sparse, molecules, weights, texts)  # type: ignore[arg-type]
    assert list(targets.weights) == list(weights)
    carbons = targets.widths_of_groups["descriptors"]
    assert targets.fields == (FieldColumn("carbons"),) and targets.means[carbons] == 25
    assert targets.deviations[carbons] == pytest.approx(np.std([22, 25, 28]))
    assert np.isfinite(targets.means).all()


def test_a_group_without_anything_to_learn_is_named(sparse: PreparedLibrary, caplog: pytest.LogCaptureFixture) -> None:
    texts, others = TextSet.find(sparse.folder), sparse.select([key("C" * 22), key("C" * 25), key("C" * 28)], None, 0)
    targets = PretrainingTargets.fit(sparse, others, WEIGHTS, texts)  # type: ignore[arg-type]
    assert list(targets.weights) == ["descriptors"]
    assert "Nothing is learned of embedding and fields: of these molecules none" in caplog.text


def test_what_held_out_molecules_do_not_tell_is_left_out(sparse: PreparedLibrary, tmp_path: Path) -> None:
    texts, everything = TextSet.find(sparse.folder), sparse.select([], None, seed=0)
    assert texts is not None
    seed = next(seed for seed in range(99) if not len(annotated(sparse, everything.divided(4, seed)[0], texts)))
    changes = {"texts": texts, "weights": {**WEIGHTS, "alignment": 1.0}, "epochs": 2, "seed": seed}
    done = pretrain(sparse, how(sparse, **changes), folder=tmp_path / "network", resources=TrainResources())
    assert done.card.explained.keys() == {"descriptors"} and done.card.retrieved == {}
    assert all(np.isfinite(epoch["score"]) for epoch in done.card.history)


def test_a_library_of_one_molecule_is_refused(tmp_path: Path) -> None:
    alone = library_of(tmp_path / "alone", [["CCO"]])
    with pytest.raises(UsageError, match="has 1 molecule to learn of, and it takes 2 at least"):
        pretrain(alone, how(alone), folder=tmp_path / "network", resources=TrainResources())


ALIGNED_ALONE = {"descriptors": 0.0, "fields": 0.0, "embedding": 0.0, "alignment": 1.0}


def test_texts_to_align_with_are_standardised_and_known_by_what_they_say(
    library: PreparedLibrary, tmp_path: Path
) -> None:
    aligned = repeated(library, tmp_path / "library")
    everything, texts = aligned.select([], None, seed=0), TextSet.find(aligned.folder)
    targets = PretrainingTargets.fit(aligned, everything, ALIGNED_ALONE, texts)  # type: ignore[arg-type]
    assert (targets.groups, targets.alignment, targets.widths) == ((), (12, 1.0), {TARGETS: 14})
    values = np.concatenate([targets.columns(aligned, number, np.arange(20))[TARGETS] for number in range(2)])
    assert np.isnan(values[::2]).all() and np.allclose(values[1::2, :12].mean(axis=0), 0, atol=1e-3)
    identity, said = values[1::2, 12:], np.arange(2, 41, 2) // 8
    same = (identity[:, None] == identity[None]).all(axis=2)
    assert np.array_equal(same, said[:, None] == said[None])
    assert np.array_equal(identity, identity.round()) and identity.max() < 2**24


@pytest.mark.parametrize("weights", [ALIGNED_ALONE, {**WEIGHTS, "fields": 0.0, "alignment": 0.5}])
def test_a_network_is_aligned_with_texts_and_its_card_says_how_well_it_finds_them(
    weights: dict[str, float], library: PreparedLibrary, tmp_path: Path
) -> None:
    aligned = repeated(library, tmp_path / "library")
    changes = {"texts": TextSet.find(aligned.folder), "weights": weights, "epochs": 60, "batch_size": 40}
    done = pretrain(aligned, how(library, **changes), folder=tmp_path / "network", resources=TrainResources())
    card = models.read_card(done.path)
    losses = [epoch["alignment"] for epoch in card.history]
    assert losses[-1] < 0.8 * losses[0]
    assert card.retrieved["texts"] == 2 and 0 <= card.retrieved["auc"] <= 1
    assert [name for name, *_ in card.targets["groups"]][-1] == "alignment" and card.examples
    assert card.explained.keys() == {name for name, weight in weights.items() if weight} - {"alignment"}
    start = Start.read(done.path)
    weights_left = load_file(start.weights)
    assert weights_left["space.log_scale"] != pytest.approx(np.log(1 / 0.07), abs=1e-4)
    begins = begun(start.weights, recipe("gin").build, 2, **card.settings).state_dict()
    body = [name for name in begins if not name.startswith("head.")]
    assert body and all(torch.equal(begins[name], weights_left[f"network.{name}"]) for name in body)


def test_an_alignment_that_dies_in_the_middle_of_an_epoch_ends_as_an_undisturbed_one(
    library: PreparedLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = repeated(library, tmp_path / "library")
    mine = how(library, texts=TextSet.find(aligned.folder), weights=ALIGNED_ALONE)
    calm = pretrain(aligned, mine, folder=tmp_path / "calm", resources=TrainResources())
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(loop, "STEPS_BETWEEN_LOOKS", 1)
    descend, calls = Training._descend, []

    def dying(self: Training, terms: Any, step: int) -> None:
        calls.append(step)
        if len(calls) == 8:
            raise InterruptedError
        descend(self, terms, step)

    monkeypatch.setattr(Training, "_descend", dying)
    with pytest.raises(InterruptedError):
        pretrain(aligned, mine, folder=tmp_path / "killed", resources=TrainResources())
    killed = pretrain(aligned, mine, folder=tmp_path / "killed", resources=TrainResources())
    assert calls[7:9] == [7, 7]  # on from the last checkpoint, which is in the middle of an epoch
    one, other = (load_file(Start.read(done.path).weights) for done in (calm, killed))
    assert {"space.texts.weight", "space.log_scale"} < one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert [epoch["alignment"] for epoch in killed.card.history] == pytest.approx(
        [epoch["alignment"] for epoch in calm.card.history], rel=1e-5
    )


def test_where_no_text_is_learned_none_is_read(library: PreparedLibrary) -> None:
    everything, texts = library.select([], None, seed=0), TextSet.find(library.folder)
    weights = {"descriptors": 1.0, "fields": 0.0, "embedding": 0.0, "alignment": 0.0}
    assert PretrainingTargets.fit(library, everything, weights, texts).texts is None  # type: ignore[arg-type]


def test_a_network_begins_with_all_but_the_head(pretrained: Pretrained) -> None:
    start = Start.read(pretrained.path)
    known = recipe("gin").beginning_with(start)
    network = begun(start.weights, known.build, 2, **known.settings)
    weights = load_file(start.weights)
    for name, value in network.state_dict().items():
        if name.startswith("head."):
            assert value.shape != weights[f"network.{name}"].shape or not torch.equal(value, weights[f"network.{name}"])
        else:
            assert torch.equal(value, weights[f"network.{name}"]), name
    for build, settings in [(known.build, {**known.settings, "width": 16}), (recipe("dmpnn").build, known.settings)]:
        with pytest.raises(UsageError, match="No network can begin with"):
            begun(start.weights, build, 2, **settings)


def test_what_has_seen_answers_of_test_molecules_is_refused_and_structures_are_counted(
    pretrained: Pretrained, tmp_path: Path
) -> None:
    parts = {"train": ["CC", "CCCC", "CCC"], "valid": ["CO", "C" * 12], "test": ["CCO", "CCCCC"]}
    rows = [f"{smiles},{n}.5,{part}" for part, some in parts.items() for n, smiles in enumerate(some)]
    (tmp_path / "labels.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    dataset = read(tmp_path / "labels.csv", targets=["y"], split_column="part")
    of_data = split(dataset, "column")
    start = Start.read(pretrained.path)
    seen = start.facts(dataset, of_data)["seen"]
    known = functools.partial(np.isin, test_elements=start.seen)
    assert seen == {part: int(known(models.short_keys(list(map(key, some)))).sum()) for part, some in parts.items()}
    assert seen["train"] < 3 and sum(seen.values()) > 1
    with pytest.raises(UsageError, match="shows 1 example out of the test part"):
        start.refuse_seen_labels(dataset, of_data)
    replace(start, card=replace(start.card, examples=[])).refuse_seen_labels(dataset, of_data)


def test_a_network_of_other_features_or_a_damaged_one_is_refused(
    pretrained: Pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="There is no pre-trained network"):
        Start.read(tmp_path)
    (tmp_path / models.CARD).write_text("{}")
    with pytest.raises(UsageError, match="is damaged"):
        Start.read(tmp_path)
    (tmp_path / models.CARD).write_bytes((pretrained.path / models.CARD).read_bytes())
    with pytest.raises(UsageError, match="is damaged"):
        Start.read(tmp_path)
    monkeypatch.setattr(models, "features_id", lambda: "0-rdkit-1")
    with pytest.raises(UsageError, match="pre-trained on features of version"):
        Start.read(pretrained.path)
