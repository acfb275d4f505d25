"""Models that think, and adapters: by the real vLLM, and through a run into the store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cluster.annotation.annotate import Result
from cluster.records.export import export
from cluster.store.store import Store
from distill.data.annotations import fetch
from teacher.chemistry.molecule import key_of
from teacher.errors import EngineRefusedError, EngineStartError
from teacher.llm.adapter import identify_adapter
from teacher.llm.completion import Completion
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.models import identify, local_path
from teacher.llm.prompt import Prompt
from teacher.llm.request import build_request
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from teacher.llm.thinking import ROOM, Thinking
from teacher.llm.validation import well_formed
from tests.support.checkpoints import OPENED, SWITCHED, merged_tiny, thinking_tiny, tiny_adapter
from tests.support.scripted import Script, true_answer

MOLECULES = ("CCO", "CC(=O)Nc1ccc(O)cc1Cl")
SETTINGS = {"max_num_seqs": 8, "kv_cache_bytes": 1 << 28, "cpu_threads": 1, "image_size": 224}
ON = Thinking(on=True, parser="deepseek_r1")
LOST = "CCC"


def model_at(folder: Path) -> Model:
    return identify(str(folder)).model_copy(update={"dtype": "float32"})


def answers(engine: VllmEngine, prompt: Prompt, thinking: Thinking | None = None) -> list[Completion]:
    spec = Spec(
        model=Model(name="tiny", revision="1"),
        prompt=PromptRef.of(prompt),
        image_size=224,
        graph=False,
        sampling=Sampling(max_tokens=200),
        thinking=thinking,
    )
    asked = [engine.submit(build_request(smiles, key_of(smiles), spec, prompt)[0]) for smiles in MOLECULES]
    return [answer.result() for answer in asked]


def test_the_schema_holds_after_the_thoughts_and_a_budget_ends_them(
    own_environment: None, tmp_path: Path, describe: Prompt
) -> None:
    folder = thinking_tiny(tmp_path / "thinker")
    settings = EngineSettings(**SETTINGS, thinking=ON)
    with closing(VllmEngine(model_at(folder), str(folder), settings, tmp_path / "vllm.log")) as engine:
        free, short = answers(engine, describe, ON), answers(engine, describe, ON.model_copy(update={"budget": 9}))
    for completion in (*free, *short):
        assert completion.thought is not None and completion.thought.ended
        assert well_formed(completion.text, completion.finish_reason, describe.json_schema)
        assert "think>" not in completion.text + completion.thought.text
        assert 0 < completion.thought.tokens < completion.completion_tokens
    assert [completion.thought.tokens for completion in short if completion.thought] == [9, 9]
    assert all(completion.thought and completion.thought.tokens > 9 for completion in free)  # it ended them itself


@pytest.mark.parametrize(
    ("turn", "thinking", "sentence"),
    [
        (OPENED, None, r"thinker thinks before it answers, for its chat template opens a thought: give --thinking on"),
        (OPENED, Thinking(on=False), r"thinker thinks whatever it is told"),
        ("Assistant:<think></think>", ON, r"does not think, for its chat template ends all thoughts"),
        (OPENED, Thinking(on=True, parser="seed_oss"), r"parser seed_oss does not fit thinker \(its vocabulary"),
        (OPENED, Thinking(on=True, parser="granite"), r"parser granite does not say where thoughts begin and end"),
    ],
)
def test_a_template_that_does_otherwise_than_the_user_wants_is_noticed_before_weights_load(
    own_environment: None, tmp_path: Path, turn: str, thinking: Thinking | None, sentence: str
) -> None:
    """There are none: whoever loaded them would say so."""
    folder = thinking_tiny(tmp_path / "thinker", turn)
    (folder / "model.safetensors").unlink()
    settings = EngineSettings(**SETTINGS, thinking=thinking)
    with pytest.raises(EngineRefusedError, match=sentence):
        VllmEngine(model_at(folder), str(folder), settings, tmp_path / "vllm.log")


def test_a_parser_whose_marks_the_model_does_not_know_is_refused(own_environment: None, tmp_path: Path) -> None:
    settings = EngineSettings(**SETTINGS, thinking=ON)
    with pytest.raises(EngineRefusedError, match=r"parser deepseek_r1 does not fit tiny \(.*could not locate"):
        VllmEngine(identify("tiny"), local_path("tiny"), settings, tmp_path / "vllm.log")


@pytest.mark.parametrize("thinking", [None, Thinking(on=False), ON])
def test_a_template_with_a_switch_is_told_what_the_user_wants(
    own_environment: None, tmp_path: Path, thinking: Thinking | None
) -> None:
    folder = thinking_tiny(tmp_path / "thinker", SWITCHED)
    (folder / "model.safetensors").unlink()
    settings = EngineSettings(**SETTINGS, thinking=thinking)
    with pytest.raises(EngineStartError, match="weights"):
        VllmEngine(model_at(folder), str(folder), settings, tmp_path / "vllm.log")


def test_an_adapter_answers_as_the_model_merged_with_it(
    own_environment: None, tmp_path: Path, describe: Prompt, tiny_engine: VllmEngine
) -> None:
    adapter = tiny_adapter(tmp_path / "adapter")
    merged = merged_tiny(tmp_path / "merged", adapter)
    _, files = identify_adapter(str(adapter))
    settings = EngineSettings(**SETTINGS, adapter=files)
    with closing(VllmEngine(identify("tiny"), local_path("tiny"), settings, tmp_path / "vllm.log")) as engine:
        adapted = answers(engine, describe)
    with closing(
        VllmEngine(model_at(merged), str(merged), EngineSettings(**SETTINGS), tmp_path / "vllm.log")
    ) as engine:
        expected = answers(engine, describe)
    assert [answer.text for answer in adapted] == [answer.text for answer in expected]
    assert [answer.text for answer in adapted] != [answer.text for answer in answers(tiny_engine, describe)]


def test_an_adapter_of_another_model_is_refused_when_the_engine_starts(own_environment: None, tmp_path: Path) -> None:
    adapter = tiny_adapter(tmp_path / "adapter")
    broken = adapter / "adapter_model.safetensors"
    broken.write_bytes(broken.read_bytes()[:2_000])
    _, files = identify_adapter(str(adapter))
    settings = EngineSettings(**SETTINGS, adapter=files)
    with pytest.raises(EngineRefusedError, match=f"vLLM does not serve the adapter in {adapter}: .*"):
        VllmEngine(identify("tiny"), local_path("tiny"), settings, tmp_path / "vllm.log")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.smi"
    path.write_text(f"CCO\n{LOST}\n")
    return path


def test_thoughts_are_stored_and_counted_apart_and_lost_ones_are_tried_again(
    run: Callable[..., Result], store: Store, spec: Spec, library: Path, tmp_path: Path
) -> None:
    thoughtful = spec.model_copy(update={"thinking": ON})
    result = run(library, script=Script(lost=frozenset({LOST})), spec=thoughtful)
    assert (result.ledger.accepted, result.ledger.dead) == (2, 0)
    assert result.ledger.completion_tokens > ROOM  # what was lost was spent
    found, lost = store.fetch(thoughtful.id, [key_of("CCO"), key_of(LOST)])
    assert found is not None and lost is not None
    assert (found.text, found.reasoning, found.reasoning_tokens) == (true_answer("CCO"), "I see CCO.", 7)
    assert (lost.text, lost.attempts, lost.max_tokens) == (true_answer(LOST), 2, found.max_tokens)
    texts = fetch(store, thoughtful, [key_of("CCO"), key_of(LOST)]).texts  # that teachers read
    assert texts == (true_answer("CCO"), true_answer(LOST))
    out = tmp_path / "out.jsonl"
    assert export(store, thoughtful, out) == 2
    assert '"reasoning":"I see CCO."' in out.read_text().replace(": ", ":")


def test_a_molecule_that_is_only_thought_about_is_a_dead_letter_of_its_own_kind(
    run: Callable[..., Result], store: Store, spec: Spec, library: Path
) -> None:
    thoughtful = spec.model_copy(update={"thinking": ON})
    result = run(library, script=Script(lost=frozenset({LOST})), spec=thoughtful, max_attempts=1)
    assert (result.ledger.accepted, result.ledger.dead) == (1, 1)
    ((_, letter),) = store.dead_letters(thoughtful.id)
    assert (letter.stage, letter.text) == ("thinking", "It may be so, or else")
