"""The predictions of a comparison in one file, out of which all its tables and pictures can be made again.

Anyone can check a table by it: one row for each molecule with a label, in the validation or test part, by method and
seed. What else a report says (data, splits, software, machine) is in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import Target
from distill.judge.judged import Judged, JudgedSplit
from distill.judge.run import Run, scored
from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

FILE = "predictions.parquet"
FEWER = "predictions-{labels}-labels.parquet"  # of a comparison with fewer labels
FORMAT = "gallon predictions 1"
METADATA = b"gallon"
PARTS = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A comparison, read from its file.

    Attributes:
        made_of: as `distill.evaluate.provenance.provenance`.
        judged: the molecules, labels and splits.
        runs: of all methods and seeds.
    """

    made_of: dict[str, Any]
    judged: Judged
    runs: Sequence[Run]


def with_fewer(folder: Path) -> dict[int, Path]:
    """Return the files of comparisons with fewer labels that a folder has, by the number of labels, ascending."""
    before, after = FEWER.split("{labels}")
    found = {file.name.removeprefix(before).removesuffix(after): file for file in folder.glob(f"{before}*{after}")}
    return {int(labels): found[labels] for labels in sorted(filter(str.isdigit, found), key=int)}


def write(path: Path, made_of: Mapping[str, Any], judged: Judged, runs: Sequence[Run]) -> None:
    """Write the predictions of a comparison.

    Columns: `method`, `seed`, `split` (its sha256), `part` (valid or test), `row` (of the molecule among the distinct
    ones of the dataset), `molecule` (SMILES), `similarity` (of a test molecule to the nearest training molecule),
    `target`, `measured` (classes are 0 and 1), `predicted` (a probability, or a number in the unit of the labels),
    `cliff` (whether the label forms an activity cliff with another molecule's; empty for classes).

    Raises:
        OutputError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = {
        "format": FORMAT,
        "made_of": made_of,
        "targets": [{"name": target.name, "kind": target.kind} for target in judged.targets],
        "splits": [{"seed": each.seed, "sha256": each.sha256, "learned": each.learned} for each in judged.splits],
        "runs": [
            {name: getattr(run, name) for name in ("method", "seed", "chosen", "seconds", "fits", "spent")}
            for run in runs
        ],
    }
    schema = _schema({METADATA: strict_json.dumps(facts).encode()})
    with replacing(path) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for _, of_method in groupby(runs, key=lambda run: run.method):  # a row group each, which lists molecules once
            tables = [
                _table(schema, judged, judged.by_seed[run.seed], run, part) for run in of_method for part in PARTS
            ]
            writer.write_table(pa.concat_tables(tables).unify_dictionaries())


def read(path: Path) -> Predictions:
    """Read the predictions of a comparison.

    Raises:
        UsageError: there is no such file, or it is not one that this version of gallon wrote.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UsageError(f"There are no predictions in {path.parent}: run 'gallon evaluate' without --recompute first.")
    try:
        table = pq.read_table(path)
        facts = json.loads((table.schema.metadata or {})[METADATA])
        if facts["format"] != FORMAT:
            raise UsageError(f"{path} is of another version of gallon: run 'gallon evaluate' without --recompute.")
        return _predictions(facts, table.to_pandas())
    except (OSError, KeyError, TypeError, ValueError, IndexError, pa.ArrowException) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise UsageError(
            f"{path} does not hold predictions of 'gallon evaluate' ({reason}): run it without --recompute."
        ) from None


def _schema(metadata: Mapping[bytes, bytes]) -> pa.Schema:
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            *(("method", word), ("seed", pa.int64()), ("split", word), ("part", word)),
            *(("row", pa.int64()), ("molecule", word), ("similarity", pa.float32())),
            *(("target", word), ("measured", pa.float32()), ("predicted", pa.float64())),
            ("cliff", pa.bool_()),
        ],
        metadata=metadata,
    )


def _table(schema: pa.Schema, judged: Judged, split: JudgedSplit, run: Run, part: str) -> pa.Table:
    """Return what a run says of one part, target by target."""
    import pyarrow as pa

    rows: NDArray[np.int64] = getattr(split, part)
    place, column = np.nonzero(~np.isnan(judged.labels[rows]))
    of_label = rows[place]
    alike = split.similarity[place].tolist() if part == "test" else [None] * len(place)
    constant = {"method": run.method, "seed": run.seed, "split": split.sha256, "part": part}
    columns = {
        **{name: [value] * len(place) for name, value in constant.items()},
        "row": of_label,
        "molecule": [judged.smiles[row] for row in of_label],
        "similarity": alike,
        "target": [judged.targets[number].name for number in column],
        "measured": judged.labels[of_label, column],
        "predicted": run.prediction[of_label, column],
        "cliff": [None] * len(place) if judged.cliffs is None else judged.cliffs[of_label, column],
    }
    return pa.table(columns, schema=schema)


def _predictions(facts: Mapping[str, Any], table: pd.DataFrame) -> Predictions:
    targets = [Target(str(each["name"]), each["kind"]) for each in facts["targets"]]
    known = table.drop_duplicates("row").sort_values("row")
    place = dict(zip(known["row"], range(len(known)), strict=True))
    column = {target.name: number for number, target in enumerate(targets)}
    table = table.assign(row=table["row"].map(place), target=table["target"].astype(str).map(column).astype(int))
    labels = np.full((len(known), len(targets)), np.nan, dtype=np.float32)
    labels[table["row"], table["target"]] = table["measured"]
    cliffs = None
    if "cliff" in table and table["cliff"].notna().all():
        cliffs = np.zeros(labels.shape, dtype=bool)
        cliffs[table["row"], table["target"]] = table["cliff"].astype(bool)
    by_run = dict(iter(table.groupby(["method", "seed"], observed=True, sort=False)))
    first = next(iter(facts["runs"]))["method"]
    judged = Judged(
        name=str(facts["made_of"]["dataset"]["name"]),
        smiles=known["molecule"].astype(str).tolist(),
        labels=labels,
        targets=targets,
        splits=[_split(each, by_run[first, each["seed"]]) for each in facts["splits"]],
        cliffs=cliffs,
    )
    runs = []
    for each in facts["runs"]:
        of_run = by_run[each["method"], each["seed"]]
        prediction = np.full(labels.shape, np.nan)
        prediction[of_run["row"], of_run["target"]] = of_run["predicted"]
        runs.append(scored(judged, judged.by_seed[each["seed"]], prediction, **each))
    return Predictions(made_of=dict(facts["made_of"]), judged=judged, runs=runs)


def _split(facts: Mapping[str, Any], table: pd.DataFrame) -> JudgedSplit:
    valid, test = (table[table["part"] == part].drop_duplicates("row").sort_values("row") for part in PARTS)
    return JudgedSplit(
        seed=int(facts["seed"]),
        sha256=str(facts["sha256"]),
        learned=int(facts["learned"]),
        valid=valid["row"].to_numpy(np.int64),
        test=test["row"].to_numpy(np.int64),
        similarity=test["similarity"].to_numpy(np.float32),
    )
