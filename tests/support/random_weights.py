"""An engine of random weights: it computes as one of trained weights does, and a ready answer stands for its text."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import dataclass, replace

from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, Request

ANSWER = {
    "functional_groups": ["ester", "tertiary amine"],
    "aromatic_rings": 2,
    "aliphatic_rings": 1,
    "polarity": "medium",
    "lipophilicity": "high",
    "description": "A chlorinated diaryl scaffold carries a tertiary amine in a saturated ring, and an ester. " * 3,
}


def cut(request: Request, tokens: int) -> Request:
    """Return the request with its answer cut off after so many tokens."""
    return replace(request, sampling=request.sampling.model_copy(update={"max_tokens": tokens}))


@dataclass
class ReadyAnswers:
    """Every answer of `engine` is cut off after some tokens, and counts as a finished one of the prompt `describe`."""

    engine: Engine
    tokens: int

    def submit(self, request: Request) -> Future[Completion]:
        ready: Future[Completion] = Future()

        def pass_on(written: Future[Completion]) -> None:
            if error := written.exception():
                ready.set_exception(error)
            else:
                ready.set_result(replace(written.result(), text=json.dumps(ANSWER), finish_reason="stop"))

        self.engine.submit(cut(request, self.tokens)).add_done_callback(pass_on)
        return ready

    def close(self) -> None:
        self.engine.close()
