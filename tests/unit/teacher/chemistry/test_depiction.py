"""Drawings of molecules, and what becomes of them where the system cannot draw."""

from __future__ import annotations

import re
import sys
from socket import gethostname

import pytest

from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.depiction import check_drawing
from teacher.chemistry.drawing import shared_drawer
from teacher.errors import UsageError


def test_a_machine_that_cannot_draw_is_told_before_any_molecule_is(monkeypatch: pytest.MonkeyPatch) -> None:
    check_drawing()
    assert resolve_spec(SpecConfig()).spec.image_size
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)  # as where libXrender is missing: an ImportError
    with pytest.raises(UsageError, match=rf"cannot draw on {re.escape(gethostname())} \(.*libxrender1.*--no-image\.$"):
        resolve_spec(SpecConfig())
    assert resolve_spec(SpecConfig(image=False)).spec.image_size is None


def test_no_drawer_is_started_where_it_would_blame_the_molecules(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_drawer.cache_clear()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rdkit.Chem.Draw", None)
        with pytest.raises(UsageError, match="cannot draw"):
            shared_drawer()
    assert isinstance(shared_drawer().draw(["C"], 32)[0], bytes)
    shared_drawer().close()
