"""The rows of a comparison, and those that are left out."""

import pytest

from distill.evaluate.methods import METHODS, defaults, method
from teacher.errors import UsageError


def test_rows_that_need_what_is_not_there_are_left_out() -> None:
    textless = defaults(with_texts=False, with_transfer_set=True)
    assert not any(name.startswith("lm") or name in ("gallon", "student+both") for name in textless)
    assert {"student+gnn", "student+gnn+transfer"} <= set(textless)
    assert not any(name.endswith("transfer") for name in defaults(with_texts=True, with_transfer_set=False))
    everything = defaults(with_texts=True, with_transfer_set=True)
    asked_for = {"chemprop", "lm-fine-tuned", "mmf", "e-llagnn", "minimol", "smiles-encoder"}
    assert set(METHODS) - set(everything) == asked_for


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UsageError, match="no method 'svm': choose out of random_forest"):
        method("svm")
