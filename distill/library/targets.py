"""What a network learns of a library's molecules when it is pre-trained: descriptors, fields, embeddings, alignment.

All are numbers, standardised by samples of the library and clipped: what is written by one of the annotated molecules,
which may be few of the library's. None of them is a label: descriptors are computed
from the structure, as CheMeleon's are (arXiv 2506.15792), and annotations are what an LLM wrote of it. Their embeddings
serve twice: whitened as numbers to predict, and as they are for the alignment (`teacher.nn.alignment`).
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from distill.features.vectors import CLIP, descriptor_names
from distill.learn.objective import Whitening
from distill.library.beside.embeddings import ShardTexts, TextSet, read_texts
from distill.library.beside.scores import annotated
from distill.library.fields import FieldColumn, field_columns, field_values
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.shard import facts_of, read_columns
from teacher.errors import UsageError
from teacher.nn.alignment import IDENTITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Group = Literal["descriptors", "fields", "embedding", "alignment"]
GROUPS: tuple[Group, ...] = get_args(Group)
SAMPLE = 20_000  # molecules that decide the scale of descriptors, and annotated ones that decide that of the rest
LEAST_KNOWN = 0.5  # share of the sample's molecules that a descriptor must be known of
TARGETS = "labels"  # the name that training gives to what is learned


@dataclass(frozen=True, slots=True, eq=False)
class PretrainingTargets:
    """The targets of pre-training; T columns, those of a group beside each other, the texts to align with last.

    Attributes:
        weights: of each group that is learned, in the order of its columns.
        descriptors: int64, those columns of the shards' descriptors that are learned.
        names: of these descriptors.
        fields: what is learned of annotations' fields.
        whitening: of their embeddings; None where they are not learned.
        aligned: numbers of an embedding to align with; 0 where there is no alignment.
        texts: where annotations lie; None where none are learned.
        means, deviations: float32, (T,), over the samples.
    """

    weights: Mapping[Group, float]
    descriptors: NDArray[np.int64]
    names: Sequence[str]
    fields: Sequence[FieldColumn]
    whitening: Whitening | None
    aligned: int
    texts: TextSet | None
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        library: PreparedLibrary,
        molecules: Selection,
        weights: Mapping[Group, float],
        texts: TextSet | None,
        *,
        seed: int = 0,
    ) -> PretrainingTargets:
        """Find out what can be learned, and its scale.

        Args:
            library: the prepared library.
            molecules: those that are learned of.
            weights: of the groups; those of weight 0 are left out, and where no annotations are, theirs.
            texts: the annotations.
            seed: of the samples.

        Raises:
            UsageError: there is nothing to learn.
            GallonError: a shard, or what lies beside it, is damaged.
        """
        wanted = {name: weight for name, weight in weights.items() if weight > 0 and (texts or name == "descriptors")}
        texts = texts if wanted.keys() - {"descriptors"} else None
        described = _described(library, _sample(molecules, seed))
        said = _said(library, _sample(annotated(library, molecules, texts), seed), texts) if texts else []
        kept = _useful(described) if "descriptors" in wanted else np.zeros(0, dtype=np.int64)
        columns = field_columns([text for each in said for text in each.texts]) if "fields" in wanted else ()
        whitening = None
        if "embedding" in wanted and said:
            vectors = np.concatenate([each.vectors for each in said]).astype(np.float32)
            whitening = Whitening.fit(vectors, np.arange(len(vectors)))
        aligned = said[0].vectors.shape[1] if "alignment" in wanted and said else 0
        names = descriptor_names(library.manifest.plan.descriptors)
        one = np.ones(0, dtype=np.float32)
        found = cls({}, kept, [names[place] for place in kept], columns, whitening, aligned, texts, one, one)
        weights = {name: weight for name, weight in wanted.items() if found.widths_of_groups[name]}
        if not weights:
            raise UsageError(
                f"The library in {library.folder} has nothing to learn with these weights: prepare it with "
                "descriptors, or embed its annotations by 'gallon embed'."
            )
        _warn_of_missing(wanted.keys() - weights.keys() - {"descriptors"}, sum(len(each.rows) for each in said))
        return replace(found, weights=weights)._scaled(described, said)

    def _scaled(self, described: NDArray[np.float32], said: Sequence[ShardTexts]) -> PretrainingTargets:
        """Return these targets with means and deviations: of descriptors over these, of others over annotations."""
        unknown = np.full((1, described.shape[1]), np.nan, dtype=np.float32)
        of_texts = [
            self.raw(
                np.repeat(unknown, len(each.rows), axis=0),
                replace(each, rows=np.arange(len(each.rows))),
                len(each.rows),
            )
            for each in said
        ]
        values = np.concatenate([self.raw(described, None, len(described)), *of_texts])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column of which the samples know nothing
            means, deviations = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        return replace(self, means=np.nan_to_num(means), deviations=np.where(deviations > 0, deviations, 1.0))

    @property
    def widths_of_groups(self) -> dict[Group, int]:
        """How many columns each group has."""
        embedding = len(self.whitening.directions) if self.whitening else 0
        return {
            "descriptors": len(self.descriptors),
            "fields": len(self.fields),
            "embedding": embedding,
            "alignment": self.aligned,
        }

    @property
    def groups(self) -> tuple[tuple[Group, int, float], ...]:
        """Name, number of columns and weight of each group that is predicted, in the order of the columns."""
        return tuple(each for each in self._all_groups if each[0] != "alignment")

    @property
    def _all_groups(self) -> tuple[tuple[Group, int, float], ...]:
        return tuple((name, self.widths_of_groups[name], weight) for name, weight in self.weights.items())

    @property
    def numbers(self) -> int:
        """How many columns are predicted, those of all groups."""
        return sum(width for _, width, _ in self.groups)

    @property
    def alignment(self) -> tuple[int, float] | None:
        """Numbers of an embedding to align with, and the weight; None where there is no alignment."""
        return (self.aligned, self.weights["alignment"]) if self.aligned else None

    @property
    def widths(self) -> dict[str, int]:
        """Columns of the targets, by the name that training gives them."""
        return {TARGETS: len(self.means) + (IDENTITY if self.aligned else 0)}

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the targets beside the library, fit for JSON."""
        return {
            "groups": [list(group) for group in self._all_groups],
            "descriptors": list(self.names),
            "fields": [[column.field, column.value] for column in self.fields],
            "texts": self.texts and self.texts.named,
            "means": self.means.tolist(),
            "deviations": self.deviations.tolist(),
        }

    def columns(self, library: PreparedLibrary, number: int, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return the targets of rows of a shard, standardised and clipped, by name: float32, (rows, T), NaN if unknown.

        Where texts are aligned, the last columns say which text is meant, the same for the same annotation.

        Raises:
            GallonError: the shard is missing or damaged.
        """
        described, said = _read(library, number, rows, self.texts)
        scaled = np.clip((self.raw(described, said, len(rows)) - self.means) / self.deviations, -CLIP, CLIP)
        if self.aligned:
            identity = np.full((len(rows), IDENTITY), np.nan, dtype=np.float32)
            if said:
                identity[said.rows] = _identity(said.texts)
            scaled = np.concatenate([scaled, identity], axis=1)
        return {TARGETS: scaled}

    def raw(self, described: NDArray[np.float32], said: ShardTexts | None, number: int) -> NDArray[np.float32]:
        """Return the targets of so many molecules as they are: their descriptors, and what is said of some of them."""
        parts = [described[:, self.descriptors]]
        if self.fields:
            parts.append(np.full((number, len(self.fields)), np.nan, dtype=np.float32))
            if said:
                parts[-1][said.rows] = field_values(self.fields, said.texts)
        if self.whitening:
            parts.append(np.full((number, len(self.whitening.directions)), np.nan, dtype=np.float32))
            if said:
                parts[-1][said.rows] = self.whitening.transform(said.vectors)
        if self.aligned:
            parts.append(np.full((number, self.aligned), np.nan, dtype=np.float32))
            if said:
                parts[-1][said.rows] = said.vectors
        return np.concatenate(parts, axis=1)


def _identity(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return 24 bits of each text's hash in each of `IDENTITY` columns: integers that float32 holds exactly."""
    hashes = b"".join(hashlib.blake2b(text.encode(), digest_size=3 * IDENTITY).digest() for text in texts)
    parts = np.frombuffer(hashes, dtype=np.uint8).reshape(len(texts), IDENTITY, 3).astype(np.float32)
    identity: NDArray[np.float32] = parts @ np.array([1, 2**8, 2**16], dtype=np.float32)
    return identity


def _sample(molecules: Selection, seed: int) -> Selection:
    drawn, _ = molecules.divided(min(SAMPLE, len(molecules)), seed)
    return drawn


def _described(library: PreparedLibrary, sample: Selection) -> NDArray[np.float32]:
    """Return the descriptors of molecules."""
    return np.concatenate([_read(library, number, rows, None)[0] for number, rows in _shards(sample)])


def _said(library: PreparedLibrary, sample: Selection, texts: TextSet) -> list[ShardTexts]:
    """Return what is written of molecules that are annotated, shard by shard."""
    read = (_read(library, number, rows, texts)[1] for number, rows in _shards(sample))
    return [each for each in read if each is not None]


def _warn_of_missing(groups: Collection[Group], texts: int) -> None:
    """Say of which groups of annotations nothing is learned though it was asked for."""
    if groups:
        logger.warning(
            "Nothing is learned of %s: %s.",
            " and ".join(sorted(groups)),
            "what is written of these molecules has none, or no value that several share"
            if texts
            else "of these molecules none that has an annotation is embedded",
        )


def _shards(selection: Selection) -> list[tuple[int, NDArray[np.int64]]]:
    return [(number, rows.astype(np.int64)) for number, rows in enumerate(selection.rows) if len(rows)]


def _read(
    library: PreparedLibrary, number: int, rows: NDArray[np.int64], texts: TextSet | None
) -> tuple[NDArray[np.float32], ShardTexts | None]:
    """Return the descriptors of rows of a shard, and what is written of those among them, numbered among the rows."""
    file = library.shard(number)
    facts = facts_of(file)
    batch = read_columns(file, ["descriptors"])
    described = batch["descriptors"].values.to_numpy().reshape(batch.num_rows, -1)[rows]
    said = read_texts(texts, number, facts.digest) if texts else None
    if said is None:
        return described, None
    mine = np.flatnonzero(np.isin(said.rows, rows))
    places = np.searchsorted(rows, said.rows[mine])
    told = [said.texts[place] for place in mine.tolist()]
    return described, ShardTexts(places, told, said.agreement[mine], said.vectors[mine])


def _useful(described: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the descriptors that are known of most molecules and not the same of all."""
    known = np.isfinite(described)
    counts = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, described, 0).astype(np.float64)
    means = values.sum(axis=0) / counts
    spread = (np.where(known, values - means, 0) ** 2).sum(axis=0) / counts
    useful: NDArray[np.int64] = np.flatnonzero((known.mean(axis=0) >= LEAST_KNOWN) & (spread > 0))
    return useful
