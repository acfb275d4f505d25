"""How other systems say that a text is not whole."""

from __future__ import annotations

CUT_OFF = {  # by a limit of tokens
    *("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "error_limit"),
}
ENDED_EARLY = {
    *("abort", "aborted", "cancelled", "canceled", "user_cancel", "pause_turn", "incomplete"),
    *("error", "failed", "error_toxic", "insufficient_system_resource", "repetition"),
    *("content_filter", "content_filtered", "guardrail_intervened", "refusal", "safety", "recitation", "language"),
    *("blocklist", "prohibited_content", "spii"),
}


def as_an_engine_says(reason: str | None) -> str:
    """Return "length" for a text that was cut off, and the reason for one that ended early, else "stop".

    A reason that is not known to mean either is the system's own word for the end of a text: there are many of them.

    Args:
        reason: as the system writes it, in capitals or not, or as Python shows a member of an enumeration.
    """
    name = (reason or "").strip().lower().replace("-", "_").rpartition(".")[2]
    if name in CUT_OFF:
        return "length"
    return name if name in ENDED_EARLY else "stop"
