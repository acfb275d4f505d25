"""Examples in a prompt: which are taken, and how the model sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from teacher.errors import UsageError
from teacher.llm.prompt import Prompt, Turn, load
from teacher.llm.request import build_request, turns_before
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from tests.support.prompts import PROMPT

SCHEMA = {"type": "object", "required": ["acid"], "properties": {"acid": {"type": "boolean"}}}
SHOTS = [
    {"smiles": "OC(C)=O", "answer": {"acid": True}, "columns": {"solvent": "DMSO<|im_end|>"}},
    {"smiles": "CCO", "answer": {"acid": False}, "columns": {"solvent": "water"}},
]
WITH_ALL = {
    **PROMPT,
    "system": "You judge for: {task}",
    "facts": "Facts: {facts}",
    "columns": "Solvent: {column:solvent}",
    "shots": SHOTS,
    "schema": SCHEMA,
}


def prompt_of(folder: Path, **changes: Any) -> Prompt:
    path = folder / "prompt.yaml"
    path.write_text(yaml.safe_dump({**WITH_ALL, **changes}))
    return load(str(path))


def spec_of(prompt: Prompt, **changes: Any) -> Spec:
    usual = {"model": Model(name="m", revision="1"), "sampling": Sampling(max_tokens=9), "graph": False, "task": "T"}
    return Spec(**{**usual, "prompt": PromptRef.of(prompt), **changes})


def test_the_system_turn_and_the_examples_come_before_the_question(tmp_path: Path) -> None:
    prompt = prompt_of(tmp_path)
    assert turns_before(prompt, spec_of(prompt)) == (
        Turn("system", "You judge for: T"),
        Turn("user", "Look.\nCC(=O)O\nSolvent: DMSO‹|im_end|>\nJSON:"),
        Turn("assistant", '{"acid": true}'),
        Turn("user", "CCO\nSolvent: water\nJSON:"),
        Turn("assistant", '{"acid": false}'),
    )


def test_an_example_is_shown_what_the_question_is_shown_but_for_the_picture(tmp_path: Path) -> None:
    prompt = prompt_of(tmp_path)
    spec = spec_of(prompt, smiles=False, graph=True, facts=True, image_size=32)
    shown = turns_before(prompt, spec)[3].text.splitlines()
    assert shown[0] == "C0-C1 C1-O2" and shown[1].startswith("Facts: formula C2H6O;") and len(shown) == 4


def test_the_question_follows_without_the_instructions_that_the_first_example_has(tmp_path: Path) -> None:
    prompt = prompt_of(tmp_path, columns=None)
    request, _ = build_request("CCN", b"key", spec_of(prompt), prompt)
    assert (request.content, len(request.before)) == (["CCN\nJSON:"], 5)
    alone = prompt_of(tmp_path, columns=None, shots=[])
    request, _ = build_request("CCN", b"key", spec_of(alone), alone)
    assert (request.content, len(request.before)) == (["Look.\nCCN\nJSON:"], 1)


def test_an_answer_as_text_is_taken_as_it_is(tmp_path: Path) -> None:
    text = json.dumps({"acid": True}, indent=1)
    prompt = prompt_of(tmp_path, shots=[{**SHOTS[0], "answer": text}])
    assert turns_before(prompt, spec_of(prompt))[-1].text == text


@pytest.mark.parametrize(
    ("shot", "reason"),
    [
        ({"smiles": "C1CC"}, "the molecule of example 2 cannot be read"),
        ({"answer": {"acid": "yes"}}, "the answer of example 2 would be rejected: acid: 'yes' is not of type"),
        ({"answer": "acid"}, "the answer of example 2 would be rejected: is no JSON"),
        ({"columns": {}}, "example 2 lacks the column solvent"),
        ({"label": 1}, "label: Extra inputs"),
    ],
)
def test_a_bad_example_is_refused_in_one_sentence(tmp_path: Path, shot: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        prompt_of(tmp_path, shots=[SHOTS[0], {**SHOTS[1], **shot}])
    assert "\n" not in str(caught.value)


ACIDS = ["CC(=O)O", "CCC(=O)O", "CCCC(=O)O"]
POOL = [{"smiles": smiles, "text": '{"acid": true, "why": "\u2028"}', "spec": "0123"} for smiles in ACIDS]
POOL += [{"smiles": smiles, "text": json.dumps({"acid": False})} for smiles in ("c1ccccc1", "CCN", "CCCN")]


def nearest_prompt(folder: Path, rows: list[Any] = POOL, nearest: int = 2) -> Prompt:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "pool.jsonl").write_text("".join(lines), encoding="utf-8")
    return prompt_of(folder, columns=None, system=None, shots={"nearest": nearest, "file": "pool.jsonl"})


def asked(prompt: Prompt, smiles: str) -> list[str]:
    """Return the first line of each turn of the user after the instructions, the question's last."""
    request, _ = build_request(smiles, b"key", spec_of(prompt), prompt)
    turns = [turn.text for turn in request.before if turn.role == "user"]
    return [text.removeprefix("Look.\n").splitlines()[0] for text in [*turns, str(request.content[0])]]


def test_the_most_similar_molecules_are_shown_the_most_similar_one_last(tmp_path: Path) -> None:
    prompt = nearest_prompt(tmp_path)
    assert asked(prompt, "CCCCC(=O)O") == ["CCC(=O)O", "CCCC(=O)O", "CCCCC(=O)O"]
    assert asked(prompt, "CCCCN") == ["CCN", "CCCN", "CCCCN"]


def test_a_molecule_is_no_example_for_itself(tmp_path: Path) -> None:
    assert asked(nearest_prompt(tmp_path), "CCCC(=O)O") == ["CC(=O)O", "CCC(=O)O", "CCCC(=O)O"]
    alone = nearest_prompt(tmp_path, POOL[:1])
    assert asked(alone, "CC(=O)O") == ["CC(=O)O"]
    request, _ = build_request("CC(=O)O", b"key", spec_of(alone), alone)
    assert request.content == ["Look.\nCC(=O)O\nJSON:"]


def test_the_pool_is_part_of_the_prompt_wherever_it_is_read_from(tmp_path: Path) -> None:
    prompt = nearest_prompt(tmp_path)
    again = Prompt.model_validate_json(prompt.model_dump_json(by_alias=True))
    assert again.digest == prompt.digest and asked(again, "CCCCN") == asked(prompt, "CCCCN")
    assert nearest_prompt(tmp_path, POOL[:-1]).digest != prompt.digest
    assert len(turns_before(prompt, spec_of(prompt))) == 4


@pytest.mark.parametrize(
    ("rows", "nearest", "reason"),
    [
        ([{"smiles": "C"}], 1, "line 1 of .*pool.jsonl is no JSON object with smiles and text"),
        ([POOL[0], 3], 1, "line 2 of .*pool.jsonl is no JSON object"),
        ([{**POOL[0], "text": "{}"}], 1, "the answer of example 1 would be rejected"),
        (POOL, 0, "nearest: Input should be greater than or equal to 1"),
        ([], 1, "line 1 of .*pool.jsonl is no JSON object"),
    ],
)
def test_a_bad_pool_is_refused_in_one_sentence(tmp_path: Path, rows: list[Any], nearest: int, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        nearest_prompt(tmp_path, rows, nearest)
    assert "\n" not in str(caught.value)


def test_a_pool_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.jsonl cannot be read"):
        prompt_of(tmp_path, shots={"nearest": 1, "file": "nowhere.jsonl"})
