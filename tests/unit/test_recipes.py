import pytest

from distill.learn.recipes import RECIPES, recipe
from teacher.errors import UsageError


def test_an_unknown_recipe_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no 'schnet' to train: choose out of gcn, gin, gat, dmpnn, lm"):
        recipe("schnet")


def test_recipes_go_by_their_own_names() -> None:
    assert all(name == known.name == recipe(name).name for name, known in RECIPES.items())
