"""The `tiny` model: a small multimodal checkpoint, built on the machine that needs it (see README.md)."""

from teacher.tiny.recipe import RECIPE_VERSION, SEED, build, ensure

__all__ = ["RECIPE_VERSION", "SEED", "build", "ensure"]
