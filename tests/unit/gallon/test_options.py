"""What users may set is read by the command that lets them set it."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from typer.testing import CliRunner

import gallon
from distill.evaluate.methods import defaults
from gallon.cli.app import app
from gallon.cli.options import DEFAULT_METHODS
from teacher.errors import UsageError
from tests.support.command import every_command

SOURCES = Path(gallon.__file__).parent
COMMANDS = {command.callback.__name__: command.callback for command in app.registered_commands}
READ_BY_CALLBACK = {"config"}  # before the command runs

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_the_command_says_its_version() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"gallon {version('gallon')}\n")
    assert CliRunner().invoke(app, ["annotate", "-h"]).exit_code == 0


def functions() -> dict[str, list[Function]]:
    """Return all functions and methods of the command line, by name."""
    found = defaultdict(list)
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                found[node.name].append(node)
    return found


def words(node: ast.AST) -> Iterator[str]:
    """Yield the names and attributes that a function reads."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield f".{inner.attr}"


def read_by(command: str) -> set[str]:
    """Return what a command reads, itself or in the functions of the command line that it calls by their names."""
    known, read, left = functions(), set(), [command]
    while left:
        for node in known.pop(left.pop(), []):
            for statement in node.body:
                found = set(words(statement))
                read |= found
                left += [word.removeprefix(".") for word in found]
    return read


def options(command: Callable[..., Any]) -> Iterator[str]:
    """Yield how a command reads each of its options: by name, or as the attribute of a group."""
    for name, hint in get_type_hints(inspect.unwrap(command)).items():
        if is_dataclass(hint):
            yield from (f".{field.name}" for field in fields(hint))
        elif name != "return":
            yield name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_read(command: str) -> None:
    unread = set(options(COMMANDS[command])) - read_by(command) - READ_BY_CALLBACK
    assert not unread


ALL = every_command()
WITH_CONFIG = {
    name: command for name, command in ALL.items() if any(parameter.name == "config" for parameter in command.params)
}


@pytest.mark.parametrize("name", ALL)
def test_every_command_can_print_json(name: str) -> None:
    assert "--json" in [flag for parameter in ALL[name].params for flag in parameter.opts]


def test_the_help_names_the_methods_that_are_compared_by_default() -> None:
    assert DEFAULT_METHODS.split(", ") == defaults(with_texts=True, with_transfer_set=True)


def parsed(command: Any, folder: Path, settings: dict[str, Any], *flags: str) -> dict[str, Any]:
    """Return what a command would be called with, of a configuration file and flags."""
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    return command.make_context("gallon", ["--config", str(folder / "run.yaml"), *flags]).params


def candidates(parameter: Any) -> list[Any]:
    """Return values, one of which a parameter takes, as YAML holds them and other than its default."""
    if getattr(parameter, "is_flag", False):
        return [not parameter.default]
    return [value for value in ("word", 3, 1, 0.5, 60) if value != parameter.default]


def plain(value: Any) -> Any:
    return [str(each) for each in value] if isinstance(value, list | tuple) else str(value)


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_a_configuration_sets_every_option_of_a_command_by_its_flag(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLON_STORE", "elsewhere")
    command = WITH_CONFIG[name]
    required = {each.opts[0].lstrip("-"): 9 for each in command.params if each.required}
    for parameter in command.params:
        if parameter.name == "config":
            continue
        several = parameter.nargs == -1 or getattr(parameter, "multiple", False)
        for flag in (each.lstrip("-") for each in parameter.opts):
            for value in candidates(parameter):
                with suppress(Exception):  # Typer's: not a number, or out of range
                    found = parsed(command, tmp_path, {**required, flag: value})[parameter.name]
                    break
            else:
                raise AssertionError(flag)
            assert plain(found) == plain([value] if several else value) or found == value, flag
            if several:
                both = parsed(command, tmp_path, {**required, flag: [value, value]})[parameter.name]
                assert plain(both) == plain([value, value])
        for flag in parameter.secondary_opts:
            assert parsed(command, tmp_path, {**required, flag.lstrip("-"): True})[parameter.name] is False


def test_a_store_is_named_by_a_flag_or_else_the_configuration_or_else_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLON_STORE", "environment")
    verify = WITH_CONFIG["verify"]
    assert parsed(verify, tmp_path, {"library": "a.smi"})["store"] == "environment"
    assert parsed(verify, tmp_path, {"library": "a.smi", "store": "file"})["store"] == "file"
    assert parsed(verify, tmp_path, {"library": "a.smi", "store": "file"}, "--store", "flag")["store"] == "flag"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"spec-id": "3f2a"}, "does not have: spec-id"),
        ({"config": "other.yaml"}, "does not have: config"),
        ({"image": True, "no-image": True}, "sets --image more than once"),
        ({"no-image": "perhaps"}, "sets no-image, which is true or false"),
        ({"store": ["a", "b"]}, "sets store, which takes one value"),
        ({"model": {"name": "tiny"}}, "sets model, which takes no nested values"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_in_one_sentence(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        parsed(WITH_CONFIG["verify"], tmp_path, {"library": "a.smi", **settings})


def words_of(command: Any, folder: Path, text: str) -> dict[str, Any]:
    """Return what a command would be called with, of the text of a configuration file."""
    (folder / "run.yaml").write_text(text)
    return command.make_context("gallon", ["--config", str(folder / "run.yaml")]).params


def test_a_configuration_has_the_words_of_an_option_as_they_are_written(tmp_path: Path) -> None:
    text = "library: a.smi\nthinking: on\nrevision: 0123\ntask: NO\nmodel: 1e3\nlimit: 20\nout: null\nprompt:\n"
    found = words_of(WITH_CONFIG["annotate"], tmp_path, text)
    assert (found["thinking"], found["revision"], found["task"], found["model"]) == ("on", "0123", "NO", "1e3")
    assert (found["limit"], found["out"], found["prompt"]) == (20, None, "describe")
    learned = words_of(WITH_CONFIG["teach"], tmp_path, "data: 007\ntarget: [NO, yes, 0123, 1_0]\nspec: 0123\n")
    assert (learned["data"], learned["target"]) == ("007", ["NO", "yes", "0123", "1_0"])
    assert learned["spec_id"] == "0123"


@pytest.mark.parametrize(
    ("text", "image", "smiles"),
    [
        ("image: no\nsmiles: Yes", False, True),
        ("no-image: on\nsmiles: FALSE", False, False),
        ("image: true", True, True),
    ],
)
def test_a_flag_of_a_configuration_is_true_or_false_as_yaml_writes_it(
    text: str, image: bool, smiles: bool, tmp_path: Path
) -> None:
    found = words_of(WITH_CONFIG["annotate"], tmp_path, f"library: a.smi\n{text}\n")
    assert (found["image"], found["smiles"]) == (image, smiles)
