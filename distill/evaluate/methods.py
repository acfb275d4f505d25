"""The rows of a comparison: baselines, teachers, and students by whom they listen to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distill.evaluate import baselines
from distill.features.pretrained import PretrainedKind
from distill.learn.recipes import PRETRAINED, recipe
from teacher.errors import UsageError
from teacher.nn.registry import ARCHITECTURES

Listens = Literal["nobody", "gnn", "lm", "both", "shuffled", "gallon"]

LISTENED: dict[Listens, tuple[str, ...]] = {
    "nobody": (),
    "gnn": ("gnn",),
    "lm": ("lm",),
    "both": ("gnn", "lm"),
    "shuffled": ("gnn", "shuffled"),
    "gallon": ("gallon gnn", "gallon lm"),
}
REFERENCE = "student+both"  # the row that the others are compared with
AS_RELEASED = "student-gallon"  # the recipe of GALLON's own row, whose settings stay
EXTRA = frozenset({"chemprop", "lm-fine-tuned", "mmf", "e-llagnn", *PRETRAINED})  # rows that have to be asked for
TRANSFERRING: dict[Listens, str] = {"gnn": "the graph teacher", "both": "both"}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table.

    Attributes:
        name: of the row.
        summary: what it is.
        kind: a baseline, a teacher, the mean of teachers, or a student.
        listens: of a student, to whom.
        transfer: whether it hears them speak of the transfer set, too.
    """

    name: str
    summary: str
    kind: Literal["baseline", "teacher", "mean", "student"]
    listens: Listens = "nobody"
    transfer: bool = False

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers it learns from, by name: their outputs on the dataset, or on the transfer set too."""
        names = LISTENED[self.listens]
        return tuple(f"{name} on the transfer set" for name in names) if self.transfer else names

    @property
    def needs_texts(self) -> bool:
        """Whether it reads what an LLM wrote, or learns from one who does."""
        if self.kind == "teacher":
            return recipe(self.name).role == "lm"
        return self.kind == "mean" or self.listens not in ("nobody", "gnn")

    @property
    def pretrained(self) -> PretrainedKind | None:
        """Whose vectors a teacher reads, if any."""
        return recipe(self.name).pretrained if self.kind == "teacher" else None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(Method(name=name, summary=known.title, kind="baseline") for name, known in baselines.BASELINES.items()),
        *(
            Method(name=name, summary=f"graph teacher: {known.summary}", kind="teacher")
            for name, known in ARCHITECTURES.items()
        ),
        Method(name="lm", summary="language teacher: a head on a frozen encoder", kind="teacher"),
        Method(name="lm-fine-tuned", summary="language teacher: a fine-tuned encoder", kind="teacher"),
        Method(name="mmf", summary="teacher of graph and text together, after MMF", kind="teacher"),
        Method(name="e-llagnn", summary="teacher that borrows texts of the like, after E-LLaGNN", kind="teacher"),
        Method(
            name="minimol",
            summary="teacher on MiniMol's vectors, frozen, beside the student's features",
            kind="teacher",
        ),
        Method(
            name="smiles-encoder",
            summary="teacher on a text encoder's vectors of SMILES, frozen, beside the student's features",
            kind="teacher",
        ),
        Method(name="teachers", summary="mean of the graph and the language teacher, not distilled", kind="mean"),
        Method(name="student", summary="student without distillation", kind="student"),
        Method(name="student+gnn", summary="student of the graph teacher", kind="student", listens="gnn"),
        Method(name="student+lm", summary="student of the language teacher", kind="student", listens="lm"),
        Method(name="student+both", summary="student of both", kind="student", listens="both"),
        Method(
            name="student+shuffled",
            summary="student of both, the language teacher reading other molecules' texts",
            kind="student",
            listens="shuffled",
        ),
        *(
            Method(
                name=f"student+{listens}+transfer",
                summary=f"student of {teachers}, also about molecules without labels",
                kind="student",
                listens=listens,
                transfer=True,
            )
            for listens, teachers in TRANSFERRING.items()
        ),
        Method(
            name="gallon",
            summary="GALLON's own: GCN 3x32, per-atom MLP, its released objective",
            kind="student",
            listens="gallon",
        ),
    )
}


def defaults(*, with_texts: bool, with_transfer_set: bool) -> list[str]:
    """Return the rows of a table where none are named: those that are not `EXTRA`, nor need what is not there."""
    return [
        known.name
        for known in METHODS.values()
        if known.name not in EXTRA
        and (with_texts or not known.needs_texts)
        and (with_transfer_set or not known.transfer)
    ]


def method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        UsageError: there is none; the message names those there are.
    """
    if name not in METHODS:
        raise UsageError(f"There is no method '{name}': choose out of {', '.join(METHODS)}.")
    return METHODS[name]
