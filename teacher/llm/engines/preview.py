"""What a model would see of a molecule, to the token: rendered by vLLM as for a run, without loading weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from teacher.llm.engines.chat_template import check_template
from teacher.llm.engines.rendering import Renderer, chat_params, chat_turn
from teacher.llm.engines.vllm_arguments import EngineSettings, vllm_config
from teacher.llm.engines.vllm_engine import on_cpu, set_environment

if TYPE_CHECKING:
    from teacher.llm.engine import Request
    from teacher.llm.spec import Model

PLACE = re.compile(r"<[^<>]+>|\[[A-Z_]{3,}\]")  # a token that stands for a part of a picture, as `<image>` or `[IMG]`
REPEATS = 4  # of one token, from which on they are counted instead of written out


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A rendered prompt.

    Attributes:
        text: its tokens as text, the model's own marks included; that of a picture's parts is written once with its
            number.
        tokens: how many there are.
        context: tokens that the model takes, prompt and answer together.
    """

    text: str
    tokens: int
    context: int


def previews(requests: Sequence[Request], model: Model, path: str, settings: EngineSettings) -> list[Preview]:
    """Render requests for a model.

    Args:
        requests: as they would be submitted.
        model: that would be asked.
        path: the folder of its files, or its Hugging Face id.
        settings: as of the engine.

    Raises:
        EngineRefusedError: requests carry pictures and the model reads text only, or turns that its chat template does
            not take.
        VLLMClientError: a prompt is longer than the model takes.
    """
    set_environment(settings)
    from vllm.renderers import renderer_from_config

    config = vllm_config(model, path, settings, on_cpu=on_cpu(), one_process=True)
    check_template(config, model.name, [chat_turn(turn) for turn in settings.before], chat_params())
    vllm_renderer = renderer_from_config(config)
    renderer = Renderer(vllm_renderer)
    found = []
    for request in requests:
        ids = list(renderer.render_now(request)["prompt_token_ids"])
        text = _written(ids, vllm_renderer.tokenizer.decode)
        found.append(Preview(text=text, tokens=len(ids), context=config.model_config.max_model_len))
    return found


def _written(ids: list[int], decode: Callable[[list[int]], str]) -> str:
    """Write tokens as text; a picture's places are counted, and whatever is between them is decoded in one piece.

    Other tokens stand as often as they are there, however often that is: five in a row of `c` are a ring.
    """
    pieces: list[str] = []
    plain: list[int] = []
    for token, run in groupby(ids):
        number = len(list(run))
        if number < REPEATS or not PLACE.fullmatch(decode([token]).strip()):
            plain += [token] * number
            continue
        pieces += [decode(plain), f"{decode([token])} x {number}"]
        plain = []
    return "".join([*pieces, decode(plain)])
