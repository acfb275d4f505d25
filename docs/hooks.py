"""The MkDocs hook: pages generated from the code, and documents of the repository shown as pages of the site.

A page asks for generated text by a comment, `<!-- generate: metrics -->`. Documents outside this folder are added under
the names in `INCLUDED`, notebooks as they were last executed. A relative link is changed to lead to the page of its
target; of a link to source code, which is not part of the site, only the text is kept.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import cluster.metrics
import gallon
from cluster.runtime.instruments import Counter, Gauge, Histogram
from distill.evaluate.methods import EXTRA, METHODS, Method
from teacher.llm import prompt

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INCLUDED = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "teacher/tiny/README.md": "explanation/tiny.md",
    "tests/README.md": "tests.md",
    **{
        f"deploy/{file.parent.name}/README.md": f"guides/deploy/{file.parent.name}.md"
        for file in sorted((ROOT / "deploy").glob("*/README.md"))
    },
    **{
        f"docs/tutorials/{file.name}": f"tutorials/{file.stem}.md"
        for file in sorted((DOCS / "tutorials").glob("*.ipynb"))
    },
}
IMAGES = {
    "teacher/tiny/losses.png": "images/tiny-losses.png",
    "tests/benchmarks/results/million.png": "images/million.png",
}
PLACES = {**INCLUDED, **IMAGES}
ORIGINS = {page: document for document, page in INCLUDED.items() if document != "README.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"<!-- generate: ([\w-]+) -->")
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):\n", re.MULTILINE)
TITLES = {"Args": "argument", "Attributes": "attribute", "Raises": "error", "Returns": "value", "Yields": "value"}
ITEM = re.compile(r"^    (\w[\w, ]*): ((?:.*\n?)(?:^     .*\n?)*)", re.MULTILINE)
MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=\w)")  # of a type in a signature
DIAGRAM = "images/pipeline.svg"  # in the place of Mermaid, whose script would have to come from the network


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that lie elsewhere in the repository, and the notebooks."""
    for page, document in ORIGINS.items():
        source = ROOT / document
        if not source.is_file():
            continue
        text = notebook(source) if source.suffix == ".ipynb" else source.read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for source, image in IMAGES.items():
        files.append(File.generated(config, image, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated, and let links lead to pages of the site."""
    here = page.file.src_uri
    markdown = MARKER.sub(lambda found: GENERATORS[found[1]](), markdown)
    markdown = MERMAID.sub(f"![From a library to scores]({_relative(DIAGRAM, here)})", markdown)
    return LINK.sub(lambda found: _link(found, here), markdown)


def _link(found: re.Match[str], here: str) -> str:
    image, text, target, anchor = found.groups()
    if ":" in target or target.startswith("/"):
        return found[0]
    origin = ORIGINS.get(here, f"docs/{here}")
    document = os.path.normpath(ROOT / Path(origin).parent / target).removeprefix(f"{ROOT}/")
    if document in PLACES or document.startswith("docs/"):
        place = PLACES.get(document, document.removeprefix("docs/"))
        return f"{image}[{text}]({_relative(place, here)}{anchor or ''})"
    return text if (ROOT / document).exists() else found[0]  # what is not there at all, MkDocs reports


def _relative(place: str, here: str) -> str:
    return os.path.relpath(place, Path(here).parent)


def command_line() -> str:
    """Return the reference of all commands, from the Typer application."""
    return "\n\n".join(_command(name, command) for name, command in _commands().items())


def _commands() -> dict[str, Any]:
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["gallon"]
    root: Any = typer.main.get_command(importlib.import_module(script.partition(":")[0]).app)
    commands: dict[str, Any] = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        commands |= {f"{name} {verb}": each for verb, each in inner.items()} if inner else {name: command}
    return commands


def _command(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "help"]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    usage = " ".join(["gallon", name, *(_argument(each) for each in arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## gallon {name}", command.help or "", f"```text\n{usage}\n```"]
    if arguments:
        parts.append(_table(("argument", "meaning"), [(f"`{_argument(each)}`", each.help or "") for each in arguments]))
    for panel in dict.fromkeys(each.rich_help_panel for each in options):
        rows = [_option(each) for each in options if each.rich_help_panel == panel]
        parts += [f"**{panel}**"] if panel else []
        parts.append(_table(("option", "default", "meaning"), rows))
    return "\n\n".join(parts)


def _argument(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    low, high = option.min, option.max
    bounds = f" ({low} to {high})" if low is not None and high is not None else f" (at least {low})"
    meaning = (option.help or "") + (bounds if low is not None else "")
    if option.required:
        default = "required"
    elif option.default is None or option.default is False or callable(option.default):
        default = ""
    else:
        default = "yes" if option.default is True else f"`{option.default}`"
    if option.envvar:
        meaning += f" Environment: `{option.envvar}`."
    return names + (", repeatable" if option.multiple else ""), default, meaning


def python_api() -> str:
    """Return the reference of every name that `gallon` exports."""
    exported = {name: getattr(gallon, name) for name in getattr(gallon, "__all__", ())}
    constants = [f"| `gallon.{name}` | `{value!r}` |" for name, value in exported.items() if not _is_code(value)]
    functions = {name: value for name, value in exported.items() if inspect.isroutine(value)}
    classes = {name: value for name, value in exported.items() if inspect.isclass(value)}
    errors = {name: value for name, value in classes.items() if issubclass(value, Exception)}
    results = {name: value for name, value in classes.items() if name not in errors}
    parts = [f"## Functions\n\n{_members(functions)}", f"## Classes\n\n{_members(results)}"]
    parts += [
        f"## Errors\n\n{_members(errors)}",
        "\n".join(["## Constants\n", "| name | value |", "|---|---|", *constants]),
    ]
    return "\n\n".join(parts) if exported else "This version exports no names."


def _is_code(value: Any) -> bool:
    return inspect.isroutine(value) or inspect.isclass(value)


def _members(members: dict[str, Any]) -> str:
    return "\n\n".join(_member(name, member) for name, member in members.items())


def _member(name: str, member: Any) -> str:
    parts = [f"### gallon.{name}"]
    if inspect.isroutine(member):
        parts += [_signature(f"gallon.{name}", member), _documented(member, command=name)]
        return "\n\n".join(parts)
    parts.append(_documented(member))
    for method, value in vars(member).items():
        if not method.startswith("_") and inspect.isfunction(value):
            parts += [_signature(f"{name}.{method}", value), _documented(value)]
        elif not method.startswith("_") and isinstance(value, property):
            parts.append(f"`{name}.{method}`: {inspect.getdoc(value)}")
    return "\n\n".join(parts)


def _signature(name: str, call: Any) -> str:
    explained = _explained(call)
    shown, options = [], False
    for parameter in inspect.signature(call).parameters.values():
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        if keyword and parameter.name not in explained:
            options = True
        elif parameter.name != "self":
            shown += ["*"] if keyword and "*" not in shown else []
            shown.append(_parameter(parameter))
    shown += ["**options"] if options else []
    return "\n".join([f"```python\n{name}(", *(f"    {each}," for each in shown), ")\n```"])


def _parameter(parameter: inspect.Parameter) -> str:
    kind = MODULE.sub("", inspect.formatannotation(parameter.annotation).strip("\"'"))
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}: {kind}{default}"


def _explained(call: Any) -> set[str]:
    """Return the parameters that the docstring of a call explains."""
    sections = SECTION.split(inspect.getdoc(call) or "")[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True)).get("Args", "")
    return {name for names, _ in ITEM.findall(found) for name in names.split(", ")}


def _documented(member: Any, command: str | None = None) -> str:
    """Return a docstring as Markdown; of a function, also the options that the command line explains."""
    text, *sections = SECTION.split(inspect.getdoc(member) or "")
    parameters = list(inspect.signature(member).parameters) if command else []
    parts = [text.strip()]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        items = [(name, " ".join(meaning.split())) for name, meaning in ITEM.findall(body)]
        if title == "Args" and command:
            items = [item for item in items if set(item[0].split(", ")) & set(parameters)]
        if items:
            parts.append(_table((TITLES[title], "meaning"), [(f"`{name}`", meaning) for name, meaning in items]))
        elif title in ("Returns", "Yields"):
            parts.append(f"**{title}**: {' '.join(body.split())}")
    if options := [name for name in parameters if command and name not in _explained(member)]:
        group = " ".join(reversed(command.split("_")))  # `write_batch` is `gallon batch write`
        known = next((each for each in (command, group) if each in _commands()), "annotate")
        place = f"command-line.md#gallon-{known.replace(' ', '-')}"
        shown = ", ".join(f"`{name}`" for name in options)
        parts.append(f"**Options**, explained with the [command line]({place}): {shown}.")
    return "\n\n".join(parts)


def metrics() -> str:
    """Return a table of the metrics, from their declarations."""
    endings = {Counter: "_total", Gauge: "", Histogram: ""}
    rows = [
        (
            f"`ray_{metric.name}{endings[type(metric)]}`",
            type(metric).__name__.lower(),
            ", ".join(f"`{tag}`" for tag in metric.tags),
            metric.description,
        )
        for metric in vars(cluster.metrics).values()
        if type(metric) in endings
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def prompts() -> str:
    """Return a table of the prompts that come with the package."""
    loaded = [prompt.load(name) for name in prompt.names()]
    rows = [(f"`{each.name}`", str(each.version), "yes" if each.needs_task else "no", each.summary) for each in loaded]
    return _table(("prompt", "version", "needs `--task`", "asks for"), rows)


def methods() -> str:
    """Return a table of the methods that `gallon evaluate` can compare, and when it does unasked."""
    rows = [(f"`{each.name}`", each.summary, _compared_by_default(each)) for each in METHODS.values()]
    return _table(("method", "what it is", "by default"), rows)


def _compared_by_default(known: Method) -> str:
    if known.needs_rules:
        return "with `--rules`"
    if known.name in EXTRA:
        return "no"
    texts = "with annotations" if known.needs_texts else ""
    return " and ".join(filter(None, [texts, "`--transfer`" if known.transfer else ""])) or "yes"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [heads, ("---",) * len(heads), *(tuple(" ".join(cell.split()) for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)


GENERATORS: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "python": python_api,
    "metrics": metrics,
    "prompts": prompts,
    "methods": methods,
}


def notebook(file: Path) -> str:
    """Return a notebook as Markdown: its text, its code, and the output that is stored in it."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    note = f'Run it yourself: <a href="{file.name}" download>{file.name}</a>.'
    parts = [part for cell in cells for part in _cell(cell)]
    return "\n\n".join([parts[0], note, *parts[1:]])


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield from _output(output)


def _output(output: dict[str, Any]) -> Iterator[str]:
    shown = output.get("data", {})
    if output["output_type"] == "stream":
        yield f"```text\n{''.join(output['text']).rstrip()}\n```"
    elif "text/html" in shown:
        yield f'<div markdown="0">{"".join(shown["text/html"])}</div>'
    elif "image/svg+xml" in shown:
        yield f'<div markdown="0">{"".join(shown["image/svg+xml"])}</div>'
    elif "image/png" in shown:
        yield f"![output](data:image/png;base64,{shown['image/png'].strip()})"
    elif "text/plain" in shown:
        yield f"```text\n{''.join(shown['text/plain'])}\n```"
