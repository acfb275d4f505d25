"""Which texts are accepted as annotations, how their claims are scored, and how the others are refused."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teacher.chemistry.facts import Facts, vocabulary
from teacher.llm.schema import SchemaError
from teacher.llm.validation import MAX_DEPTH, MAX_MESSAGE, Grounding, RejectedError, ValidatedAnswer, validate

ASPIRIN = Facts(
    ("carboxylic acid", "ester"), aromatic_rings=1, aliphatic_rings=0, polarity="medium", lipophilicity="medium"
)
METHANE = Facts((), aromatic_rings=0, aliphatic_rings=0, polarity="low", lipophilicity="low")
TRUE_FIELDS: dict[str, Any] = {
    "functional_groups": ["ester", "carboxylic acid"],
    "aromatic_rings": 1,
    "aliphatic_rings": 0,
    "polarity": "medium",
    "lipophilicity": "medium",
    "description": "An acetylated salicylic acid.",
}
BAND = {"enum": ["low", "medium", "high"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "functional_groups": {"type": "array", "items": {"enum": list(vocabulary())}, "uniqueItems": True},
        "aromatic_rings": {"type": "integer", "minimum": 0},
        "aliphatic_rings": {"type": "integer", "minimum": 0},
        "polarity": BAND,
        "lipophilicity": BAND,
        "description": {"type": "string", "maxLength": 600},
    },
    "required": list(TRUE_FIELDS),
    "additionalProperties": False,
}
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def check_fields(schema: Mapping[str, Any] = ANY_OBJECT, facts: Facts = ASPIRIN, **fields: Any) -> ValidatedAnswer:
    return validate(json.dumps(fields), "stop", schema, facts)


def rejection(text: str, finish_reason: str | None = "stop", schema: Mapping[str, Any] | None = None) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        validate(text, finish_reason, schema, ASPIRIN)
    return caught.value


def test_a_true_object_is_accepted_with_its_fields() -> None:
    checked = check_fields(SCHEMA, **TRUE_FIELDS)
    assert checked.fields == TRUE_FIELDS
    assert checked.grounding == Grounding(precision=1.0, recall=1.0, f1=1.0, rings=1.0, score=1.0)


def test_free_text_is_accepted_without_fields() -> None:
    checked = validate("An aromatic ester with a carboxylic acid.", "stop", None, ASPIRIN)
    assert checked == ValidatedAnswer(None, Grounding(precision=1.0, recall=1.0, f1=1.0, rings=None, score=1.0))


@pytest.mark.parametrize("schema", [None, SCHEMA])
@pytest.mark.parametrize(
    ("finish_reason", "message"),
    [
        ("length", "was cut off after the token limit"),
        ("abort", "was aborted by the engine"),
        ("error", "ended in an error of the engine"),
        ("repetition", "was stopped because it repeated itself"),
        (None, "has no finish reason"),
        ("tired", "did not finish: 'tired'"),
    ],
)
def test_unfinished_text_is_rejected(finish_reason: str | None, message: str, schema: Mapping[str, Any] | None) -> None:
    error = rejection(json.dumps(TRUE_FIELDS), finish_reason, schema)
    assert (error.stage, str(error)) == ("finish", message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is blank"),
        (" \n\t\u2003", "is blank"),
        ("an ester\0", "has the character U+0000, which cannot be stored"),
        ("an ester \ud83d", "has the character U+D83D, which cannot be stored"),
    ],
)
def test_free_text_without_words_or_with_unstorable_characters_is_rejected(text: str, message: str) -> None:
    error = rejection(text)
    assert (error.stage, str(error)) == ("schema", message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("An ester.", "is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"a": 1} and more', "is no JSON: Extra data: line 1 column 10 (char 9)"),
        ('```json\n{"a": 1}\n```', "is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"a": "b', "is no JSON: Unterminated string starting at: line 1 column 7 (char 6)"),
        ("[1, 2]", "is no JSON object"),
        ("null", "is no JSON object"),
        ('{"a": NaN}', "is no JSON: NaN is no number"),
        ('{"a": [-Infinity]}', "is no JSON: -Infinity is no number"),
        ('{"a": 1e999}', "has a number too large for a float"),
        ('{"a": 1, "a": 2}', "has an object with the same key twice"),
        ('{"a": {"b": 1, "b": 1}}', "has an object with the same key twice"),
        ('{"a": -1234567890123456789}', "has an integer of more than 18 digits"),
        ('{"a": ' + "9" * 10_000 + "}", "has an integer of more than 18 digits"),
        (r'{"a": ["\ud800"]}', "has the character U+D800, which cannot be stored"),
        (r'{"a": {"\u0000": 1}}', "has the character U+0000, which cannot be stored"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_sound_json_object_is_rejected(text: str, message: str) -> None:
    error = rejection(text, schema=ANY_OBJECT)
    assert (error.stage, str(error)) == ("schema", message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"polarity": "huge"}, "polarity: 'huge' is not one of ['low', 'medium', 'high']"),
        ({"aromatic_rings": -1}, "aromatic_rings: -1 is less than the minimum of 0"),
        ({"aromatic_rings": "one"}, "aromatic_rings: 'one' is not of type 'integer'"),
        ({"aromatic_rings": True}, "aromatic_rings: True is not of type 'integer'"),
        ({"functional_groups": ["ester", "ester"]}, "functional_groups: ['ester', 'ester'] has non-unique elements"),
        ({"mood": "good"}, "the object: Additional properties are not allowed ('mood' was unexpected)"),
    ],
)
def test_what_violates_the_schema_is_rejected_with_place_and_reason(changes: dict[str, Any], message: str) -> None:
    error = rejection(json.dumps(TRUE_FIELDS | changes), schema=SCHEMA)
    assert (error.stage, str(error)) == ("schema", message)


def test_a_missing_field_is_named() -> None:
    fields = {name: value for name, value in TRUE_FIELDS.items() if name != "polarity"}
    assert str(rejection(json.dumps(fields), schema=SCHEMA)) == "the object: 'polarity' is a required property"


def test_a_group_outside_the_vocabulary_is_named_by_its_place() -> None:
    error = rejection(json.dumps(TRUE_FIELDS | {"functional_groups": ["ester", "carbonyl"]}), schema=SCHEMA)
    assert str(error).startswith("functional_groups.1: 'carbonyl' is not one of ['alcohol', ")


def test_a_message_never_carries_a_whole_text() -> None:
    error = rejection(json.dumps(TRUE_FIELDS | {"description": "word " * 1000}), schema=SCHEMA)
    assert len(str(error)) <= MAX_MESSAGE
    assert str(error).startswith("description: 'word word")
    assert str(error).endswith("is too long")


def test_nesting_is_accepted_down_to_its_limit() -> None:
    def nested(depth: int) -> str:
        return '{"a": ' + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}"

    assert validate(nested(MAX_DEPTH), "stop", ANY_OBJECT, ASPIRIN).fields
    for depth in range(MAX_DEPTH + 1, 2 * sys.getrecursionlimit(), 50):
        assert str(rejection(nested(depth), schema=ANY_OBJECT)) == "is nested too deeply"


def test_a_wrong_schema_is_the_callers_mistake() -> None:
    with pytest.raises(SchemaError):
        validate("{}", "stop", {"type": "thing"}, ASPIRIN)


def test_a_read_only_schema_is_understood() -> None:
    schema = MappingProxyType(
        {"type": "object", "properties": MappingProxyType({"a": MappingProxyType({"type": "string"})})}
    )
    assert validate('{"a": "ester"}', "stop", schema, ASPIRIN).fields == {"a": "ester"}


@pytest.mark.parametrize(
    ("groups", "facts", "precision", "recall", "f1"),
    [
        (["carboxylic acid", "ester"], ASPIRIN, 1.0, 1.0, 1.0),
        (["ester"], ASPIRIN, 1.0, 0.5, 2 / 3),
        (["ester", "ketone"], ASPIRIN, 0.5, 0.5, 0.5),
        (["ester", "ester", "Lactones"], ASPIRIN, 1.0, 0.5, 2 / 3),
        (["ketone"], ASPIRIN, 0.0, 0.0, 0.0),
        (["sparkle"], ASPIRIN, 0.0, 0.0, 0.0),
        ([], ASPIRIN, 1.0, 0.0, 0.0),
        ([], METHANE, 1.0, 1.0, 1.0),
        (["ketone"], METHANE, 0.0, 1.0, 0.0),
    ],
)
def test_claimed_groups_are_scored(groups: list[str], facts: Facts, precision: float, recall: float, f1: float) -> None:
    grounding = check_fields(functional_groups=groups, facts=facts).grounding
    assert (grounding.precision, grounding.recall) == (precision, recall)
    assert grounding.score == grounding.f1 == pytest.approx(f1)


@pytest.mark.parametrize(
    ("claims", "rings"),
    [
        ({"aromatic_rings": 1, "aliphatic_rings": 0}, 1.0),
        ({"aromatic_rings": 1.0, "aliphatic_rings": 0}, 1.0),
        ({"aromatic_rings": 1, "aliphatic_rings": 1}, 0.5),
        ({"aromatic_rings": 2, "aliphatic_rings": 1}, 0.0),
        ({"aromatic_rings": 1}, 1.0),
        ({"aliphatic_rings": 7}, 0.0),
        ({"aromatic_rings": True, "aliphatic_rings": "0"}, None),
        ({}, None),
    ],
)
def test_claimed_ring_counts_are_scored(claims: dict[str, Any], rings: float | None) -> None:
    assert check_fields(**claims).grounding.rings == rings


@pytest.mark.parametrize(
    ("aromatic", "aliphatic", "rings"), [(2, 0, 1.0), (0, 2, 1.0), (2, 2, 0.5), (1, 1, 0.0), (3, 0, 0.5)]
)
def test_rings_that_are_counted_in_two_ways_are_right_in_both_but_not_in_a_mixture(
    aromatic: int, aliphatic: int, rings: float
) -> None:
    azulene = replace(METHANE, aliphatic_rings=2, perimeter_rings=2)
    grounding = check_fields(facts=azulene, aromatic_rings=aromatic, aliphatic_rings=aliphatic).grounding
    assert grounding.rings == rings


def test_the_score_counts_groups_and_rings_and_nothing_else() -> None:
    said = {"polarity": "high", "lipophilicity": "high", "description": "No ester: a ketone of five rings."}
    assert check_fields(SCHEMA, **(TRUE_FIELDS | said)).grounding.score == 1.0


def test_the_score_is_the_mean_of_groups_and_rings() -> None:
    grounding = check_fields(functional_groups=["ester", "ketone"], aromatic_rings=1, aliphatic_rings=0).grounding
    assert (grounding.f1, grounding.rings, grounding.score) == (0.5, 1.0, 0.75)


@pytest.mark.parametrize(
    "fields", [{"summary": "an ester\nand a carboxylate"}, {"parts": [{"name": "ester"}, "carboxyl"]}]
)
def test_without_a_list_of_groups_the_mentions_count(fields: dict[str, Any]) -> None:
    assert check_fields(**fields).grounding.score == 1.0


def test_text_below_the_least_grounding_is_rejected_with_its_errors() -> None:
    with pytest.raises(RejectedError) as caught:
        validate("an ester and a ketone", "stop", None, ASPIRIN, min_grounding=0.6)
    assert caught.value.stage == "grounding"
    assert str(caught.value) == (
        "grounding 0.50 is below 0.60; groups claimed but not there: ketone; not claimed: carboxylic acid"
    )


def test_text_at_the_least_grounding_is_accepted() -> None:
    assert validate("an ester and a ketone", "stop", None, ASPIRIN, min_grounding=0.5).grounding.score == 0.5


def test_a_rejection_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RejectedError("schema", "x" * 1000)))
    assert (error.stage, str(error)) == ("schema", str(RejectedError("schema", "x" * 1000)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(TRUE_FIELDS)), inner),
    max_leaves=20,
)
json_texts = json_values.map(json.dumps) | st.dictionaries(st.sampled_from(list(TRUE_FIELDS)), json_values).map(
    json.dumps
)
any_text = (
    st.text(st.characters(exclude_categories=()))
    | st.text(st.sampled_from('{}[]",:\\ue0123456789-+.NaI truefalsn'))
    | json_texts
)


@given(any_text, st.sampled_from([None, SCHEMA, ANY_OBJECT, {}]))
@example('{"a": 1' + "0" * 5_000 + "}", ANY_OBJECT)
@example('{"a": ' * 5_000, ANY_OBJECT)
@example('{"functional_groups": [[]], "aromatic_rings": [1]}', ANY_OBJECT)
def test_any_text_is_accepted_or_rejected(text: str, schema: Mapping[str, Any] | None) -> None:
    try:
        checked = validate(text, "stop", schema, ASPIRIN, min_grounding=0.5)
    except RejectedError as error:
        assert error.stage in {"schema", "grounding"}
        assert 0 < len(str(error)) <= MAX_MESSAGE
    else:
        assert 0.5 <= checked.grounding.score <= 1.0
        json.dumps(checked.fields, allow_nan=False, ensure_ascii=False).encode()


@given(st.sets(st.sampled_from(vocabulary())), st.sets(st.sampled_from(vocabulary())))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(claimed: set[str], there: set[str]) -> None:
    facts = Facts(tuple(there), 0, 0, "low", "low")
    grounding = check_fields(functional_groups=list(claimed), facts=facts).grounding
    total = grounding.precision + grounding.recall
    assert grounding.f1 == pytest.approx(2 * grounding.precision * grounding.recall / total if total else 0.0)
