"""The prompt catalog: versioned YAML files in `prompts/`, or a file of your own.

A prompt file has the keys `name`, `version`, `summary`, `max_tokens`, `instructions`, then the line that introduces
each modality (`image`, `smiles` with `{smiles}`, `graph` with `{graph}`), `closing`, and optionally

- `system`: the text of a system turn;
- `facts`: the line that introduces what RDKit computes, with `{facts}` (`teacher.chemistry.facts_text`);
- `columns`: the line that introduces cells of the molecule's row, each as `{column:NAME}` (`row_columns`);
- `shots`: examples, each with a `smiles`, its `answer` and the `columns` that it needs; or, of those in a `file` as
  `gallon export` writes it, the `nearest` few (`shots`);
- `schema`: what the answer must follow, JSON Schema (draft 2020-12) of an object, which refers to nothing outside
  itself (`schema`).

`{task}` in the system turn and the instructions is filled from `--task` (a question, or the name of one in
`tasks.yaml`); `{functional_groups}` in the text and `$functional_groups` in the schema stand for the vocabulary of
`groups.yaml`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teacher.errors import UsageError
from teacher.files import placed
from teacher.llm.row_columns import filled, named_columns
from teacher.llm.shots import ShotError, Shots, check_shots, read_pool

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPTS = Path(__file__).parent / "prompts"
TASKS = Path(__file__).parent / "tasks.yaml"
NAME_SHOWN = 80  # characters


@dataclass(frozen=True, slots=True)
class Picture:
    """An image inside a chat message; `uuid` names its content, so that equal uuids mean equal pixels."""

    image: Image
    uuid: str


Content = list[str | Picture]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a conversation that comes before the question."""

    role: Literal["system", "user", "assistant"]
    text: str


class MisplacedColumnError(ValueError):
    """A prompt names a column where none is filled in; the message says where."""


# There were prompts before there were these keys: a prompt without them keeps its digest.
LATER_KEYS = ("system", "facts", "columns", "shots")


class Prompt(BaseModel):
    """One entry of the catalog, with the vocabulary filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: int = Field(ge=1)
    summary: str
    max_tokens: int = Field(ge=1)
    instructions: str
    image: str
    smiles: str = Field(pattern=r"\{smiles\}")
    graph: str = Field(pattern=r"\{graph\}")
    closing: str
    system: str | None = None
    facts: str | None = Field(default=None, pattern=r"\{facts\}")
    columns: str | None = Field(default=None, pattern=r"\{column:[^{}]+\}")
    shots: Shots = ()
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")

    @property
    def digest(self) -> str:
        """SHA-256 of everything the prompt says, so that an edited file is another prompt."""
        unused = {key for key in LATER_KEYS if not getattr(self, key)}
        return hashlib.sha256(self.model_dump_json(by_alias=True, exclude=unused).encode()).hexdigest()

    @property
    def needs_task(self) -> bool:
        """Whether the system turn or the instructions have a place for the task text."""
        return "{task}" in self.instructions or "{task}" in (self.system or "")

    @property
    def row_columns(self) -> tuple[str, ...]:
        """The columns of a molecule's row that the prompt shows, in the order of their first mention."""
        return named_columns(self.columns or "")

    def render(
        self,
        *,
        task: str | None,
        smiles: str | None,
        picture: Picture | None = None,
        graph: str | None = None,
        facts: str | None = None,
        columns: Mapping[str, str] | None = None,
        instructed: bool = True,
    ) -> Content:
        """Return the user message for one molecule; a modality that is None is left out.

        The parts that all molecules share come first, so that the engine computes them once (prefix caching).

        Args:
            task: what `{task}` stands for.
            smiles: of the molecule.
            picture: its drawing.
            graph: its bonds as text.
            facts: what RDKit computes of it.
            columns: the cells of its row, as they may be shown.
            instructed: whether the instructions come first; not in a turn that follows another.

        Raises:
            KeyError: a column that the prompt names is not among `columns`.
        """
        before = [self.instructions.replace("{task}", task or "").strip()] if instructed else []
        after = [self.closing]
        if self.columns is not None:
            after.insert(0, filled(self.columns, columns or {}))
        if self.facts is not None and facts is not None:
            after.insert(0, self.facts.replace("{facts}", facts))
        if graph is not None:
            after.insert(0, self.graph.replace("{graph}", graph))
        if smiles is not None:
            after.insert(0, self.smiles.replace("{smiles}", smiles))
        if picture is None:
            return ["\n".join(before + after)]
        # Chat templates differ in what they put between parts, many of them nothing.
        return ["\n".join([*before, self.image, ""]), picture, "\n".join(["", *after])]


def tasks() -> dict[str, str]:
    """Return the questions that come with the project, by the names of the sets that they are for."""
    from teacher.plain_yaml import read_yaml

    questions: dict[str, str] = read_yaml(TASKS.read_text(encoding="utf-8"))
    return questions


def task_text(task: str) -> str:
    """Return the question that a task stands for: that of its name, or the task itself."""
    return tasks().get(task, task)


def names() -> list[str]:
    """Return the names of the prompts that come with the project."""
    return sorted(path.stem for path in PROMPTS.glob("*.yaml"))


def load(name: str) -> Prompt:
    """Load a prompt by its name in the catalog, or from a YAML file of your own.

    Raises:
        UsageError: there is no such prompt, or the file is not a valid prompt.
    """
    path = PROMPTS / f"{name}.yaml" if name in names() else placed(name)
    if not _is_file(path):
        known = ", ".join(names())
        shown = shorten(name, NAME_SHOWN, placeholder=" ...")
        raise UsageError(f"There is no prompt '{shown}': choose one of {known}, or give the path of a prompt file.")
    return _parse(path)


def _is_file(path: Path) -> bool:
    """Tell whether there is a file; a text that was given in the place of its name is too long for one."""
    try:
        return path.is_file()
    except OSError:
        return False


def _parse(path: Path) -> Prompt:
    import yaml

    from teacher.chemistry.facts import vocabulary
    from teacher.llm.schema import SchemaError, check_schema
    from teacher.plain_yaml import read_yaml

    try:
        raw = _with_pool(read_yaml(path.read_text(encoding="utf-8")), path.parent)
        prompt = Prompt.model_validate(_with_vocabulary(raw, vocabulary()))
        if prompt.json_schema is not None:
            check_schema(prompt.json_schema)
        _check_columns(prompt)
        check_shots(prompt.shots, prompt.json_schema, prompt.row_columns)
        return prompt
    except (MisplacedColumnError, ShotError) as error:
        raise UsageError(f"The prompt file {path} is not a valid prompt: {error}.") from None
    except OSError as error:
        raise UsageError(f"The prompt file {path} cannot be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"The prompt file {path} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UsageError(f"The prompt file {path} is not valid: it is nested too deeply.") from None
    except SchemaError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"The schema of the prompt file {path} cannot be used: {reason}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"The prompt file {path} is not a valid prompt: {where}: {first['msg']}.") from None


def _check_columns(prompt: Prompt) -> None:
    """Check that columns are named in the line that is for them, which follows everything that molecules share.

    Raises:
        MisplacedColumnError: they are named elsewhere.
    """
    for key in ("system", "instructions", "image", "smiles", "graph", "facts", "closing"):
        if found := named_columns(getattr(prompt, key) or ""):
            raise MisplacedColumnError(f"{key}: {{column:{found[0]}}} belongs into the line 'columns'")


def _with_pool(raw: Any, folder: Path) -> Any:
    """Replace the name of a file with examples, if any, by what is in it.

    Raises:
        ShotError: it cannot be read.
    """
    shots = raw.get("shots") if isinstance(raw, dict) else None
    if not isinstance(shots, dict) or not isinstance(shots.get("file"), str):
        return raw
    others = {key: value for key, value in shots.items() if key != "file"}
    return {**raw, "shots": {**others, "pool": read_pool(folder / Path(shots["file"]).expanduser())}}


def _with_vocabulary(node: Any, groups: tuple[str, ...]) -> Any:
    """Fill the functional-group vocabulary into a prompt file's text and schema."""
    if isinstance(node, dict):
        return {key: _with_vocabulary(value, groups) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_vocabulary(value, groups) for value in node]
    if node == "$functional_groups":
        return list(groups)
    if isinstance(node, str):
        return node.replace("{functional_groups}", ", ".join(groups))
    return node
