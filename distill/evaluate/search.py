"""The search for a method's settings by Optuna's tree-structured Parzen estimator, some trials at a time."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)

AT_A_TIME = 5  # trials that are drawn before their values are known; not the workers, on which no result may depend

Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class BestTrial:
    """What a search found.

    Attributes:
        method: whose settings they are.
        params: what Optuna drew for the best trial; None where the defaults were best.
        value: of that trial, greater is better; None where no trial could be judged.
        trials: how many there were.
    """

    method: str
    params: Mapping[str, Any] | None
    value: float | None
    trials: int


@dataclass(eq=False)
class Search(Generic[Candidate]):
    """The search for the settings of one method; the first trial is its defaults, so that no search makes it worse.

    Attributes:
        name: of the method.
        defaults: the candidate that it is without a search.
        draw: makes a candidate from an Optuna trial.
        seed: of the sampler.
    """

    name: str
    defaults: Candidate
    draw: Callable[[Trial], Candidate]
    seed: int

    def __post_init__(self) -> None:
        self._asked: list[Trial | None] = []
        self._judged: list[tuple[float, Trial | None]] = []

    def ask(self, number: int) -> list[Candidate]:
        """Return the next candidates, which `tell` wants the values of before more are asked for."""
        self._asked = [None if not self._judged and place == 0 else self._study.ask() for place in range(number)]
        return [self.defaults if trial is None else self.draw(trial) for trial in self._asked]

    def tell(self, values: Sequence[float]) -> None:
        """Take the values of the candidates that were asked for last; NaN is a candidate that came to nothing."""
        for trial, value in zip(self._asked, values, strict=True):
            known = -math.inf if math.isnan(value) else float(value)
            self._judged.append((known, trial))
            if trial is not None:
                self._study.tell(trial, known)

    @property
    def found(self) -> BestTrial:
        """The best of the candidates that were judged; of equals the first."""
        value, trial = max(self._judged, key=lambda judged: judged[0])
        return BestTrial(
            method=self.name,
            params=trial.params if trial else None,
            value=value if math.isfinite(value) else None,
            trials=len(self._judged),
        )

    def candidate(self, found: BestTrial) -> Candidate:
        """Return the candidate that an earlier search found."""
        from optuna.trial import FixedTrial

        return self.defaults if found.params is None else self.draw(FixedTrial(dict(found.params)))

    def space(self) -> dict[str, Any]:
        """Return what may be drawn, fit for JSON."""
        from optuna.distributions import distribution_to_json

        trial = _study(self.seed).ask()
        self.draw(trial)
        return {name: json.loads(distribution_to_json(drawn)) for name, drawn in trial.distributions.items()}

    @cached_property
    def _study(self) -> Study:
        return _study(self.seed)


def search(
    searches: Sequence[Search[Candidate]],
    trials: int,
    judge: Callable[[Sequence[tuple[str, Candidate]]], Sequence[float]],
) -> None:
    """Do several searches side by side, so that the candidates of all are judged in one go.

    Args:
        searches: none of them begun.
        trials: of each.
        judge: maps candidates, each with the name of its method, to their values; greater is better.
    """
    for begun in range(0, trials, AT_A_TIME):
        number = min(AT_A_TIME, trials - begun)
        asked = [(one.name, candidate) for one in searches for candidate in one.ask(number)]
        values = judge(asked)
        for place, one in enumerate(searches):
            one.tell(values[place * number : (place + 1) * number])
            logger.info("search of %s: %d of %d trials, the best %s", one.name, begun + number, trials, one.found)


def _study(seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
