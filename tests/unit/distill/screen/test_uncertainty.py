"""How unsure a student is, so that molecules can be chosen by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles

import gallon
from distill.models.model_store import CARD
from distill.screen.saved_model import SavedModel
from distill.screen.uncertainty import Uncertainty, entropy
from teacher.errors import UsageError
from tests.support.models import untrained_student


def knowing(folder: Path, half: Sequence[Sequence[float | None]]) -> Path:
    """Return a student of two targets with known intervals, (bins, targets), parted at a similarity of one half."""
    student = untrained_student(folder, targets=("first", "second"))
    card = json.loads((student / CARD).read_text())
    card["doubt"] |= {"edges": [0.5], "half": half}
    (student / CARD).write_text(json.dumps(card))
    return student


def test_targets_count_alike_whatever_their_unit(tmp_path: Path) -> None:
    unsure = Uncertainty(SavedModel(knowing(tmp_path, [[3.0, 1000.0], [1.0, 3000.0]])))
    said, similarity = unsure.of([MolFromSmiles(smiles) for smiles in ("c1ccncc1", "CCCCO")])
    assert said.tolist() == [[3.0, 1000.0], [1.0, 3000.0]] and similarity[0] < 0.5 < similarity[1]
    assert unsure.relative(said) == pytest.approx([1, 1])
    assert unsure.relative(said[:, :1]) == pytest.approx([1.5, 0.5])


def test_a_target_of_which_nothing_tells_is_left_out(tmp_path: Path) -> None:
    unsure = Uncertainty(SavedModel(knowing(tmp_path, [[3.0, None], [1.0, None]])))
    said, _ = unsure.of([MolFromSmiles(smiles) for smiles in ("c1ccncc1", "CCCCO")])
    assert unsure.relative(said) == pytest.approx([1.5, 0.5])
    with pytest.raises(UsageError, match="too small to tell"):
        unsure.relative(said[:, 1:])


def test_a_class_is_as_unsure_as_its_probability_is_even() -> None:
    assert entropy(np.array([[0.5, 0.0], [0.25, 1.0]], dtype=np.float32)) == pytest.approx(
        np.array([[1, 0], [0.811278, 0]])
    )


def test_molecules_are_chosen_by_a_students_uncertainty(tmp_path: Path) -> None:
    student = knowing(tmp_path / "model", [[3.0, 3.0], [1.0, 1.0]])
    library, out = tmp_path / "library.smi", tmp_path / "out.csv"
    library.write_text("CCO\nCCCCO\nc1ccncc1\nc1ccncc1C\n")
    chosen = gallon.choose(str(library), number=1, student=student, only_chosen=True, out=out)
    assert chosen.smiles[0] in ("c1ccncc1", "Cc1ccccn1")
    assert float(out.read_text().splitlines()[1].split(",")[-2]) > 1
    with pytest.raises(UsageError, match="leave out --by, or --student"):
        gallon.choose(str(library), number=1, student=student, by="degree", out=out, overwrite=True)
