"""Drawings of molecules, and what becomes of them where the system cannot draw."""

from __future__ import annotations

import sys

import pytest

from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.depiction import check_drawing
from teacher.errors import UsageError


def test_a_machine_that_cannot_draw_is_told_before_any_molecule_is(monkeypatch: pytest.MonkeyPatch) -> None:
    check_drawing()
    assert resolve_spec(SpecConfig()).spec.image_size
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)  # as where libXrender is missing: an ImportError
    with pytest.raises(UsageError, match=r"cannot draw on this machine \(.*libxrender1.*--no-image\.$"):
        resolve_spec(SpecConfig())
    assert resolve_spec(SpecConfig(image=False)).spec.image_size is None
