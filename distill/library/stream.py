"""The molecules of a prepared library on their way into training, with what there is to learn of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cluster.training.stream import Loaded, Window
from distill.features.sparse import SparseVectors
from distill.features.vectors import Scaler
from distill.learn.objective import Whitening
from distill.learn.recipes import Role
from distill.library.beside.scores import ShardScores, read_scores, scored_shards
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.shard import facts_of, graphs_of, vectors_of
from distill.models.ensemble import consensus
from teacher.errors import GallonError
from teacher.nn.graphs import Graphs
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind

WINDOW = 32_768  # molecules that are shuffled together: about 30 MB of features and scores


class Lessons(Protocol):
    """What there is to learn of a library's molecules."""

    @property
    def facts(self) -> Any:
        """What decides it beside the library, fit for JSON."""

    @property
    def widths(self) -> Mapping[str, int]:
        """Columns of every target, by its name."""

    def columns(self, library: PreparedLibrary, number: int, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return the targets of rows of a shard, float32, (rows, columns), by name; NaN where nothing is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Statements:
    """What teachers say of a library's molecules, as the targets of a student.

    Attributes:
        kind: of the labels.
        scores: the teachers' folders of scores.
        roles: of each of them, graph or language teacher.
        representations: that are learned, by the names of their targets: the number of the teacher among those, and
            how they are whitened, None where they are learned as they are.
        widths: columns of every target of the student, by its name; those that nobody speaks of are NaN.
        spoken: by the name of a language teacher's folder, a digest of the molecules of which it says something: they
            become more with every `gallon embed`. Graph teachers speak of all.
    """

    kind: Kind
    scores: Sequence[Path]
    roles: Sequence[Role]
    representations: Mapping[str, tuple[int, Whitening | None]]
    widths: Mapping[str, int]
    spoken: Mapping[str, str]

    @property
    def facts(self) -> list[tuple[str, str | None]]:
        """The names of the folders of scores, which are digests of the teachers, and of what each of them speaks."""
        return [(folder.name, self.spoken.get(folder.name)) for folder in self.scores]

    def columns(self, library: PreparedLibrary, number: int, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return the targets of rows of a shard, float32, (rows, columns), by name.

        Raises:
            GallonError: the shard or a teacher's scores of it are missing or damaged.
        """
        asked = zip(self.scores, self.roles, strict=True)
        said = [self._read(folder, role, library, number, rows) for folder, role in asked]
        found = {name: np.full((len(rows), width), np.nan, dtype=np.float32) for name, width in self.widths.items()}
        for role in set(self.roles):
            if (name := f"soft.{role}") in found:
                speaking = [each.prediction for each, of in zip(said, self.roles, strict=True) if each and of == role]
                found[name] = consensus(speaking, self.kind) if speaking else found[name]
        for name, (teacher, whitening) in self.representations.items():
            if (speaker := said[teacher]) is None:
                continue
            seen = speaker.representation
            found[name] = whitening.transform(seen) if whitening else seen.astype(np.float32)
        return found

    @staticmethod
    def _read(
        folder: Path, role: Role, library: PreparedLibrary, number: int, rows: NDArray[np.int64]
    ) -> ShardScores | None:
        """Return what a teacher says of rows; None where a language teacher never said anything of the shard."""
        facts = facts_of(library.shard(number))
        if scores := read_scores(folder, number, facts.digest):
            return scores.of(rows)
        if role == "lm" and (listed := scored_shards(folder)) is not None and facts.digest not in listed:
            return None
        embed = "run 'gallon embed' and then" if role == "lm" else "run"
        raise GallonError(
            f"The scores of shard {number} in {folder} are gone or damaged: {embed} the same command again."
        )


@dataclass(frozen=True, slots=True, eq=False)
class LibraryStream:
    """Selected molecules of a library, shard by shard in a random order, windows of some shards shuffled inside.

    Attributes:
        library: where they lie.
        selection: which they are.
        lessons: what is learned of them.
        scaler: of a student on fingerprints; None streams graphs.
    """

    library: PreparedLibrary
    selection: Selection
    lessons: Lessons
    scaler: Scaler | None

    @property
    def digest(self) -> str:
        """A digest of all that decides what comes."""
        return digest([self.selection.digest, self.lessons.facts, WINDOW])

    def __len__(self) -> int:
        return len(self.selection)

    def windows(self, seed: Sequence[int]) -> Iterator[Window]:
        """Yield the windows of an epoch; each has shards until it holds `WINDOW` molecules."""
        shards: list[int] = []
        size = 0
        for number in np.random.default_rng(seed).permutation(len(self.library)).tolist():
            if not len(self.selection.rows[number]):
                continue
            shards.append(number)
            size += len(self.selection.rows[number])
            if size >= WINDOW:
                yield Window(size, functools.partial(self._load, tuple(shards)))
                shards, size = [], 0
        if shards:
            yield Window(size, functools.partial(self._load, tuple(shards)))

    def loaded(self) -> Loaded:
        """Return all of the molecules at once, for few of them."""
        return self._load([number for number, rows in enumerate(self.selection.rows) if len(rows)])

    def _load(self, shards: Sequence[int]) -> Loaded:
        rows = [self.selection.rows[number].astype(np.int64) for number in shards]
        targets = [self.lessons.columns(self.library, *of_shard) for of_shard in zip(shards, rows, strict=True)]
        columns = {name: np.concatenate([each[name] for each in targets]) for name in self.lessons.widths}
        files = [self.library.shard(number) for number in shards]
        if self.scaler is None:
            graphs = [graphs_of(file).take(some) for file, some in zip(files, rows, strict=True)]
            return Graphs.joined(graphs), columns
        vectors = [vectors_of(file, self.scaler).take(some) for file, some in zip(files, rows, strict=True)]
        return SparseVectors.joined(vectors), columns
