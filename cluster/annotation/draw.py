"""The stage that draws: tasks on any machine's cores that give planned molecules their pictures, ahead of the engines.

An annotator's process has a GPU to feed, and all of it takes turns under one lock (Python's). A drawing costs nearly
as much as everything else that is done there for a molecule, so it comes ready made, as packed pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING

from cluster.annotation.batches import Batch
from cluster.runtime.errors import first_line, first_of_ours
from cluster.runtime.logs import log_in_worker, ray_log_folder, worker_level
from teacher.chemistry.drawing import UndrawableError, shared_drawer

if TYPE_CHECKING:
    import pyarrow as pa
    from ray import ObjectRef

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
AHEAD = 2  # batches for each core that draws, drawn or being drawn, that no annotator has asked for yet


def draw_rows(table: pa.Table, size: int) -> pa.Table:
    """Draw the molecules of a table.

    Args:
        table: with a column `smiles`.
        size: width and height of a drawing in pixels.

    Raises:
        UsageError: this machine cannot draw.

    Returns:
        The table with two more columns: `drawing`, packed (`teacher.chemistry.drawing.unpack`), and `undrawn`, the
        reason where there is none.
    """
    import pyarrow as pa

    found = shared_drawer().draw(table.column("smiles").to_pylist(), size)
    drawings = [None if isinstance(drawing, UndrawableError) else drawing for drawing in found]
    reasons = [str(drawing) if isinstance(drawing, UndrawableError) else None for drawing in found]
    table = table.append_column("drawing", pa.array(drawings, pa.binary()))
    return table.append_column("undrawn", pa.array(reasons, pa.string()))


def drawn(batches: Iterable[Batch], size: int, cpus: Callable[[], float]) -> Generator[Batch, None, None]:
    """Draw batches side by side, and yield each as it is ready; one whose machine is lost, or cannot, comes as it was.

    Args:
        batches: of planned molecules; taken as far ahead as the stage works.
        size: width and height of a drawing in pixels.
        cpus: tells how many cores draw, beside what reads and plans; it is asked for each batch, since they change.
    """
    import ray
    from ray.exceptions import RayError

    draw = ray.remote(_draw)
    working: dict[ObjectRef, tuple[ObjectRef, Batch]] = {}
    waiting = iter(batches)
    all_taken = False
    try:
        while working or not all_taken:
            cores = cpus()
            is_full = all_taken or len(working) >= max(2, round(AHEAD * cores))
            # No longer than a second, so that an interrupt gets its turn.
            done, _ = ray.wait(list(working), timeout=WAIT_SECONDS if is_full else 0) if working else ([], [])
            for rows in done:
                table, batch = working.pop(rows)
                try:
                    yield Batch(table, 0, ray.get(rows))
                except RayError as error:
                    logger.warning(
                        "a batch is drawn by its annotator, and not ahead: %s", first_line(first_of_ours(error))
                    )
                    yield batch
            if not is_full:
                if (taken := next(waiting, None)) is None:
                    all_taken = True
                else:
                    share = draw.options(name="draw", num_cpus=1.0 if cores >= 2 else 0.5, num_returns=2)
                    table, rows = share.remote(taken.block, taken.start, taken.rows, size, worker_level())
                    working[rows] = (table, taken)
    finally:
        for table, _ in working.values():
            ray.cancel(table)


def _draw(block: pa.Table, start: int, rows: int, size: int, log_level: int) -> tuple[pa.Table, int]:
    log_in_worker(ray_log_folder(), "drawer", log_level)
    table = draw_rows(block.slice(start, rows), size)
    return table, table.num_rows
