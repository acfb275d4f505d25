"""What a comparison says in words: who is ahead, whether that is sure, and what its intervals are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.judge.significance import CONFIDENCE
from distill.judge.summary import LEAST_SCAFFOLDS
from distill.learn.metrics import main_metric
from teacher.wording import counted

if TYPE_CHECKING:
    from distill.judge.judged import Judged
    from distill.judge.summary import Summary

METRICS = {"roc_auc": "ROC-AUC", "rmse": "RMSE"}
SUPERLATIVES = {"roc_auc": "highest", "rmse": "lowest"}
NAMED = 3  # methods that are named in a sentence; more are counted


def verdict(summary: Summary) -> str:
    """Return a sentence or two on who is ahead and whether that is sure."""
    best = summary.best
    if math.isnan(best.mean):
        return "The test part can judge no method."
    others = sum(not math.isnan(row.mean) for row in summary.rows) - 1
    ahead = f"{best.method} has the {SUPERLATIVES[best.metric]} {METRICS[best.metric]}, {best.mean:.3f}"
    if not others:
        return f"{ahead}; it is the only method."
    if summary.sample is None:
        return f"{ahead}; nothing tells how sure that is{_too_few(summary)}."
    behind = others - len(summary.not_behind)
    if not summary.not_behind:
        sure = f"significantly better than {'the other' if others == 1 else f'all {others} others'}"
    elif not behind:
        sure = f"not significantly better than {'the other' if others == 1 else f'any of the {others} others'}"
    else:
        sure = f"significantly better than {behind} of the {others} others, not than {_list(summary.not_behind)}"
    return f"{ahead}; it is {sure}.{_of_reference(summary)}"


def protocol(summary: Summary, judged: Judged) -> str:
    """Return what the marks and intervals of a table mean."""
    seeds = len(judged.splits)
    if summary.sample == "splits":
        splits = counted(len({each.test_key for each in judged.splits}), "split")
        how = (
            f"the t-test of Nadeau and Bengio over the {splits}, which share molecules to learn from, corrected after "
            "Bonferroni"
        )
    elif summary.sample == "molecules":
        molecules = counted(len(judged.splits[0].test), "test molecule")
        how = f"a bootstrap over the {molecules}, scaffold by scaffold{', and over the seeds' if seeds > 1 else ''}"
    else:
        return f"Nothing tells how sure the differences are{_too_few(summary)}."
    alone = " One seed does not tell how far chance in the training moves a method." if seeds == 1 else ""
    return (
        f"Intervals are of {CONFIDENCE:.0%}, for all pairs of methods at once: {how}.{alone} A difference below "
        f"{summary.threshold:.3f} in {METRICS[main_metric(judged.kind)]} is too small to matter, however sure it is."
    )


def _too_few(summary: Summary) -> str:
    if summary.too_few is None:
        return ""
    return f": the test part has {counted(summary.too_few, 'scaffold')}, and fewer than {LEAST_SCAFFOLDS} are too few"


def _of_reference(summary: Summary) -> str:
    if summary.reference is None or summary.reference == summary.best.method:
        return ""
    better = [row.method for row in summary.rows if row.differs == "better"]
    worse = sum(row.differs == "worse" for row in summary.rows)
    told = f"significantly worse than {_list(better)}" if better else "not significantly worse than any"
    return f" {summary.reference} is {told}, and significantly better than {worse or 'none'} of them."


def _list(names: Sequence[str]) -> str:
    """Write names as a list, or some of them and how many more there are."""
    if len(names) > NAMED + 1:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
