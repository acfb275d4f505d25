"""Score a whole library by a student."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from cluster.runtime.session import in_session
from distill.models.packing import card_of
from distill.screen.screening import Screened
from distill.screen.screening import screen as score
from distill.screen.selection import Condition, Selection
from gallon.api.library import Library, StrPath, check_rows_output, kept_of, listed, sources_of
from gallon.config import LibraryConfig, ShortKeepConfig
from gallon.progress import ProgressCallback, phase
from teacher.files import placed

if TYPE_CHECKING:
    from cluster.runtime.session import RaySession


def screen(
    library: Library,
    *,
    reading: LibraryConfig,
    student: StrPath,
    out: StrPath,
    overwrite: bool = False,
    keeping: ShortKeepConfig,
    doubt: bool = True,
    where: str | Sequence[str] = (),
    top: int | None = None,
    prefilter: float | None = None,
    by: str | None = None,
    lowest: bool = False,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Screened:
    """Score a whole library by a student: one row out for each row in, with its columns.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        student: the folder of a student or a graph teacher, the file that it was packed into, or hf://OWNER/NAME.
        out: a .csv, .tsv, .parquet or .jsonl file, or .sdf if the library is one.
        overwrite: whether a file that is there may be replaced.
        keeping: which columns of the library are written, too.
        doubt: whether it is told how far to trust each prediction: intervals of numbers, similarity to the nearest
            training molecule, which that is, and whether the molecule is in the model's domain.
        where: a condition, or several, that a row must meet to be written, as "logS<-4" or "in_domain=true".
        top: write only so many rows, the best first.
        prefilter: score only a share of the rows below 1, or so many: those that an n-gram student takes for the best.
            It reads the text of SMILES, is distilled from the student where its folder has none yet, and kept there.
        by: the column that ranks them; by default the first target.
        lowest: whether low values are the best.
        ray: address of a Ray cluster; by default RAY_ADDRESS. Without one, processes of this machine do the work.
        progress: called as rows are done.

    Raises:
        UsageError: there is no such model, the file cannot be written, or a condition or column is none.
        LibraryError: a file of the library cannot be read.
        NoMoleculeError: no row holds a molecule; no file is written.
    """
    conditions = tuple(map(Condition.read, listed(where)))
    selection = Selection(where=conditions, top=top, prefilter=prefilter, by=by, lowest=lowest)
    sources, path = sources_of(library, reading), placed(out)
    check_rows_output(path, sources, overwrite=overwrite)
    model = placed(student)
    card_of(model)  # a mistake need not wait for a cluster to start
    kept, limit = kept_of(sources, keeping, path, reading.limit), reading.limit
    with _cluster(ray, progress) as session, phase(progress, "screening", "rows") as running:
        return score(
            sources,
            model,
            path,
            limit=limit,
            session=session,
            kept=kept,
            doubt=doubt,
            selection=selection,
            show=running.update,
        )


def _cluster(ray: str | None, progress: ProgressCallback | None) -> AbstractContextManager[RaySession | None]:
    """Connect to the cluster that the user names, or that this process has joined; without one none is started."""
    from gallon.api.annotation import started_ray

    if ray or os.environ.get("RAY_ADDRESS") or in_session():
        return started_ray(ray, progress)
    return nullcontext()
