"""The page of a comparison: the table, how each method predicts, and which molecules it is most wrong about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.evaluate.comparison import Run, SeededSplit
from distill.evaluate.methods import METHODS, REFERENCE
from distill.evaluate.summary import CONFIDENCE, SummaryRow
from distill.learn.metrics import better, main_metric, score
from distill.report import plots
from distill.report.html import environment

if TYPE_CHECKING:
    from markupsafe import Markup
    from numpy.typing import NDArray

    from distill.data.cells import Kind
    from distill.data.dataset import Dataset, Target

TEMPLATE = "comparison.html.j2"
WORST = 12  # molecules that are drawn
TARGETS_LISTED = 20  # with their numbers of labels
METRICS = {"roc_auc": "ROC-AUC", "rmse": "RMSE"}


def page(
    made_of: Mapping[str, Any],
    dataset: Dataset,
    cases: Sequence[SeededSplit],
    runs: Sequence[Run],
    rows: Sequence[SummaryRow],
) -> str:
    """Return the report of a comparison as HTML that needs no other file and no network.

    Args:
        made_of: as `distill.evaluate.provenance.provenance`.
        dataset: what was learnt.
        cases: seeds and splits; the plots show the test part of the first.
        runs: of all methods and seeds.
        rows: of the table.
    """
    reference, view = _reference(rows, dataset.kind), View.of(dataset, cases[0], runs)
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            **made_of,
            kind=dataset.kind,
            rows=rows,
            summaries={row.method: METHODS[row.method].summary for row in rows},
            metric=METRICS[main_metric(dataset.kind)],
            confidence=f"{CONFIDENCE:.0%}",
            seeds=[case.seed for case in cases],
            reference=reference,
            compared=any(row.difference is not None for row in rows),
            left_out=int(max((run.test["left_out"] for run in runs), default=0)),
            listed=TARGETS_LISTED,
            view=view,
            plots=_plots(view) if view else [],
            misses=_misses(view, dataset, reference) if view else [],
        )
    )


@dataclass(frozen=True)
class Plot:
    """How one method predicts the test part of the first case."""

    method: str
    summary: str
    svg: Markup
    score: float


@dataclass(frozen=True)
class Miss:
    """A molecule that a method is wrong about."""

    smiles: str
    svg: Markup
    truth: float
    prediction: float


@dataclass(frozen=True)
class View:
    """What is looked at more closely: the test molecules of the first case that have a label of one target.

    Attributes:
        target: the first one that the test part can judge.
        column: its number.
        rows: int64, the molecules.
        truth: float32, their labels.
        runs: those of the first case.
    """

    target: Target
    column: int
    rows: NDArray[np.int64]
    truth: NDArray[np.float32]
    runs: Sequence[Run]

    @classmethod
    def of(cls, dataset: Dataset, case: SeededSplit, runs: Sequence[Run]) -> View | None:
        """Return the view, or None where the test part can judge no target."""
        for column, target in enumerate(dataset.targets):
            labels = dataset.labels[case.split.test, column]
            known = ~np.isnan(labels)
            if len(np.unique(labels[known])) > 1:
                of_case = [run for run in runs if run.seed == case.seed]
                return cls(target, column, case.split.test[known], labels[known], of_case)
        return None

    def prediction(self, run: Run) -> NDArray[np.float32]:
        """Return what a run says of the molecules: probabilities of classes, or numbers in the labels' unit."""
        from scipy.special import expit

        said = run.prediction[self.rows, self.column]
        logits = self.target.kind == "classification" and METHODS[run.method].kind != "baseline"
        probabilities: NDArray[np.float32] = expit(said) if logits else said
        return probabilities


def _reference(rows: Sequence[SummaryRow], kind: Kind) -> str:
    """Return the method that the others are compared with, or without it the one that validates best."""
    if any(row.method == REFERENCE for row in rows):
        return REFERENCE
    return reduce(lambda best, row: row if better(kind, row.valid, best.valid) else best, rows).method


def _plots(view: View) -> list[Plot]:
    from markupsafe import Markup

    predictions = [view.prediction(run) for run in view.runs]
    limits = plots.limits_of(view.truth, predictions)
    found = []
    for number, (run, prediction) in enumerate(zip(view.runs, predictions, strict=True)):
        key = f"plot{number}"
        if view.target.kind == "classification":
            svg = plots.roc(view.truth, prediction, key)
        else:
            svg = plots.parity(view.truth, prediction, limits, key)
        value = score(view.target.kind, view.truth[:, None], prediction[:, None])[main_metric(view.target.kind)]
        found.append(Plot(run.method, METHODS[run.method].summary, Markup(svg), value))
    return found


def _misses(view: View, dataset: Dataset, reference: str) -> list[Miss]:
    """Return the molecules with the largest errors of a method, the largest first."""
    from markupsafe import Markup

    run = next(run for run in view.runs if run.method == reference)
    prediction = view.prediction(run)
    worst = np.argsort(-np.abs(prediction - view.truth), kind="stable")[:WORST]
    return [
        Miss(
            smiles=dataset.smiles[view.rows[place]],
            svg=Markup(plots.structure(dataset.smiles[view.rows[place]])),
            truth=float(view.truth[place]),
            prediction=float(prediction[place]),
        )
        for place in worst
    ]
