"""The MkDocs hook: pages generated from the code, and documents of the repository shown as pages of the site.

A page asks for generated text by a comment, `<!-- generate: metrics -->`. Documents outside this folder are added under
the names in `INCLUDED`, notebooks as they were last executed. A relative link leads to the page of its target; where the
target is source code, which the site does not carry, the link's text is left.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

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
ORIGINS = {page: document for document, page in INCLUDED.items() if document != "README.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"<!-- generate: ([\w-]+) -->")
DIAGRAM = "images/pipeline.svg"  # in the place of Mermaid, whose script would have to come from the network


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that lie elsewhere in the repository, and the notebooks."""
    for page, document in ORIGINS.items():
        source = ROOT / document
        if not source.is_file():
            continue
        text = notebook(source) if source.suffix == ".ipynb" else source.read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
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
    if document in INCLUDED or document.startswith("docs/"):
        place = INCLUDED.get(document, document.removeprefix("docs/"))
        return f"{image}[{text}]({_relative(place, here)}{anchor or ''})"
    return text if (ROOT / document).exists() else found[0]  # what is not there at all, MkDocs reports


def _relative(place: str, here: str) -> str:
    return os.path.relpath(place, Path(here).parent)


def command_line() -> str:
    """Return the reference of all commands, from the Typer application."""
    import typer

    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["gallon"]
    root = typer.main.get_command(importlib.import_module(script.partition(":")[0]).app)
    return "\n\n".join(_command(name, command) for name, command in root.commands.items())  # type: ignore[attr-defined]


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
    name = (argument.metavar or argument.name).upper().strip("[]") + ("..." if argument.nargs == -1 else "")
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
    """Return what mkdocstrings replaces by the reference of every name that `gallon` exports."""
    import gallon

    names = getattr(gallon, "__all__", ())
    documented = {name: getattr(gallon, name) for name in names}
    parts = [
        f"::: {each.__module__}.{each.__qualname__}\n    options:\n      heading: gallon.{name}"
        for name, each in documented.items()
        if callable(each)
    ]
    others = [f"- `gallon.{name}`: `{each!r}`" for name, each in documented.items() if not callable(each)]
    return "\n\n".join([*parts, "\n".join(others)]) if names else "This version exports no names."


def metrics() -> str:
    """Return a table of the metrics, from their declarations."""
    from cluster import metrics as declared
    from cluster.runtime.instruments import Counter, Gauge, Histogram

    endings = {Counter: "_total", Gauge: "", Histogram: ""}
    rows = [
        (
            f"`ray_{metric.name}{endings[type(metric)]}`",
            type(metric).__name__.lower(),
            ", ".join(f"`{tag}`" for tag in metric.tags),
            metric.description,
        )
        for metric in vars(declared).values()
        if type(metric) in endings
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def prompts() -> str:
    """Return a table of the prompts that come with the package."""
    from teacher.llm.prompt import load, names

    loaded = [load(name) for name in names()]
    rows = [(f"`{each.name}`", str(each.version), "yes" if each.needs_task else "no", each.summary) for each in loaded]
    return _table(("prompt", "version", "needs `--task`", "asks for"), rows)


def methods() -> str:
    """Return a table of the methods that `gallon evaluate` can compare."""
    from distill.evaluate.methods import METHODS

    return _table(("method", "what it is"), [(f"`{each.name}`", each.summary) for each in METHODS.values()])


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
    note = f"Run it yourself: [{file.name}]({file.name}){{download}}."
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
