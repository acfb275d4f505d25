"""What was learnt from annotations, as a report shows it: models with their curves, and the comparison of methods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.evaluate.report import PAGE
from distill.learn.metrics import main_metric
from distill.learn.saved import Card, read_card
from distill.report.svg import BLUE, GREY, ORANGE, figure, with_ids_of_its_own
from teacher.errors import UsageError

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

CURVE = (3.0, 2.0)  # inches


@dataclass(frozen=True)
class TrainedModel:
    """A saved model: its name, its card, its curve, and the metric that it is judged by."""

    name: str
    card: Card
    curve: Markup | None
    metric: str


@dataclass(frozen=True)
class Learned:
    """A folder that `gallon teach`, `distill` and `evaluate` have written to."""

    folder: Path
    models: Sequence[TrainedModel]
    comparison: Markup | None


def learned(folder: Path) -> Learned:
    """Read what a folder holds.

    Raises:
        UsageError: it holds neither a model nor a comparison, or a model in it is damaged.
    """
    from markupsafe import Markup

    models = [_model(card.parent) for card in sorted(folder.glob("*/card.json"))]
    page = folder / PAGE
    comparison = Markup(_main(page.read_text(encoding="utf-8"), _key(folder.name))) if page.is_file() else None
    if not models and comparison is None:
        raise UsageError(f"{folder} holds neither a model nor a comparison: name a folder as 'gallon teach' writes it.")
    return Learned(folder, models, comparison)


def _model(folder: Path) -> TrainedModel:
    from markupsafe import Markup

    card = read_card(folder)
    key = _key(f"{folder.parent.name}-{folder.name}")
    curve = Markup(_curve(card, key)) if len(card.history) > 1 else None
    return TrainedModel(folder.name, card, curve, main_metric(card.targets[0].kind))


def _key(name: str) -> str:
    """Make a word for ids out of the name of a folder, which may hold anything."""
    return "learned-" + "".join(char if char.isalnum() else "-" for char in name)


def _main(page: str, key: str) -> str:
    """Return the main part of a page, its headings and ids fit to stand inside another; no script of it would run."""
    inside = page.partition("<main>")[2].partition("</main>")[0]
    return with_ids_of_its_own(re.sub(r"(</?h)([12])", lambda match: f"{match[1]}{int(match[2]) + 2}", inside), key)


def _curve(card: Card, key: str) -> str:
    history: Sequence[Any] = card.history
    epochs = [entry["epoch"] for entry in history]

    def draw(axes: Axes) -> None:
        axes.plot(epochs, [entry["loss"] for entry in history], color=BLUE, linewidth=1.2)
        axes.set(xlabel="epoch", xlim=(0, None), ylabel="loss (solid)")
        right = axes.twinx()
        right.plot(epochs, [entry["score"] for entry in history], color=ORANGE, linewidth=1.2, linestyle="--")
        right.set_ylabel("validation score (dashed)")
        right.spines["right"].set_visible(True)
        axes.axvline(card.best_epoch, color=GREY, linewidth=0.8, linestyle=":")

    return figure(draw, key, CURVE)
