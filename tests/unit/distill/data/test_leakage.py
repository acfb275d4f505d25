"""No label is shown to the LLM whose texts teachers learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.library.cells import with_columns
from cluster.library.source import resolve
from distill.data.leakage import refuse_labels, refuse_targets
from teacher.errors import UsageError

TABLE = "smiles,solvent,pIC50 (nM),CT_TOX,temp,batch,constant,flag\n" + "".join(
    f"{smiles},{solvent},text,a,{temp},{batch},5,{flag}\n"
    for smiles, solvent, temp, batch, flag in [
        ("C", "water", "298.5", "1", "yes"),
        ("CC", "DMSO", "", "b2", "no"),
        ("CCC", "water", ">310", "3", "yes"),
    ]
)


def refuse(folder: Path, *columns: str, allowed: tuple[str, ...] = ()) -> None:
    path = folder / "table.csv"
    path.write_text(TABLE)
    refuse_labels(columns, with_columns(resolve([str(path)]), columns), allowed)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("pIC50 (nM)", "its name is that of a label"),
        ("CT_TOX", "its name is that of a label"),  # of MoleculeNet's ClinTox
        ("temp", "it holds numbers, as labels do"),
        ("flag", "it holds numbers, as labels do"),
    ],
)
def test_what_looks_like_a_label_is_refused_unless_the_user_allows_it(tmp_path: Path, column: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"{why}: .*--allow-column") as caught:
        refuse(tmp_path, "solvent", column)
    assert "\n" not in str(caught.value)
    refuse(tmp_path, "solvent", column, allowed=(column,))


def test_text_and_a_constant_are_no_labels(tmp_path: Path) -> None:
    refuse(tmp_path, "solvent", "batch", "constant")
    refuse(tmp_path)


def test_what_is_learned_may_not_have_been_shown_whatever_was_allowed() -> None:
    with pytest.raises(UsageError, match="column 'Log S' in sight, which is the target"):
        refuse_targets(["solvent", "Log S"], ["log_s"])
    refuse_targets(["solvent"], ["log_s"])
