"""Files beside the table with labels: read as that table is, where they are like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.library.errors import LibraryError
from cluster.library.rows import count
from gallon.api.library import further_sources
from gallon.config import TableConfig


def written(folder: Path, **files: str) -> list[str]:
    """Write files, `a_csv` as a.csv, and return their paths."""
    paths = [folder / name.replace("_", ".") for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return list(map(str, paths))


def test_files_beside_a_table_are_read_as_it_is_or_else_as_usual(tmp_path: Path) -> None:
    paths = written(
        tmp_path,
        a_csv="structure;smiles\nCCO;x\n",
        b_csv="id,structure\n1,CCO\n",
        c_csv="id,smiles\n1,CCO\n",
        d_smi="CCO first\n",
    )
    main = TableConfig(smiles_column="structure", separator=";")
    sources = further_sources([*paths, str(tmp_path / "*.csv")], "--transfer", main)
    assert [source.path for source in sources] == paths
    assert [source.smiles_column for source in sources] == ["structure", "structure", "smiles", None]
    assert count(sources) == 4


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        ("structure", "call it 'structure', as --smiles-column says, or 'smiles'."),
        (None, "call it 'smiles', or as --smiles-column says."),
    ],
)
def test_a_file_whose_column_is_not_clear_is_named_with_its_option(
    column: str | None, advice: str, tmp_path: Path
) -> None:
    (path,) = written(tmp_path, a_csv="id,mol\n1,CCO\n")
    with pytest.raises(LibraryError) as refused:
        further_sources([path], "--transfer", TableConfig(smiles_column=column))
    said = f"--transfer {path}: it is not clear which column holds the SMILES (there are: id, mol); {advice}"
    assert str(refused.value) == said
