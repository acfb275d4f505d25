"""From what an LLM wrote about a molecule to the annotation that is kept: its answer, or one out of several samples.

Samples of one request are drawn with seeds of their own. What they agree on is more often right, and how far they agree
tells how sure the LLM is (self-consistency, arXiv 2203.11171).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from teacher.chemistry.facts import Structure, mentioned_groups
from teacher.llm.completion import Completion, Thought
from teacher.llm.spec import Spec
from teacher.llm.validation import Grounding, RejectedError, Share, require_answer, validate


class MissingSamplesError(RuntimeError):
    """Fewer answers came than were asked for: one alone would agree with itself, and be stored as sure."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One of several answers that were accepted: its text, and its agreement with RDKit."""

    text: str
    grounding: Share


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is kept of a completion.

    Attributes:
        text: as the LLM wrote it, or put together out of what most samples say.
        fields: the parsed JSON object; None for free text.
        grounding: how true its claims are.
        thought: what the LLM thought before it wrote the text, or most of it.
        agreement: of all samples with what most of them say, 0 to 1; None for a single answer.
        samples: all that were accepted, where all are kept.
    """

    text: str
    fields: dict[str, Any] | None
    grounding: Grounding
    thought: Thought | None = None
    agreement: Share | None = None
    samples: tuple[Sample, ...] = ()


def accept(completion: Completion, schema: Mapping[str, Any] | None, facts: Structure, spec: Spec) -> Annotation:
    """Check what an LLM wrote, and choose what is kept of it.

    Args:
        completion: an answer, and further samples where the spec asks for some.
        schema: of the prompt.
        facts: what is true of the molecule.
        spec: says the least grounding, and what is kept of several samples.

    Raises:
        RejectedError: no sample is acceptable; it is about the first.
        MissingSamplesError: there are fewer than the spec asks for.
    """
    if spec.samples is None:
        return _accepted(completion, schema, facts, spec)
    if completion.samples < spec.answers:
        raise MissingSamplesError(
            f"{completion.samples} of {spec.answers} samples came: leave out --samples where n is ignored"
        )
    accepted: list[Annotation] = []
    rejections: list[RejectedError] = []
    for sample in (completion, *completion.others):
        try:
            accepted.append(_accepted(sample, schema, facts, spec))
        except RejectedError as error:
            rejections.append(error)
    if not accepted:
        raise rejections[0]
    claims = [_claims(annotation, schema) for annotation in accepted]
    consensus = _consensus(claims)
    likeness = [_likeness(each, consensus) for each in claims]
    agreement = sum(likeness) / (len(accepted) + len(rejections))  # a rejected sample agrees with nobody
    if spec.samples.keep == "vote":
        typical = accepted[max(range(len(accepted)), key=likeness.__getitem__)]
        return replace(_voted(typical, consensus, schema, facts, spec), agreement=agreement)
    best = max(accepted, key=lambda annotation: annotation.grounding.score)
    kept = tuple(Sample(each.text, each.grounding.score) for each in accepted) if spec.samples.keep == "all" else ()
    return replace(best, agreement=agreement, samples=kept)


def _accepted(completion: Completion, schema: Mapping[str, Any] | None, facts: Structure, spec: Spec) -> Annotation:
    require_answer(completion)
    valid = validate(completion.text, completion.finish_reason, schema, facts, spec.min_grounding)
    return Annotation(completion.text, valid.fields, valid.grounding, completion.thought)


def _claims(annotation: Annotation, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what samples can agree on: lists as sets, numbers, words out of few; of prose, the groups it mentions."""
    if annotation.fields is None:
        return {"functional_groups": frozenset(mentioned_groups(annotation.text))}
    claims: dict[str, Any] = {}
    for name, value in annotation.fields.items():
        if isinstance(value, list) and all(isinstance(member, str) for member in value):
            claims[name] = frozenset(value)
        elif value is None or isinstance(value, bool | int | float) or _is_choice(name, schema):
            claims[name] = json.dumps(value)
    return claims


def _is_choice(name: str, schema: Mapping[str, Any] | None) -> bool:
    """Tell whether a field is one word out of few, not prose that nobody writes twice."""
    described = ((schema or {}).get("properties") or {}).get(name)
    return isinstance(described, Mapping) and ("enum" in described or "const" in described)


def _consensus(claims: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what most samples claim: of sets the members that more than half have; a tie goes to the earlier one."""
    consensus: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in claims for name in each):
        values = [each[name] for each in claims if name in each]
        if all(isinstance(value, frozenset) for value in values):
            votes = Counter(member for value in values for member in value)
            consensus[name] = frozenset(member for member, number in votes.items() if 2 * number > len(claims))
        else:
            consensus[name] = Counter(values).most_common(1)[0][0]
    return consensus


def _likeness(claims: Mapping[str, Any], consensus: Mapping[str, Any]) -> float:
    """Return the mean over all claims of how much a sample says what most say, 0 to 1; of sets, 2|A∩B| / (|A|+|B|)."""
    if not consensus:
        return 1.0
    return sum(_alike(claims.get(name), value) for name, value in consensus.items()) / len(consensus)


def _alike(one: Any, other: Any) -> float:
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0
    return float(one == other)


def _voted(
    typical: Annotation,
    consensus: Mapping[str, Any],
    schema: Mapping[str, Any] | None,
    facts: Structure,
    spec: Spec,
) -> Annotation:
    """Return the sample that is most like the others, with each claim as most of them make it."""
    if typical.fields is None:
        return typical
    fields = {name: _as_written(consensus.get(name), value) for name, value in typical.fields.items()}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    try:
        valid = validate(text, "stop", schema, facts, spec.min_grounding)
    except RejectedError:  # a schema may want what no vote can give: so many members, or one field if another
        return typical
    return replace(typical, text=text, fields=valid.fields, grounding=valid.grounding)


def _as_written(claim: Any, value: Any) -> Any:
    """Return what most samples claim in the form that a field has, members in the order of the typical sample."""
    if claim is None:
        return value
    if isinstance(claim, frozenset):
        # The typical sample may have null where most have words, or members that are none.
        words = [member for member in value if isinstance(member, str)] if isinstance(value, list) else []
        return [word for word in dict.fromkeys(words) if word in claim] + sorted(claim.difference(words))
    return json.loads(claim)
