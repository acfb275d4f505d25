"""What can be trained, by name: its network, what it reads, its settings and its schedule by default.

Networks are named, not imported: to look a recipe up loads no torch.
The defaults are what `--trials 0` uses; `space` says what Optuna may choose from instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from cluster.training.fit import Schedule
from distill.features.pretrained.encoders import VectorKind
from distill.features.vectors import DescriptorSet
from distill.ranking.ranking import NeighbourOrder
from teacher.errors import UsageError
from teacher.nn.registry import ARCHITECTURES, NetworkRef

if TYPE_CHECKING:
    from optuna import Trial

    from distill.models.pretraining import Start

Input = Literal["atoms", "atoms-1hop", "fingerprint"]  # of a student
INPUTS: tuple[Input, ...] = get_args(Input)

Pooling = Literal["mean", "cls"]  # of an encoder's tokens
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
FINE_TUNED = "lm-fine-tuned"

Role = Literal["gnn", "lm", "student"]
Reads = Literal[
    "graphs",
    "embeddings",
    "tokens",
    "graphs and states",
    "graphs, states and guesses",
    "neighbourhoods",
    "fingerprint",
    "library graph",
    "minimol",
    "smiles",
    "rules",
]
VECTORS_OF = frozenset({"fingerprint", "minimol", "smiles", "rules"})  # a molecule alone, scaled by a training part
Columns = Literal["given", "shuffled", "random", "all"]  # of rules: as they are, or a control


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How something is trained.

    Attributes:
        name: of the recipe.
        role: a graph teacher (one that reads the molecule alone: its graph, or numbers made of it), a language teacher
            (one that reads annotations, alone or beside other things), or a student.
        reads: the kind of its inputs; "minimol" and "smiles" are a student's features and behind them the vector of a
            pre-trained network, MiniMol's of the molecule or a text encoder's of its SMILES.
        descriptors: which stand beside a fingerprint. "lean" costs twice a parsing and, measured with XGBoost on ESOL
            and BBBP, is worth about what all 217 are, which cost fifty.
        rules: the columns of rules that it reads, alone or behind a fingerprint: those that were named, or a control,
            which is their values of other molecules, as many of RDKit's descriptors at random, or all descriptors.
        neighbours: of one that reads a library graph, the order that they are taken in: by similarity, an LLM's, or the
            control, one by chance.
        build: makes the network; takes the number of targets and the settings.
        settings: of the network.
        schedule: of the training.
        label_smoothing, balance: of the task's loss (`distill.learn.objective`).
        raw_labels: whether numbers are learnt as they are, rather than in units of their standard deviation.
        space: draws settings of the network and of the schedule for a trial.
        start: a pre-trained network that it begins with, if any.
    """

    name: str
    role: Role
    reads: Reads
    descriptors: DescriptorSet = "lean"
    rules: Columns | None = None
    neighbours: NeighbourOrder = "tanimoto"
    build: NetworkRef
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    schedule: Schedule
    label_smoothing: float = 0.0
    balance: bool = False
    raw_labels: bool = False
    space: Callable[[Trial], tuple[dict[str, Any], dict[str, Any]]] | None = None
    start: Start | None = None

    @property
    def pretrained(self) -> VectorKind | None:
        """Whose vectors stand beside the student's features, if any do."""
        return self.reads if self.reads in ("minimol", "smiles") else None

    @property
    def predicts_alone(self) -> bool:
        """Whether its network predicts a molecule of which nothing is written."""
        return self.role != "lm" or self.reads == "library graph"

    @property
    def mixes(self) -> bool:
        """Whether its network is a mixture of experts."""
        return self.reads in ("graphs and states", "graphs, states and guesses")

    @property
    def reads_guesses(self) -> bool:
        """Whether its network reads what an LLM itself predicts."""
        return self.reads == "graphs, states and guesses"

    @property
    def is_shareable(self) -> bool:
        """Whether workers gain by sharing its steps.

        A student on fingerprints has 1.1 million gradients to exchange after each step. With two workers it looks at
        0.42 times as many molecules a second in steps of 64, at 0.84 in steps of 256, where graph networks look at 1.8
        times as many (`tests/benchmarks/sharing.py`).
        """
        return self.reads not in VECTORS_OF | {"embeddings", "neighbourhoods"}

    def as_released(self) -> Recipe:
        """Return the recipe as GALLON trains it (code of arXiv 2406.01032).

        A fine-tuned encoder is read at its first token; all others learn numbers as they are, without clipped
        gradients.
        """
        if self.role == "lm":
            return replace(self, settings={**self.settings, "pooling": "cls"}) if "pooling" in self.settings else self
        return replace(self, raw_labels=True, schedule=replace(self.schedule, gradient_norm=None))

    def beginning_with(self, start: Start) -> Recipe:
        """Return the recipe for a network that begins with a pre-trained one, and has its settings."""
        return replace(self, settings=start.card.settings, start=start)

    def suggested(self, trial: Trial) -> Recipe:
        """Return the recipe with what a trial draws."""
        if self.space is None:
            return self
        settings, schedule = self.space(trial)
        return replace(self, settings={**self.settings, **settings}, schedule=replace(self.schedule, **schedule))


def recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        UsageError: there is none; the message names those there are.
    """
    if name not in RECIPES:
        raise UsageError(f"There is no '{name}' to train: choose out of {', '.join(RECIPES)}.")
    return RECIPES[name]


def of_role(role: Role) -> list[str]:
    """Return the names of the recipes of a role."""
    return [name for name, known in RECIPES.items() if known.role == role]


def _space(trial: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = {
        "width": trial.suggest_categorical("width", [64, 128, 256, 512]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
    schedule = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
    }
    return settings, schedule


def _fine_tuning_space(trial: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
    rate = trial.suggest_float("learning_rate", 5e-6, 1e-4, log=True)
    return {"dropout": trial.suggest_float("dropout", 0.0, 0.5)}, {"learning_rate": rate}


GALLON_TEACHER = Schedule(epochs=800, batch_size=None, learning_rate=5e-3, decay="none", warm_up=0.0, weight_decay=0.0)
GALLON_SIZE = {"width": 32, "layers": 3, "dropout": 0.3}
GRAPHS = Schedule(epochs=60, batch_size=32, learning_rate=1e-3, gradient_norm=1.0)
# Averaged, students on fingerprints were better in the mean on each of four sets than at their best epoch (nested
# splits of what is not the test part, tests/benchmarks/results/epoch_choice.json); graph networks on ESOL were not.
VECTORS = Schedule(epochs=60, batch_size=64, learning_rate=1e-3, weight_decay=1e-2, averaging=0.1)

RULES: dict[str, tuple[Reads, Columns]] = {
    "rules": ("rules", "given"),
    "rules-beside": ("fingerprint", "given"),
    "rules-shuffled": ("fingerprint", "shuffled"),
    "rules-random": ("rules", "random"),
    "rules-all": ("rules", "all"),
}
PRETRAINED: dict[str, Literal["minimol", "smiles"]] = {"minimol": "minimol", "smiles-encoder": "smiles"}

_GRAPH_TEACHERS = [
    Recipe(
        name=name,
        role="gnn",
        reads="graphs",
        build=known.build,
        settings=known.settings,
        schedule=GALLON_TEACHER if name == "gcn" else GRAPHS,
        space=_space,
    )
    for name, known in ARCHITECTURES.items()
]
_STUDENTS = [
    Recipe(
        name=f"student-{reads}",
        role="student",
        reads="fingerprint" if reads == "fingerprint" else "graphs",
        build=NetworkRef("distill.learn.student:student"),
        settings={"reads": reads, "width": 256, "layers": 2, "dropout": 0.2},
        schedule=VECTORS if reads == "fingerprint" else GRAPHS,
        space=_space,
    )
    for reads in INPUTS
]
MMF = {"width": 128, "layers": 3, "hops": 3, "heads": 4, "experts": 4, "dropout": 0.1}
MMF_WITHOUT: dict[str, dict[str, Any]] = {  # what each of its parts is switched off by
    "mmf": {},
    "mmf-no-tokens": {"tokens": False},
    "mmf-no-attention": {"attention": "none"},
    "mmf-no-messages": {"hops": 1},
    "mmf-no-mixture": {"experts": 1},
    "mmf-few-shot": {"few_shot": True},
}
_FUSIONS = [
    Recipe(
        name=name,
        role="lm",
        reads="graphs, states and guesses" if settings.get("few_shot") else "graphs and states",
        build=NetworkRef("teacher.nn.fusion:MMF"),
        settings={**MMF, **settings},
        schedule=GRAPHS,
        space=_space,
    )
    for name, settings in MMF_WITHOUT.items()
]
OVER_LIBRARY: dict[str, dict[str, Any]] = {
    "e-llagnn-sage": {"aggregation": "sage"},
    "e-llagnn-gcn": {"aggregation": "gcn"},
    "e-llagnn-sage-ranked": {"aggregation": "sage"},
    "e-llagnn-gcn-ranked": {"aggregation": "gcn"},
    "e-llagnn-sage-shuffled": {"aggregation": "sage"},
    "library-sage": {"aggregation": "sage", "texts": False},  # the control, without an LLM
}
RANKED: dict[str, NeighbourOrder] = {
    "e-llagnn-sage-ranked": "llm",
    "e-llagnn-gcn-ranked": "llm",
    "e-llagnn-sage-shuffled": "shuffled",  # the control
}
RECIPES: dict[str, Recipe] = {
    known.name: known
    for known in (
        *_GRAPH_TEACHERS,
        Recipe(
            name="lm",
            role="lm",
            reads="embeddings",
            build=NetworkRef("teacher.nn.text_encoder:FrozenEncoderHead"),
            settings={"width": 256, "dropout": 0.3},
            schedule=VECTORS,
            space=_space,
        ),
        Recipe(
            name=FINE_TUNED,
            role="lm",
            reads="tokens",
            build=NetworkRef("teacher.nn.text_encoder:FineTunedEncoder"),
            settings={"dropout": 0.1, "pooling": "mean"},
            schedule=Schedule(epochs=10, batch_size=64, learning_rate=2e-5, weight_decay=1e-2, gradient_norm=1.0),
            label_smoothing=0.3,
            space=_fine_tuning_space,
        ),
        *_FUSIONS,
        *(
            Recipe(
                name=name,
                role="gnn",
                reads=reads,
                build=NetworkRef("teacher.nn.mlp:MLP"),
                settings={"width": 256, "layers": 2, "dropout": 0.2},
                schedule=VECTORS,
                space=_space,
            )
            for name, reads in PRETRAINED.items()
        ),
        *(
            Recipe(
                name=name,
                role="gnn",
                reads=reads,
                rules=columns,
                build=NetworkRef("teacher.nn.mlp:MLP"),
                settings={"width": 256, "layers": 2, "dropout": 0.2},
                schedule=VECTORS,
                space=_space,
            )
            for name, (reads, columns) in RULES.items()
        ),
        Recipe(  # after E-LLaGNN (arXiv 2407.14996): an LLM describes some of the molecules, the others hear of them
            name="e-llagnn",
            role="lm",
            reads="neighbourhoods",
            build=NetworkRef("teacher.nn.mlp:MLP"),
            settings={"width": 256, "layers": 2, "dropout": 0.2},
            schedule=VECTORS,
            space=_space,
        ),
        *(
            Recipe(
                name=name,
                role="lm" if settings.get("texts", True) else "gnn",
                reads="library graph",
                neighbours=RANKED.get(name, "tanimoto"),
                build=NetworkRef("teacher.nn.library:LibraryGNN"),
                settings={"width": 128, "layers": 2, "dropout": 0.2, **settings},
                schedule=VECTORS,
                space=_space,
            )
            for name, settings in OVER_LIBRARY.items()
        ),
        *_STUDENTS,
        Recipe(  # GALLON's own two networks, as released (code of arXiv 2406.01032)
            name="gallon-gcn",
            role="gnn",
            reads="graphs",
            build=NetworkRef("teacher.nn.gnn.convolutional:GCN"),
            settings={**GALLON_SIZE, "pooled_dropout": GALLON_SIZE["dropout"]},
            schedule=GALLON_TEACHER,
        ).as_released(),
        Recipe(
            name="student-gallon",
            role="student",
            reads="graphs",
            build=NetworkRef("distill.learn.student:GallonStudent"),
            settings=GALLON_SIZE,
            schedule=GALLON_TEACHER,
        ).as_released(),
    )
}
