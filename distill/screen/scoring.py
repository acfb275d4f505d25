"""The rows of a library with what a model says of them, in order: by processes of this machine, or by a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cluster.library.kept import KeptColumns
from cluster.library.rows import behind
from cluster.library.source import Source
from cluster.library.whole_rows import read_all_whole
from cluster.runtime.errors import ours_unwrapped
from distill.models.packing import pack
from distill.screen import workers
from distill.screen.scorer import READ
from distill.screen.workers import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    import ray

    from cluster.runtime.session import RaySession

Blocks = Iterator[tuple["pa.Table", "pa.Table"]]

ROWS_AT_A_TIME = 2_048  # of an actor
PROCESS = workers.__name__  # what runs beside an actor


def scored(
    sources: Sequence[Source],
    limit: int | None,
    model: Path,
    kept: KeptColumns,
    session: RaySession | None,
    *,
    doubt: bool,
    first: int = 0,
    passing: Callable[[Iterator[pa.Table]], Iterator[pa.Table]] = iter,
) -> Blocks:
    """Yield blocks of rows with the columns that are kept, each with as many rows of `Scorer.score`.

    Args:
        sources: the files of the library.
        limit: how many rows are read.
        model: the folder of a model, or the file that it was packed into.
        kept: the columns.
        session: the Ray cluster to run on; None for processes of this machine.
        doubt: whether predictions come with how far to trust them.
        first: how many rows, the first ones of those that pass, are left out.
        passing: lets only some rows of the library's blocks pass; in a cluster all do.

    Raises:
        ProcessStartError: a machine cannot start the processes.
    """
    if session is None:
        with Workers(str(model), doubt=doubt) as processes:
            yield from processes.score(behind(passing(read_all_whole(sources, kept, limit)), first))
        return
    yield from _scored_on_ray(sources, limit, model, kept, session, doubt=doubt, first=first)


def _scored_on_ray(
    sources: Sequence[Source],
    limit: int | None,
    model: Path,
    kept: KeptColumns,
    session: RaySession,
    *,
    doubt: bool,
    first: int,
) -> Blocks:
    import ray
    import ray.data

    from cluster.library.datasource import read_library

    sent = ray.put(_packed(model))
    found = read_library(sources, limit, in_order=True, cpus=0.1, kept=kept, first=first).map_batches(
        SentScorer,
        fn_constructor_kwargs={"sent": sent, "doubt": doubt, "module": PROCESS},
        batch_size=ROWS_AT_A_TIME,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=max(1, int(session.cpus))),
        num_cpus=0.9,
    )
    with ours_unwrapped():
        for block in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield block, block


def _packed(model: Path) -> bytes:
    with TemporaryDirectory(prefix="gallon-model-") as folder:
        pack(model, Path(folder) / "model.gallon")
        return (Path(folder) / "model.gallon").read_bytes()


class SentScorer:
    """Predicts on a machine that the model is sent to: those of a cluster need share no disk.

    A process beside it does the work, as on one machine, so that a row that RDKit does not survive costs itself and
    not the actor, which Ray would start again with the same rows without end.

    Args:
        sent: Ray's reference to the bytes of a packed model.
        doubt: whether it tells how far to trust each prediction.
        module: what the process runs.
    """

    def __init__(self, sent: ray.ObjectRef, *, doubt: bool, module: str = PROCESS) -> None:
        import ray

        self._folder = TemporaryDirectory(prefix="gallon-model-")  # for each process that takes another's place
        model = Path(self._folder.name) / "model.gallon"
        model.write_bytes(ray.get(sent))
        self._workers = Workers(str(model), doubt=doubt, processes=1, module=module).__enter__()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return other columns of rows, and behind them `smiles`, the predictions and `error`."""
        import pyarrow as pa

        ours = pa.concat_tables(scored for _, scored in self._workers.score([rows]))
        theirs = rows.drop_columns(list(READ))
        return pa.table([*theirs.columns, *ours.columns], names=[*theirs.column_names, *ours.column_names])
