"""What was learnt from annotations, as a report shows it: models with their curves, and the comparison of methods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.learn.metrics import main_metric
from distill.models.card import ModelCard
from distill.models.model_store import read_card
from distill.report.html import COMPARISON_PAGE
from distill.report.svg import BLUE, GREY, ORANGE, figure
from teacher.errors import UsageError

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

CURVE = (3.0, 2.0)  # inches

ELEMENTS = (
    "html head meta title style body main h1 h2 p br dl dt dd details summary code strong time div span small figure "
    "figcaption table caption thead tbody tr th td svg defs g use clipPath path rect circle ellipse line polygon "
    "polyline text tspan"
)  # of `comparison.html.j2` and of the drawings in it
# Of many molecules a drawing holds their density as pixels. Any other attribute could name something to be loaded.
PIXELS = r'image xlink:href="data:image/png;base64,[\w\s+/=]*"(?: (?:id|transform|x|y|width|height)="[^"<>]*")*/>'
FOREIGN = re.compile(rf"<(?!/?(?:{'|'.join(ELEMENTS.split())})[\s/>]|!doctype html>|{PIXELS})", re.IGNORECASE)


@dataclass(frozen=True)
class TrainedModel:
    """A saved model: its name, its card, its curve, and the metric that it is judged by."""

    name: str
    card: ModelCard
    curve: Markup | None
    metric: str


@dataclass(frozen=True)
class TrainingSection:
    """A folder that `gallon teach`, `distill` and `evaluate` have written to.

    Attributes:
        comparison: the HTML of its page, to be shown in a frame where nothing of it runs or leads elsewhere.
    """

    folder: Path
    models: Sequence[TrainedModel]
    comparison: str | None


def training_section(folder: Path) -> TrainingSection:
    """Read what a folder holds; of a comparison only its text, since anybody may have written it.

    Raises:
        UsageError: it holds neither a model nor a comparison, or a model in it is damaged.
    """
    models = [_model(card.parent) for card in sorted(folder.glob("*/card.json"))]
    page = folder / COMPARISON_PAGE
    comparison = _of_our_elements(page.read_text(encoding="utf-8", errors="replace")) if page.is_file() else None
    if not models and comparison is None:
        raise UsageError(f"{folder} holds neither a model nor a comparison: name a folder as 'gallon teach' writes it.")
    return TrainingSection(folder, models, comparison)


def _model(folder: Path) -> TrainedModel:
    from markupsafe import Markup

    card = read_card(folder)
    key = _key(f"{folder.parent.name}-{folder.name}")
    curve = Markup(_curve(card, key)) if len(card.history) > 1 else None
    return TrainedModel(folder.name, card, curve, main_metric(card.targets[0].kind))


def _of_our_elements(page: str) -> str:
    """Turn what is no element of a comparison into text: a sandbox stops what it loads, but no early connections."""
    return FOREIGN.sub("&lt;", page)


def _key(name: str) -> str:
    """Make a word for ids out of the name of a folder, which may hold anything."""
    return "learned-" + "".join(char if char.isalnum() else "-" for char in name)


def _curve(card: ModelCard, key: str) -> str:
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
