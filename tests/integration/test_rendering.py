"""Processes that make prompts beside the one that asks the engine, with the real vLLM and the tiny model's template."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from teacher.errors import EngineDeadError
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.rendering import Renderer, RendererPool, RenderingError
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.engines.vllm_engine import VllmEngine, set_environment
from teacher.llm.models import identify, local_path
from teacher.llm.prompt import Picture, Prompt
from teacher.llm.spec import Sampling
from tests.support.asked import request
from tests.support.molecules import SMILES

SETTINGS = EngineSettings(max_num_seqs=32, kv_cache_bytes=1 << 28, cpu_threads=1, image_size=224)


def begin() -> RendererPool:
    set_environment(SETTINGS)
    return RendererPool(1, identify("tiny"), local_path("tiny"), SETTINGS, on_cpu=True)


@pytest.fixture
def pool(own_environment: None) -> Iterator[RendererPool]:
    pool = begin()
    yield pool
    pool.close()


def rendered(pool: RendererPool, asked: Request) -> Any:
    return asyncio.run(pool.render(asked))


def test_a_prompt_is_the_same_whoever_makes_it(pool: RendererPool, tiny_engine: VllmEngine, describe: Prompt) -> None:
    asked = request(describe, "CC(=O)Nc1ccc(O)cc1Cl")
    there, here = rendered(pool, asked), tiny_engine._loop.run(tiny_engine._rendering.render(asked))
    for part in ("prompt_token_ids", "mm_hashes", "mm_placeholders"):
        assert there[part] == here[part]
    assert len(here["prompt_token_ids"]) > 200
    pixels = here["mm_kwargs"]["image"][0]["pixel_values"].data
    assert pixels.std() > 0
    assert there["mm_kwargs"]["image"][0]["pixel_values"].data.equal(pixels)


def test_what_cannot_be_rendered_is_told_and_costs_no_other(pool: RendererPool, describe: Prompt) -> None:
    asked = request(describe, "CCO")
    with pytest.raises(PromptRejectedError):
        rendered(pool, replace(asked, content=["C" * 100_000]))
    with pytest.raises(RenderingError, match="Error: "):
        rendered(pool, replace(asked, content=[Picture("no image", "none")]))
    assert rendered(pool, asked)


def test_a_process_that_dies_is_a_dead_engine(pool: RendererPool, describe: Prompt) -> None:
    pool.wait()
    os.kill(next(iter(pool._pool._processes)), signal.SIGKILL)
    with pytest.raises(EngineDeadError, match="made prompts"):
        for _ in range(100):  # it takes a moment to be noticed
            rendered(pool, request(describe, "CCO"))


def test_they_end_with_the_process_that_they_render_for(own_environment: None) -> None:
    script = (
        "from tests.integration.test_rendering import begin\n"
        "if __name__ == '__main__':\n"
        "    pool = begin()\n"
        "    print(next(iter(pool._pool._processes)), flush=True)\n"
        "    pool.wait()\n"
        "    print('ready', flush=True)\n"
        "    import time; time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
    _, alive = psutil.wait_procs([child], timeout=30)
    assert alive == []


def test_an_engine_answers_alike_with_them(tiny_engine: VllmEngine, describe: Prompt, tmp_path: Path) -> None:
    def answers(engine: VllmEngine) -> list[Future]:
        return [engine.submit(request(describe, smiles)) for smiles in SMILES]

    log = tmp_path / "vllm.log"
    engine = VllmEngine(identify("tiny"), local_path("tiny"), replace(SETTINGS, renderers=2), log)
    try:
        theirs = [answer.result() for answer in answers(engine)]
        with pytest.raises(PromptRejectedError):
            engine.submit(Request(["C" * 100_000], Sampling(max_tokens=1))).result()
        children = psutil.Process(next(iter(engine._rendering._pool._processes)))
    finally:
        engine.close()
    assert [each.text for each in theirs] == [answer.result().text for answer in answers(tiny_engine)]
    begun = time.monotonic()
    while children.is_running() and time.monotonic() < begun + 30:
        time.sleep(0.1)
    assert not children.is_running()


def test_an_engine_that_remembers_pictures_makes_its_prompts_itself(describe: Prompt, tmp_path: Path) -> None:
    # What the engine still has is not sent again; several processes would each remember their own part of what it got.
    settings = replace(SETTINGS, renderers=2, arguments={"mm_processor_cache_gb": 1})
    engine = VllmEngine(identify("tiny"), local_path("tiny"), settings, tmp_path / "vllm.log")
    try:
        assert isinstance(engine._rendering, Renderer)
        answers = [engine.submit(request(describe, "CCO")).result().text for _ in range(4)]
    finally:
        engine.close()
    assert len(set(answers)) == 1
