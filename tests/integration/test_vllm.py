"""The real vLLM on the CPU, with the tiny model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.progress import Progress
from tokenizers import Tokenizer

from teacher.chemistry.depiction import draw
from teacher.chemistry.facts import facts_of
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import parse
from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.rendering import chat_message, chat_params
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.engines.vllm_engine import VllmEngine, sampling_params
from teacher.llm.models import CHECKPOINT, identify, local_path
from teacher.llm.prompt import Picture, Prompt
from teacher.llm.spec import Sampling
from teacher.llm.validation import validate
from teacher.tiny import conversation, evaluate, library
from tests.support.asked import request
from tests.support.molecules import SMILES


def test_every_structured_answer_finishes_and_follows_the_schema(tiny_engine: VllmEngine, describe: Prompt) -> None:
    answers = {smiles: tiny_engine.submit(request(describe, smiles)) for smiles in SMILES}
    for smiles, answer in answers.items():
        completion = answer.result()
        checked = validate(
            completion.text, completion.finish_reason, describe.json_schema, facts_of(parse(smiles.encode()).mol)
        )
        assert checked.fields == json.loads(completion.text)
        assert 0 <= checked.grounding.score <= 1
        assert completion.prompt_tokens > 200
        assert completion.completion_tokens > 10


def test_the_same_request_is_answered_alike(tiny_engine: VllmEngine, describe: Prompt) -> None:
    first, second = (tiny_engine.submit(request(describe, "CCO")).result() for _ in range(2))
    assert first == second


def test_many_requests_with_seeds_are_answered_together(tiny_engine: VllmEngine, describe: Prompt) -> None:
    """vLLM on a CPU died of the first whose prompt did not fit into a step, be it a retry of a run at temperature 0."""
    hot = Sampling(max_tokens=describe.max_tokens, temperature=0.7, seed=7)
    asked = [replace(request(describe, "C" * length), sampling=hot) for length in range(1, 33)]
    answers = [answer.result() for answer in [tiny_engine.submit(each) for each in asked]]
    assert sum(each.prompt_tokens for each in answers) > 2 * 4096
    assert all(each.completion_tokens > 10 for each in answers)


@pytest.mark.parametrize(
    ("smiles", "picture", "graph"),
    [(True, False, False), (False, True, False), (True, True, False), (True, True, True)],
)
def test_a_request_is_rendered_as_the_tiny_model_was_trained(
    tiny_engine: VllmEngine, describe: Prompt, smiles: bool, picture: bool, graph: bool
) -> None:
    molecule = parse(b"CC(=O)Nc1ccc(O)cc1Cl")
    content = describe.render(
        task=None,
        smiles=molecule.smiles if smiles else None,
        picture=Picture(draw(molecule.mol, 224), "parity") if picture else None,
        graph=graph_text(molecule.mol) if graph else None,
    )

    async def rendered() -> list[int]:
        message = chat_message(Request(content, Sampling(max_tokens=1)))
        _, (prompt,) = await tiny_engine._llm.renderer.render_chat_async([[message]], chat_params())
        return list(prompt["prompt_token_ids"])

    tokens = tiny_engine._loop.run(rendered())
    assert tokens == conversation.question(content, Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json")))


def test_the_tiny_model_says_what_is_true_and_sees_the_picture(tiny_engine: VllmEngine, describe: Prompt) -> None:
    """Its card holds the scores of 1,000 molecules; those of 50 scatter, and the bounds lie well below."""
    molecules = evaluate.sample(library.read(None), 50)
    scores = evaluate.evaluate(tiny_engine, describe, molecules, Progress(disable=True))

    assert scores["full"].accepted >= 0.96
    assert scores["full, constrained"].accepted >= 0.98
    assert scores["full"].groups_f1 >= 0.9
    assert scores["full"].rings >= 0.85
    assert min(scores["full"].polarity, scores["full"].lipophilicity) >= 0.8
    assert scores["picture only"].groups_f1 - scores["blank picture only"].groups_f1 >= 0.3


def test_the_picture_that_is_sent_is_the_one_that_is_seen(tiny_engine: VllmEngine, describe: Prompt) -> None:
    """Wrong pictures out of a cache have happened (vllm issues 20261 and 52583)."""

    async def first_logprobs(drawn: str) -> dict[int, float]:
        asked = request(describe, "CCO", drawn=drawn)
        params = sampling_params(Request(asked.content, Sampling(max_tokens=1)))
        params.logprobs = 5
        _, (prompt,) = await tiny_engine._llm.renderer.render_chat_async([[chat_message(asked)]], chat_params())
        async for output in tiny_engine._llm.generate(prompt, params, f"canary-{drawn}-{id(asked)}"):
            final = output
        return {token: entry.logprob for token, entry in final.outputs[0].logprobs[0].items()}

    def logprobs(drawn: str) -> dict[int, float]:
        return tiny_engine._loop.run(first_logprobs(drawn))

    ethanol, benzene, ethanol_again = (logprobs(drawn) for drawn in ("CCO", "c1ccccc1", "CCO"))
    assert ethanol != benzene
    assert ethanol_again == pytest.approx(ethanol, abs=1e-3)


def test_a_prompt_longer_than_the_context_is_refused_and_costs_nobody_else(
    tiny_engine: VllmEngine, describe: Prompt
) -> None:
    long = tiny_engine.submit(request(describe, "C" * 400 + "O" + "N" * 90))
    short = tiny_engine.submit(request(describe, "CCO"))
    with pytest.raises(PromptRejectedError, match="context"):
        long.result()
    assert short.result().finish_reason == "stop"


def test_a_model_that_cannot_see_is_refused_before_its_weights_load(own_environment: None, tmp_path: Path) -> None:
    """There are none: whoever loaded them would say so."""
    blind = tmp_path / "blind"
    shutil.copytree(local_path("tiny"), blind, ignore=shutil.ignore_patterns("*.safetensors", "*processor*"))
    config = json.loads((blind / "config.json").read_text())
    text_only = {**config["text_config"], "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    (blind / "config.json").write_text(json.dumps(text_only))
    with pytest.raises(EngineRefusedError, match="blind reads text only: give --no-image"):
        VllmEngine(identify(str(blind)), str(blind), EngineSettings(cpu_threads=1), tmp_path / "vllm.log")
    with pytest.raises(EngineStartError, match=r"could not start blind: .*weights"):
        VllmEngine(
            identify(str(blind)), str(blind), EngineSettings(cpu_threads=1, image_size=None), tmp_path / "vllm.log"
        )


def test_an_engine_that_cannot_read_its_weights_says_so(own_environment: None, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(local_path("tiny"), broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    model = identify(str(broken))
    with pytest.raises(EngineStartError, match=r"vLLM could not start .*broken: .*(header|incomplete)") as caught:
        VllmEngine(model, str(broken), EngineSettings(cpu_threads=1), tmp_path / "vllm.log")
    assert "\n" not in str(caught.value)


def test_whoever_still_asks_an_engine_that_is_closed_is_told(tiny_engine: VllmEngine, describe: Prompt) -> None:
    """One thread finds the engine dead and closes it, while others wait for it or come to ask.

    The last test here, since it closes the engine of all.
    """
    unfinished = [tiny_engine.submit(request(describe, "C" * length)) for length in range(1, 30)]
    tiny_engine.close()
    late = tiny_engine.submit(request(describe, "CCO"))
    for answer in unfinished:
        assert isinstance(answer.exception(timeout=30), EngineDeadError | None)
    assert isinstance(late.exception(timeout=30), EngineDeadError)
