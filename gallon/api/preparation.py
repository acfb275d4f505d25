"""Prepare a library for learning: its molecules described once, as shards on disk."""

from __future__ import annotations

from pathlib import Path

from distill.features.vectors import descriptor_set
from distill.library.prepare import Prepared, check_place, plan_of
from distill.library.prepare import prepare as prepare_shards
from gallon.api.annotation import started_ray
from gallon.api.library import Library, StrPath, sources_of
from gallon.config import LibraryConfig
from gallon.progress import ProgressCallback, phase


def prepare(
    library: Library,
    *,
    reading: LibraryConfig,
    out: StrPath,
    overwrite: bool = False,
    descriptors: str = "lean",
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Prepared:
    """Describe all molecules of a library once, for `distill` to learn from; the same call goes on where it stopped.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        out: a folder, which machines of a cluster reach by the same path.
        overwrite: whether a library that was prepared of other files may be replaced.
        descriptors: that stand beside the fingerprint: `all`, `lean`, `estimated` or `none`, as the student's.
        ray: address of a Ray cluster; by default RAY_ADDRESS, or a local one.
        progress: called as rows are done.

    Raises:
        UsageError: the folder holds something else, or there are no such descriptors.
        LibraryError: a file of the library cannot be read.
        NoMoleculeError: no row holds a molecule.
        OutputError: the disk is full.
    """
    chosen = descriptor_set(descriptors)
    sources, folder = sources_of(library, reading), Path(out)
    check_place(folder, plan_of(sources, chosen, reading.limit), overwrite=overwrite)
    with started_ray(ray, progress) as session, phase(progress, "preparing", "rows") as running:
        return prepare_shards(
            sources,
            folder,
            descriptors=chosen,
            limit=reading.limit,
            session=session,
            overwrite=overwrite,
            show=running.update,
        )
