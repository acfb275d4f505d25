"""What a training worker does: its share of the fits, or its share of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.epochs import DivergenceError, Training, deal
from cluster.training import Fit, failure_of, is_done
from teacher.inputs import Inputs

if TYPE_CHECKING:
    import numpy as np
    from ray import ObjectRef
    from torch import Tensor


@dataclass(frozen=True)
class Work:
    """What all workers are told: `training.Trainers` says what `together` means.

    Attributes:
        fits: reference to the list of fits.
        parts: references to one `Part` for all workers, or to one for each.
        folder: where results go.
        threads: of each worker.
    """

    fits: ObjectRef
    parts: Sequence[ObjectRef]
    folder: Path
    together: bool
    threads: int


@dataclass(frozen=True)
class Part:
    """What a worker has to learn from.

    Attributes:
        inputs, columns: by name, of this worker's rows.
        rows: int64, ascending: the numbers of these rows among all.
    """

    inputs: Mapping[str, Inputs]
    columns: Mapping[str, np.ndarray]
    rows: np.ndarray

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Return where rows, numbered among all, stand in this part."""
        import numpy as np

        return np.searchsorted(self.rows, rows)


@dataclass(frozen=True)
class Group:
    """The workers that share a fit: this one's number, how many there are, and what it computes on."""

    number: int
    size: int
    device: str

    def total(self, values: Tensor) -> Tensor:
        """Sum numbers over the group, in place."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(values)
        return values

    def gather(self, mine: Any) -> list[Any]:
        """Bring together what each has, in order."""
        if self.size == 1:
            return [mine]
        import torch.distributed

        everything: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(everything, mine)
        return everything

    def agreed(self, decision: bool) -> bool:
        """Return what the first one decides."""
        return bool(self.gather(decision)[0])

    def mine(self, rows: np.ndarray) -> np.ndarray:
        """Return those out of some rows that this worker looks after."""
        chosen: np.ndarray = rows[rows % self.size == self.number]
        return chosen


def work(config: Mapping[str, Work]) -> None:
    """Do this worker's share; runs in every worker of Ray Train."""
    import ray
    import ray.train
    import torch
    from ray.train.torch import get_device

    order = config["work"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(order.threads)
    fits: list[Fit] = ray.get(order.fits)
    part: Part = ray.get(order.parts[rank if order.together else 0])
    group = Group(rank, workers, str(get_device())) if order.together else Group(0, 1, str(get_device()))
    for fit in fits if order.together else fits[rank::workers]:
        if not group.agreed(is_done(order.folder, fit.id)):
            try:
                Training(fit, part, group, order.folder).run()
            except DivergenceError as error:  # raised by all of a group alike; Ray would only try the same again
                failure_of(order.folder, fit.id).write_text(str(error), encoding="utf-8")


def part_of(fits: Sequence[Fit], inputs: Mapping[str, Inputs], columns: Mapping[str, np.ndarray], group: Group) -> Part:
    """Take what a worker of a group needs for some fits: what it looks after, and the molecules dealt to it."""
    import numpy as np

    used = {fit.inputs for fit in fits}
    names = {column for fit in fits for column in fit.targets.values()}
    everything = np.arange(len(inputs[next(iter(used))]))
    if group.size == 1:
        rows = everything
        return Part({name: inputs[name] for name in used}, {name: columns[name] for name in names}, rows)
    dealt = [rows[shards % group.size == group.number] for rows, shards in map(deal, fits)]
    rows = np.unique(np.concatenate([group.mine(everything), *dealt]))
    return Part({name: inputs[name].take(rows) for name in used}, {name: columns[name][rows] for name in names}, rows)
