"""JSON is JSON, wherever it is written."""

from __future__ import annotations

import json

import pytest

from teacher.strict_json import dumps


def test_what_is_no_finite_number_becomes_null() -> None:
    facts = {"a": float("nan"), "b": [1.5, float("inf"), {"c": -float("inf")}], "d": (2, "NaN")}
    assert json.loads(dumps(facts)) == {"a": None, "b": [1.5, None, {"c": None}], "d": [2, "NaN"]}


def test_what_is_finite_stays_and_options_are_those_of_json() -> None:
    assert dumps({"b": 0.1, "a": "ä"}, sort_keys=True, ensure_ascii=False) == '{"a": "ä", "b": 0.1}'


def test_a_circle_is_an_error() -> None:
    circle: list = []
    circle.append(circle)
    with pytest.raises((ValueError, RecursionError)):
        dumps(circle)
