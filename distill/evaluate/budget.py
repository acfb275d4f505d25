"""What a row of a comparison costs: every fit that it needs, those that lost a choice included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.evaluate.methods import BEST_NETWORK, LISTENED, OF_GALLON, Method

if TYPE_CHECKING:
    from cluster.training.fit import Outcome

# Fits among which one was chosen, by name beside those of teachers.
GRAPH_TEACHERS, GRAPH_NETWORKS, INPUTS_TRIED = "graph teachers", "graph networks", "inputs"


@dataclass(frozen=True, slots=True)
class Budget:
    """What was spent on a row under one seed, by the row alone: what rows share is counted for each.

    Attributes:
        fits: how many models were fitted: the student's for each input, the graph teachers among which one is chosen,
            a teacher's for each fold that is held out.
        seconds: of all of them together.
    """

    fits: int
    seconds: float

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Budget:
        """Add up fits; one that is named more than once was done once."""
        distinct = {outcome.weights: outcome for outcome in outcomes}
        return cls(len(distinct), sum(outcome.seconds for outcome in distinct.values()))


def behind(student: Method) -> list[str]:
    """Name what stands behind a student: its teachers, and the choices of its input and of a graph teacher."""
    if student.released:
        return [OF_GALLON[name] for name in LISTENED[student.listens]]
    names = [*LISTENED[student.listens]]
    names += [GRAPH_TEACHERS] if "gnn" in names else []
    names += [] if student.network or student.student else [INPUTS_TRIED]
    names += [GRAPH_NETWORKS] if student.network == BEST_NETWORK else []
    return names
