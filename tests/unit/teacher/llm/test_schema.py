"""A prompt's schema is refused before a run, in one sentence, where no answer could be held to it."""

from __future__ import annotations

import datetime
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from teacher.errors import UsageError
from teacher.llm.prompt import load
from teacher.llm.schema import GUIDED_FORMATS, SchemaError, check_schema, columns_of, for_grammar
from teacher.llm.validation import RejectedError, well_formed
from teacher.plain_yaml import TIMESTAMP
from tests.support.prompts import PROMPT


def written(folder: Path, schema: Any) -> str:
    """Write a prompt file with a schema; return where."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**PROMPT, "schema": schema}, allow_unicode=False))
    return str(path)


def with_field(field: Any, **others: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": field}, **others}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that should hear nothing."""
    with socket.create_server(("127.0.0.1", 0)) as heard:
        heard.setblocking(False)
        yield heard


def test_every_prompt_of_the_catalog_has_a_sound_schema(describe: Any) -> None:
    check_schema(describe.json_schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "thing"}, "type: 'thing' is not valid"),
        ({"type": "array"}, "its type must be 'object'"),
        (with_field({"pattern": "("}), r"properties.a.pattern: '\(' is not a 'regex'"),
        (with_field({"$ref": "#/$defs/nowhere"}), "refers to '/\\$defs/nowhere', which is not in it"),
        (with_field({"$dynamicRef": "#nowhere"}), "which is not in it"),
        (with_field({"$ref": "https://json.schemastore.org/package"}), "which is not in it"),
        (with_field({"$ref": "#/properties/b/enum/0"}) | {"b": 1}, "which is not in it"),
        (with_field({"$ref": "#/examples/0"}, examples=[{"type": "thing"}]), "type: 'thing' is not valid"),
        (with_field({"$ref": "#/examples/0"}, examples=[1]), "1 is not of type"),
        ({"$ref": "#"}, "refers to itself in a circle"),
        (with_field({"allOf": [{"$ref": "#/properties/a"}]}), "refers to itself in a circle"),
        (with_field({"const": float("inf")}), "what JSON cannot"),
        (with_field({"const": "\ud800"}), "what JSON cannot"),
        ({"type": "object", "properties": {1: {}}}, "a key that is no text"),
    ],
)
def test_a_schema_that_no_answer_can_be_held_to_is_refused(schema: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=reason):
        check_schema(schema)
    with pytest.raises(UsageError, match="The schema of the prompt file") as caught:
        load(written(tmp_path, schema))
    assert "\n" not in str(caught.value)


@pytest.fixture
def another_reading_of_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What importing vLLM does to PyYAML."""
    constructors = yaml.SafeLoader.yaml_constructors
    monkeypatch.setitem(constructors, TIMESTAMP, constructors["tag:yaml.org,2002:str"])


def test_a_date_in_a_schema_is_text_whoever_reads_it(tmp_path: Path) -> None:
    prompt = load(written(tmp_path, with_field({"const": datetime.date(2020, 1, 1)})))
    assert prompt.json_schema == with_field({"const": "2020-01-01"})


def test_a_date_that_says_so_is_refused_whoever_reads_it(another_reading_of_dates: None, tmp_path: Path) -> None:
    path = Path(written(tmp_path, {}))
    path.write_text(path.read_text() + "task: !!timestamp 2020-01-01\n")
    with pytest.raises(UsageError, match=r"not valid YAML.*timestamp"):
        load(str(path))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        with_field(True),
        with_field({"type": "array", "items": True}),
        with_field({"type": ["integer", "string"]}),
        with_field({"$ref": "#"}),  # a tree
        with_field({"$ref": "#/$defs/b"}, **{"$defs": {"b": {"type": "integer"}}}),
        with_field({"$ref": "#b"}, **{"$id": "https://example.org/s", "$defs": {"b": {"$anchor": "b"}}}),
    ],
)
def test_a_sound_schema_is_accepted(schema: dict[str, Any]) -> None:
    check_schema(schema)
    assert well_formed("{}", "stop", schema) == {}


def test_a_prompt_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PROMPT) + "schema: &a {properties: *a}\n")
    with pytest.raises(UsageError, match="nested too deeply"):
        load(str(path))


def test_a_reference_is_never_followed_to_the_network(listener: socket.socket) -> None:
    host, port = listener.getsockname()
    with pytest.raises(SchemaError):
        well_formed('{"a": 1}', "stop", with_field({"$ref": f"http://{host}:{port}/schema.json"}))
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_circle_that_only_some_objects_enter_rejects_those() -> None:
    schema = {"dependentSchemas": {"a": {"$ref": "#"}}}
    assert well_formed('{"b": 1}', "stop", schema) == {"b": 1}
    with pytest.raises(RejectedError, match="nested too deeply"):
        well_formed('{"a": 1}', "stop", schema)


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u2003"])
def test_a_text_that_must_have_a_length_is_not_blank(blank: str) -> None:
    schema = with_field({"items": {"type": "string", "minLength": 1}})
    assert well_formed('{"a": ["An ester."]}', "stop", schema)
    with pytest.raises(RejectedError, match=r"a\.0: .* is (blank|too short)"):
        well_formed('{"a": ["' + blank.encode("unicode_escape").decode() + '"]}', "stop", schema)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["null", "number"]}, "number"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "string", "enum": ["low"]}, "string"),
        ({"type": "array", "items": {"type": "string"}}, "strings"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "strings"),
        ({"type": "array", "items": True}, "json"),
        ({"type": "array", "items": [{"type": "string"}]}, "json"),
        ({"type": ["integer", "string"]}, "json"),
        ({"type": []}, "json"),
        ({"type": {}}, "json"),
        ({}, "json"),
        (True, "json"),
        (None, "json"),
    ],
)
def test_a_field_has_a_column_of_its_type_or_of_json(field: Any, kind: str) -> None:
    assert columns_of({"properties": {"a": field}}) == {"a": kind}


@pytest.mark.parametrize("schema", [None, {}, {"properties": None}, {"properties": []}])
def test_a_schema_without_fields_gives_no_columns(schema: Any) -> None:
    assert columns_of(schema) == {}


def test_the_grammar_does_not_count_characters_and_keeps_everything_else() -> None:
    bounded = {"type": "string", "minLength": 1, "maxLength": 600}
    schema = {
        "type": "object",
        "properties": {"maxLength": {"type": "integer", "maximum": 9}, "text": bounded},
        "$defs": {"minLength": {"anyOf": [bounded, {"enum": [{"maxLength": 1}]}]}},
        "required": ["maxLength"],
    }
    assert for_grammar(schema) == {
        "type": "object",
        "properties": {"maxLength": {"type": "integer", "maximum": 9}, "text": {"type": "string"}},
        "$defs": {"minLength": {"anyOf": [{"type": "string"}, {"enum": [{"maxLength": 1}]}]}},
        "required": ["maxLength"],
    }
    assert schema["properties"]["text"] is bounded and "maxLength" in bounded
    assert for_grammar(None) is None


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ({"type": "number", "multipleOf": 0.5}, 1.5, 1.3),
        (
            {"type": "array", "items": {"type": "string"}, "contains": {"const": "a"}, "minContains": 2},
            ["a", "a"],
            ["a"],
        ),
        ({"type": "array", "contains": {"const": "a"}, "maxContains": 1}, ["a"], ["a", "a"]),
        ({"type": "array", "uniqueItems": True}, [1, 2], [1, 1]),
        ({"type": "object", "properties": {"b": {}}, "propertyNames": {"pattern": "^b"}}, {"b": 1}, {"c": 1}),
        ({"type": "object", "patternProperties": {"^b": {"type": "null"}, "^c": {}}}, {"b": None}, {"b": 1}),
        ({"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, "ab", "ac"),
        ({"type": "string", "format": "iri"}, "http://a", 1),
    ],
)
def test_what_vllm_refuses_in_a_grammar_is_left_to_the_check_of_the_answer(field: Any, good: Any, bad: Any) -> None:
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams
    from vllm.v1.structured_output.backend_xgrammar import validate_xgrammar_grammar

    schema = with_field(field, required=["a"], additionalProperties=False)
    grammar = StructuredOutputsParams(json=json.dumps(for_grammar(schema)))
    validate_xgrammar_grammar(SamplingParams(structured_outputs=grammar))
    well_formed(json.dumps({"a": good}), "stop", schema)
    with pytest.raises(RejectedError, match=r"^a"):
        well_formed(json.dumps({"a": bad}), "stop", schema)


def test_a_format_that_vllm_guides_stays_in_the_grammar_and_so_does_a_field_of_that_name() -> None:
    from vllm.v1.structured_output.backend_xgrammar import STRING_SUPPORTED_FORMATS

    assert set(GUIDED_FORMATS) == STRING_SUPPORTED_FORMATS
    schema = {"properties": {"format": {"type": "string", "format": "date"}}, "dependentRequired": {"format": ["a"]}}
    assert for_grammar(schema) == schema
