"""What a network learns of a library's molecules when it is pre-trained: descriptors, fields, embeddings, alignment.

All are numbers, standardised by a sample of the library and clipped. None of them is a label: descriptors are computed
from the structure, as CheMeleon's are (arXiv 2506.15792), and annotations are what an LLM wrote of it. Their embeddings
serve twice: whitened as numbers to predict, and as they are for the alignment (`teacher.nn.alignment`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from distill.features.vectors import CLIP, descriptor_names
from distill.learn.objective import Whitening
from distill.library.beside.embeddings import ShardTexts, TextSet, read_texts
from distill.library.fields import FieldColumn, field_columns, field_values
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.shard import read_columns, read_facts
from teacher.errors import GallonError, UsageError
from teacher.nn.alignment import IDENTITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

Group = Literal["descriptors", "fields", "embedding", "alignment"]
GROUPS: tuple[Group, ...] = get_args(Group)
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
        means, deviations: float32, (T,), over the sample.
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
        cls, library: PreparedLibrary, sample: Selection, weights: Mapping[Group, float], texts: TextSet | None
    ) -> PretrainingTargets:
        """Find out what can be learned, and its scale.

        Args:
            library: the prepared library.
            sample: of its molecules.
            weights: of the groups; those of weight 0 are left out, and where no annotations are, theirs.
            texts: the annotations.

        Raises:
            UsageError: there is nothing to learn.
        """
        wanted = {name: weight for name, weight in weights.items() if weight > 0 and (texts or name == "descriptors")}
        texts = texts if wanted.keys() - {"descriptors"} else None
        read = [_read(library, number, rows.astype(np.int64), texts) for number, rows in _shards(sample)]
        described = np.concatenate([each for each, _ in read])
        said = [each for _, each in read if each is not None]
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
        values = np.concatenate([found.raw(each, of_texts, len(each)) for each, of_texts in read])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column of which the sample knows nothing
            means, deviations = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        deviations = np.where(deviations > 0, deviations, 1.0)
        return replace(found, weights=weights, means=np.nan_to_num(means), deviations=deviations)

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
        texts = self.texts and {"spec": self.texts.spec, "encoder": self.texts.encoder}
        return {
            "groups": [list(group) for group in self._all_groups],
            "descriptors": list(self.names),
            "fields": [[column.field, column.value] for column in self.fields],
            "texts": texts,
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


def _shards(selection: Selection) -> list[tuple[int, NDArray[np.int32]]]:
    return [(number, rows) for number, rows in enumerate(selection.rows) if len(rows)]


def _read(
    library: PreparedLibrary, number: int, rows: NDArray[np.int64], texts: TextSet | None
) -> tuple[NDArray[np.float32], ShardTexts | None]:
    """Return the descriptors of rows of a shard, and what is written of those among them, numbered among the rows."""
    file = library.shard(number)
    facts = read_facts(file)
    if facts is None:
        raise GallonError(f"{file} is damaged: run the same 'gallon prepare' again.")
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
