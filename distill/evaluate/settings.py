"""How methods are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cluster.training.driver import TrainResources
from distill.learn.distillation import WITH_TRANSFER_SET, Weights
from distill.learn.recipes import Recipe, recipe

DEFAULT_LM = "lm"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How methods are compared.

    Attributes:
        methods: names of rows.
        folds: that training molecules are predicted out of.
        weights, weights_with_transfer_set: how much students listen to their teachers.
        lm: name of the recipe of the language teacher that is distilled.
        recipes: what replaces the recipes of these names, after tuning.
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
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))

    def recipe(self, name: str) -> Recipe:
        """Return a recipe, tuned if it was."""
        return self.recipes.get(name) or recipe(name)
