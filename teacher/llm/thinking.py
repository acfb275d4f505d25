"""Whether and how long a model thinks before it answers, and which of vLLM's parsers knows its thoughts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from teacher.errors import UsageError

ROOM = 8_192  # tokens for thoughts whose end is left to the model: reasoning models are given 4,000 to 32,000
WORDS = {"on": True, "true": True, "off": False, "false": False}

# By the `model_type` of a configuration. All mark their thoughts; what a family calls its thinking differs. Families
# that share a type with models that never think (DeepSeek-R1's distillations are `qwen2` and `llama`) are not here.
PARSERS = {
    **dict.fromkeys(("qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl", "qwen3_vl_moe", "qwen3_omni_moe"), "qwen3"),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe"), "qwen3"),
    # Not `deepseek_v3`, which makes itself this one where thinking is on, and knows no marks before it has been told.
    **dict.fromkeys(("deepseek_v3", "deepseek_v32"), "deepseek_r1"),
    "deepseek_v4": "deepseek_v4",
    **dict.fromkeys(("glm4_moe", "glm4v", "glm4v_moe", "glm4_moe_lite"), "glm45"),
    **dict.fromkeys(("gemma4", "gemma4_unified"), "gemma4"),
    **dict.fromkeys(("kimi_k2", "kimi_k25"), "kimi_k2"),
    "minimax_m3_vl": "minimax_m3",
    **dict.fromkeys(("minicpmv4_6", "minicpmv4_7"), "minicpmv"),
    **dict.fromkeys(("ernie4_5_vl_moe", "ernie4_5_moe_vl"), "ernie45"),
    **dict.fromkeys(("mistral3", "mistral4", "pixtral"), "mistral"),
    **dict.fromkeys(("nemotron_h", "nemotron_h_omni"), "nemotron_v3"),
    "minimax_m2": "minimax_m2",
    "olmo3": "olmo3",
    "seed_oss": "seed_oss",
    "step3_vl": "step3",
    **dict.fromkeys(("step3p5", "step3p7"), "step3p5"),
}
# Around thoughts, of all families. Where a parser is at work it says which are the model's.
MARKS = (
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought", "<channel|>"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
CHANNEL = "<|channel|>"  # begins whatever gpt-oss writes, the answer too
OPENINGS = (*(start for start, _ in MARKS), CHANNEL)
OWN_WORDS = frozenset({"mistral", "minimax_m3"})  # parsers of families that are told to think by a word of their own
INNER = ("text_config", "llm_config", "language_config")  # where a model that sees keeps the language model's


class Thinking(BaseModel):
    """How a model thinks.

    Attributes:
        on: whether it does.
        budget: tokens after which its thoughts are ended by force; None leaves their end to the model.
        parser: vLLM's reasoning parser, which knows the marks around thoughts; None where a server has its own, and
            where there are none. Of a model that is not to think it is known only where it tells the template how
            (`OWN_WORDS`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: bool
    budget: int | None = Field(default=None, ge=1)
    parser: str | None = None

    @property
    def room(self) -> int:
        """Tokens that may be written before the answer begins."""
        return (self.budget or ROOM) if self.on else 0

    @property
    def template_arguments(self) -> dict[str, Any]:
        """What chat templates are told; each family has a name of its own, and a template ignores the others'."""
        told: dict[str, Any] = {"enable_thinking": self.on, "thinking": self.on}
        if self.parser == "mistral":
            told["reasoning_effort"] = "high" if self.on else "none"
        if self.parser == "minimax_m3":
            told["thinking_mode"] = "enabled" if self.on else "disabled"
        return told

    def after_a_lost_thought(self, attempt: int) -> Thinking:
        """Return how it thinks in retry number `attempt` (1 is the first), after thoughts that did not end.

        They have half as much room again for each retry, and are ended by force where it ends: whoever serves a budget
        gives an answer then.
        """
        return self.model_copy(update={"budget": round(self.room * (1 + 0.5 * attempt))})


def parse_thinking(text: str) -> Thinking:
    """Read what a user says: on, off, or a number of tokens.

    Raises:
        UsageError: it is none of these.
    """
    said = str(text).strip().lower()
    if said in WORDS:
        return Thinking(on=WORDS[said])
    if said.isascii() and said.isdigit() and int(said) > 0:
        return Thinking(on=True, budget=int(said))
    raise UsageError(f"--thinking is on, off or a number of tokens, and not '{text}'.")


def parser_for(config: Mapping[str, Any]) -> str | None:
    """Return the name of vLLM's reasoning parser for a model, by its configuration; None where it is not known."""
    if "model_type" not in config and {"dim", "n_layers"} <= config.keys():
        return "mistral"  # in Mistral's own format
    for facts in (config, *(config.get(name) for name in INNER)):
        if isinstance(facts, Mapping) and (found := PARSERS.get(str(facts.get("model_type")))):
            return found
    return None
