"""What a user's rows are is kept: their number, their order and their own columns, in every verb and every format."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from pyarrow import parquet

import gallon
from cluster.annotation.annotate import Result
from cluster.runtime.session import RaySession
from cluster.store.record import Ledger
from cluster.store.store import Row, Store
from gallon.api import annotation
from teacher.chemistry.molecule import key_of, parse, record_key
from teacher.errors import UsageError
from teacher.llm.engines.endpoint import KEY_VARIABLES
from teacher.llm.prompt import Prompt
from teacher.llm.row_columns import pack_cells
from teacher.llm.spec import PromptRef, Spec
from tests.support.identity import BROKEN, NAMES, column, libraries, own_columns, read_out, rows
from tests.support.models import TARGET, untrained_student
from tests.support.prompts import PROMPT
from tests.support.records import letter, record
from tests.support.server import KEY, MODEL, Behaviour, serving

ROWS = 200
KINDS = ["csv", "smi", "sdf", "parquet"]
OUTPUTS = [".csv", ".tsv", ".parquet", ".jsonl", ".sdf"]
PAIRS = [(kind, suffix) for kind in KINDS for suffix in OUTPUTS if suffix != ".sdf" or kind == "sdf"]
DUPLICATES = [row for row in range(ROWS) if row % 20 == 19]
DAMAGED = [row for row in range(ROWS) if row % 50 == 25]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def student(folder: Path) -> Path:
    return untrained_student(folder / "model")


@pytest.fixture
def filled(store: Store, spec: Spec, describe: Prompt) -> None:
    """A store with the annotations of the libraries, but for a dead molecule and one that was not asked about."""
    store.save_spec(spec, describe)
    smiles = sorted({parse(cells[1].encode()).smiles for cells in rows(ROWS) if cells[1] != BROKEN} - {"CCO"})
    outcomes = [(key_of(one), letter() if one == "CCCO" else record(one, f"=text about {one}")) for one in smiles]
    store.register(spec.id, "run", [Row(key, 0, row) for row, (key, _) in enumerate(outcomes, start=1)])
    store.commit(spec.id, "run", outcomes, [(1, 1)] * len(outcomes))


def check(kind: str, folder: Path, out: Path) -> None:
    """Check the rows of an output against those of the library that it was made of."""
    path, names, cells = libraries(folder, ROWS)[kind]
    own_names, own = own_columns(out, len(names))
    assert own_names == names, path
    assert len(own) == ROWS
    assert own == cells


@pytest.mark.parametrize(("kind", "suffix"), PAIRS)
def test_an_export_has_every_row_of_a_library_with_its_annotation_or_the_reason(
    filled: None, spec: Spec, redis_url: str, folder: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    library = libraries(folder, ROWS)[kind][0]
    written = gallon.export(out, library=library, store=redis_url)
    assert (written.rows, written.spec) == (ROWS, spec.id)
    assert written.annotated == sum(text != "" for text in column(out, "text"))
    check(kind, folder, out)
    reasons = column(out, "error_" if kind in ("csv", "parquet") else "error")
    smiles = [cells[1] for cells in rows(ROWS)]
    assert [reasons[row] != "" for row in range(ROWS)] == [
        one in (BROKEN, "CCO", "CCCO", "OCC", "OCCC") for one in smiles
    ]
    assert {reasons[row] for row in range(ROWS) if smiles[row] in ("CCO", "OCC")} == {"not annotated yet"}
    assert all(reasons[row].startswith("schema: ") for row in range(ROWS) if smiles[row] in ("CCCO", "OCCC"))
    texts = column(out, "text")
    assert [text != "" for text in texts] == [reason == "" for reason in reasons]
    assert texts[DUPLICATES[0]] == texts[smiles.index("CCCCCCO")] != ""  # one molecule, written in two ways
    assert sorted(row for row in range(ROWS) if not column(out, "key")[row]) == DAMAGED


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("csv", ".csv"), ("csv", ".jsonl"), ("smi", ".tsv"), ("sdf", ".sdf"), ("sdf", ".csv"), ("parquet", ".parquet")],
)
def test_a_screening_has_every_row_of_a_library_with_its_prediction_or_the_reason(
    ray_here: RaySession, student: Path, folder: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    screened = gallon.screen(libraries(folder, ROWS)[kind][0], student=student, out=out)
    assert (screened.rows, screened.invalid) == (ROWS, len(DAMAGED))
    check(kind, folder, out)
    reasons = column(out, "error_" if kind in ("csv", "parquet") else "error")
    assert [row for row in range(ROWS) if reasons[row]] == DAMAGED
    assert [row for row in range(ROWS) if column(out, TARGET)[row] == ""] == DAMAGED


@pytest.mark.parametrize(("kind", "suffix"), PAIRS)
def test_a_choice_has_every_row_of_a_library_with_its_rank(
    folder: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    library, names, cells = libraries(folder, ROWS)[kind]
    out, only = tmp_path / f"out{suffix}", tmp_path / f"only{suffix}"
    gallon.choose(library, number=30, out=out)
    check(kind, folder, out)
    ranks = column(out, "chosen")
    assert {int(float(rank)) for rank in ranks if rank} == set(range(1, 31))
    assert not any(ranks[row] for row in DAMAGED)
    gallon.choose(library, number=30, out=only, only_chosen=True)
    first = [ranks.index(rank) for rank in sorted({rank for rank in ranks if rank}, key=float)]
    assert own_columns(only, len(names)) == (names, [cells[row] for row in first])


@pytest.mark.parametrize(("kind", "suffix"), [("csv", ".csv"), ("sdf", ".sdf")])
def test_annotating_into_a_file_is_the_whole_job(
    ray_here: RaySession,
    store: Store,
    redis_url: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    suffix: str,
) -> None:
    monkeypatch.setenv(KEY_VARIABLES[0], KEY)
    library, out = libraries(folder, ROWS)[kind][0], tmp_path / f"out{suffix}"
    with serving(Behaviour(faults=[400])) as url:
        asked = {"endpoint": url, "model": MODEL, "store": redis_url, "image": False, "max_attempts": 1}
        found = gallon.annotate(library, out=out, **asked)
        with pytest.raises(UsageError, match="exists already"):
            gallon.annotate(library, out=out, **asked)
        assert len(store.runs()) == 1
    check(kind, folder, out)
    assert found.path == out and found.ledger.dead == 1
    reasons = column(out, "error_" if kind == "csv" else "error")
    dead = [row for row in range(ROWS) if reasons[row] and row not in DAMAGED]
    assert dead and {reasons[row].split(":")[0] for row in dead} <= {"prompt"}
    assert [row for row in range(ROWS) if not column(out, "text")[row]] == sorted({*DAMAGED, *dead})


def test_a_run_that_is_interrupted_writes_no_table(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Result(run="run", ledger=Ledger(), interrupted=True)
    monkeypatch.setattr(annotation, "annotation_session", lambda *_: nullcontext((store, None)))
    monkeypatch.setattr(annotation, "annotate_sources", lambda *_, **__: stopped)
    found = gallon.annotate(libraries(folder, ROWS)["csv"][0], out=tmp_path / "out.csv")
    assert found.interrupted and found.path is None
    assert not list(tmp_path.iterdir())


def test_what_of_a_row_has_no_column_is_told_beside_it(tmp_path: Path) -> None:
    library, out = tmp_path / "library.csv", tmp_path / "out.csv"
    library.write_text('id,smiles\n1,CCO,"=more"\n2,C1CC,x\n"3,CCN\n4,CCC\n')
    gallon.choose(library, number=1, out=out)
    assert own_columns(out, 2)[1] == [["1", "CCO"], ["2", "C1CC"], ["", ""], ["4", "CCC"]]
    extra, unread, broken, none = column(out, "error")
    assert extra.endswith("beyond it: =more") and unread.endswith("beyond it: x")
    assert "RDKit" in unread and '"3,CCN' in broken and not none


def test_writing_rows_leaves_the_store_as_it_was(filled: None, store: Store, redis_url: str, folder: Path) -> None:
    before = sorted(store._redis.scan_iter())
    held = {key: store._redis.dump(key) for key in before}
    gallon.export(folder / "out.csv", library=libraries(folder, ROWS)["csv"][0], store=redis_url, overwrite=True)
    assert {key: store._redis.dump(key) for key in sorted(store._redis.scan_iter())} == held


def test_an_sd_file_keeps_its_records_as_they_are(filled: None, redis_url: str, folder: Path, tmp_path: Path) -> None:
    library, out = libraries(folder, ROWS)["sdf"][0], tmp_path / "out.sdf"
    gallon.export(out, library=library, store=redis_url)
    before = library.read_text(encoding="latin-1").split("$$$$\n")
    after = out.read_text(encoding="utf-8").split("$$$$\n")
    assert len(before) == len(after) == ROWS + 1
    assert all(new.startswith(old) for old, new in zip(before, after, strict=True))
    gallon.export(out, library=library, store=redis_url, keep_columns=["note"], overwrite=True)
    assert NAMES[0] not in read_out(out)[0] and "note" in read_out(out)[0]


def test_a_typed_column_keeps_its_type(filled: None, redis_url: str, folder: Path, tmp_path: Path) -> None:
    library, out = libraries(folder, ROWS)["parquet"][0], tmp_path / "out.parquet"
    gallon.export(out, library=library, store=redis_url)
    before, after = parquet.read_table(library), parquet.read_table(out)
    assert after.select(before.column_names).equals(before)


def test_a_row_has_the_annotation_that_saw_its_own_cells(
    store: Store, redis_url: str, spec: Spec, describe: Prompt, tmp_path: Path
) -> None:
    spec = spec.model_copy(update={"columns": ("solvent",)})
    store.save_spec(spec, describe)
    for row, solvent in enumerate(("water", "DMSO"), start=1):
        key = record_key(key_of("CCO"), pack_cells({"solvent": solvent}))
        store.register(spec.id, "run", [Row(key, 0, row)])
        store.commit(spec.id, "run", [(key, record("CCO", f"in {solvent}"))], [(1, 1)])
    library, out = tmp_path / "library.csv", tmp_path / "out.csv"
    library.write_text("smiles,solvent\nOCC,DMSO\nCCO, water \nCCO,ether\n")
    assert gallon.export(out, library=library, store=redis_url).annotated == 2
    assert column(out, "text") == ["in DMSO", "in water", ""]
    assert column(out, "solvent") == ["DMSO", " water ", "ether"]


def test_fields_of_a_prompt_hide_neither_our_columns_nor_the_users(
    store: Store, redis_url: str, spec: Spec, tmp_path: Path
) -> None:
    names = ["source", "row", "error", "id", "text"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    prompt = Prompt.model_validate({**PROMPT, "schema": schema})
    spec = spec.model_copy(update={"prompt": PromptRef.of(prompt)})
    store.save_spec(spec, prompt)
    store.register(spec.id, "run", [Row(key_of("CCO"), 0, 1)])
    text = json.dumps({name: f"its {name}" for name in names})
    store.commit(spec.id, "run", [(key_of("CCO"), record("CCO", text))], [(1, 1)])
    library, out = tmp_path / "library.csv", tmp_path / "out.csv"
    library.write_text("id,smiles,error\n7,CCO,mine\n")
    gallon.export(out, library=library, store=redis_url)
    header, (cells,) = read_out(out)
    found = dict(zip(header, cells, strict=True))
    assert len(found) == len(header)
    assert (found["id"], found["id_"], found["error"], found["error_"]) == ("7", "its id", "mine", "its error")
    assert (found["row"], found["row_"], found["source_"]) == ("1", "its row", "its source")
    assert (found["text"], found["text_"], found["error__"]) == (text, "its text", "")
