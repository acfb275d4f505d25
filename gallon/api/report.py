"""Write a run as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.store.open import open_store
from distill.report.run import Written, write
from gallon.api.library import StrPath, listed, store_named
from gallon.config import check_number
from gallon.progress import ProgressCallback, phase
from teacher.files import check_folder, check_output, placed

GALLERY = 100_000


def report(
    run: str | None = None,
    *,
    out: StrPath | None = None,
    overwrite: bool = False,
    gallery: int = GALLERY,
    learned: StrPath | Sequence[StrPath] = (),
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> Written:
    """Write one HTML page about a run: ledger, pace, agreement with RDKit, dead letters, and a gallery to search.

    Args:
        run: the beginning of its id; by default the latest run.
        out: the page; by default `gallon-report-RUN.html`.
        overwrite: whether a page that is there may be replaced.
        gallery: molecules in the gallery, at most.
        learned: folders of `teach`, `distill` or `evaluate` to show too.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        progress: called as molecules are drawn.

    Raises:
        UsageError: there is no such store or run, or the page cannot be written.
    """
    check_number("gallery", gallery, least=0)
    path = placed(out) if out is not None else None
    if path is None:
        check_folder(Path())  # a page is named by its run, so it replaces only one of the same run
    else:
        check_output(path, suffixes=[".html", ".htm"], overwrite=overwrite)
    folders = [placed(folder) for folder in listed(learned)]
    with open_store(store_named(store), create=False) as opened, phase(progress, "gallery", "molecules") as running:
        return write(opened, run, path, most=gallery, folders=folders, show=running.update)
