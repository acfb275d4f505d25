"""How methods are compared, and what a row costs: every fit that it needs, those that lost a choice included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cluster.training.driver import TrainResources
from distill.evaluate.methods import BEST_NETWORK, LISTENED, OF_GALLON, Method, method
from distill.learn.distillation import WITH_TRANSFER_SET, Weights
from distill.learn.recipes import Recipe, recipe

if TYPE_CHECKING:
    from cluster.training.fit import Outcome
    from distill.models.pretraining import Start

DEFAULT_LM = "lm"

# Fits among which one was chosen, by name beside those of teachers.
GRAPH_TEACHERS, GRAPH_NETWORKS, INPUTS_TRIED = "graph teachers", "graph networks", "inputs"


@dataclass(frozen=True, slots=True)
class Budget:
    """What was spent on a row under one seed, by the row alone: what rows share is counted for each.

    Attributes:
        fits: how many models were fitted: the student's for each input, the graph teachers among which one is chosen,
            a teacher's for each fold that is held out.
        seconds: of all of them together.
    """

    fits: int
    seconds: float

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Budget:
        """Add up fits; one that is named more than once was done once."""
        distinct = {outcome.weights: outcome for outcome in outcomes}
        return cls(len(distinct), sum(outcome.seconds for outcome in distinct.values()))


def behind(student: Method) -> list[str]:
    """Name what stands behind a student: its teachers, and the choices of its input and of a graph teacher."""
    if student.released:
        return [OF_GALLON[name] for name in LISTENED[student.listens]]
    names = [*LISTENED[student.listens]]
    names += [GRAPH_TEACHERS] if "gnn" in names else []
    names += [] if student.network or student.student else [INPUTS_TRIED]
    names += [GRAPH_NETWORKS] if student.network == BEST_NETWORK or "network" in names else []
    return names


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How methods are compared.

    Attributes:
        methods: names of rows.
        folds: that training molecules are predicted out of.
        weights, weights_with_transfer_set: how much students listen to their teachers.
        lm: name of the recipe of the language teacher that is distilled.
        recipes: what replaces the recipes of these names, after tuning.
        start: a pre-trained network; the rows that rest on one of its kind are also made with one that begins with it.
        tuned: settings that differ from the defaults of these baselines, after tuning.
        folder: where fits lie; the same call goes on where it was stopped.
        resources: the workers, and what each may use.
    """

    methods: Sequence[str]
    folder: Path
    resources: TrainResources
    folds: int = 5
    weights: Weights = field(default_factory=Weights)
    weights_with_transfer_set: Weights = WITH_TRANSFER_SET
    lm: str = DEFAULT_LM
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: MappingProxyType({}))
    start: Start | None = None
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))

    def recipe(self, name: str) -> Recipe:
        """Return a recipe, tuned if it was."""
        return self.recipes.get(name) or recipe(name)


def with_start(settings: Settings, start: Start) -> Settings:
    """Return the settings of the rows that rest on a pre-trained network's kind, and of the teachers beside it."""
    name = start.card.recipe
    known = [method(each) for each in settings.methods]
    again = [each.name for each in known if each.rests_on(name) or each.kind == "teacher"]
    begun = settings.recipe(name).beginning_with(start)
    return replace(settings, methods=again, recipes={**settings.recipes, name: begun})
