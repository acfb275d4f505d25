"""The MoleculeNet benchmark sets by name (Wu et al., Chem. Sci. 2018, 9, 513), from local copies or its own server.

What is where comes from PyTorch Geometric; the files are read as any labelled file is. PyTorch Geometric's own download
is not used, since it skips the check of the server's certificate and takes a file that was cut off for a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.library.rows import column_names
from distill.data.dataset import Dataset, read
from distill.data.table import only_file
from teacher.errors import UsageError
from teacher.files import replacing

DATA_ROOT = Path("~/.gallon/data")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a set keeps its SMILES and its labels; without names, all columns but the SMILES and the id are targets."""

    targets: tuple[str, ...] = ()
    smiles: str = "smiles"


SETS = {
    "esol": _Columns(("measured log solubility in mols per litre",)),
    "freesolv": _Columns(("expt",)),
    "lipo": _Columns(("exp",)),
    "bbbp": _Columns(("p_np",)),
    "bace": _Columns(("Class",), smiles="mol"),
    "clintox": _Columns(("CT_TOX", "FDA_APPROVED")),
    "hiv": _Columns(("HIV_active",)),
    "tox21": _Columns(),
    "toxcast": _Columns(),
    "sider": _Columns(),
    "muv": _Columns(),
    "pcba": _Columns(),
    "qm8": _Columns(),
    "qm9": _Columns(("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "cv", "u0", "u298", "h298", "g298")),
}
ID_COLUMN = "mol_id"

# Defaults of networks, features and objectives were developed on some sets, partly on their test parts. On the others
# none ever was: a comparison on these is evidence for new data, as long as nobody chooses anything by it.
DEVELOPED_ON = ("esol", "lipo", "bbbp", "clintox")
HELD_OUT = tuple(name for name in SETS if name not in DEVELOPED_ON)


def load(
    what: str,
    *,
    smiles_column: str | None = None,
    targets: Sequence[str] = (),
    split_column: str | None = None,
    time_column: str | None = None,
    data_root: Path = DATA_ROOT,
    separator: str | None = None,
    encoding: str | None = None,
) -> Dataset:
    """Read a labelled set: a MoleculeNet name in any letter case, or else the path of a file.

    Args:
        what: a name out of `SETS`, or a path as `distill.data.dataset.read` takes it.
        smiles_column: as `read`; a MoleculeNet set knows its own.
        targets: as `read`; a MoleculeNet set has its own unless some are named.
        split_column: as `read`.
        time_column: likewise.
        data_root: where local copies of MoleculeNet lie.
        separator: as `read`; the files of MoleculeNet are known.
        encoding: likewise.

    Raises:
        UsageError: as `read` and `moleculenet`, or a set of MoleculeNet is said to be written otherwise than it is.
    """
    if what.lower() in SETS:
        named = {"--smiles-column": smiles_column, "--separator": separator, "--encoding": encoding}
        if option := next((option for option, value in named.items() if value is not None), None):
            raise UsageError(f"{option} says nothing about the MoleculeNet set '{what}', which is known: leave it out.")
        return moleculenet(what, data_root, targets=targets, split_column=split_column, time_column=time_column)
    if not targets:
        raise UsageError(f"Name the columns of {what} that hold labels; known without are {', '.join(SETS)}.")
    return read(
        what,
        smiles_column=smiles_column,
        targets=targets,
        split_column=split_column,
        time_column=time_column,
        separator=separator,
        encoding=encoding,
    )


def moleculenet(
    name: str,
    root: Path = DATA_ROOT,
    *,
    targets: Sequence[str] = (),
    split_column: str | None = None,
    time_column: str | None = None,
) -> Dataset:
    """Read a MoleculeNet set from `root`, after a download where it is not there yet.

    A local copy is `root/NAME.csv`, or any CSV file under `root/NAME/raw`, which is where PyTorch Geometric keeps it
    and where a download goes to; each may also end in .gz.

    Args:
        name: a name out of `SETS`, in any letter case.
        root: the folder with local copies.
        targets: some of the set's columns, rather than its own choice.
        split_column: as `distill.data.dataset.read`, for copies that have one.
        time_column: likewise.

    Raises:
        UsageError: there is no such set, it is not there and cannot be downloaded, or as `distill.data.dataset.read`.
    """
    name = name.lower()
    if name not in SETS:
        raise UsageError(f"There is no MoleculeNet set '{name}'; known are {', '.join(SETS)}.")
    folder = root.expanduser()
    path = _local_copy(name, folder) or _download(name, folder)
    columns = SETS[name]
    own = columns.targets or _all_but(path, columns.smiles)
    found = read(
        path, smiles_column=columns.smiles, targets=targets or own, split_column=split_column, time_column=time_column
    )
    return replace(found, name=name, benchmark=set(targets or own) == set(own))


def _local_copy(name: str, folder: Path) -> Path | None:
    """Return the file of a set, the plain one before the compressed one."""
    found = [folder / f"{name}.csv", folder / f"{name}.csv.gz", *sorted((folder / name / "raw").glob("*.csv*"))]
    return next((path for path in found if path.is_file() and path.suffix in {".csv", ".gz"}), None)


def _download(name: str, folder: Path) -> Path:
    from urllib.request import urlretrieve

    from torch_geometric.datasets import MoleculeNet

    if name not in MoleculeNet.names:
        raise UsageError(f"The MoleculeNet set '{name}' is not downloaded: put a copy at {folder / name}.csv.")
    file: str = MoleculeNet.names[name][1]
    path = folder / name / "raw" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as aside:
            urlretrieve(MoleculeNet.url.format(file), aside)
    except OSError as error:  # of which all errors of urllib are
        raise UsageError(
            f"The MoleculeNet set '{name}' is not in {folder} and cannot be downloaded ({error}); "
            f"put a copy at {folder / name}.csv."
        ) from error
    return path


def _all_but(path: Path, smiles_column: str) -> list[str]:
    """Return the columns of a set with many targets that are targets."""
    names = column_names(only_file(path, smiles_column))
    return [name for name in names if name not in (smiles_column, ID_COLUMN)]
