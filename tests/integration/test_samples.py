"""Several samples of one request: in the ledger, in records, in exports, and from the real vLLM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cluster.records.export import export
from cluster.records.integrity import audit
from cluster.store.store import Store
from distill.data.annotations import fetch
from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.molecule import key_of
from teacher.llm.acceptance import accept
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.request import build_request
from teacher.llm.spec import Keep, Samples, Spec
from tests.support.records import record as stored_record
from tests.support.scripted import true_answer

MOLECULES = ["CCO", "CCN", "Oc1ccccc1", "CC(=O)Nc1ccc(O)cc1"]


@pytest.fixture
def sampled(spec: Spec) -> Callable[[Keep], Spec]:
    assert spec.sampling is not None
    hot = spec.sampling.model_copy(update={"temperature": 0.7})
    return lambda keep: spec.model_copy(update={"sampling": hot, "samples": Samples(number=8, keep=keep)})


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "four.smi"
    path.write_text("".join(f"{smiles}\n" for smiles in MOLECULES))
    return path


def test_all_samples_are_counted_and_those_that_were_accepted_are_kept(
    run: Callable, store: Store, sampled: Callable[[Keep], Spec], library: Path
) -> None:
    """Of eight samples of the scripted engine, the fourth and the eighth are nonsense."""
    spec = sampled("all")
    ledger = run(library, spec=spec).ledger
    records = [record for _, record in store.records(spec.id)]
    assert (ledger.accepted, ledger.dead, len(records)) == (4, 0, 4)
    assert ledger.completion_tokens == sum(record.completion_tokens for record in records)
    assert ledger.prompt_tokens == 4 * 50
    for record in records:
        assert len(record.samples) == 6
        assert record.agreement == 0.75
        nonsense = len("nonsense") // 4
        assert record.completion_tokens == 6 * (len(true_answer(record.smiles)) // 4) + 2 * nonsense


@pytest.mark.parametrize(
    ("steps", "max_tokens", "is_a_rung"),
    [(0, 100, True), (16, 200, True), (16, 100, True), (2, 200, True), (16, 300, False), (3, 200, False)],
)
def test_a_retry_is_known_by_its_seed_also_where_the_samples_of_all_attempts_had_seeds_in_a_row(
    store: Store, sampled: Callable[[Keep], Spec], steps: int, max_tokens: int, is_a_rung: bool
) -> None:
    spec = sampled("best")
    assert spec.sampling is not None and spec.sampling.max_tokens == 100
    store.save_spec(spec)
    key = key_of("CCO")
    found = stored_record(seed=spec.sampling.seed + steps, temperature=0.7, max_tokens=max_tokens)
    store._redis.hset(f"gallon:{{{key[0]:02x}}}:{spec.id}:accepted", key, found.pack())
    defects = [defect.message for defect in audit(store, spec.id)]
    assert ("was sampled in another way than its spec says" not in defects) == is_a_rung


def test_an_export_tells_how_far_samples_agree_and_their_texts_where_all_are_kept(
    run: Callable, store: Store, sampled: Callable[[Keep], Spec], library: Path, tmp_path: Path
) -> None:
    for keep in ("best", "all"):
        run(library, spec=sampled(keep))
        export(store, sampled(keep), tmp_path / f"{keep}.csv")
    best, every = (pd.read_csv(tmp_path / f"{keep}.csv") for keep in ("best", "all"))
    assert list(best["agreement"]) == [0.75] * 4
    assert "samples" not in best
    texts = [[sample["text"] for sample in json.loads(samples)] for samples in every["samples"]]
    assert all(set(found) == {text} for found, text in zip(texts, every["text"], strict=True))


def test_teachers_are_told_how_far_samples_agree(
    run: Callable, store: Store, spec: Spec, sampled: Callable[[Keep], Spec], library: Path
) -> None:
    keys = [key_of(smiles) for smiles in (*MOLECULES, "CCCl")]
    run(library)
    run(library, spec=sampled("vote"))
    assert fetch(store, spec, keys).agreement is None
    found = fetch(store, sampled("vote"), keys)
    assert found.agreement == (0.75, 0.75, 0.75, 0.75, 0.0)
    assert found.shuffled(1).agreement == found.agreement
    assert found.sha256 != fetch(store, spec, keys).sha256


def test_vllm_draws_all_samples_of_a_molecule_in_one_request(tiny_engine: VllmEngine) -> None:
    resolved = resolve_spec(SpecConfig(temperature=0.9, samples=8, max_tokens=80))
    built = [build_request(smiles, key_of(smiles), resolved.spec, resolved.prompt) for smiles in MOLECULES]
    answers = [tiny_engine.submit(request) for request, _ in built]
    schema = resolved.prompt.json_schema
    for answer, (_, facts) in zip(answers, built, strict=True):
        completion = answer.result()
        assert len(completion.others) == 7
        assert completion.prompt_tokens > 0 == sum(other.prompt_tokens for other in completion.others)
        assert completion.written > max(each.completion_tokens for each in (completion, *completion.others))
        assert len({each.text for each in (completion, *completion.others)}) > 1
        if all(each.finish_reason == "stop" for each in (completion, *completion.others)):
            assert 0 < (accept(completion, schema, facts, resolved.spec).agreement or 0) <= 1
