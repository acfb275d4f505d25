"""Score a whole library by a student, on Ray."""

from __future__ import annotations

from pathlib import Path

from distill.models.packing import card_of
from distill.screen.screening import Screened
from distill.screen.screening import screen as score
from gallon.api.annotation import started_ray
from gallon.api.library import Library, StrPath, check_rows_output, kept_of, sources_of
from gallon.config import LibraryConfig, ShortKeepConfig
from gallon.progress import ProgressCallback, phase


def screen(
    library: Library,
    *,
    reading: LibraryConfig,
    student: StrPath,
    out: StrPath,
    overwrite: bool = False,
    keeping: ShortKeepConfig,
    doubt: bool = True,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Screened:
    """Score a whole library by a student: one row out for each row in, with its columns.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        student: the folder of a student or a graph teacher, or the file that it was packed into.
        out: a .csv, .tsv, .parquet or .jsonl file, or .sdf if the library is one.
        overwrite: whether a file that is there may be replaced.
        keeping: which columns of the library are written, too.
        doubt: whether it is told how far to trust each prediction: intervals of numbers, similarity to the nearest
            training molecule, which that is, and whether the molecule is in the model's domain.
        ray: address of a Ray cluster; by default RAY_ADDRESS, or a local one.
        progress: called as rows are done.

    Raises:
        UsageError: there is no such model, or the file cannot be written.
        LibraryError: a file of the library cannot be read.
        NoMoleculeError: no row holds a molecule; no file is written.
    """
    sources, path = sources_of(library, reading), Path(out)
    check_rows_output(path, sources, overwrite=overwrite)
    card_of(Path(student))  # a mistake need not wait for a cluster to start
    kept, limit = kept_of(sources, keeping, path, reading.limit), reading.limit
    with started_ray(ray, progress) as session, phase(progress, "screening", "rows") as running:
        return score(
            sources, Path(student), path, limit=limit, session=session, kept=kept, doubt=doubt, show=running.update
        )
