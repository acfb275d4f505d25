"""In which order an LLM puts the candidates for a molecule's neighbours, by its answers to `distill.ranking.prompt`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distill.features.library_graph import LibraryGraph
from distill.ranking.prompt import ORDER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.annotations import Annotations

NeighbourOrder = Literal["tanimoto", "llm", "shuffled"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Candidates for the neighbours of molecules, and the LLM's order of them.

    Attributes:
        candidates: by Tanimoto, (molecules, K).
        order: int64, (molecules, K): of each molecule the places 0 to K - 1 of its candidates, those that the LLM names
            first and the others behind them as they were; where it has not answered, all as they were.
        answered: bool, (molecules,): whether it has.
        spec: id of the spec that it answered under.
        sha256: digest of the candidates and of the order.
    """

    candidates: LibraryGraph
    order: NDArray[np.int64]
    answered: NDArray[np.bool_]
    spec: str
    sha256: str

    @classmethod
    def of(cls, answers: Annotations, candidates: LibraryGraph) -> Ranking:
        """Read orders out of answers; one that names what was not offered, or one twice, counts as none.

        Args:
            answers: one for each molecule.
            candidates: that were offered.
        """
        there = (candidates.neighbours >= 0).sum(axis=1).tolist()
        named = [_read(text, offered) for text, offered in zip(answers.texts, there, strict=True)]
        order = np.array([_completed(each, candidates.neighbours.shape[1]) for each in named], dtype=np.int64)
        order = order.reshape(candidates.neighbours.shape)
        digest = hashlib.sha256(candidates.neighbours.tobytes() + order.tobytes()).hexdigest()
        return cls(candidates, order, np.array([bool(each) for each in named], dtype=bool), answers.spec, digest)

    def nearest(self, k: int, by: NeighbourOrder) -> LibraryGraph:
        """Return the k first neighbours of each molecule, with their similarity.

        Args:
            k: how many.
            by: "llm": in its order; "shuffled": in an order by chance for whom it has answered, the control;
                "tanimoto": as they were.
        """
        order = {"llm": self.order, "shuffled": self._shuffled, "tanimoto": self._as_they_were}[by][:, :k]
        near, alike = self.candidates.neighbours, self.candidates.similarity
        return LibraryGraph(np.take_along_axis(near, order, axis=1), np.take_along_axis(alike, order, axis=1))

    @property
    def facts(self) -> dict[str, Any]:
        """Say who has put what in an order, fit for JSON."""
        return {
            "spec": self.spec,
            "sha256": self.sha256,
            "candidates": self.order.shape[1],
            "molecules": len(self.order),
            "answered": int(self.answered.sum()),
        }

    @property
    def _as_they_were(self) -> NDArray[np.int64]:
        return np.broadcast_to(np.arange(self.order.shape[1]), self.order.shape)

    @property
    def _shuffled(self) -> NDArray[np.int64]:
        """Orders by chance, in which those candidates that there are stay before the places where there are none."""
        drawn = np.random.default_rng(0).random(self.order.shape) + (self.candidates.neighbours < 0)
        by_chance = np.argsort(drawn, axis=1, kind="stable")
        return np.where(self.answered[:, None], by_chance, self._as_they_were)


def _read(text: str | None, offered: int) -> list[int]:
    """Return the places that an answer names, the first 0; nothing where it is no order of what was offered."""
    try:
        answer: Any = json.loads(text or "null")
    except ValueError:
        return []
    numbers = answer.get(ORDER) if isinstance(answer, dict) else None
    if not isinstance(numbers, list) or any(type(number) is not int for number in numbers):
        return []
    if len(set(numbers)) < len(numbers) or not all(1 <= number <= offered for number in numbers):
        return []
    return [number - 1 for number in numbers]


def _completed(named: list[int], size: int) -> list[int]:
    """Return an order of all places, those that are named first."""
    first = set(named)
    return [*named, *(place for place in range(size) if place not in first)]
