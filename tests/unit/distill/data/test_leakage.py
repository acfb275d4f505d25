"""No label is shown to the LLM whose texts teachers learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cluster.library.cells import with_columns
from cluster.library.source import resolve
from distill.data.dataset import read
from distill.data.leakage import refuse_labels, refuse_targets, warn_of_examples
from distill.data.splits import Split
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from tests.support.prompts import PROMPT

TABLE = "smiles,solvent,pIC50 (nM),CT_TOX,temp,batch,constant,flag\n" + "".join(
    f"{smiles},{solvent},text,a,{temp},{batch},5,{flag}\n"
    for smiles, solvent, temp, batch, flag in [
        ("C", "water", "298.5", "b1", "yes"),
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


@pytest.mark.parametrize(
    "cells",
    [
        ("5.1", "NA", "7.3"),
        ('"5,1"', '"6,2"', '"7,3"'),
        ("5.1", ">=6", "7"),
        ("~5", "<= 6", "\u22657"),
        ("5.1", "not soluble", "7.3"),
    ],
)
def test_measurements_with_remarks_among_them_look_like_labels(tmp_path: Path, cells: tuple[str, ...]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("smiles,assay\n" + "".join(f"{'C' * n},{cell}\n" for n, cell in enumerate(cells, start=1)))
    with pytest.raises(UsageError, match="it holds numbers, as labels do"):
        refuse_labels(["assay"], with_columns(resolve([str(path)]), ["assay"]))


def test_text_and_a_constant_are_no_labels(tmp_path: Path) -> None:
    refuse(tmp_path, "solvent", "batch", "constant")
    refuse(tmp_path)


def test_what_is_learned_may_not_have_been_shown_whatever_was_allowed() -> None:
    with pytest.raises(UsageError, match="column 'Log S' in sight, which is the target"):
        refuse_targets(["solvent", "Log S"], ["log_s"])
    refuse_targets(["solvent"], ["log_s"])


def test_examples_out_of_the_test_part_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "smiles,y,part\n" + "".join(f"{'C' * n},{n},{'test' if n > 8 else 'train'}\n" for n in range(1, 11))
    )
    dataset = read(str(path), targets=["y"], split_column="part")
    parts = Split(*map(np.array, ([0, 1, 2], [3], [8, 9])), kind="column", seed=None, chirality=None, sha256="")

    def prompt_with(*smiles: str) -> Prompt:
        return Prompt.model_validate({**PROMPT, "shots": [{"smiles": each, "answer": "An alkane."} for each in smiles]})

    (told,) = warn_of_examples(prompt_with("C" * 10, "CC"), dataset, [parts, parts])
    assert "1 example out of the test part" in told
    assert warn_of_examples(prompt_with("CC"), dataset, [parts]) == warn_of_examples(None, dataset, [parts]) == []
