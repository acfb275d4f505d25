"""Whether a model's chat template takes the turns that all requests begin with, found out before weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from teacher.errors import EngineRefusedError

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.renderers.params import ChatParams

QUESTION = {"role": "user", "content": "?"}
WITHOUT_SYSTEM = "write the text of 'system' into the instructions of the prompt, or choose another model"


def check_template(config: VllmConfig, name: str, turns: Sequence[dict[str, Any]], params: ChatParams) -> None:
    """Render the turns, and see what comes of them; nothing is done where there are none.

    Args:
        config: of the model.
        name: of the model, for people.
        turns: a system turn, if any, then questions and answers by turns, as vLLM takes them.
        params: how conversations are rendered.

    Raises:
        EngineRefusedError: the template refuses the turns, or leaves the system turn out.
    """
    if not turns:
        return
    from vllm.exceptions import VLLMClientError
    from vllm.renderers import renderer_from_config

    refusals = (VLLMClientError, ValueError)  # of a template, and of Mistral's tokenizer
    renderer = renderer_from_config(config)

    def tokens(messages: Sequence[dict[str, Any]]) -> list[int]:
        _, (prompt,) = renderer.render_chat([list(messages)], params)
        return list(prompt["prompt_token_ids"])

    bare = tokens([QUESTION])
    system = [turn for turn in turns if turn["role"] == "system"]
    try:
        if system and tokens([*system, QUESTION]) == bare:
            raise EngineRefusedError(f"The chat template of {name} leaves the system turn out: {WITHOUT_SYSTEM}.")
    except refusals as error:
        raise EngineRefusedError(
            f"The chat template of {name} takes no system turn ({_one_line(error)}): {WITHOUT_SYSTEM}."
        ) from None
    try:
        tokens([*turns, QUESTION])
    except refusals as error:
        raise EngineRefusedError(
            f"The chat template of {name} does not take the examples of the prompt ({_one_line(error)}): leave out its "
            "'shots', or choose another model."
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
