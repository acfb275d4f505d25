"""Which columns of a table look like labels, so that no label is shown to the LLM whose texts teachers learn from.

A text that was written with the label in sight gives it away: a language teacher reads it there, on the test part as
well, and every score is worthless. Nobody can prove of a column that it is none, so what looks like one is refused
until the user allows it by name; what is a target of training is refused in any case.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cluster.library.rows import read
from cluster.library.source import Source
from distill.data.cells import read_labels
from distill.data.dataset import Dataset
from distill.data.moleculenet import SETS
from distill.data.splits import Split
from teacher.chemistry.molecule import parse
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.row_columns import EMPTY
from teacher.llm.shots import all_examples
from teacher.wording import counted

ROWS_SEEN = 1_000  # of each file
NUMBERS = 0.5  # share of a column's known cells from which on it holds numbers: there are remarks among measurements
COMPARISONS = str.maketrans("", "", "<>=~\u2264\u2265\u2248")  # before a number beyond a measurement's range
LABEL_WORDS = frozenset(
    {
        *("label", "labels", "target", "targets", "y", "class", "classes", "outcome", "result", "response", "measured"),
        *("measurement", "exp", "expt", "experimental", "activity", "active", "inactive", "inhibition", "potency"),
        *("affinity", "ic50", "ec50", "ac50", "gi50", "ld50", "lc50", "cc50", "mic", "ki", "kd", "pic50", "pec50"),
        *("pki", "pkd", "pchembl", "logs", "logd", "logp", "solubility", "permeability", "toxicity", "toxic", "tox"),
        *("clearance", "bioavailability", "yield", "score", "split", "fold"),
    }
)


@dataclass(slots=True)
class _Seen:
    """What was seen of a column: how many cells hold something, how many of them a number or yes or no, and which."""

    known: int = 0
    numbers: int = 0
    values: set[float] = field(default_factory=set)

    def add(self, cell: str) -> None:
        """Look at one more cell."""
        (label,) = read_labels([cell.translate(COMPARISONS)], commas_are_decimal=True)
        if label is None:
            self.known += 1
        elif not math.isnan(label):
            self.known += 1
            self.numbers += 1
            self.values.add(label)

    @property
    def are_like_labels(self) -> bool:
        """Whether a good part of what is known are numbers, and these differ."""
        return self.numbers >= NUMBERS * self.known and len(self.values) > 1


def refuse_labels(columns: Sequence[str], sources: Sequence[Source], allowed: Iterable[str] = ()) -> None:
    """Refuse columns that look like labels: by their names, or because half of what they hold are numbers that differ.

    Args:
        columns: that a prompt shows.
        sources: the files, with these columns (`cluster.library.cells.with_columns`).
        allowed: columns of which the user says that they are none.

    Raises:
        UsageError: one looks like a label.
        LibraryError: a file cannot be read.
    """
    doubtful = [column for column in columns if column not in frozenset(allowed)]
    for column in doubtful:
        if _is_named_like_a_label(column):
            raise _leak(column, "its name is that of a label")
    if doubtful:
        for column, seen in _seen(doubtful, sources).items():
            if seen.are_like_labels:
                raise _leak(column, "it holds numbers, as labels do")


def refuse_targets(columns: Sequence[str], targets: Iterable[str]) -> None:
    """Refuse annotations whose prompt showed what is to be learned.

    Args:
        columns: that the prompt of the annotations shows.
        targets: the columns with the labels.

    Raises:
        UsageError: a column is both.
    """
    names = {_plain(target) for target in targets}
    if found := next((column for column in columns if _plain(column) in names), None):
        raise UsageError(
            f"The annotations were written with the column '{found}' in sight, which is the target: whoever reads them "
            "reads the labels of the test part, too; choose the annotations of another spec with --spec."
        )


def warn_of_examples(prompt: Prompt | None, dataset: Dataset, splits: Iterable[Split]) -> list[str]:
    """Say which annotations were written with the answers of test molecules in sight.

    Args:
        prompt: of the annotations, if it is known.
        dataset: that is learned from.
        splits: of it.
    """
    examples = {parse(shot.smiles.encode()).key for shot in all_examples(prompt.shots)} if prompt else set()
    tested = {dataset.keys[place] for split in splits for place in split.test} if examples else set()
    if not (leaked := len(examples & tested)):
        return []
    return [
        f"The prompt of the annotations has {counted(leaked, 'example')} out of the test part, whose answers other "
        "molecules' texts were written with: draw examples from the training part."
    ]


def _seen(columns: Sequence[str], sources: Sequence[Source]) -> dict[str, _Seen]:
    """Look at the first rows of each file."""
    seen = {column: _Seen() for column in columns}
    for index, source in enumerate(sources):
        for block in islice(read(source, index, ROWS_SEEN), 1):
            for cells in map(json.loads, block["columns"].to_pylist()):
                for column, known in seen.items():
                    if (cell := cells[column]) != EMPTY:
                        known.add(cell)
    return seen


def _is_named_like_a_label(column: str) -> bool:
    benchmarks = {_plain(target) for known in SETS.values() for target in known.targets}
    return _plain(column) in benchmarks or not LABEL_WORDS.isdisjoint(_plain(column).split())


def _plain(name: str) -> str:
    """Return the words of a name in lower case: "CT_TOX" and "ct tox" are one."""
    return " ".join(re.findall(r"[^\W_]+", name.lower()))


def _leak(column: str, why: str) -> UsageError:
    return UsageError(
        f"The prompt shows the column '{column}', and {why}: a text written with the label in sight gives it away to "
        f"every model that reads it; take it out of the prompt, or say that it is none with --allow-column '{column}'."
    )
