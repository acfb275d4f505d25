"""The rows of a comparison: baselines, teachers, and students by whom they listen to."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from distill.evaluate.baselines import catalog
from distill.features.pretrained.encoders import PretrainedKind
from distill.learn.recipes import OVER_LIBRARY, PRETRAINED, RECIPES, recipe
from teacher.errors import UsageError
from teacher.nn.registry import ARCHITECTURES

Listens = Literal["nobody", "gnn", "network", "lm", "both", "shuffled"]

LISTENED: dict[Listens, tuple[str, ...]] = {
    "nobody": (),
    "gnn": ("gnn",),
    "network": ("network",),  # the graph teacher that is a graph network, and so says something of each atom
    "lm": ("lm",),
    "both": ("gnn", "lm"),
    "shuffled": ("gnn", "shuffled"),
}
DEFAULT_GRAPH_TEACHER = "dmpnn"
REFERENCE = "student+both"  # the row that the others are compared with
AS_RELEASED = "student-gallon"  # the recipe of GALLON's own rows, whose settings stay
GALLON_GNN, GALLON_LM = "gnn of GALLON", "lm of GALLON"
OF_GALLON = {"gnn": GALLON_GNN, "lm": GALLON_LM}
RELEASED: dict[str, str] = {  # rows as GALLON released them, by the rows whose place they take
    "student": "gallon-student",
    "student+gnn": "gallon+gnn",
    "student+lm": "gallon+lm",
    "student+both": "gallon",
}
RELEASED_ROWS: tuple[tuple[str, Listens, str], ...] = (
    ("student", "nobody", " without distillation"),
    ("student+gnn", "gnn", ", GCN 3x32, its own objective"),
    ("student+lm", "lm", ", language teacher, its own objective"),
    ("student+both", "both", ", GCN 3x32 and language teacher, its own objective"),
)
PREDICTOR = "llm-few-shot"
PSEUDO_LABELS = "student+pseudo-labels"
OF_MMF = {
    "mmf": "",
    "mmf-no-tokens": ", the text as one vector",
    "mmf-no-attention": ", without attention between text and atoms",
    "mmf-no-messages": ", without messages between atoms",
    "mmf-no-mixture": ", with one expert",
    "mmf-few-shot": ", with the LLM's own predictions as an expert",
}
FROM_START = "pre-trained"  # rows of which a graph network begins with a pre-trained one, as 'METHOD [pre-trained]'
BEST_NETWORK = "gnn"  # stands for the graph network that validates best out of the teachers in the table
NETWORKS: tuple[str, ...] = (BEST_NETWORK, *ARCHITECTURES)
OF_NETWORKS = tuple((f"{name}+lm{end}", name, bool(end)) for name in NETWORKS for end in ("", "+transfer"))
ON_RULES = {
    "rules": "teacher on the rules' values alone",
    "rules-beside": "teacher on the student's features and the rules' values",
    "rules-shuffled": "control: the student's features and the rules' values of other molecules",
    "rules-random": "control: as many of RDKit's descriptors as there are rules, drawn at random",
    "rules-all": "control: all of RDKit's descriptors",
}
MUGSI_TERMS = ("soft", "graph", "communities", "walks")  # of `distill.learn.distillation.MUGSI`
OF_MUGSI: dict[str, tuple[str, str, str]] = {  # what a row is, what its student reads, the term that it does without
    "mugsi": ("MLP on atoms; soft labels, representations and parts of the graph network", "atoms", ""),
    "mugsi-1hop": ("as mugsi, the MLP reading the neighbours of each atom (GA-MLP)", "atoms-1hop", ""),
    "mugsi-no-soft": ("as mugsi, without soft labels", "atoms", "soft"),
    "mugsi-no-graph": ("as mugsi, without representations of molecules", "atoms", "graph"),
    "mugsi-no-communities": ("as mugsi, without similarities of communities of atoms", "atoms", "communities"),
    "mugsi-no-walks": ("as mugsi, without random walks", "atoms", "walks"),
}
EXTRA = frozenset(  # rows that have to be asked for
    {
        "chemprop",
        "tabpfn",
        "minimol-linear",
        "chemeleon-linear",
        "lm-fine-tuned",
        "e-llagnn",
        "gallon-gcn",
        PREDICTOR,
        PSEUDO_LABELS,
    }
    | {*PRETRAINED, *OF_MMF, *ON_RULES, *OVER_LIBRARY}
    | set(RELEASED.values()) - {"gallon"}
    | {name for name, _, _ in OF_NETWORKS}
    | set(OF_MUGSI) - {"mugsi"}
)
TRANSFERRING: dict[Listens, str] = {"gnn": "the graph teacher", "both": "both"}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table.

    Attributes:
        name: of the row.
        summary: what it is.
        kind: a baseline, a teacher, the mean of teachers, what an LLM itself predicts, a student, or a student of
            an LLM's predictions.
        listens: of a student, to whom.
        student: the recipe of a student as others distill it; None where the input is chosen.
        terms: of MuGSI, those that it learns.
        transfer: whether it hears them speak of the transfer set, too.
        network: of a student that is a graph network, its name, or `BEST_NETWORK`; None of a perceptron.
        released: whether it is GALLON's student and is taught by GALLON's GCN, by its objective, all as released.
    """

    name: str
    summary: str
    kind: Literal["baseline", "teacher", "mean", "predictor", "student", "pseudo-labels"]
    listens: Listens = "nobody"
    student: str | None = None
    terms: tuple[str, ...] = ()
    transfer: bool = False
    network: str | None = None
    released: bool = False

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers it learns from, by name: their outputs on the dataset, or on the transfer set too."""
        names = LISTENED[self.listens]
        names = tuple(OF_GALLON[name] for name in names) if self.released else names
        return tuple(f"{name} on the transfer set" for name in names) if self.transfer else names

    @property
    def needs_texts(self) -> bool:
        """Whether it reads what an LLM wrote, or learns from one who does."""
        if self.kind == "teacher":
            return recipe(self.name).role == "lm"
        return self.kind in ("mean", "predictor", "pseudo-labels") or self.listens not in ("nobody", "gnn", "network")

    @property
    def reads_predictions(self) -> bool:
        """Whether it reads what an LLM predicts, which has seen labels of the training part."""
        if self.kind == "teacher":
            return recipe(self.name).reads_guesses
        return self.kind in ("predictor", "pseudo-labels")

    def rests_on(self, network: str) -> bool:
        """Whether it is this graph network, or learns from the best graph teacher, which may be this one."""
        if self.released:
            return False
        listens = {"gnn", "network"} & set(LISTENED[self.listens])
        return (
            self.kind == "mean" or network in (self.name, self.network) or self.network == BEST_NETWORK or bool(listens)
        )

    @property
    def needs_rules(self) -> bool:
        """Whether it reads rules, or is measured against them."""
        return self.name in ON_RULES

    @property
    def pretrained(self) -> PretrainedKind | None:
        """Whose vectors a baseline or a teacher reads, if any."""
        if self.kind == "baseline":
            return catalog.baseline(self.name).pretrained
        return recipe(self.name).pretrained if self.kind == "teacher" else None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(Method(name=name, summary=known.title, kind="baseline") for name, known in catalog.BASELINES.items()),
        *(
            Method(name=name, summary=f"graph teacher: {known.summary}", kind="teacher")
            for name, known in ARCHITECTURES.items()
        ),
        Method(name="gallon-gcn", summary="graph teacher: GALLON's GCN as released", kind="teacher"),
        Method(name="lm", summary="language teacher: a head on a frozen encoder", kind="teacher"),
        Method(name="lm-fine-tuned", summary="language teacher: a fine-tuned encoder", kind="teacher"),
        *(
            Method(name=name, summary=f"teacher of graph and text together, after MMF{told}", kind="teacher")
            for name, told in OF_MMF.items()
        ),
        Method(
            name=PREDICTOR, summary="the LLM itself, out of similar training molecules (few-shot)", kind="predictor"
        ),
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
        *(Method(name=name, summary=summary, kind="teacher") for name, summary in ON_RULES.items()),
        Method(name="e-llagnn-sage", summary="GraphSAGE over the library, with texts, after E-LLaGNN", kind="teacher"),
        Method(name="e-llagnn-gcn", summary="GCN over the library, with texts, after E-LLaGNN", kind="teacher"),
        Method(
            name="e-llagnn-sage-ranked",
            summary="GraphSAGE over the library, with texts, neighbours by an LLM's order",
            kind="teacher",
        ),
        Method(
            name="e-llagnn-gcn-ranked",
            summary="GCN over the library, with texts, neighbours by an LLM's order",
            kind="teacher",
        ),
        Method(
            name="e-llagnn-sage-shuffled",
            summary="control: as e-llagnn-sage-ranked, the order by chance",
            kind="teacher",
        ),
        Method(name="library-sage", summary="GraphSAGE over the library, without texts", kind="teacher"),
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
            name=PSEUDO_LABELS,
            summary="student that also learns what the LLM predicts of molecules without labels",
            kind="pseudo-labels",
            transfer=True,
        ),
        Method(
            name="glnn",
            summary="GLNN's: MLP on atoms, soft labels of the graph teacher",
            kind="student",
            listens="gnn",
            student="student-atoms",
        ),
        *(
            Method(
                name=name,
                summary=f"MuGSI's: {summary}",
                kind="student",
                listens="network",
                student=f"student-{reads}",
                terms=tuple(term for term in MUGSI_TERMS if term != left_out),
            )
            for name, (summary, reads, left_out) in OF_MUGSI.items()
        ),
        *(
            Method(
                name=name,
                summary=f"{'the best graph network' if network == BEST_NETWORK else network} as the student of the "
                f"language teacher{', also about molecules without labels' if transfer else ''} (DiLLM-GNN)",
                kind="student",
                listens="lm",
                network=network,
                transfer=transfer,
            )
            for name, network, transfer in OF_NETWORKS
        ),
        *(
            Method(
                name=RELEASED[name],
                summary=f"GALLON as released: per-atom MLP{teachers}",
                kind="student",
                listens=listens,
                released=True,
            )
            for name, listens, teachers in RELEASED_ROWS
        ),
    )
}


def defaults(
    *, with_texts: bool, with_transfer_set: bool, with_rules: bool = False, released: bool = False
) -> list[str]:
    """Return the rows of a table where none are named: those that are not `EXTRA`, nor need what is not there.

    Rules that somebody names are there to be compared, beside their controls. Rows as GALLON `released` them take the
    place of those of our students.
    """
    names = [
        known.name
        for known in METHODS.values()
        if (known.name not in EXTRA or (with_rules and known.needs_rules))
        and (with_texts or not known.needs_texts)
        and (with_transfer_set or not known.transfer)
    ]
    if not released:
        return names
    return as_released([name for name in names if METHODS[name].kind != "student" or name in {*RELEASED, "gallon"}])


def named(names: Sequence[str], *, released: bool = False) -> list[Method]:
    """Return the methods of these names, each once, or those that stand for them as GALLON released them.

    Raises:
        UsageError: there is no such method, or GALLON released none for it.
    """
    known = list(dict.fromkeys(method(name).name for name in names))
    return [method(name) for name in (as_released(known) if released else known)]


def as_released(names: Sequence[str]) -> list[str]:
    """Return rows with GALLON's own in the place of those of our students.

    Raises:
        UsageError: one of them has no counterpart that GALLON released.
    """
    own = [name for name in names if METHODS[name].kind == "student" and not METHODS[name].released]
    if lost := [name for name in own if name not in RELEASED]:
        raise UsageError(
            f"GALLON's objective was released for {', '.join(RELEASED)}, not for {', '.join(lost)}: leave "
            f"{'it' if len(lost) == 1 else 'them'} out, or --objective gallon."
        )
    return list(dict.fromkeys(RELEASED.get(name, name) for name in names))


def graph_teachers(names: Sequence[str], known: Container[str] = RECIPES) -> list[str]:
    """Return the graph teachers among some rows, of which the best is distilled; where there is none, the default one.

    Args:
        names: of the rows.
        known: those that can teach: what has no say about single atoms cannot teach a student of them.
    """
    found = [
        name
        for name in names
        if name in known
        and method(name).kind == "teacher"
        and recipe(name).role == "gnn"
        and recipe(name).rules in (None, "given")  # no control is distilled
    ]
    return found or [DEFAULT_GRAPH_TEACHER]


def variant(name: str, differs: str) -> str:
    """Return the name of a method's row that differs in the texts that it reads, or in what a network begins with."""
    return f"{name} [{differs}]"


def summary_of(row: str) -> str:
    """Return what a row is, by its name."""
    name, _, differs = row.removesuffix("]").partition(" [")
    if differs == FROM_START:
        return f"{METHODS[name].summary}; a graph network begins with the pre-trained one"
    return f"{METHODS[name].summary}; texts: {differs}" if differs else METHODS[name].summary


def method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        UsageError: there is none; the message names those there are.
    """
    if name not in METHODS:
        raise UsageError(f"There is no method '{name}': choose out of {', '.join(METHODS)}.")
    return METHODS[name]
