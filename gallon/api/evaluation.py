"""Compare baselines, teachers and students on one dataset."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.evaluate import comparison, tuning
from distill.evaluate.methods import AS_RELEASED, REFERENCE, defaults, method
from distill.evaluate.provenance import provenance
from distill.evaluate.summary import SummaryRow, summarize
from distill.report.comparison import check_place
from distill.report.comparison import write as write_report
from gallon.api.data import training_session
from gallon.api.learning import fits_of
from gallon.api.library import StrPath, listed, store_named
from gallon.config import DataConfig, TrainConfig, TransferConfig
from gallon.progress import ProgressCallback, phase

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of methods on one dataset.

    Attributes:
        rows: one for each method.
        facts: the data, the splits, the software and the machine, fit for JSON (`distill.evaluate.provenance`).
        page: the HTML page.
    """

    rows: Sequence[SummaryRow]
    facts: dict[str, Any]
    page: Path

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame([{**asdict(row), "differs": row.differs} for row in self.rows])


def evaluate(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    transfer: TransferConfig,
    methods: str | Sequence[str] | None = None,
    seeds: int = 5,
    trials: int = 0,
    folds: int = 5,
    spec_id: str | None = None,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Compare methods over seeds; the same call again goes on where it was stopped.

    All choices are made on the validation part. `table.json`, `table.csv` and `comparison.html` are written into the
    folder of the results.

    Args:
        data: a table with labels, or a name of MoleculeNet.
        labels: the columns, and the split.
        training: how networks are trained, and where results go.
        transfer: a library without labels, for the students that learn from one.
        methods: names of rows; by default all that are cheap.
        seeds: how many, from the configuration's seed on.
        trials: Optuna trials of every method; 0: its stated defaults.
        folds: that training molecules are predicted out of; 0: none.
        spec_id: the spec of the annotations, or the beginning of its id.
        store: that has the annotations.
        progress: called as fits go on.

    Raises:
        UsageError: data or settings are wrong.
        TrainingError: a fit failed.
    """
    chosen = [method(name) for name in listed(methods or ())]
    reads_texts = not chosen or any(known.needs_texts for known in chosen)
    with training_session(
        data,
        labels,
        training,
        functools.partial(check_place, inputs=[str(data), *(transfer.transfer or ())]),
        store=store_named(store) if reads_texts else None,
        spec_id=spec_id,
        transfer=transfer,
        seeds=seeds,
        progress=progress,
    ) as session:
        model_inputs = session.model_inputs
        names = [known.name for known in chosen] or defaults(
            with_texts=model_inputs.annotations is not None, with_transfer_set=model_inputs.transfer is not None
        )
        cases = [
            comparison.SeededSplit(seed=seed, split=split)
            for seed, split in enumerate(session.splits, start=labels.seed)
        ]
        settings = comparison.Settings(
            methods=names,
            folds=folds,
            folder=session.folder,
            resources=session.resources,
            recipes={name: known for name, known in session.recipes.items() if name != AS_RELEASED},
        )
        with phase(progress, "fits", "fits") as running:
            if trials:
                settings = tuning.tuned(model_inputs, cases[0], settings, trials, fits_of(running))
            runs = comparison.compare(model_inputs, cases, settings, fits_of(running))
    rows = summarize(runs, model_inputs.dataset.kind, REFERENCE)
    made_of = provenance(model_inputs, cases, trials, balance=training.balance)
    page = write_report(session.folder, model_inputs.dataset, cases, runs, rows, made_of=made_of)
    return Comparison(rows=rows, facts=made_of, page=page)
