"""Whether a text may be accepted as the annotation of a molecule: finished, well formed, and true enough."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field

from teacher.chemistry.facts import Structure, mentioned_groups
from teacher.llm.completion import Completion
from teacher.llm.schema import validator_of
from teacher.llm.thinking import CHANNEL, OPENINGS

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from typing_extensions import TypeIs

Stage = Literal["thinking", "finish", "schema", "grounding"]
Share = Annotated[float, Field(ge=0, le=1)]

UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and surrogates, which UTF-8 cannot encode
MAX_MESSAGE = 200  # characters of a rejection: enough for the place and the reason, too few for a whole text
MAX_DEPTH = 32  # of nested JSON: beyond it is an engine that does not stop opening brackets
MAX_DIGITS = 18  # of an integer: what fits into 64 bits, and so into every table that records are exported to
GIVE_THINKING = "give --thinking on, or --thinking off"

UNFINISHED = {
    "length": "was cut off after the token limit",
    "abort": "was aborted by the engine",
    "error": "ended in an error of the engine",
    "repetition": "was stopped because it repeated itself",
    None: "has no finish reason",
}


def is_check(stage: str) -> TypeIs[Stage]:
    """Tell whether a dead letter's stage is a check, so that there was an answer, which was rejected."""
    return stage in get_args(Stage)


class RejectedError(ValueError):
    """The text is not acceptable as an annotation; the message says why.

    Attributes:
        stage: the check that rejected it: "thinking" (there is no answer, only thoughts), "finish", "schema" (of free
            text: its characters), or "grounding".
    """

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(stage, reason)  # both, so that the error can be pickled
        self.stage = stage
        self.message = _shortened(reason)

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Grounding:
    """How well the claims of an annotation agree with the facts of its molecule; all values are 0 to 1.

    Functional groups and ring counts are claims that RDKit decides. Nothing else counts: the bands of polarity and
    lipophilicity hang on the model that one computes them by, and what a description says, even if it contradicts the
    fields beside it, no program can judge.

    With C the set of claimed groups and T the set of those that are there:

    Attributes:
        precision: |C ∩ T| / |C|; 1 when nothing is claimed, since nothing claimed is false.
        recall: |C ∩ T| / |T|; 1 when nothing is there, since nothing is missed.
        f1: their harmonic mean, 2 |C ∩ T| / (|C| + |T|); 1 when nothing is claimed and nothing is there.
        rings: share of the claimed ring counts that are right: 0, 0.5 or 1; None when no count is claimed, as in free
            text. Where RDKit and chemists count differently (azulene), both are right.
        score: the mean of `f1` and `rings`, or `f1` alone when `rings` is None.
    """

    precision: Share
    recall: Share
    f1: Share
    rings: Share | None
    score: Share


@dataclass(frozen=True, slots=True)
class ValidatedAnswer:
    """An acceptable text.

    Attributes:
        fields: the parsed JSON object; None for free text.
        grounding: how true its claims are.
    """

    fields: dict[str, Any] | None
    grounding: Grounding


def require_answer(completion: Completion) -> None:
    """Refuse what is thoughts and no answer.

    Raises:
        RejectedError: its thoughts did not end, or they are in its text, since nobody asked for any.
    """
    thought = completion.thought
    if thought and not thought.ended and completion.finish_reason in {"stop", "length"}:
        how = "was cut off while it thought" if completion.finish_reason == "length" else "ended while it thought"
        raise RejectedError("thinking", f"{how}, after {thought.tokens} tokens")
    if thought is None and completion.text.lstrip().startswith(OPENINGS):
        its_own = completion.text.lstrip().startswith(CHANNEL)
        remedy = "serve gpt-oss by 'vllm serve' and give --endpoint" if its_own else GIVE_THINKING
        raise RejectedError("thinking", f"begins with a thought: {remedy}")


def validate(
    text: str,
    finish_reason: str | None,
    schema: Mapping[str, Any] | None,
    facts: Structure,
    min_grounding: float = 0.0,
) -> ValidatedAnswer:
    """Check what the engine wrote about a molecule.

    Args:
        text: the whole text, a JSON object where there is a schema.
        finish_reason: why the engine stopped; only "stop" is an end of the text's own.
        schema: JSON schema (draft 2020-12) of the object, or None for free text. Groups are claimed by the list
            `functional_groups`, where names and aliases count alike, or else by any mention in the text; ring counts
            by `aromatic_rings` and `aliphatic_rings`.
        facts: what is true of the molecule; more of it than the structure makes no difference.
        min_grounding: the least grounding score to accept.

    Raises:
        RejectedError: the text is not acceptable. No text raises anything else.
        SchemaError: no text can be held to `schema`.
    """
    fields = well_formed(text, finish_reason, schema)
    if fields is None:
        claimed, rings = mentioned_groups(text), None
    else:
        claimed, rings = claimed_groups(fields), _right_rings(fields, facts)
    grounding = _grounding(claimed, rings, facts)
    if grounding.score < min_grounding:
        raise RejectedError("grounding", _ungrounded(grounding.score, min_grounding, claimed, facts))
    return ValidatedAnswer(fields, grounding)


def well_formed(text: str, finish_reason: str | None, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Check what needs no chemistry, and return the parsed object, or None where there is no schema.

    Raises:
        RejectedError: the text is not finished, or breaks the schema.
        SchemaError: no text can be held to `schema`.
    """
    if finish_reason != "stop":
        raise RejectedError("finish", UNFINISHED.get(finish_reason, f"did not finish: {finish_reason!r}"))
    if schema is None:
        _require_prose(text)
        return None
    fields = parsed_object(text)
    _validate(fields, validator_of(schema))
    return fields


def parsed_object(text: str) -> dict[str, Any]:
    """Parse a JSON object whose numbers and strings can be stored; every way to be wrong becomes one RejectedError."""
    fields = _parse(text)
    for string in _strings(fields):
        _require_storable(string)
    return fields


def claimed_groups(fields: Mapping[str, Any]) -> frozenset[str]:
    """Return the groups that an object claims; a claim that names none stands as it is, and is false."""
    claims = fields.get("functional_groups")
    if not isinstance(claims, list):
        return mentioned_groups("\n".join(_strings(fields)))
    return frozenset(
        group for claim in claims if isinstance(claim, str) for group in mentioned_groups(claim) or (claim,)
    )


def right_ring_counts(fields: Mapping[str, Any], facts: Structure) -> dict[str, int]:
    """Return the right ring counts by field; where chemists and RDKit count differently, those nearer to the claims."""
    return max(facts.ring_counts(), key=lambda counts: sum(_agreement(fields, counts)))


def _shortened(message: str) -> str:
    """Cut the middle out of a long message: the place stands at its start, the reason often at its end."""
    half = MAX_MESSAGE // 2 - 1
    return message if len(message) <= MAX_MESSAGE else f"{message[:half]} … {message[-half + 1 :]}"


def _require_prose(text: str) -> None:
    _require_storable(text)
    if not text.strip():
        raise RejectedError("schema", "is blank")


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise RejectedError("schema", f"is no JSON: {error}") from None
    except RecursionError:
        raise RejectedError("schema", "is nested too deeply") from None
    if not isinstance(value, dict):
        raise RejectedError("schema", "is no JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, whose keys must differ: of two values nobody knows which one is meant."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise RejectedError("schema", "has an object with the same key twice")
    return fields


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise RejectedError("schema", f"has an integer of more than {MAX_DIGITS} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise RejectedError("schema", "has a number too large for a float")
    return value


def _refuse_constant(name: str) -> None:
    raise RejectedError("schema", f"is no JSON: {name} is no number")


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield every string in a JSON value, keys included; refuse a value that is nested too deeply."""
    if depth > MAX_DEPTH:
        raise RejectedError("schema", "is nested too deeply")
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item, depth + 1)


def storable(text: str) -> str:
    """Return a text with U+FFFD in the place of what the store and the export formats cannot hold."""
    return UNSTORABLE.sub("\ufffd", text)


def _require_storable(text: str) -> None:
    if bad := UNSTORABLE.search(text):
        raise RejectedError("schema", f"has the character U+{ord(bad[0]):04X}, which cannot be stored")


def _validate(fields: dict[str, Any], validator: Draft202012Validator) -> None:
    from jsonschema.exceptions import best_match

    try:
        error = best_match(validator.iter_errors(fields))
    except RecursionError:  # a schema may refer to itself in a circle that only some objects enter
        raise RejectedError("schema", "is nested too deeply for its schema") from None
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the object"
        raise RejectedError("schema", f"{place}: {error.message}")


def _right_rings(fields: Mapping[str, Any], facts: Structure) -> float | None:
    """Return the share of the claimed ring counts that are right; None when no count is claimed."""
    right = _agreement(fields, right_ring_counts(fields, facts))
    return sum(right) / len(right) if right else None


def _agreement(fields: Mapping[str, Any], counts: Mapping[str, int]) -> list[bool]:
    return [fields[name] == count for name, count in counts.items() if _is_number(fields.get(name))]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _grounding(claimed: frozenset[str], rings: float | None, facts: Structure) -> Grounding:
    there = frozenset(facts.functional_groups)
    right = len(claimed & there)
    f1 = 2 * right / (len(claimed) + len(there)) if claimed or there else 1.0
    return Grounding(
        precision=right / len(claimed) if claimed else 1.0,
        recall=right / len(there) if there else 1.0,
        f1=f1,
        rings=rings,
        score=f1 if rings is None else (f1 + rings) / 2,
    )


def _ungrounded(score: float, least: float, claimed: frozenset[str], facts: Structure) -> str:
    """Say which groups are claimed wrongly and which are missed."""
    there = frozenset(facts.functional_groups)
    wrong = ", ".join(sorted(claimed - there)) or "none"
    missed = ", ".join(sorted(there - claimed)) or "none"
    return f"grounding {score:.2f} is below {least:.2f}; groups claimed but not there: {wrong}; not claimed: {missed}"
