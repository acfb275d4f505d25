"""The JSON schema that a prompt holds its answers to: whether it is sound, and the columns that it gives a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing import Resource
    from referencing._core import Resolver

Kind = Literal["integer", "number", "boolean", "string", "strings", "json"]

REFERENCES = ("$ref", "$dynamicRef")
# Left to the check of an answer. vLLM refuses a request whose grammar has any of these but the lengths.
UNGUIDED = frozenset(
    {
        *("minLength", "maxLength", "uniqueItems", "multipleOf"),
        *("contains", "minContains", "maxContains", "propertyNames"),
    }
)
GUIDED_FORMATS = (  # others vLLM refuses as well
    *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri"),
    *("uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
)
NAMED_SCHEMAS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
LITERALS = ("enum", "const", "default", "examples", "dependentRequired")  # which hold no schemas
SAMPLES: tuple[Any, ...] = ({}, [], "", 0, True, None)  # one of each type


class SchemaError(ValueError):
    """No answer can be held to this schema; the message says why."""


def check_schema(schema: Any) -> None:
    """Check that answers can be held to a schema, before any is asked for.

    It must be JSON, and JSON Schema (draft 2020-12) of an object, and refer to nothing outside itself.

    Raises:
        SchemaError: it is not.
    """
    validator_of(schema)
    if json.loads(json.dumps(schema)) != schema:
        raise SchemaError("has a key that is no text: write it in quotes")


def validator_of(schema: Any) -> Draft202012Validator:
    """Compile a schema, once per process; its validator fetches nothing from anywhere.

    Raises:
        SchemaError: as `check_schema`.
    """
    try:
        text = json.dumps(schema, sort_keys=True, default=dict, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise SchemaError("holds what JSON cannot: dates, infinities, or itself") from None
    return _compiled(text)


def for_grammar(schema: Any) -> Any:
    """Return a schema without what no grammar takes, or what costs it too much, for constrained decoding.

    Counting characters makes the masks of a 131,000-token vocabulary 27 times as expensive (141 against 5 us a token),
    and their compilation 4.7 s instead of 0.02 s. No grammar can tell whether items differ, say, and vLLM refuses one
    that is to. All of it is checked when the answer is there, but for what a format asks for.
    """
    if isinstance(schema, list):
        return [for_grammar(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    freed = {}
    for keyword, value in schema.items():
        if _is_unguided(keyword, value, schema):
            continue
        if keyword in NAMED_SCHEMAS and isinstance(value, Mapping):
            freed[keyword] = {name: for_grammar(each) for name, each in value.items()}
        else:
            freed[keyword] = value if keyword in LITERALS else for_grammar(value)
    return freed


def _is_unguided(keyword: str, value: Any, schema: Mapping[str, Any]) -> bool:
    """Tell whether a keyword of a schema is left to the check of an answer."""
    if keyword == "format":
        return value not in GUIDED_FORMATS
    if keyword == "allOf":  # xgrammar reads one branch only
        return isinstance(value, list) and len(value) > 1
    if keyword == "patternProperties":
        return "properties" in schema or (isinstance(value, Mapping) and len(value) > 1)
    return keyword in UNGUIDED


def columns_of(schema: Mapping[str, Any] | None) -> dict[str, Kind]:
    """Return the columns that the fields of a schema's object have in a table, by field name.

    A field is of its own type, which may be "or null", a list of strings, or else (objects, other lists, unions) JSON.
    Any mapping will do: where it says nothing that is understood, the field is JSON.
    """
    properties = (schema or {}).get("properties")
    return {name: _kind(field) for name, field in properties.items()} if isinstance(properties, Mapping) else {}


def _kind(field: Any) -> Kind:
    kind = _type(field)
    if kind in ("integer", "number", "boolean", "string"):
        return cast("Kind", kind)
    return "strings" if kind == "array" and _type(field.get("items")) == "string" else "json"


def _type(field: Any) -> Any:
    """Return the one type of a field's values; None where there are several, or it is not said."""
    kinds = field.get("type") if isinstance(field, Mapping) else None
    if isinstance(kinds, list):
        kinds = [kind for kind in kinds if kind != "null"]
        return kinds[0] if len(kinds) == 1 else None
    return kinds


@cache
def _compiled(text: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError as NoSchema
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import CannotDetermineSpecification, Unresolvable

    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
        strict = extend(Draft202012Validator, {"minLength": _min_length})  # type: ignore[no-untyped-call]
        validator: Draft202012Validator = strict(schema, registry=Registry())
        for part, resolver in _parts(schema):
            _check_references(part, resolver)
            _try(cast("Draft202012Validator", validator.evolve(schema=part, _resolver=resolver)))
    except NoSchema as error:
        raise SchemaError(f"{'.'.join(map(str, error.absolute_path)) or 'the schema'}: {error.message}") from None
    except Unresolvable as error:
        raise SchemaError(f"refers to '{error.ref}', which is not in it") from None
    except CannotDetermineSpecification:
        raise SchemaError("names another kind of $schema in a part of it") from None
    except RecursionError:
        raise SchemaError("is nested too deeply, or refers to itself in a circle") from None
    kinds = schema.get("type", "object") if isinstance(schema, dict) else "object"
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        raise SchemaError("is not one of an object: its type must be 'object'")
    return validator


def _parts(schema: Any) -> Iterator[tuple[Any, Resolver[Any]]]:
    """Yield a schema and all the schemas in it, each with what finds its references."""
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    def walk(resource: Resource[Any], resolver: Resolver[Any]) -> Iterator[tuple[Any, Resolver[Any]]]:
        yield resource.contents, resolver
        for part in resource.subresources():
            yield from walk(part, resolver.in_subresource(part))

    whole = DRAFT202012.create_resource(schema)
    yield from walk(whole, Registry().resolver_with_root(whole))


def _check_references(part: Any, resolver: Resolver[Any]) -> None:
    from jsonschema import Draft202012Validator

    for keyword in REFERENCES if isinstance(part, dict) else ():
        if keyword in part:
            Draft202012Validator.check_schema(resolver.lookup(part[keyword]).contents)


def _min_length(validator: Draft202012Validator, least: int, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """Take a length that is asked for as one of words: blanks alone are no text."""
    from jsonschema.exceptions import ValidationError

    if validator.is_type(value, "string") and (len(value) < least or (least and not value.strip())):
        yield ValidationError(f"{value!r} is {'too short' if len(value) < least else 'blank'}")


def _try(validator: Draft202012Validator) -> None:
    """Validate a value of each type, so that a schema that refers to itself in a circle is found now."""
    for sample in SAMPLES:
        for _ in validator.iter_errors(sample):
            pass
