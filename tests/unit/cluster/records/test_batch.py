"""Which molecules of a batch are asked about again, and how."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from cluster.records.batch import Asked
from cluster.store.record import Stage
from teacher.llm.validation import Stage as Check
from tests.support.records import letter


@pytest.mark.parametrize("check", get_args(Check))
def test_a_rejected_answer_is_followed_by_another_attempt_whatever_check_rejected_it(check: Check) -> None:
    assert Asked.after("CCO", replace(letter(), stage=check, attempts=2)) == Asked("CCO", 2, check)


def test_what_failed_is_asked_again_as_it_was() -> None:
    assert Asked.after("CCO", replace(letter(), stage="engine", attempts=2)) == Asked("CCO", 1)


@pytest.mark.parametrize("stage", ["prompt", "parse"])
def test_what_was_refused_is_not_asked_again(stage: Stage) -> None:
    assert Asked.after("CCO", replace(letter(), stage=stage)) is None
