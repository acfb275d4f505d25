"""Which rows of a library are worth the full student's time, as an n-gram student sees them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.library.errors import LibraryError
from cluster.library.rows import count, read_all
from cluster.library.sample import sample_rows
from cluster.library.source import Source
from cluster.library.whole_rows import DAMAGE
from distill.models.card import ModelCard
from distill.models.model_store import NGRAMS
from distill.screen.ngram_student import NGramStudent, recall
from distill.screen.scorer import READ
from distill.screen.selection import Selection
from distill.screen.workers import Workers
from teacher.errors import UsageError
from teacher.files import OutputError
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LEARNT_FROM = 30_000  # rows of the library, drawn at random
LEAST = 1_000  # molecules among them
SEED = 0
FAR = 1e-6  # probabilities are no nearer to 0 and 1 when they become logits


@dataclass(frozen=True, slots=True)
class FullStudent:
    """The model that has the last word: its folder, or the file that it was packed into, its card and its digest."""

    place: Path
    card: ModelCard
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Prefiltered:
    """What a prefilter keeps.

    Attributes:
        keeps: of each row of the library, whether the full student scores it.
        recall: of the full student's top 1 %, for this share of rows, as held-out molecules tell.
    """

    keeps: NDArray[np.bool_]
    recall: float

    def passing(self, blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Yield the rows that are kept of the library's blocks, which come from its first row on."""
        first = 0
        for block in blocks:
            yield block.filter(self.keeps[first : first + block.num_rows])
            first += block.num_rows


def prefiltered(
    sources: Sequence[Source], limit: int | None, model: FullStudent, selection: Selection, place: int
) -> Prefiltered:
    """Choose the rows of a library that the full student scores.

    The n-gram student lies in the model's folder. Where there is none, or one of another model or library, it is
    distilled from what the full student says of a random part of the library.

    Args:
        sources: the files of the library.
        limit: how many rows are read.
        model: the full student.
        selection: how many rows its prefilter keeps, and whether low values are the best.
        place: of the target that ranks them.

    Raises:
        UsageError: rows are mol blocks, or too few rows hold a molecule to learn from.
        LibraryError: a file cannot be read.
    """
    if other := next((source for source in sources if source.format == "sdf"), None):
        raise UsageError(f"{other.shown} holds mol blocks: a prefilter reads SMILES. Leave out --prefilter.")
    assert selection.prefilter is not None
    rows = count(sources, limit)
    facts = {"model": model.digest, "library": [source.shown for source in sources], "rows": limit}
    student = NGramStudent.load(model.place / NGRAMS, facts) if model.place.is_dir() else None
    student = student or _learnt(sources, limit, rows, model, facts)
    keep, sign = selection.prefilter, 1 if selection.lowest else -1
    kept = min(rows, math.ceil(keep * rows) if keep < 1 else int(keep))
    scores = np.empty(rows, dtype=np.float32)
    first = 0
    for block in read_all(sources, limit):
        scores[first : first + block.num_rows] = sign * student.score(block["raw"].to_pylist())[:, place]
        first += block.num_rows
    if first != rows:
        raise LibraryError(f"{sources[0].shown} has other rows than a moment ago: let nobody write to it meanwhile")
    found_at = student.card["found_at"][place]["lowest" if selection.lowest else "highest"]
    return Prefiltered(_lowest(scores, kept), recall(found_at, kept / rows))


def _lowest(scores: NDArray[np.float32], number: int) -> NDArray[np.bool_]:
    """Return which scores are the lowest, so many of them: of equal ones, as the same SMILES has, the first."""
    last = np.partition(scores, number - 1)[number - 1]
    chosen: NDArray[np.bool_] = scores < last
    chosen[np.flatnonzero(scores == last)[: number - int(chosen.sum())]] = True
    return chosen


def _learnt(
    sources: Sequence[Source], limit: int | None, rows: int, model: FullStudent, facts: Mapping[str, Any]
) -> NGramStudent:
    """Distill an n-gram student, and leave it in the model's folder if there is one that can be written."""
    import pyarrow as pa

    sample = sample_rows(sources, limit, rows, LEARNT_FROM, SEED).combine_chunks()
    sample = sample.append_column(DAMAGE, pa.nulls(len(sample), pa.string())).select(READ)
    blocks = (sample.slice(first, 1_000) for first in range(0, len(sample), 1_000))
    with Workers(str(model.place), doubt=False) as workers:
        said = pa.concat_tables(scored for _, scored in workers.score(blocks))
    names = said.column_names[1 : 1 + len(model.card.targets)]
    values = np.stack([said[name].to_numpy(zero_copy_only=False) for name in names], axis=1).astype(np.float32)
    raw = np.array(sample["raw"].to_pylist(), dtype=object)
    _, distinct = np.unique(raw, return_index=True)  # the first of each
    known = ~np.isnan(values.sum(axis=1)) & np.isin(np.arange(len(raw)), distinct)
    if known.sum() < LEAST:
        raise UsageError(
            f"{counted(int(known.sum()), 'molecule')} cannot teach a prefilter: it takes {LEAST:,} at least. Leave out "
            "--prefilter."
        )
    student = NGramStudent.distilled(raw[known].tolist(), _logits(values[known], model.card), facts)
    if model.place.is_dir():
        with suppress(OutputError):  # of a folder that is only read, it serves this time
            student.save(model.place / NGRAMS)
    return student


def _logits(values: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Return values of numbers, and logits of classes."""
    near = np.clip(values, FAR, 1 - FAR)
    classes = np.array([target.kind == "classification" for target in card.targets])
    return np.where(classes, np.log(near / (1 - near)), values).astype(np.float32)
