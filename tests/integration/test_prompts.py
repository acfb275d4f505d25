"""What `gallon prompt show` prints is what the engine is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import gallon
from cluster.store.store import Row, Store
from gallon.api.spec import resolve_spec
from gallon.cli.app import app
from gallon.config import SpecConfig
from teacher.chemistry.molecule import key_of
from teacher.errors import EngineRefusedError, UsageError
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.models import CHECKPOINT
from teacher.llm.request import build_request
from tests.support.prompts import PROMPT
from tests.support.records import record

NO_SYSTEM = r"takes no system turn \(System role not supported\): write the text of 'system' into the instructions"


def test_the_prompt_is_shown_to_the_token(tiny_engine: VllmEngine) -> None:
    shown = gallon.show_prompt("OCC")
    resolved = resolve_spec(SpecConfig())
    request, _ = build_request("CCO", b"key", resolved.spec, resolved.prompt)
    assert shown.tokens == tiny_engine.submit(request).result(timeout=120).prompt_tokens
    assert "SMILES: CCO" in shown.text and "<image> x 16" in shown.text and shown.text.count("<image>") == 1
    assert "SMILES: CC(=O)Oc1ccccc1C(=O)O" in gallon.show_prompt("CC(=O)Oc1ccccc1C(=O)O").text
    blind = gallon.show_prompt("OCC", image=False, graph=True)
    assert "<image>" not in blind.text and blind.tokens < shown.tokens + 50
    with pytest.raises(UsageError, match=r"'nothing' .*: give another SMILES"):
        gallon.show_prompt("nothing")


def test_no_weights_are_loaded_to_show_a_prompt(tmp_path: Path) -> None:
    for file in CHECKPOINT.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    shown = gallon.show_prompt("CCO", model=str(tmp_path), image_size=224, graph=False)
    assert shown.text == gallon.show_prompt("CCO").text


RICH = {
    **PROMPT,
    "system": "You know chemistry.",
    "smiles": "SMILES: {smiles}",
    "facts": "Facts: {facts}",
    "shots": [{"smiles": "OC(C)=O", "answer": "An acid."}],
}


def prompt_file(folder: Path, **changes: Any) -> str:
    path = folder / "prompt.yaml"
    path.write_text(yaml.safe_dump({**RICH, **changes}))
    return str(path)


def tiny_with_template(folder: Path, template: str) -> str:
    """Copy the tiny model but for its weights, with another chat template."""
    for file in CHECKPOINT.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def test_system_turn_facts_and_examples_are_shown_to_the_token(tiny_engine: VllmEngine, tmp_path: Path) -> None:
    mine = prompt_file(tmp_path)
    shown = gallon.show_prompt("OCC", prompt=mine)
    resolved = resolve_spec(SpecConfig(prompt=mine))
    request, _ = build_request("CCO", b"key", resolved.spec, resolved.prompt)
    assert shown.tokens == tiny_engine.submit(request).result(timeout=120).prompt_tokens
    lines = shown.text.splitlines()
    assert lines[0] == "System: You know chemistry.<end_of_utterance>"
    assert lines[1:3] == ["User: Look.", "SMILES: CC(=O)O"] and lines[3].startswith("Facts: formula C2H4O2; ")
    assert "Assistant: An acid.<end_of_utterance>" in lines and "<image> x 16" in shown.text
    assert shown.text.count("Look.") == 1 and "SMILES: CCO\nFacts: formula C2H6O; " in shown.text
    bare = gallon.show_prompt("OCC", prompt=mine, facts=False)
    assert "Facts:" not in bare.text and bare.tokens < shown.tokens
    with pytest.raises(UsageError, match="'describe' has no line 'facts' for --facts"):
        gallon.show_prompt("CCO", facts=True)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('System role not supported') if messages[0]['role'] == 'system' else '?' }}", NO_SYSTEM),
        ("{% for m in messages if m['role'] != 'system' %}{{ m['role'] }}{% endfor %}", "leaves the system turn out"),
        ("{{ raise_exception('One turn') if messages | length > 2 else messages | length }}", "the examples of the p"),
    ],
)
def test_a_template_that_does_not_take_the_turns_is_refused_before_weights_are_loaded(
    tmp_path: Path, template: str, reason: str
) -> None:
    model = tiny_with_template(tmp_path, template)
    with pytest.raises(EngineRefusedError, match=reason) as caught:
        gallon.describe("CCO", model=model, image=False, prompt=prompt_file(tmp_path))
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineRefusedError, match=reason):
        gallon.show_prompt("CCO", model=model, image=False, prompt=prompt_file(tmp_path))
    plain = {"system": None, "shots": []}
    assert gallon.show_prompt("CCO", model=model, image=False, prompt=prompt_file(tmp_path, **plain)).tokens


def test_the_command_prints_the_prompt_and_lists_those_there_are() -> None:
    shown = CliRunner().invoke(app, ["prompt", "show", "gallon", "--task", "soluble?", "--molecule", "CCO", "--json"])
    assert shown.exit_code == 0 and "soluble?" in json.loads(shown.stdout.splitlines()[-1])["text"]
    listed = [line.split()[:2] for line in CliRunner().invoke(app, ["prompt", "list"]).stdout.splitlines()]
    assert [words[0] for words in listed[:4]] == ["describe", "describe-cot", "describe-with-facts", "gallon"]
    assert ["--task", "esol:"] in listed[4:]


def test_a_dry_run_counts_what_is_to_be_done_and_writes_nothing(
    store: Store, redis_url: str, tmp_path: Path, tiny_engine: VllmEngine
) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CCO\nOCC\nCCN\nnothing\nCCS\n")
    resolved = resolve_spec(SpecConfig())
    store.save_spec(resolved.spec, resolved.prompt)
    store.register(resolved.spec.id, "run", [Row(key_of("CCO"), 0, 1)])
    store.commit(resolved.spec.id, "run", [(key_of("CCO"), record("CCO"))], [(1, 1)])
    plan = gallon.plan_run(library, store=redis_url)
    counts = (plan.report.rows, plan.report.molecules, plan.report.duplicates, plan.report.invalid)
    assert (counts, plan.report.accepted, plan.report.missing) == ((5, 3, 1, 1), 1, 2)
    requests = [build_request(smiles, b"", resolved.spec, resolved.prompt)[0] for smiles in ("CCO", "CCN", "CCS")]
    lengths = [tiny_engine.submit(request).result(timeout=120).prompt_tokens for request in requests]
    assert (plan.prompt_tokens, plan.longest_prompt) == (sum(lengths) / 3, max(lengths))
    assert plan.total_prompt_tokens == round(2 * sum(lengths) / 3)
    nowhere = tmp_path / "store"
    said = CliRunner().invoke(app, ["annotate", str(library), "--dry-run", "--json", "--store", str(nowhere)])
    facts = json.loads(said.stdout.splitlines()[-1])
    assert (said.exit_code, facts["to_annotate"], facts["accepted"]) == (0, 3, 0)
    assert not nowhere.exists()
