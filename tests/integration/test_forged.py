"""What somebody else wrote into the store is a defect or one sentence: no traceback, and no request to the network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import composite

from cluster.records.dead_letters import dead_letters
from cluster.records.export import export
from cluster.records.integrity import audit
from cluster.runs.run import Run
from cluster.runs.status import RunMonitor, status
from cluster.runs.workers import worker_statuses
from cluster.runtime.process import Process
from cluster.store.connection import StoreError
from cluster.store.open import choose_spec
from cluster.store.record import LONGEST, DeadLetter, Record
from cluster.store.store import Row, Store
from distill.report.run import write as write_report
from teacher.chemistry.molecule import key_of
from teacher.errors import GallonError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from teacher.llm.validation import Grounding
from tests.support.browser import listening
from tests.support.records import record

ANSWER = {
    "functional_groups": ["alcohol"],
    "aromatic_rings": 0,
    "aliphatic_rings": 0,
    "polarity": "low",
    "lipophilicity": "low",
    "description": "An alcohol.",
}
SIGN = {
    "gpus": 1.0,
    "engine": "ready",
    "in_flight": 0,
    "accepted": 1,
    "dead": 0,
    "deaths": 0,
    "errors": [[1.0, "an error"]],
    "time": 1.0,
}
GROUNDING = Grounding(precision=1.0, recall=1.0, f1=1.0, rings=1.0, score=1.0)
KEY, DEAD_KEY = key_of("CCO"), key_of("CCN")
LETTER = DeadLetter(
    stage="schema", error="RejectedError", message="m", source="f", row=2, smiles="CCN", run="run", time=1.0
)


@pytest.fixture
def told(store: Store, spec: Spec, describe: Prompt) -> Iterator[Store]:
    """A store with an accepted molecule, a dead one, and a run that is alive."""
    fill(store, spec, describe)
    with closing(store):
        yield store


def fill(store: Store, spec: Spec, prompt: Prompt) -> None:
    store._redis.flushall()
    store.save_spec(spec, prompt)
    store.save_software("software", {"rdkit": "1"})
    run = Run(store, spec, ["file.smi"], None, started=1.0)
    store.heartbeat(run.id, spec.id, Process.own(), 60)
    store.save_worker_status(run.id, "host 1", SIGN)
    store.register(spec.id, run.id, [Row(KEY, 0, 1), Row(DEAD_KEY, 0, 2)])
    accepted = record(text=json.dumps(ANSWER), grounding=GROUNDING, run=run.id, prompt_tokens=1)
    store.commit(spec.id, run.id, [(KEY, accepted), (DEAD_KEY, LETTER)], [(1, 1), (1, 1)])


def look_at_everything(store: Store, spec: Spec, folder: Path, *, page: bool = True) -> list[str]:
    """Look at a store in every way, or all but the page, which takes its time; return what was wrong, one line each."""
    told: list[str] = []

    def look(what: Callable[[], Any]) -> None:
        try:
            what()
        except GallonError as error:
            told.append(str(error))

    look(lambda: told.extend(map(str, audit(store, choose_spec(store, None).id))))
    look(lambda: told.extend(map(str, audit(store, spec.id))))
    look(lambda: json.dumps(status(store), allow_nan=False))
    look(lambda: [worker_statuses(store, run) for run in store.runs()])
    look(lambda: RunMonitor(store).snapshot())
    look(lambda: list(dead_letters(store, choose_spec(store, None))))
    for suffix in (".parquet", ".jsonl", ".csv"):
        look(lambda: export(store, choose_spec(store, None), folder / f"out{suffix}"))  # noqa: B023
    if page:
        look(lambda: write_report(store, None, folder / "report.html", most=9))
    for line in told:
        assert "\n" not in line
    return told


def test_nothing_is_wrong_with_what_gallon_wrote(told: Store, spec: Spec, tmp_path: Path) -> None:
    assert look_at_everything(told, spec, tmp_path) == []


def test_a_record_that_says_it_is_longer_than_memory_is_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(LONGEST + 1))
    with pytest.raises(ValueError, match="bytes long"):
        Record.unpack(bomb)


def place(spec: Spec, key: bytes, of: str) -> tuple[str, bytes]:
    return f"gallon:{{{key[0]:02x}}}:{spec.id}:{of}", key


def packed(value: Any) -> bytes:
    return zstandard.compress(json.dumps(value).encode())


RECORD = json.loads(zstandard.decompress(record(text=json.dumps(ANSWER), grounding=GROUNDING).pack()))
WRONG = (None, True, -1, 1e300, 2**70, float("nan"), "x", "\ud800", [], {}, {"a": 1})


@pytest.mark.parametrize("field", [*RECORD, "grounding.score", "grounding.rings"])
def test_a_record_with_a_wrong_field_is_told(told: Store, spec: Spec, tmp_path: Path, field: str) -> None:
    inner, _, score = field.partition(".")
    for wrong in WRONG:
        changed = {**RECORD, inner: {**RECORD["grounding"], score: wrong} if score else wrong}
        told._redis.hset(*place(spec, KEY, "accepted"), packed(changed))
        defects = list(audit(told, spec.id))
        assert all(defect.key == KEY for defect in defects)
        assert defects or (field, wrong) == ("grounding.rings", None)  # which may be unknown
    look_at_everything(told, spec, tmp_path, page=field == "grounding.score")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "[" * 9_000, '{"a": 1}', '{"functional_groups": 1}', "\0"])
def test_a_record_whose_text_is_no_answer_is_told(told: Store, spec: Spec, tmp_path: Path, text: str) -> None:
    told._redis.hset(*place(spec, KEY, "accepted"), record(text=text, grounding=GROUNDING).pack())
    assert any("should not have been accepted" in line for line in look_at_everything(told, spec, tmp_path))


@pytest.mark.parametrize("smiles", ["", "not one", "C" * 10_000, "[" * 3_000])
def test_a_record_about_no_molecule_is_told(told: Store, spec: Spec, tmp_path: Path, smiles: str) -> None:
    forged = record(smiles, json.dumps(ANSWER), grounding=GROUNDING)
    told._redis.hset(*place(spec, KEY, "accepted"), forged.pack())
    assert any("about another molecule" in line for line in look_at_everything(told, spec, tmp_path))


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@composite
def forged(draw: st.DrawFn, value: Any) -> Any:
    """The same value, but that some part of it is another, or is missing."""
    if not isinstance(value, dict) or not value or draw(st.integers(0, 3)) == 0:
        return draw(SHAPES)
    name = draw(st.sampled_from(sorted(value)))
    others = {other: kept for other, kept in value.items() if other != name}
    return others if draw(st.booleans()) else {**others, name: draw(forged(value[name]))}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shape_anywhere_is_told_in_a_sentence(
    store: Store, spec: Spec, describe: Prompt, tmp_path: Path, data: st.DataObject
) -> None:
    fill(store, spec, describe)
    (run,) = store.runs()
    hashes = {
        "gallon:specs": spec.id,
        "gallon:prompts": spec.prompt.digest,
        "gallon:software": "software",
        "gallon:runs": run,
        "gallon:alive": run,
        f"gallon:{{{run}}}:workers": "host 1",
        **dict([place(spec, KEY, "accepted"), place(spec, DEAD_KEY, "dead")]),
    }
    name, field = data.draw(st.sampled_from(list(hashes.items())))
    kept = store._redis.hget(name, field)
    assert kept is not None
    is_packed = field in (KEY, DEAD_KEY)
    value = json.loads(zstandard.decompress(kept) if is_packed else kept)
    value = data.draw(forged(value))
    field = data.draw(st.sampled_from([field, field, field, "other", b"\xff", ""]))
    store._redis.hset(name, field, packed(value) if is_packed else json.dumps(value))
    look_at_everything(store, spec, tmp_path, page=False)


def test_a_reference_in_a_stored_schema_is_not_followed(told: Store, spec: Spec, tmp_path: Path) -> None:
    with listening() as (url, heard):
        prompt = json.loads(told._redis.hget("gallon:prompts", spec.prompt.digest))
        prompt["schema"]["properties"]["description"] = {"$ref": f"{url}/schema.json"}
        told._redis.hset("gallon:prompts", spec.prompt.digest, json.dumps(prompt))
        lines = look_at_everything(told, spec, tmp_path)
        assert any(f"refers to '{url}/schema.json', which is not in it" in line for line in lines)
        assert heard == []


def test_a_spec_under_another_id_is_told(told: Store, spec: Spec) -> None:
    told._redis.hset("gallon:specs", "0123", spec.model_dump_json())
    with pytest.raises(StoreError, match=f"hashes to {spec.id}"):
        choose_spec(told, "0123")
    assert [str(defect) for defect in audit(told, "4567")] == ["the store knows no spec 4567"]


def test_one_who_counts_in_words_is_told(told: Store) -> None:
    (run,) = told.runs()
    told._redis.hset(f"gallon:{{00}}:run:{run}:counts", "accepted", "many")
    with pytest.raises(StoreError, match="counts, of the run"):
        status(told)


def test_a_dead_letter_of_a_wrong_type_is_told(told: Store, spec: Spec) -> None:
    fields = {**json.loads(zstandard.decompress(LETTER.pack())), "row": "2"}
    told._redis.hset(*place(spec, DEAD_KEY, "dead"), packed(fields))
    with pytest.raises(StoreError, match=f"a dead letter, under {DEAD_KEY.hex()},.*row: Input should be"):
        list(dead_letters(told, spec))
