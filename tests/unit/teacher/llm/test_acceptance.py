"""What is kept of an answer, and of several samples of one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.facts import Structure, structure_of
from teacher.chemistry.molecule import mol_of
from teacher.errors import UsageError
from teacher.llm.acceptance import Annotation, MissingSamplesError, accept
from teacher.llm.completion import Completion
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Keep, Samples, Spec
from teacher.llm.validation import RejectedError

TRUTH: dict[str, Any] = {
    "functional_groups": ["ester", "carboxylic acid"],
    "aromatic_rings": 1,
    "aliphatic_rings": 0,
    "polarity": "medium",
    "lipophilicity": "medium",
    "description": "An acetylated salicylic acid.",
}


@pytest.fixture
def aspirin() -> Structure:
    return structure_of(mol_of("CC(=O)Oc1ccccc1C(=O)O"))


def completion(*answers: dict[str, Any] | str) -> Completion:
    first, *others = (
        Completion(answer if isinstance(answer, str) else json.dumps(answer), "stop", 0, 10) for answer in answers
    )
    return replace(first, prompt_tokens=400, others=tuple(others))


def kept(spec: Spec, describe: Prompt, facts: Structure, keep: Keep, *answers: dict[str, Any] | str) -> Annotation:
    sampling = spec.sampling
    assert sampling is not None
    hot = sampling.model_copy(update={"temperature": 0.7})
    asked = spec.model_copy(update={"sampling": hot, "samples": Samples(number=max(2, len(answers)), keep=keep)})
    return accept(completion(*answers), describe.json_schema, facts, asked)


def test_one_answer_is_kept_as_it_was_written(spec: Spec, describe: Prompt, aspirin: Structure) -> None:
    text = json.dumps(TRUTH, indent=1)
    annotation = accept(completion(text), describe.json_schema, aspirin, spec)
    assert (annotation.text, annotation.agreement, annotation.samples) == (text, None, ())


def test_the_best_sample_is_the_one_that_agrees_most_with_rdkit(
    spec: Spec, describe: Prompt, aspirin: Structure
) -> None:
    wrong = {**TRUTH, "functional_groups": ["ketone"], "aromatic_rings": 3}
    annotation = kept(spec, describe, aspirin, "best", wrong, TRUTH, wrong)
    assert annotation.fields == TRUTH
    assert annotation.samples == ()


def test_the_vote_takes_each_claim_as_most_samples_make_it(spec: Spec, describe: Prompt, aspirin: Structure) -> None:
    samples = [
        {**TRUTH, "aromatic_rings": 2, "description": "One."},
        {**TRUTH, "polarity": "high", "description": "Two."},
        {**TRUTH, "functional_groups": ["ester", "ketone"], "description": "Three."},
    ]
    annotation = kept(spec, describe, aspirin, "vote", *samples)
    assert annotation.fields is not None
    assert {**annotation.fields, "description": ""} == {**TRUTH, "description": ""}
    assert annotation.fields["description"] in {"One.", "Two.", "Three."}
    assert json.loads(annotation.text) == annotation.fields
    # Of five claims each sample makes four as all do; the last has half of its groups right: 2 * 1 / (2 + 2).
    assert annotation.agreement == pytest.approx((0.8 + 0.8 + 0.9) / 3)


@pytest.mark.parametrize(
    "typical", [None, ["nitrile", None], [{"name": "nitrile"}], "nitrile"], ids=["null", "partly", "objects", "prose"]
)
def test_a_vote_for_words_is_written_where_the_typical_sample_has_none(
    spec: Spec, aspirin: Structure, typical: object
) -> None:
    asked = spec.model_copy(update={"samples": Samples(number=3, keep="vote")})
    samples = [{"groups": typical, "a": 0, "b": 0}, *({"groups": ["ester"], "a": a, "b": 5 - a} for a in (5, 0))]
    kept = accept(completion(*samples), {"type": "object"}, aspirin, asked)
    assert kept.fields == {"groups": ["ester"], "a": 0, "b": 0}


def test_samples_that_say_the_same_agree_wholly_whatever_their_prose(
    spec: Spec, describe: Prompt, aspirin: Structure
) -> None:
    reordered = {**TRUTH, "functional_groups": ["carboxylic acid", "ester"], "description": "Aspirin."}
    assert kept(spec, describe, aspirin, "vote", TRUTH, reordered).agreement == 1.0


def test_a_rejected_sample_agrees_with_nobody_and_costs_no_other(
    spec: Spec, describe: Prompt, aspirin: Structure
) -> None:
    annotation = kept(spec, describe, aspirin, "all", "nonsense", TRUTH, TRUTH, "nonsense")
    assert annotation.fields == TRUTH
    assert annotation.agreement == 0.5
    assert [sample.grounding for sample in annotation.samples] == [1.0, 1.0]


def test_samples_that_are_all_rejected_are_rejected(spec: Spec, describe: Prompt, aspirin: Structure) -> None:
    with pytest.raises(RejectedError) as caught:
        kept(spec, describe, aspirin, "best", "nonsense", "{}")
    assert caught.value.stage == "schema"


def test_fewer_answers_than_were_asked_for_are_no_vote(spec: Spec, aspirin: Structure) -> None:
    asked = spec.model_copy(update={"samples": Samples(number=8, keep="vote")})
    with pytest.raises(MissingSamplesError, match="1 of 8 samples came: leave out --samples"):
        accept(completion("An ester."), None, aspirin, asked)


def test_samples_of_free_text_agree_by_the_groups_that_they_mention(spec: Spec, aspirin: Structure) -> None:
    asked = spec.model_copy(update={"samples": Samples(number=2, keep="vote")})
    same = accept(completion("An ester.", "It has an ester group."), None, aspirin, asked)
    other = accept(completion("An ester.", "A ketone."), None, aspirin, asked)
    assert same.agreement == 1.0
    assert other.agreement is not None and other.agreement < 1.0
    assert same.text == "An ester."


def test_samples_at_temperature_zero_are_refused() -> None:
    with pytest.raises(UsageError, match="give --temperature"):
        resolve_spec(SpecConfig(samples=4))


def test_how_many_samples_and_what_is_kept_is_part_of_the_spec() -> None:
    hot = SpecConfig(temperature=0.7)
    ids = {
        resolve_spec(config).spec.id
        for config in (hot, replace(hot, samples=4), replace(hot, samples=8), replace(hot, samples=4, keep="vote"))
    }
    assert len(ids) == 4
    for keep in ("vote", "all"):
        with pytest.raises(UsageError, match="--keep chooses among several samples: give --samples and --temperature"):
            resolve_spec(replace(hot, keep=keep))
