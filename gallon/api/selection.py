"""Select a representative subset of a library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.table_file import WRITERS
from distill.data import subset
from gallon.api.learning import fits_of
from gallon.api.library import Library, StrPath, sources_of
from gallon.config import LibraryConfig
from gallon.progress import ProgressCallback, phase
from teacher.files import check_output


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """A subset of a library.

    Attributes:
        smiles: the chosen molecules, the most useful first.
        molecules: of the library.
        coverage: mean Tanimoto similarity of a molecule to the nearest chosen one.
        coverage_at_random: the same for as many molecules at random.
        path: the file with the chosen molecules.
    """

    smiles: tuple[str, ...]
    molecules: int
    coverage: float
    coverage_at_random: float
    path: Path


def choose(
    library: Library,
    *,
    reading: LibraryConfig,
    number: int,
    out: StrPath,
    overwrite: bool = False,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Selection:
    """Select molecules such that every molecule of the library has a similar one among them.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        number: how many to choose.
        out: a .csv, .parquet or .jsonl file.
        overwrite: whether a file that is there may be replaced.
        seed: of the random candidates.
        progress: called as rows are read and molecules chosen.

    Raises:
        UsageError: the file cannot be written, or the library has fewer molecules.
        LibraryError: a file of the library cannot be read.
    """
    sources, path = sources_of(library, reading), Path(out)
    check_output(path, suffixes=WRITERS, inputs=[source.path for source in sources], overwrite=overwrite)
    with phase(progress, "reading", "rows") as running:
        pool = subset.read_pool(sources, reading.limit, running.update)
    with phase(progress, "choosing", "molecules") as running:
        chosen = subset.choose(pool, number, seed, fits_of(running))
    subset.write(chosen, pool, path)
    return Selection(
        smiles=tuple(pool.smiles[row] for row in chosen.rows),
        molecules=len(pool.smiles),
        coverage=chosen.coverage,
        coverage_at_random=chosen.coverage_at_random,
        path=path,
    )
