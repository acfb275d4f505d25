from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from cluster.library.errors import LibraryError
from cluster.records.dead_letters import dead_letters
from cluster.records.export import OURS, export
from cluster.records.importer import MOST_SPECS, import_annotations
from cluster.store.connection import StoreError
from cluster.store.open import choose_spec
from cluster.store.store import Store
from cluster.table_file import apart
from teacher.errors import UsageError
from teacher.llm.spec import Spec


@pytest.fixture
def annotated(run, tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CC(=O)Oc1ccccc1C(=O)O\nCCO\n")
    run(library)


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_export_gives_fields_and_provenance_in_every_format(
    annotated: None, store: Store, spec: Spec, tmp_path: Path
) -> None:
    outs = [tmp_path / f"out{suffix}" for suffix in (".parquet", ".jsonl", ".csv")]
    assert [export(store, spec, out) for out in outs] == [2, 2, 2]
    tables = [
        parquet.read_table(outs[0]).to_pylist(),
        read_jsonl(outs[1]),
        list(csv.DictReader(outs[2].open(encoding="utf-8", newline=""))),
    ]
    assert tables[0] == tables[1]
    assert [set(row) for row in tables[2]] == [set(row) for row in tables[0]]
    aspirin = next(row for row in tables[0] if row["smiles"] == "CC(=O)Oc1ccccc1C(=O)O")
    assert aspirin["functional_groups"] == ["carboxylic acid", "ester"]
    assert (aspirin["aromatic_rings"], aspirin["grounding"]) == (1, 1.0)
    assert (aspirin["spec"], aspirin["model"], aspirin["prompt"]) == (spec.id, "scripted", "describe v1")
    assert "rdkit" in json.loads(aspirin["software"])
    assert {file.name for file in tmp_path.iterdir() if file.name.startswith(".")} == set()


@pytest.mark.parametrize("name", ["out.xlsx", "nowhere/out.csv"])
def test_a_file_that_cannot_be_written_is_a_usage_error(store: Store, spec: Spec, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        export(store, spec, tmp_path / name)


def test_import_keeps_provenance_and_counts_every_line(store: Store, tmp_path: Path) -> None:
    lines = [
        {"smiles": "CCO", "text": "An alcohol.", "model": "gpt", "revision": "2023-06"},
        {"smiles": "OCC", "text": "The same again.", "model": "gpt", "revision": "2023-06"},
        {"smiles": "CC=O", "text": "Cut o", "model": "gpt", "revision": "2023-06", "finish_reason": "length"},
        {"smiles": "not-one", "text": "Nothing.", "model": "gpt", "revision": "2023-06"},
        {"text": "No molecule.", "model": "gpt"},
    ]
    path = tmp_path / "made_elsewhere.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    (ledger,) = import_annotations(store, path).values()
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (6, 2, 1, 3)
    assert (ledger.accepted, ledger.dead, ledger.pending) == (1, 1, 0)
    spec = choose_spec(store, None)
    assert (spec.model.name, spec.model.revision, spec.sampling) == ("gpt", "2023-06", None)
    ((_, kept),) = store.records(spec.id)
    assert (kept.text, kept.finish_reason, kept.grounding.f1) == ("An alcohol.", "unknown", 1.0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n  \n"])
def test_import_reads_lines_however_they_are_encoded_and_ended(
    store: Store, tmp_path: Path, encoding: str, end: str
) -> None:
    texts = {"CCO": "Ein Äther – oder keiner.", "CCN": "A µ-amine."}
    lines = [{"smiles": smiles, "text": text, "model": "gpt"} for smiles, text in texts.items()]
    path = tmp_path / "made_elsewhere.jsonl"
    path.write_bytes((end + end.join(json.dumps(line, ensure_ascii=False) for line in lines)).encode(encoding))
    (ledger,) = import_annotations(store, path).values()
    assert (ledger.rows, ledger.accepted, ledger.invalid) == (2, 2, 0)
    assert {record.smiles: record.text for _, record in store.records(choose_spec(store, None).id)} == texts


def test_import_into_a_store_that_evicts_is_refused_before_anything_is_done(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "made_elsewhere.jsonl"
    path.write_text(json.dumps({"smiles": "CCO", "text": "An alcohol.", "model": "gpt"}) + "\n")
    store._redis.config_set("maxmemory", "1gb")
    store._redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreError, match="allkeys-lru"):
            import_annotations(store, path)
        assert store.specs() == {}
    finally:
        store._redis.config_set("maxmemory-policy", "noeviction")
        store._redis.config_set("maxmemory", "0")


@pytest.mark.parametrize("name", ["text", "grounding", "temperature", "text_"])
def test_a_field_that_is_called_like_a_column_of_ours_is_written_beside_it(name: str) -> None:
    columns = apart([name, "text"], OURS)
    assert len({*columns, *OURS}) == len(OURS) + 2


def test_unreadable_rows_of_each_file_stay_listed_until_that_file_is_read_again(store: Store, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    fine = json.dumps({"smiles": "CCO", "text": "An alcohol.", "model": "gpt"}) + "\n"
    first.write_text(fine + "{broken\n")
    second.write_text(fine)
    for path in (first, second):
        import_annotations(store, path)
    (letter,) = dead_letters(store, choose_spec(store, None))
    assert (letter.source, letter.row, letter.stage) == (str(first), 2, "parse")
    first.write_text(fine)
    import_annotations(store, first)
    assert not list(dead_letters(store, choose_spec(store, None)))


def test_importing_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"smiles": "CCO", "text": "An alcohol.", "model": "gpt"}) + "\n")
    ledgers = [next(iter(import_annotations(store, path).values())) for _ in range(2)]
    assert [(ledger.accepted, ledger.new) for ledger in ledgers] == [(1, 1), (1, 0)]


def lines_at(path: Path, *lines: dict) -> Path:
    path.write_text(
        "".join(json.dumps({"smiles": "CCO", "text": "An alcohol.", "model": "gpt", **line}) + "\n" for line in lines)
    )
    return path


@pytest.mark.parametrize("reason", ["stop", "end_turn", "STOP", "eos", "COMPLETE", "FinishReason.STOP", "done\0", None])
def test_an_answer_that_ended_in_its_makers_words_is_taken_in(store: Store, tmp_path: Path, reason: str | None) -> None:
    path = lines_at(tmp_path / "made.jsonl", {"finish_reason": reason})
    ((spec_id, ledger),) = import_annotations(store, path).items()
    assert (ledger.accepted, ledger.dead) == (1, 0)
    ((_, kept),) = store.records(spec_id)
    assert kept.finish_reason == (reason or "unknown").replace("\0", "\ufffd")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        *((reason, "was cut off") for reason in ("length", "max_tokens", "MAX_TOKENS", "FinishReason.MAX_TOKENS")),
        *((reason, "did not finish") for reason in ("content_filter", "content-filter", "SAFETY", "RECITATION")),
        *((reason, "did not finish") for reason in ("refusal", "pause_turn", "USER_CANCEL")),
        ("ABORT", "was aborted"),
        ("error", "ended in an error"),
    ],
)
def test_an_answer_that_is_known_to_be_unfinished_is_refused(
    store: Store, tmp_path: Path, reason: str, message: str
) -> None:
    path = lines_at(tmp_path / "made.jsonl", {"finish_reason": reason})
    ((spec_id, ledger),) = import_annotations(store, path).items()
    assert (ledger.accepted, ledger.dead) == (0, 1)
    ((_, letter),) = store.dead_letters(spec_id)
    assert letter.stage == "finish" and letter.message.startswith(message)


CUT_OFF = {"text": "An alco", "finish_reason": "length", "prompt_tokens": 1}


@pytest.mark.parametrize(
    "files", [[[CUT_OFF, {}]], [[CUT_OFF], [{}]], [[CUT_OFF], [{}, {"text": "Another."}, CUT_OFF]]]
)
def test_a_repaired_line_replaces_a_dead_letter(store: Store, tmp_path: Path, files: list[list[dict]]) -> None:
    for lines in files:
        ((spec_id, ledger),) = import_annotations(store, lines_at(tmp_path / "made.jsonl", *lines)).items()
    assert (ledger.molecules, ledger.accepted, ledger.dead, ledger.new) == (1, 1, 0, 1)
    assert [record.text for _, record in store.records(spec_id)] == ["An alcohol."]
    assert not list(store.dead_letters(spec_id))


def test_a_line_that_is_cut_off_again_leaves_the_dead_letter_as_it_was(store: Store, tmp_path: Path) -> None:
    path = lines_at(tmp_path / "made.jsonl", CUT_OFF)
    ((spec_id, _),) = import_annotations(store, path).items()
    before = list(store.dead_letters(spec_id))
    (again,) = import_annotations(store, path).values()
    assert (again.dead, again.new_dead, again.prompt_tokens) == (1, 0, 0)
    assert list(store.dead_letters(spec_id)) == before


def test_lines_of_several_models_in_turn_are_stored_together(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: Counter[str] = Counter()

    def counted_step(name: str) -> Callable[..., Any]:
        step = getattr(Store, name)

        def counting(*given: Any) -> Any:
            steps[name] += 1
            return step(*given)

        return counting

    for name in ("register", "note_stretches", "commit"):
        monkeypatch.setattr(Store, name, counted_step(name))
    smiles = [("C" * number, model) for number in range(1, 101) for model in ("gpt", "claude")]
    lines = [{"smiles": each, "model": model} for each, model in smiles]
    path = lines_at(tmp_path / "made.jsonl", *lines, {"smiles": "no molecule"}, {"model": "claude"})
    ledgers = import_annotations(store, path).values()
    counts = [(ledger.rows, ledger.accepted, ledger.duplicates, ledger.invalid) for ledger in ledgers]
    assert counts == [(101, 100, 0, 1), (101, 101, 0, 0)]
    assert steps == {"register": 2, "note_stretches": 2, "commit": 2}


def test_a_broken_line_is_told_with_what_stands_there(store: Store, tmp_path: Path) -> None:
    path = lines_at(tmp_path / "made.jsonl", {})
    long = b'{"smiles": "CCO", "model": "gpt", "text": "%s"}' % (b"x" * 2**20)
    path.write_bytes(path.read_bytes() + b'{"smiles": "CCN"}\n' + long + b"\n")
    ((_, ledger),) = import_annotations(store, path).items()
    assert (ledger.accepted, ledger.invalid) == (1, 2)
    short, cut = sorted(store.invalid_letters(*store.runs()), key=lambda letter: letter.row)
    assert (short.raw, short.message) == ('{"smiles": "CCN"}', "The line is no annotation: text: Field required")
    assert (len(cut.raw or ""), cut.message) == (200, "The line is no annotation: it is longer than 1 MiB")


@pytest.mark.parametrize("content", [b"CCO\n", b"\xff\xfe\n", b"[]\n"])
def test_a_file_that_is_no_annotations_is_refused_at_its_first_line(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    with pytest.raises(LibraryError, match="does not begin with an annotation"):
        import_annotations(store, path)
    assert store.specs() == {}


def test_a_file_with_the_text_that_was_sent_for_a_prompt_is_refused_before_it_makes_thousands_of_runs(
    store: Store, tmp_path: Path
) -> None:
    lines = [{"smiles": "C" * number, "prompt": f"Describe {'C' * number}"} for number in range(1, MOST_SPECS + 2)]
    with pytest.raises(LibraryError, match=f"more than {MOST_SPECS} models and prompts: 'prompt' should be a name"):
        import_annotations(store, lines_at(tmp_path / "texts.jsonl", *lines))
    assert [store.counts(spec).accepted for spec in store.specs()] == [1] * MOST_SPECS
    assert {facts["state"] for facts in store.runs().values()} == {"failed"}
    ledgers = import_annotations(store, lines_at(tmp_path / "names.jsonl", *lines[:-1])).values()
    assert [(ledger.accepted, ledger.new) for ledger in ledgers] == [(1, 0)] * MOST_SPECS


def test_real_descriptions_of_clintox_are_taken_in(store: Store, shared_data: Path) -> None:
    (ledger,) = import_annotations(store, shared_data / "text" / "clintox_gpt35.jsonl").values()
    assert (ledger.rows, ledger.accepted + ledger.dead + ledger.duplicates + ledger.invalid) == (1_483, 1_483)
    assert ledger.accepted > 1_400
