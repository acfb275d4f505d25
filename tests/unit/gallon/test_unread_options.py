"""An option that would change nothing is refused, before anything is read, started or written for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gallon
from cluster.runtime import session
from cluster.store.store import Store
from gallon import pipeline
from gallon.api.spec import OF_ENGINES, resolve_spec
from gallon.cli.app import app
from gallon.config import EngineConfig, SpecConfig
from teacher.errors import GallonError, UsageError
from teacher.llm.prompt import load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec

AT_A_SERVER = ("--model", "x", "--endpoint", "http://127.0.0.1:9/v1")
TEXTS = (
    ("--spec", "3f2a"),
    ("--also-spec", "3f2a"),
    ("--predictions", "3f2a"),
    ("--ranking", "3f2a"),
    ("--llm-budget", "0.1"),
    ("--texts-each", "1"),
)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever starts Ray, or joins it, fails, and the default store is nobody's."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(session, "_open", [])
    monkeypatch.setattr(session, "_connected", refuse)
    monkeypatch.setenv("GALLON_STORE", str(tmp_path / "elsewhere" / "store"))


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows = [f"{'C' * (row + 1)},{row}" for row in range(20)]
    (tmp_path / "data.csv").write_text("\n".join(["smiles,y", *rows]) + "\n")
    return str(tmp_path / "data.csv")


def said(*words: str) -> str:
    """Return the sentence in which a command refuses what it is given."""
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UsageError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("options", [("--quantization", "fp8"), ("--dtype", "bfloat16")])
def test_a_server_has_loaded_its_model_and_takes_no_word_of_how(options: Sequence[str], data: str) -> None:
    refused = "A server has loaded its model in its own way: leave out --quantization and --dtype."
    assert said("annotate", data, *AT_A_SERVER, *options) == refused
    out = str(Path(data).with_suffix(".jsonl"))
    assert said("batch", "write", data, "--model", "x", "--out", out, *options) == refused


def test_a_server_takes_no_setting_of_an_engine(data: str) -> None:
    other: dict[str, Any] = {"load_format": "dummy", "trust_remote_code": True, "wait_for_gpus": True}
    spec = SpecConfig(model="x", endpoint="http://127.0.0.1:9/v1")
    for name in OF_ENGINES:
        engine = EngineConfig(**{name: other.get(name, 0.5 if name == "gpu_memory" else 2)})
        with pytest.raises(UsageError, match=f"leave out --{name.replace('_', '-')} or --endpoint"):
            resolve_spec(spec, engine=engine)
    for call in (gallon.annotate, gallon.plan_run):
        with pytest.raises(UsageError, match="leave out --tensor-parallel or --endpoint"):
            call(data, model="x", endpoint="http://127.0.0.1:9/v1", tensor_parallel=2)
    with pytest.raises(UsageError, match="leave out --load-format or --endpoint"):
        gallon.describe("CCO", model="x", endpoint="http://127.0.0.1:9/v1", load_format="dummy")
    with (
        pytest.raises(UsageError, match="leave out --max-model-len or --endpoint"),
        gallon.serve(model="x", endpoint="http://127.0.0.1:9/v1", max_model_len=99),
    ):
        pass
    rules = Path(data).with_suffix(".json")
    with pytest.raises(UsageError, match="leave out --tensor-parallel or --endpoint"):
        gallon.ask_rules("size", out=rules, model="x", endpoint="http://127.0.0.1:9/v1", tensor_parallel=2)
    asked = resolve_spec(spec, engine=EngineConfig(concurrency=9, workers=2, request_minutes=1, max_attempts=2))
    assert asked.endpoint == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "words",
    [
        ("teach", "--teacher", "dmpnn"),
        ("distill",),
        ("evaluate", "--methods", "lightgbm"),
        ("learn", "--no-texts"),
    ],
)
@pytest.mark.parametrize("options", TEXTS)
def test_what_is_said_of_texts_is_refused_where_nothing_reads_any(
    words: Sequence[str], options: Sequence[str], data: str, tmp_path: Path
) -> None:
    command, *more = words
    refused = said(command, data, "--target", "y", "--split", "random", "--out", str(tmp_path / "o"), *more, *options)
    assert refused == f"{options[0]} is about what a language model wrote, and nothing here reads it: leave it out."


def test_a_service_and_further_specs_are_refused_where_nothing_reads_texts(data: str) -> None:
    usual = (data, "--target", "y", "--split", "random")
    asking = ("--service", "http://127.0.0.1:1", "--llm-budget", "0.5")
    assert "--llm-budget is about" in said("teach", *usual, "--teacher", "gin", *asking)
    assert "--service is about" in said("teach", *usual, "--teacher", "gin", *asking[:2])
    assert "--other-spec is about" in said("evaluate", *usual, "--methods", "gin", "--other-spec", "a=3f2a")


def test_the_student_of_a_whole_pipeline_is_not_told_of_texts_that_its_teachers_read(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: dict[str, Any] = {}

    def step(name: str, answer: Any) -> Any:
        return lambda *_, **options: called.update({name: options}) or answer

    for name in ("_check_specs", "_check_answers"):
        monkeypatch.setattr(pipeline, name, lambda *_: None)
    for name, answer in (("teach", []), ("distill", None), ("evaluate", None)):
        monkeypatch.setattr(pipeline, name, step(name, answer))
    monkeypatch.setattr(pipeline, "open_store", lambda *_: nullcontext())
    monkeypatch.setattr(pipeline, "started_ray", lambda *_: nullcontext())
    texts = {"also_spec": ["b"], "predictions": "c", "ranking": "d", "llm_budget": 0.5, "texts_each": 1}
    gallon.learn(data, target="y", split="random", spec_id="a", out=tmp_path / "o", encoder="minilm", seed=3, **texts)
    assert called["teach"]["training"].predictions == called["evaluate"]["training"].predictions == "c"
    told = called["distill"]["training"]
    assert [getattr(told, name) for name in texts] == [None] * len(texts) and told.out == tmp_path / "o"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--overwrite",), "belong to --out"),
        (("--id-column", "y"), "belong to --out"),
        (("--keep-columns", "y"), "belong to --out"),
        (("--out", "DATA"), "would replace"),
        (("--out", "there.csv"), "exists already"),
        (("--out", "out.doc"), "should end in one of"),
        (("--out", "out.csv", "--id-column", "name"), "no column 'name'"),
        (("--out", "out.csv", "--keep-columns", "name"), "no column 'name'"),
    ],
)
@pytest.mark.parametrize("how", [("--dry-run",), ("--dry-run", "--probe", "2")])
def test_a_dry_run_checks_the_output_as_the_run_does(
    how: Sequence[str],
    options: Sequence[str],
    sentence: str,
    data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("")
    words = [data if word == "DATA" else word for word in options]
    assert sentence in said("annotate", data, *how, *words)
    assert sentence in said("annotate", data, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "there.csv"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda data: gallon.choose(data, number=0, out="chosen.csv"), "number must be at least 1, and is 0."),
        (lambda _: gallon.report(gallery=-1), "gallery must be at least 0, and is -1."),
        (lambda data: gallon.evaluate(data, target="y", label_counts=0), "label_counts must be at least 1, and is 0."),
        (lambda data: gallon.evaluate(data, target="y", seeds=0), "seeds must be at least 1, and is 0."),
        (lambda data: gallon.evaluate(data, target="y", trials=-1), "trials must be at least 0, and is -1."),
        (lambda data: gallon.evaluate(data, target="y", folds=-1), "folds must be at least 0, and is -1."),
        (lambda data: gallon.evaluate(data, target="y", folds=1), "Out of one fold nothing is left to learn from"),
        (lambda data: gallon.teach(data, target="y", folds=-1), "folds must be at least 0, and is -1."),
        (lambda data: gallon.teach(data, target="y", folds=1), "Out of one fold nothing is left to learn from"),
        (lambda _: gallon.export("rows.csv", limit=1.5), "limit must be a whole number, and is 1.5."),
        (
            lambda data: gallon.evaluate(data, target="y", split="random", methods="gcn", label_counts=5000),
            "--labels needs more than 20 labelled molecules|--labels 5000",
        ),
    ],
)
def test_a_number_that_means_nothing_is_refused_in_one_sentence(
    call: Callable[[str], Any], sentence: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        call(data)


def test_one_condition_is_read_as_one_and_not_by_its_letters(data: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model in"):
        gallon.screen(data, student=tmp_path / "none", out=tmp_path / "o.csv", where="logS<-4")


@pytest.fixture
def ledger(store: Store) -> Callable[..., Spec]:
    """What saves a spec with one dead letter: of an engine, of a server, or of an import."""
    prompt = load("describe")

    def save(revision: str, sampling: Sampling | None) -> Spec:
        spec = Spec(model=Model(name="m", revision=revision), prompt=PromptRef.of(prompt), sampling=sampling)
        store.save_spec(spec, prompt)
        return spec

    return save


@pytest.mark.parametrize(
    ("revision", "sampling", "advice"),
    [
        ("1", Sampling(max_tokens=9), "run 'gallon annotate' with the settings of this spec (it takes no --spec)"),
        ("unproven", Sampling(max_tokens=9), "run 'gallon batch write', or 'gallon annotate' with --endpoint"),
        ("1", None, "run 'gallon import' on texts about them"),
    ],
)
def test_gaps_of_a_spec_are_told_with_a_command_that_fills_them(
    revision: str, sampling: Sampling | None, advice: str, ledger: Callable[..., Spec], store: Store, data: str
) -> None:
    spec = ledger(revision, sampling)
    result = CliRunner().invoke(app, ["verify", data, "--spec", spec.id, "--store", store.url])
    assert isinstance(result.exception, GallonError) and advice in str(result.exception)
    assert "20 molecules without a record or a dead letter" in str(result.exception)


def test_dead_letters_of_an_import_are_not_given_up(ledger: Callable[..., Spec], store: Store) -> None:
    imported, asked = ledger("1", None), ledger("1", Sampling(max_tokens=9))
    refused = said("dead", "--retry", "--spec", imported.id, "--store", store.url)
    assert "'gallon import' on better texts" in refused
    done = CliRunner().invoke(app, ["dead", "--retry", "--spec", asked.id, "--store", store.url])
    assert "0 molecules back among the pending" in done.output and done.exit_code == 0


def test_what_belongs_to_an_option_that_is_not_given_is_refused(data: str, store: Store) -> None:
    assert (
        said("dead", "--overwrite", "--store", store.url) == "--overwrite belongs to --out: name it, or leave it out."
    )
    assert "--spec stands for all settings" in said("verify", data, "--spec", "3f2a", "--model", "x")


@pytest.mark.parametrize("options", [(), ("--smiles-column", "smiles")])
def test_two_columns_of_one_name_are_to_be_renamed(options: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("smiles,y,smiles\nC,1,CC\n")
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "twice.csv"), *options])
    assert str(result.exception).endswith("twice.csv: two columns are called 'smiles'; rename one in the file")
