"""`~` is the home wherever a path is given: no shell replaces it in --out=~/x, in YAML and in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from typer.testing import CliRunner

import gallon
from distill.text_graph.comparing import NodeSettings
from distill.text_graph.files import Columns
from gallon import config as configs
from gallon.cli.app import app
from gallon.nodes import compare_nodes
from teacher.errors import GallonError
from teacher.files import placed
from tests.support.models import untrained_student

CONFIGS = [each for each in vars(configs).values() if isinstance(each, type) and issubclass(each, configs.Config)]
NODES = {"columns": Columns(id="id", text="text", label="label", split=None), "settings": NodeSettings()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with files in the way of every output, and a folder elsewhere with a table to read."""
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    for suffix in ("csv", "json", "jsonl", "yaml", "html", "zip", "folder"):
        (home / f"there.{suffix}").write_text("")
    (here / "data.csv").write_text("\n".join(["smiles,y", *(f"{'C' * (row + 1)},{row}" for row in range(20))]) + "\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def fields() -> list[tuple[type, str]]:
    """Return the settings that are paths."""
    hints = [(config, name, hint) for config in CONFIGS for name, hint in get_type_hints(config).items()]
    return [(config, name) for config, name, hint in hints if Path in (get_args(hint) or (hint,))]


def test_a_home_is_read_in_every_setting_that_is_a_path(home: Path) -> None:
    found = {name for _, name in fields()}
    assert {"out", "rules", "data_root", "library", "student", "token_file"} <= found
    for config, name in fields():
        for given in ("~/x", Path("~/x")):
            assert getattr(config(**{name: given}), name) == home / "x", (config, name)


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda: gallon.annotate("data.csv", out="~/there.csv"), "there.csv"),
        (lambda: gallon.export("~/there.csv", library="data.csv"), "there.csv"),
        (lambda: gallon.choose("data.csv", number=1, out="~/there.csv"), "there.csv"),
        (lambda: gallon.choose("data.csv", number=1, student="~/none", out="chosen.csv"), "none"),
        (lambda: gallon.screen("data.csv", student="~/none", out="~/there.csv"), "there.csv"),
        (lambda: gallon.screen("data.csv", student="~/none", out="scores.csv"), "none"),
        (lambda: gallon.prepare("data.csv", out="~/there.folder"), "there.folder"),
        (lambda: gallon.embed("~/none"), "none"),
        (lambda: gallon.pretrain("~/none", out="out"), "none"),
        (lambda: gallon.load("~/none"), "none"),
        (lambda: gallon.pack("~/none", "model.zip"), "none"),
        (lambda: gallon.pack("~/none", "~/there.zip"), "there.zip"),
        (lambda: gallon.report(out="~/there.html"), "there.html"),
        (lambda: gallon.few_shot_prompt("data.csv", out="~/there.yaml"), "there.yaml"),
        (lambda: gallon.ranking_prompt("data.csv", out="~/there.yaml"), "there.yaml"),
        (lambda: gallon.import_rules("~/none.jsonl", out="~/there.json"), "there.json"),
        (lambda: gallon.import_rules("~/none.jsonl", out="rules.json"), "none.jsonl"),
        (lambda: gallon.ask_rules("solubility", out="~/there.json", model="m"), "there.json"),
        (lambda: gallon.write_batch("data.csv", "~/there.jsonl", model="m"), "there.jsonl"),
        (lambda: gallon.read_batch("results.jsonl", "~/none.jsonl"), "none.gallon-batch"),
        (lambda: gallon.teach("data.csv", target="y", out="~/there.folder"), "there.folder"),
        (lambda: gallon.teach("data.csv", target="y", start="~/none"), "none"),
        (lambda: gallon.teach("data.csv", target="y", split="random", tuning="~/none.json"), "none.json"),
        (lambda: gallon.distill("data.csv", target="y", split="random", teacher_folder="~/none"), "none"),
        (lambda: gallon.evaluate("data.csv", target="y", methods="gcn", start="~/none"), "none"),
        (lambda: gallon.plan_run("data.csv", prompt="~/there.yaml"), "there.yaml"),
        (lambda: compare_nodes("n.csv", "e.csv", encoder="minilm", out="~/there.json", **NODES), "there.json"),
        (lambda: compare_nodes("~/none.csv", "e.csv", encoder="minilm", **NODES), "none.csv"),
    ],
)
def test_a_home_is_read_in_every_path_of_a_call(home: Path, call: Callable[[], Any], place: str) -> None:
    with pytest.raises(GallonError) as refused:
        call()
    assert str(home / place) in str(refused.value)
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("dead", "--out=~/there.jsonl"), "there.jsonl"),
        (("import", "~/none.jsonl"), "none.jsonl"),
        (("demo", "--out=~/there.folder"), "there.folder"),
        (("prepare", "data.csv", "--config=~/run.yaml"), "there.folder"),
    ],
)
def test_a_home_is_read_in_every_path_of_a_command(home: Path, words: tuple[str, ...], place: str) -> None:
    (home / "run.yaml").write_text(yaml.safe_dump({"out": "~/there.folder"}))
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, GallonError), result.exception
    assert str(home / place) in str(result.exception)


def test_a_model_is_packed_into_the_home_and_loaded_from_there(home: Path, tmp_path: Path) -> None:
    packed = gallon.pack(untrained_student(tmp_path / "student"), "~/student.zip")
    assert packed == home / "student.zip" and packed.is_file()
    assert len(gallon.load("~/student.zip").predict("CCO")) == 1


def test_the_home_of_nobody_is_part_of_a_name() -> None:
    assert placed("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert placed("hf://owner/name") == Path("hf://owner/name")
