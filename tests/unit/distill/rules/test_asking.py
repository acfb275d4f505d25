"""An LLM is asked for rules: what of its answers is taken, and what is told of the rest."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

import pytest
from jsonschema import validate

from distill.rules.asking import SCHEMA, asked
from teacher.errors import UsageError
from teacher.llm.completion import Completion
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.schema import check_schema
from teacher.llm.spec import Sampling

NOTHING = dict.fromkeys(("descriptor", "smarts", "per_descriptor", "per_smarts", "above", "below"))


def answer(*rules: dict[str, Any]) -> str:
    return json.dumps({"rules": [{"why": "it dissolves", **NOTHING, **rule} for rule in rules]})


class Answers:
    """An engine that gives answers one after another."""

    def __init__(self, *answers: str | Exception, finish_reason: str = "stop") -> None:
        self._answers, self._finish_reason = list(answers), finish_reason
        self.requests: list[Request] = []

    def submit(self, request: Request) -> Future[Completion]:
        self.requests.append(request)
        future: Future[Completion] = Future()
        said = self._answers.pop(0)
        if isinstance(said, Exception):
            future.set_exception(said)
        else:
            future.set_result(Completion(said, self._finish_reason, 1, 1))
        return future

    def close(self) -> None:
        pass


def ask(engine: Answers, samples: int) -> Any:
    return asked(
        engine,
        "solubility",
        model={"model": "m"},
        samples=samples,
        sampling=Sampling(temperature=1, max_tokens=9, seed=5),
    )


def test_the_rules_of_several_answers_are_put_together() -> None:
    first, second = answer({"descriptor": "logP"}, {"smarts": "("}), answer({"descriptor": "MolLogP"}, {"smarts": "O"})
    for given in (first, second):
        validate(json.loads(given), SCHEMA)
    engine = Answers(first, PromptRejectedError("too long"), "no JSON", second)
    rules = ask(engine, 4)
    assert [rule.name for rule in rules.rules] == ["MolLogP", "count O"]
    assert [each["reason"] for each in rules.refused] == ["RDKit reads no SMARTS in '('", "too long", "it is no JSON"]
    assert [request.sampling.seed for request in engine.requests] == [5, 6, 7, 8]
    assert all("solubility" in str(request.content[0]) and request.schema for request in engine.requests)
    (source,) = rules.sources
    assert (source["model"], source["samples"], len(source["prompt"])) == ("m", 4, 16)
    check_schema(SCHEMA)


def test_a_model_without_a_usable_answer_is_told() -> None:
    with pytest.raises(UsageError, match="No answer of the model can be used: it was cut off: give --max-tokens"):
        ask(Answers('{"rules": [', finish_reason="length"), 1)
    with pytest.raises(UsageError, match="it has no list of rules"):
        ask(Answers("{}", "[]"), 2)
