"""Data that nothing can be learnt from: one sentence, before a cluster starts and before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from typer.testing import CliRunner

import gallon
from cluster.runtime import session
from cluster.store.store import Store
from gallon.cli.app import app
from teacher.errors import UsageError
from teacher.llm.prompt import load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec

NUMBERS = [f"{number / 2}" for number in range(20)]
CLASSES = ["0", "1"] * 10
BY_COLUMN = ("--split", "column", "--split-column", "part")
PARTS = ["train"] * 14 + ["valid"] * 3 + ["test"] * 3


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts Ray, or joins it, fails: also in a process that is in a session since another test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(session, "_open", [])
    monkeypatch.setattr(session, "_connected", refuse)  # before ray.shutdown(), which would end the other test's Ray
    monkeypatch.setattr(ray, "init", refuse)


def refused(folder: Path, labels: Sequence[str], options: Sequence[str], command: str) -> str:
    """Return what a command says of alkanes with these labels."""
    rows = [
        f"{'C' * length},{label},{part}" for length, (label, part) in enumerate(zip(labels, PARTS, strict=False), 1)
    ]
    (folder / "data.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    words = [command, str(folder / "data.csv"), "--target", "y", "--out", str(folder / "out"), *options]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UsageError), result.exception
    assert not (folder / "out").exists()
    return str(result.exception)


@pytest.mark.parametrize("command", ["teach", "distill", "evaluate", "learn"])
@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (["3"] * 20, (), "has only the value 3, so there is nothing to learn"),
        (["3", *[""] * 19], (), "has only the value 3, so there is nothing to learn"),
        ([""] * 20, (), "has no value, so there is nothing to learn"),
        (["nan"] * 20, (), "has no value, so there is nothing to learn"),
        ([*NUMBERS[:19], "1e30"], ("--split", "random"), r"1e\+30 of 'y' .* is so far from the others"),
        (["1e30", *NUMBERS[:18], "-1e30"], ("--split", "random"), r"1e\+30 of 'y' .* is so far from the others"),
        ([*NUMBERS[:19], "1e300"], (), "'1e300' in row 20, which is no finite number"),
        ([*NUMBERS[:19], "inf"], (), "'inf' in row 20, which is no finite number"),
        ([*NUMBERS[:19], "soluble"], (), "'soluble' in row 20, which is no finite number"),
        (["1"] * 17 + ["0"] * 3, BY_COLUMN, "training part .* has only the class 1 of 'y'"),
        ([""] * 13 + NUMBERS[:7], BY_COLUMN, "training part .* has one label only of 'y'"),
        ([""] * 14 + NUMBERS[:6], BY_COLUMN, "training part .* has no labels of 'y'"),
        (["2"] * 14 + NUMBERS[:6], BY_COLUMN, "training part .* has only the value 2 of 'y'"),
        (NUMBERS[:17], BY_COLUMN, "leaves its test part empty"),
        (NUMBERS[:3], ("--split", "random"), "leaves its valid part empty"),
        (NUMBERS[:2], (), "leaves its train part empty"),
        (NUMBERS, ("--split", "random", "--balance"), "--balance weighs classes"),
    ],
)
def test_what_cannot_be_learnt_is_told_at_once(
    command: str, labels: Sequence[str], options: Sequence[str], sentence: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, labels, options, command)
    assert re.search(sentence, said), said


@pytest.mark.parametrize("command", ["teach", "distill"])
def test_a_tuning_that_is_not_there_is_told_at_once(command: str, tmp_path: Path) -> None:
    options = ("--split", "random", "--tuning", str(tmp_path / "tuning.json"))
    assert "there is no such file" in refused(tmp_path, CLASSES, options, command)


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("distill", (), "There is no teacher in .*out: run 'gallon teach' on the same data first"),
        ("distill", ("--teacher-folder", "/nowhere"), "There is no model in /nowhere"),
        ("distill", ("--student-input", "nonsense"), "There is no 'student-nonsense'"),
        ("distill", ("--transfer", "rows.smi", "--library", "prepared"), "--transfer and --library exclude each other"),
        ("distill", ("--library-molecules", "10"), "--library-molecules says more of --library, which is not given"),
        ("evaluate", ("--transfer-rows", "10"), "--transfer-rows says more of --transfer, which is not given"),
        ("evaluate", ("--methods", "student", "--labels", "5000"), "--labels needs more than 20 labelled molecules"),
        ("evaluate", ("--methods", "student+gnn+transfer"), "name a library of them by --transfer"),
        ("learn", ("--model", "/nowhere"), "There is no model '/nowhere'"),
    ],
)
def test_what_is_not_there_to_learn_from_is_told_at_once(
    command: str, options: Sequence[str], sentence: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, NUMBERS, ("--split", "random", *options), command)
    assert re.search(sentence, said), said


def test_labels_of_which_too_few_are_drawn_of_a_target_are_told_at_once(tmp_path: Path) -> None:
    rows = [f"{'C' * (row + 1)}O,{row},{row if row % 20 == 0 else ''}" for row in range(200)]  # the second of ten
    (tmp_path / "sparse.csv").write_text("\n".join(["smiles,often,rare", *rows]) + "\n")
    options = ("--target", "often", "--target", "rare", "--split", "random", "--seed", "3", "--seeds", "3")
    words = ("evaluate", str(tmp_path / "sparse.csv"), *options, "--labels", "20", "--out", str(tmp_path / "out"))
    result = CliRunner().invoke(app, [*words, "--methods", "lightgbm"])
    assert isinstance(result.exception, UsageError), result.exception
    said = r"--labels 20 draws too little under seed [345]\. The training part .* of 'rare'"
    assert re.search(said, str(result.exception)), result.exception
    assert not (tmp_path / "out").exists()


def test_a_transfer_set_is_read_by_the_column_of_the_table_with_labels(tmp_path: Path) -> None:
    rows = [f"{'C' * length},{label}" for length, label in enumerate(NUMBERS, 1)]
    (tmp_path / "data.csv").write_text("\n".join(["structure,y", *rows]) + "\n")
    (tmp_path / "more.csv").write_text("structure\nCCO\nCCN\n")
    (tmp_path / "other.csv").write_text("mol\nCCO\n")
    words = ["evaluate", str(tmp_path / "data.csv"), "--smiles-column", "structure", "--target", "y"]
    words += ["--split", "random", "--out", str(tmp_path / "out"), "--methods", "student+gnn+transfer", "--transfer"]
    started = CliRunner().invoke(app, [*words, str(tmp_path / "more.csv")])
    assert "Ray was started" in str(started.exception)  # so all was read
    refused = CliRunner().invoke(app, [*words, str(tmp_path / "other.csv")])
    assert isinstance(refused.exception, UsageError)
    assert f"--transfer {tmp_path / 'other.csv'}: it is not clear" in str(refused.exception)


@pytest.mark.parametrize(
    ("command", "options"),
    [("teach", ("--teacher", "lm")), ("teach", ("--teacher", "e-llagnn")), ("evaluate", ("--methods", "mmf"))],
)
def test_texts_that_are_not_there_are_told_at_once(
    command: str, options: Sequence[str], store: Store, tmp_path: Path
) -> None:
    prompt = load("describe")
    spec = Spec(model=Model(name="m", revision="1"), prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=9))
    store.save_spec(spec, prompt)
    said = refused(tmp_path, NUMBERS, ("--split", "random", "--store", store.url, "--spec", spec.id, *options), command)
    assert "annotate" in said or "annotations" in said


@pytest.mark.parametrize("name", ["no.csv", "header.csv", "no.smi", "no.sdf", "no.parquet"])
@pytest.mark.parametrize(
    "words", [("annotate",), ("prepare", "--out", "OUT"), ("choose", "--number", "1", "--out", "OUT.csv")]
)
def test_a_library_without_a_row_is_told_at_once(words: Sequence[str], name: str, tmp_path: Path) -> None:
    library = tmp_path / name
    library.write_text("smiles,y\n" if name == "header.csv" else "")
    if name == "no.parquet":
        pq.write_table(pa.table({"smiles": pa.array([], pa.string())}), library)
    command, *options = [word.replace("OUT", str(tmp_path / "out")) for word in words]
    result = CliRunner().invoke(app, [command, str(library), *options])
    assert isinstance(result.exception, UsageError), result.exception
    assert re.search(r"There is no row in|it is empty", str(result.exception))


@pytest.mark.parametrize("key", ["sk-secret\N{EURO SIGN}", "sk-\x07secret", "sk-secret\nX-Header: 1"])
def test_a_key_that_no_server_can_be_sent_is_told_at_once_and_not_shown(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library.smi").write_text("C\n")
    monkeypatch.setenv("GALLON_ENDPOINT_KEY", key)
    options = ("--model", "x", "--endpoint", "http://127.0.0.1:9/v1")
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "library.smi"), *options])
    assert isinstance(result.exception, UsageError), result.exception
    assert "The key in GALLON_ENDPOINT_KEY" in str(result.exception) and "secret" not in str(result.exception)


@pytest.mark.parametrize("url", ["nonsense", "127.0.0.1:8000/v1", "ftp://host/v1", "http://host:port/v1", "http:///v1"])
def test_an_endpoint_that_is_no_url_is_told_at_once(url: str, tmp_path: Path) -> None:
    (tmp_path / "library.smi").write_text("C\n")
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "library.smi"), "--model", "x", "--endpoint", url])
    assert isinstance(result.exception, UsageError), result.exception
    assert str(result.exception) == f"--endpoint {url} is no URL, as http://127.0.0.1:8000/v1: correct it."


@pytest.mark.parametrize("url", ["https://alice:hunter2@proxy/v1", "https://alice:hunter2@proxy:port/v1"])
def test_a_password_in_an_address_is_refused_and_not_repeated(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "library.smi").write_text("C\n")
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "library.smi"), "--model", "x", "--endpoint", url])
    assert isinstance(result.exception, UsageError), result.exception
    assert str(result.exception) == (
        "--endpoint holds a password: put the key into GALLON_ENDPOINT_KEY and leave it out of the URL."
    )
    said = refused(tmp_path, NUMBERS, ("--split", "random", "--service", url, "--llm-budget", "0.5"), "teach")
    assert said == (
        "--service holds a password: put the token into GALLON_SERVICE_TOKEN and leave the password out of the URL."
    )
    assert "hunter2" not in caplog.text


def test_a_run_in_another_thread_than_the_main_one_is_refused_at_once(tmp_path: Path) -> None:
    """Only in the main thread an interrupt, or a limit, can stop it."""
    (tmp_path / "library.smi").write_text("C\n")
    library = str(tmp_path / "library.smi")
    for call in (
        lambda: gallon.annotate(library),
        lambda: gallon.plan_run(library, probe=1),
        lambda: gallon.learn(library, target=["y"]),
    ):
        with ThreadPoolExecutor(1) as threads, pytest.raises(UsageError, match="in the main thread only"):
            threads.submit(call).result()
