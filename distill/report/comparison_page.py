"""The page of a comparison: who is ahead, the table, how each method predicts, and where the best one errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.moleculenet import DEVELOPED_ON, HELD_OUT
from distill.evaluate.methods import summary_of
from distill.judge.judged import Judged, JudgedSplit
from distill.judge.run import Run
from distill.judge.summary import Summary
from distill.learn.metrics import main_metric, score
from distill.report import forest, plots
from distill.report.html import environment
from distill.report.published import benchmark_name, published
from distill.report.verdict import METRICS, protocol, verdict

if TYPE_CHECKING:
    from markupsafe import Markup
    from numpy.typing import NDArray

    from distill.data.dataset import Target
    from distill.judge.cliff_errors import CliffRow
    from distill.judge.curve import FewerLabels
    from distill.judge.per_target import TargetRow

TEMPLATE = "comparison.html.j2"
WORST = 12  # molecules that are drawn
TARGETS_LISTED = 20  # with their numbers of labels


def page(
    made_of: Mapping[str, Any],
    judged: Judged,
    runs: Sequence[Run],
    summary: Summary,
    fewer: Sequence[FewerLabels] = (),
    *,
    by_target: Sequence[TargetRow],
    cliffs: Sequence[CliffRow],
) -> str:
    """Return the report of a comparison as HTML that needs no other file and no network.

    Args:
        made_of: as `distill.evaluate.provenance.provenance`.
        judged: what methods were judged by; the plots show the test part of the first split.
        runs: of all methods and seeds.
        summary: the table.
        fewer: the same comparison with fewer labels, from the least on.
        by_target: how good methods are of each target by itself.
        cliffs: how wrong they are on activity cliffs.
    """
    from markupsafe import Markup

    name = benchmark_name(made_of["dataset"])
    view = View.of(judged, runs, [row.method for row in summary.rows])
    shown = summary.reference or summary.best.method
    drawn = forest.forest(summary)
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            **made_of,
            kind=judged.kind,
            rows=summary.rows,
            best=summary.best.method,
            summaries={row.method: summary_of(row.method) for row in summary.rows},
            metric=METRICS[main_metric(judged.kind)],
            seeds=[each.seed for each in judged.splits],
            reference=summary.reference,
            threshold=summary.threshold,
            verdict=verdict(summary),
            protocol=protocol(summary, judged),
            forest=Markup(drawn) if drawn else None,
            left_out=int(max((run.test["left_out"] for run in runs), default=0)),
            listed=TARGETS_LISTED,
            developed_on=name in DEVELOPED_ON,
            held_out=name in HELD_OUT,
            published=published(name, judged.kind),
            fewer=fewer,
            by_labels=Markup(plots.by_labels(judged, summary, fewer)) if fewer else None,
            targets=judged.targets,
            by_target=by_target,
            cliffs=cliffs,
            cliff_labels=_cliff_labels(judged),
            view=view,
            plots=_plots(view) if view else [],
            shown=shown,
            closer=_closer(view, shown) if view else [],
            misses=_misses(view, judged, shown) if view else [],
        )
    )


@dataclass(frozen=True)
class Plot:
    """A picture of the test part under the first split, what it shows, and in a few words how good that is."""

    title: str
    summary: str
    svg: Markup
    told: str


@dataclass(frozen=True)
class Miss:
    """A molecule that a method is wrong about."""

    smiles: str
    svg: Markup
    truth: float
    prediction: float


@dataclass(frozen=True)
class View:
    """What is looked at more closely: the test molecules of the first split that have a label of one target.

    Attributes:
        target: the first one that the test part can judge.
        column: its number.
        rows: int64, the molecules.
        truth: float32, their labels.
        similarity: float32, of each to the nearest training molecule.
        runs: those under the first split's seed, the best method first.
    """

    target: Target
    column: int
    rows: NDArray[np.int64]
    truth: NDArray[np.float32]
    similarity: NDArray[np.float32]
    runs: Sequence[Run]

    @classmethod
    def of(cls, judged: Judged, runs: Sequence[Run], methods: Sequence[str]) -> View | None:
        """Return the view, or None where the test part can judge no target."""
        first: JudgedSplit = judged.splits[0]
        for column, target in enumerate(judged.targets):
            labels = judged.labels[first.test, column]
            known = ~np.isnan(labels)
            if len(np.unique(labels[known])) > 1:
                of_case = {run.method: run for run in runs if run.seed == first.seed}
                in_order = [of_case[method] for method in methods]
                return cls(target, column, first.test[known], labels[known], first.similarity[known], in_order)
        return None

    def prediction(self, run: Run) -> NDArray[np.float64]:
        """Return what a run says of the molecules: probabilities of class 1, or numbers in the labels' unit."""
        said: NDArray[np.float64] = run.prediction[self.rows, self.column]
        return said

    def of_method(self, method: str) -> NDArray[np.float64]:
        """Return what a method says of the molecules."""
        return self.prediction(next(run for run in self.runs if run.method == method))


def _cliff_labels(judged: Judged) -> int:
    """Return how many labels of the validation and test parts form a cliff."""
    if judged.cliffs is None:
        return 0
    rows = np.unique(np.concatenate([part for split in judged.splits for part in (split.valid, split.test)]))
    return int(judged.cliffs[rows].sum())


def _plots(view: View) -> list[Plot]:
    """Plot how each method predicts."""
    from markupsafe import Markup

    predictions = [view.prediction(run) for run in view.runs]
    limits = plots.limits_of(view.truth, predictions)
    found = []
    for number, (run, prediction) in enumerate(zip(view.runs, predictions, strict=True)):
        key = f"plot{number}"
        scores = score(view.target.kind, view.truth[:, None], prediction[:, None])
        if view.target.kind == "classification":
            svg, told = plots.roc(view.truth, prediction, key), f"ROC-AUC {scores['roc_auc']:.3f}"
        else:
            svg = plots.parity(view.truth, prediction, limits, key)
            told = f"RMSE {scores['rmse']:.3f}, R² {scores['r2']:.2f}"
        found.append(Plot(run.method, summary_of(run.method), Markup(svg), told))
    return found


def _closer(view: View, method: str) -> list[Plot]:
    """Plot more about one method."""
    from markupsafe import Markup

    prediction = view.of_method(method)
    if view.target.kind == "classification":
        error = (prediction - view.truth) ** 2
        pictures = {
            "Precision and recall": plots.precision_recall(view.truth, prediction, "recall"),
            "Calibration: share of class 1 by what was predicted": plots.calibration(
                view.truth, prediction, "calibration"
            ),
            "Squared error (Brier) by similarity to the nearest training molecule": plots.error_by_similarity(
                view.similarity, error, "mean squared error", "similarity"
            ),
        }
    else:
        error = np.abs(prediction - view.truth)
        pictures = {
            "Absolute error by similarity to the nearest training molecule": plots.error_by_similarity(
                view.similarity, error, "mean absolute error", "similarity"
            )
        }
    return [Plot(title, "", Markup(svg), "") for title, svg in pictures.items()]


def _misses(view: View, judged: Judged, method: str) -> list[Miss]:
    """Return the molecules with the largest errors of a method, the largest first."""
    from markupsafe import Markup

    prediction = view.of_method(method)
    worst = np.argsort(-np.abs(prediction - view.truth), kind="stable")[:WORST]
    return [
        Miss(
            smiles=judged.smiles[view.rows[place]],
            svg=Markup(plots.structure(judged.smiles[view.rows[place]])),
            truth=float(view.truth[place]),
            prediction=float(prediction[place]),
        )
        for place in worst
    ]
