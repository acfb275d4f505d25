"""What is wrong with a request, in one sentence that names the field and the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teacher.wording import counted

FIELD = "smiles"
EXAMPLE = '{"smiles": "CCO"}'
HOW = f"send JSON as {EXAMPLE}, or a list in the place of the SMILES"


def sentence_of(errors: Sequence[Mapping[str, Any]], content_type: str) -> str:
    """Return what a client should correct.

    Args:
        errors: of pydantic, about the body of a request: where (`loc`), what (`type`) and its limits (`ctx`).
        content_type: as the request names it; empty where it names none.
    """
    first = errors[0]
    place = [part for part in first["loc"] if part != "body"]
    if first["type"] == "json_invalid":
        return f"The body is no JSON ({first['ctx']['error']}, at character {place[0]}): {HOW}."
    if not place:
        return _of_the_body(first["type"], content_type)
    return _of_the_field(errors)


def _of_the_body(kind: str, content_type: str) -> str:
    if kind == "missing":
        return f"The request has no body: {HOW}."
    if "json" not in content_type:
        named = f", not '{content_type:.100}'" if content_type else ""
        return f"The body must be sent with the header 'Content-Type: application/json'{named}: {HOW}."
    return f"The body must be an object with the field '{FIELD}': {HOW}."


def _of_the_field(errors: Sequence[Mapping[str, Any]]) -> str:
    kinds = {error["type"]: error for error in errors}
    unknown = f"'{kinds['extra_forbidden']['loc'][-1]:.100}' is no field" if "extra_forbidden" in kinds else ""
    if "missing" in kinds:
        return f"The field '{FIELD}' is missing{unknown and f', and {unknown}'}: {HOW}."
    if unknown:
        return f"{unknown} of a request, which has only '{FIELD}': leave it out."
    if "string_too_long" in kinds:
        most = kinds["string_too_long"]["ctx"]["max_length"]
        return f"A SMILES in '{FIELD}' is longer than {counted(most, 'character')}: leave it out."
    if "string_unicode" in kinds:
        return f"A SMILES in '{FIELD}' holds half a character (a lone surrogate): correct its encoding."
    entries = [error["loc"][-1] for error in errors if isinstance(error["loc"][-1], int)]
    named = f", and entry {entries[0] + 1:,} of the list is no text" if entries else ""
    return f"The field '{FIELD}' must be a SMILES or a list of them{named}: {HOW}."
