"""What is no model of ours is never replaced by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.models.model_store import CARD, check_place, read_card
from distill.report.comparison import check_place as check_comparison
from teacher.errors import UsageError


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gcn").mkdir()
    check_place(tmp_path / "gcn")
    (tmp_path / "gcn" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds files and no model"):
        check_place(tmp_path / "gcn")
    (tmp_path / "gcn" / CARD).write_text("{}")
    check_place(tmp_path / "gcn")


def test_who_names_the_folder_above_models_is_told_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model in .*: it should hold card.json and weights.safetensors\.$"):
        read_card(tmp_path)
    for name in ("student", "dmpnn", "fits"):
        (tmp_path / name).mkdir()
    for name in ("student", "dmpnn"):
        (tmp_path / name / CARD).write_text("{}")
    with pytest.raises(UsageError, match=rf"There are models in {tmp_path}/dmpnn, {tmp_path}/student\.$"):
        read_card(tmp_path)
    with pytest.raises(UsageError, match=r"no model in .*/card\.json: "):
        read_card(tmp_path / "student" / CARD)


def test_a_model_needs_a_folder(tmp_path: Path) -> None:
    check_place(tmp_path / "new" / "gcn")
    (tmp_path / "file").write_text("there")
    for place in (tmp_path / "file", tmp_path / "file" / "gcn"):
        with pytest.raises(UsageError, match="is a file"):
            check_place(place)


def test_a_comparison_does_not_replace_the_table_that_it_reads(tmp_path: Path) -> None:
    data = tmp_path / "table.csv"
    data.write_text("smiles,y\n")
    check_comparison(tmp_path, inputs=["esol"])
    with pytest.raises(UsageError, match="which this command reads"):
        check_comparison(tmp_path, inputs=[str(data)])
