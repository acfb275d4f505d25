"""A comparison as files: all facts as JSON, the table as CSV, the predictions, and one HTML page."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.evaluate.methods import summary_of
from distill.judge import prediction_file
from distill.judge.cliff_errors import errors_on_cliffs
from distill.judge.per_target import scores_by_target
from distill.report.comparison_page import page
from distill.report.html import COMPARISON_PAGE
from distill.report.published import benchmark_name, published
from teacher import strict_json
from teacher.files import check_folder, check_output, replacing, write_text

if TYPE_CHECKING:
    from distill.judge.curve import FewerLabels
    from distill.judge.judged import Judged
    from distill.judge.run import Run
    from distill.judge.summary import Summary, SummaryRow

FILES = ("table.json", "table.csv", prediction_file.FILE, COMPARISON_PAGE)
COLUMNS = ("method", "metric", "mean", "std", "seeds", "valid", "seconds", "fits", "spent", "gain")


def write(
    folder: Path,
    judged: Judged,
    runs: Sequence[Run],
    summary: Summary,
    *,
    made_of: dict[str, Any],
    fewer: Sequence[FewerLabels] = (),
) -> Path:
    """Write `table.json`, `table.csv`, `predictions.parquet` and `comparison.html`; return the path of the page.

    Each comparison with fewer labels has its predictions in a file of its own; those of an earlier call go.

    Args:
        folder: where to; is made where it is missing.
        judged: what methods were judged by; the plots show the test part of the first split.
        runs: of all methods and seeds.
        summary: what `distill.judge.summary.summarize` made of them.
        made_of: as `distill.evaluate.provenance.provenance`.
        fewer: the same comparison with fewer labels, from the least on.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_target, cliffs = scores_by_target(judged, runs), errors_on_cliffs(judged, runs)
    facts = {
        **made_of,
        "reference": summary.reference,
        "intervals_over": summary.sample,
        "threshold": summary.threshold,
        "rows": [_row(row) for row in summary.rows],
        "targets": [asdict(row) for row in by_target],
        "cliffs": [asdict(row) for row in cliffs],
        "published": [asdict(row) for row in published(benchmark_name(made_of["dataset"]), judged.kind)],
        "fewer_labels": [{"labels": each.labels, "rows": [_row(row) for row in each.summary.rows]} for each in fewer],
        "runs": [_run(run) for run in runs],
    }
    write_text(folder / "table.json", strict_json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    _write_csv(folder / "table.csv", summary.rows)
    prediction_file.write(folder / prediction_file.FILE, made_of, judged, runs)
    for each in fewer:
        file = folder / prediction_file.FEWER.format(labels=each.labels)
        prediction_file.write(file, made_of, each.judged, each.runs)
    for labels, file in prediction_file.with_fewer(folder).items():
        if labels not in {each.labels for each in fewer}:
            file.unlink()
    path = folder / COMPARISON_PAGE
    write_text(path, page(made_of, judged, runs, summary, fewer, by_target=by_target, cliffs=cliffs))
    return path


def check_place(folder: Path, inputs: Iterable[str] = ()) -> None:
    """Check that a comparison can be written into a folder, where an earlier one is replaced.

    Raises:
        UsageError: it cannot, or would replace one of the inputs.
    """
    check_folder(folder)
    files = [folder / name for name in FILES] + list(prediction_file.with_fewer(folder).values())
    for file in files if folder.is_dir() else ():
        check_output(file, inputs=inputs, overwrite=True)


def _row(row: SummaryRow) -> dict[str, Any]:
    return {**asdict(row), "differs": row.differs, "summary": summary_of(row.method)}


def _run(run: Run) -> dict[str, Any]:
    return {
        "method": run.method,
        "seed": run.seed,
        "valid": run.valid,
        "test": dict(run.test),
        "chosen": run.chosen,
        "seconds": run.seconds,
        "fits": run.fits,
        "spent": run.spent,
    }


def _write_csv(path: Path, rows: Sequence[SummaryRow]) -> None:
    with replacing(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "gain_low", "gain_high", "differs", "chosen"])
        for row in rows:
            chosen = " ".join(f"{name} x{times}" for name, times in row.chosen.items())
            facts = [getattr(row, column) for column in COLUMNS]
            known = [None if isinstance(fact, float) and math.isnan(fact) else fact for fact in facts]
            writer.writerow([*known, *(row.interval or (None, None)), row.differs, chosen])
