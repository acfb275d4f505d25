"""An LLM is asked, once per task, which features of a molecule bear on it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from distill.rules.rule_set import RuleSet
from teacher.errors import EngineDeadError, UsageError
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.endpoint import EndpointError
from teacher.llm.schema import for_grammar
from teacher.llm.spec import Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from teacher.llm.engine import Engine

# Of RDKit's 217 descriptors those that have a meaning for people.
OFFERED = (
    *("MolLogP", "MolMR", "MolWt", "ExactMolWt", "HeavyAtomCount", "NumHeteroatoms", "NumValenceElectrons", "TPSA"),
    *("LabuteASA", "NumHDonors", "NumHAcceptors", "NHOHCount", "NOCount", "NumRotatableBonds", "FractionCSP3"),
    *("RingCount", "NumAromaticRings", "NumAliphaticRings", "NumSaturatedRings", "NumAromaticHeterocycles"),
    *("NumAromaticCarbocycles", "NumAliphaticHeterocycles", "NumAmideBonds", "NumAtomStereoCenters", "SPS"),
    *("NumBridgeheadAtoms", "NumSpiroAtoms", "MaxPartialCharge", "MinPartialCharge", "NumRadicalElectrons"),
    *("BertzCT", "BalabanJ", "HallKierAlpha", "Kappa1", "Kappa2", "Kappa3", "Chi0v", "Chi1v", "qed", "Phi"),
)
MOST_RULES = 60  # of one answer
PROMPT = """\
You are an experienced medicinal and physical chemist. The property to be predicted of molecules is: {task}.

Name the features of a molecule's structure that bear on this property, as rules that a program can compute. Give 15 \
to 30 rules that differ, the most important first. Each rule has

- why: in a few words, how it bears on the property;
- descriptor: the name of one RDKit descriptor, or smarts: a SMARTS pattern whose matches are counted. Give one of the \
two, and null for the other;
- per_descriptor or per_smarts: what the number is divided by, if a ratio says more; else null for both;
- above, below: bounds, if only crossing them matters; the rule is then 1 inside of them and 0 outside; else null.

Use rules without bounds for what acts by degrees, with bounds for known limits. RDKit's descriptors are among others \
{descriptors}.

Answer with a JSON object that has one field, rules: the list.
"""

_TEXT, _NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
_FIELDS: dict[str, Any] = {
    "why": {"type": "string", "maxLength": 300},
    "descriptor": _TEXT,
    "smarts": _TEXT,
    "per_descriptor": _TEXT,
    "per_smarts": _TEXT,
    "above": _NUMBER,
    "below": _NUMBER,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rules"],
    "properties": {
        "rules": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_RULES,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": list(_FIELDS),
                "properties": _FIELDS,
            },
        }
    },
}


def asked(engine: Engine, task: str, *, model: Mapping[str, Any], samples: int, sampling: Sampling) -> RuleSet:
    """Ask an LLM for the rules of a task, several times, and keep each rule once.

    An answer that is no JSON, or was cut off, is refused with the reason and costs no other.

    Args:
        engine: that serves the model.
        task: the property, in words.
        model: what stands in the rules' sources about it, fit for JSON.
        samples: answers, each with a seed of its own.
        sampling: of the first; later ones count its seed on.

    Raises:
        EngineDeadError: the engine died.
        UsageError: no answer can be used.
    """
    text = PROMPT.format(task=task, descriptors=", ".join(OFFERED))
    requests = [
        Request([text], sampling.model_copy(update={"seed": sampling.seed + number}), for_grammar(SCHEMA))
        for number in range(samples)
    ]
    source = {
        **model,
        "prompt": hashlib.sha256(text.encode()).hexdigest()[:16],
        "sampling": sampling.model_dump(),
        "samples": samples,
    }
    found = RuleSet(task, (), (source,))
    reasons = []
    for answer in [engine.submit(request) for request in requests]:
        try:
            completion = answer.result()
            given = _rules_in(completion.text, completion.finish_reason)
        except EngineDeadError:
            raise
        except (PromptRejectedError, EndpointError, _AnswerError) as error:
            reasons.append(str(error))
            continue
        rules = RuleSet.collected(task, given, source)
        merged = found.merged(rules)
        found = RuleSet(task, merged.rules, (source,), merged.refused)
    if len(reasons) == samples:
        raise UsageError(f"No answer of the model can be used: {reasons[0]}.")
    refused = tuple({"given": "an answer", "reason": reason} for reason in reasons)
    return RuleSet(task, found.rules, (source,), (*found.refused, *refused))


class _AnswerError(ValueError):
    """An answer holds no rules; the message says why."""


def _rules_in(text: str, finish_reason: str | None) -> list[Any]:
    """Return what an answer gives as rules, each still to be checked."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        cut_off = finish_reason == "length"
        raise _AnswerError("it was cut off: give --max-tokens" if cut_off else "it is no JSON") from None
    given = facts.get("rules") if isinstance(facts, dict) else None
    if not isinstance(given, list):
        raise _AnswerError("it has no list of rules")
    return given[:MOST_RULES]
