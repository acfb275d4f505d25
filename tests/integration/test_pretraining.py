"""What networks learn of a prepared library before they see a label, on a real Ray and a real Redis."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from cluster.runtime.session import RaySession
from cluster.store.store import Row, Store
from cluster.training.driver import TrainResources
from distill.library.beside.embedding import Embedded, embed_library
from distill.library.beside.embeddings import TextSet, read_texts
from distill.library.prepared import PreparedLibrary
from distill.library.shard import read_facts
from distill.models.model_store import read_card
from teacher.chemistry.molecule import parse
from teacher.errors import UsageError
from teacher.llm.spec import Spec
from teacher.nn.text_encoder import MINILM, embed, format_text
from tests.support.command import CommandHere
from tests.support.prepared import library_of
from tests.support.records import record

SHARDS = [["CCO", "nonsense", "CCN", "OCC"], ["CCC", "CCCl", "CCCC"], ["CCCCC"]]


@pytest.fixture
def library(tmp_path: Path) -> PreparedLibrary:
    return library_of(tmp_path / "prepared", SHARDS)


def annotate(store: Store, spec: Spec, texts: dict[str, str]) -> None:
    store.save_spec(spec)
    keys = [parse(smiles.encode()).key for smiles in texts]
    store.register(spec.id, "run", [Row(key, 0, number) for number, key in enumerate(keys, 1)])
    records = [record(smiles, text) for smiles, text in texts.items()]
    store.commit(spec.id, "run", list(zip(keys, records, strict=True)), [(1, 1)] * len(keys))


def run(library: PreparedLibrary, store: Store, spec: Spec, session: RaySession) -> Embedded:
    return embed_library(library, store, spec, encoder=MINILM, session=session)


def test_annotated_molecules_are_embedded_once_and_a_later_call_takes_what_is_new(
    library: PreparedLibrary, store: Store, spec: Spec, ray_here: RaySession
) -> None:
    texts = {"CCO": '{"polarity": "high"}', "CCN": '{"polarity": "medium"}', "CCCl": '{"polarity": "low"}'}
    annotate(store, spec, texts)
    first = run(library, store, spec, ray_here)
    assert (first.molecules, first.annotated, first.new) == (6, 3, 3)
    annotate(store, spec, {"CCCC": '{"polarity": "low"}'})
    again = run(library, store, spec, ray_here)
    assert (again.annotated, again.new, again.path) == (4, 1, first.path)
    assert run(library, store, spec, ray_here).new == 0

    where = TextSet.find(library.folder)
    assert where == TextSet(first.path, spec.id, MINILM)
    found = {}
    for number, rows in enumerate(SHARDS):
        facts = read_facts(library.shard(number))
        assert facts is not None and read_texts(where, number, "of other rows") is None
        if said := read_texts(where, number, facts.digest):
            found |= {
                rows[row]: (text, vector)
                for row, text, vector in zip(said.rows.tolist(), said.texts, said.vectors, strict=True)
            }
    assert {smiles: text for smiles, (text, _) in found.items()} == {**texts, "CCCC": '{"polarity": "low"}'}
    expected = embed([format_text(smiles, text) for smiles, (text, _) in found.items()], MINILM)
    vectors = np.stack([vector for _, vector in found.values()])
    assert vectors.dtype == np.float16 and np.allclose(vectors, expected, atol=2e-3)


def test_the_command_embeds_what_a_store_says(
    library: PreparedLibrary, store: Store, spec: Spec, redis_url: str, ray_address: str, command_here: CommandHere
) -> None:
    annotate(store, spec, {"CCO": "an alcohol"})
    done = command_here("embed", library.folder, "--ray", ray_address, "--json", store=redis_url)
    assert done.status == 0, done.err
    facts = json.loads(done.out.splitlines()[-1])
    assert (facts["annotated"], facts["new"], facts["spec"], facts["encoder"]) == (1, 1, spec.id, MINILM)


def test_an_encoder_that_there_is_not_ends_in_one_sentence(
    library: PreparedLibrary, store: Store, spec: Spec, ray_here: RaySession
) -> None:
    annotate(store, spec, {"CCO": "an alcohol"})
    with pytest.raises(UsageError, match=r"The text encoder '\./none' cannot be loaded"):
        embed_library(library, store, spec, encoder="./none", session=ray_here)


def test_the_commands_pretrain_a_network_and_let_a_teacher_begin_with_it(
    library: PreparedLibrary,
    ray_address: str,
    command_here: CommandHere,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the library's 6 molecules one is left out, 3 stand in the data, and one of these is a test molecule."""
    for module in ("selection", "data"):  # no GPU that the tests' Ray believes in trains
        monkeypatch.setattr(f"gallon.api.{module}.plan_resources", lambda *_: TrainResources())
    pretrained, models, store = tmp_path / "pretrained", tmp_path / "models", tmp_path / "store"
    (tmp_path / "others.smi").write_text("CCCCC\n")
    small = ("--epochs", "2", "--batch-size", "8", "--workers", "1", "--ray", ray_address)
    options = ("--teacher", "gin", "--out", pretrained, "--without", tmp_path / "others.smi", *small, "--json")
    done = command_here("pretrain", library.folder, *options, store=store)
    assert done.status == 0, done.err
    facts = json.loads(done.out.splitlines()[-1])
    assert (facts["teacher"], facts["molecules"], facts["left_out"], facts["epochs"]) == ("gin", 4, 1, 2)
    assert "none is a label" in facts["labels"]
    assert not any(name.startswith("explained") for name in facts), "one molecule was held out, which varies in nothing"

    rows = [f"{'C' * n}O,{n}.5,{('train', 'valid', 'test')[n % 3]}" for n in range(1, 13)]
    rows += ["CCN,3,test", "CCC,1,train", "CCCl,2,train", "CCCC,2,train"]
    (tmp_path / "labels.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    data = (tmp_path / "labels.csv", "--target", "y", "--split", "column", "--split-column", "part")
    shared = ("--out", models, "--workers", "1", "--ray", ray_address, "--start", pretrained)
    done = command_here("teach", *data, "--teacher", "dmpnn", *shared, store=store)
    assert done.status == 2 and "is a gin, and no dmpnn begins with it: add --teacher gin." in done.err
    done = command_here("teach", *data, "--teacher", "dmpnn,gin", "--folds", "0", *shared, "--json", store=store)
    assert done.status == 0, done.err
    assert not read_card(models / "dmpnn").start
    done = command_here("teach", *data, "--folds", "0", *shared, "--json", store=store)
    assert done.status == 0, done.err
    assert [each["name"] for each in json.loads(done.out.splitlines()[-1])["models"]] == ["gin"]
    card = read_card(models / "gin")
    assert card.start["sha256"] == hashlib.sha256((pretrained / "weights.safetensors").read_bytes()).hexdigest()
    assert card.start["targets"] == ["descriptors"] and sum(card.start["seen"].values()) >= 3
    assert "Began with a network that was pre-trained on 4 molecules" in (models / "gin" / "README.md").read_text()
    results = tmp_path / "results"
    compared = ("--methods", "gin,dmpnn,student,student+gnn", "--seeds", "1", "--folds", "0")
    shared = ("--out", results, "--workers", "1", "--ray", ray_address, "--start", pretrained)
    refused = command_here("evaluate", *data, "--methods", "dmpnn", *shared, store=store)
    assert refused.status == 2 and "is a gin, and no row is one: add gin to --methods." in refused.err
    done = command_here("evaluate", *data, *compared, *shared, "--json", store=store)
    assert done.status == 0, done.err
    facts = json.loads(done.out.splitlines()[-1])
    scores = {row["method"]: row["mean"] for row in facts["rows"]}
    assert scores.keys() == {"gin", "gin [pre-trained]", "dmpnn", "student", "student+gnn", "student+gnn [pre-trained]"}
    assert scores["gin"] != scores["gin [pre-trained]"]
    assert facts["start"]["seen"] == sum(card.start["seen"].values())
    assert "begins with one pre-trained on 4 molecules" in (results / "comparison.html").read_text()

    shown = json.loads((pretrained / "pretraining.json").read_text()) | {"examples": [parse(b"CCN").key.hex()]}
    (pretrained / "pretraining.json").write_text(json.dumps(shown))
    refused = command_here("evaluate", *data, *compared, *shared, store=store)
    assert refused.status == 2 and "1 example out of the test part" in refused.err
