"""The scripted engine: stands in for the LLM where a test is about rows, retries or counting.

What it answers is decided by the molecule's SMILES in the prompt, so that tests need no shared state with the actors.
"""

from __future__ import annotations

import json
import os
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from zlib import crc32

from teacher.chemistry.facts import facts_of
from teacher.chemistry.molecule import parse
from teacher.errors import EngineDeadError, EngineStartError
from teacher.llm.completion import Completion, Thought
from teacher.llm.engine import PromptRejectedError, Request

SMILES_LINE = re.compile(r"^SMILES: (.+)$", re.MULTILINE)


@cache
def true_answer(smiles: str) -> str:
    """What a perfect LLM would write for the `describe` prompt."""
    facts = facts_of(parse(smiles.encode()).mol)
    return json.dumps(
        {
            "functional_groups": list(facts.functional_groups)[:16],
            "aromatic_rings": facts.aromatic_rings,
            "aliphatic_rings": facts.aliphatic_rings,
            "polarity": facts.polarity,
            "lipophilicity": facts.lipophilicity,
            "description": f"A molecule written as {smiles}.",
        }
    )


class UnforeseenError(RuntimeError):
    """What nobody foresaw."""


@dataclass(kw_only=True)
class Script:
    """How the engine behaves, by canonical SMILES; a molecule not named is described truly at once.

    Attributes:
        cut_off: molecules whose answer is cut off so many times first.
        lost: molecules over which it thinks without end, unless a budget ends its thoughts.
        nonsense: molecules whose answer is no JSON.
        rejected: molecules whose prompt is refused as too long.
        poison: molecules that kill the engine.
        deadly: molecules that kill the engine's whole worker.
        unforeseen: molecules over which it raises what nobody foresaw, so many times first.
        unanswered: molecules that it never answers, while it answers the others.
        stunning: molecules with which it stops answering altogether.
        start_error: the reason why the engine does not start: at all, or `failing_starts` times.
        broken_gpus: the GPUs on which it does not start for that reason; without any, it is all places.
        starts: a file to which each start of the engine adds a line.
        together: an engine is ready only when so many have started, by that file.
        requests: a file to which each request adds its SMILES.
        answers: a file to which each answer adds the process that gave it, and its GPUs.
        trouble: a folder, in which a file of this name befalls every engine there is: `start` (it does not), `raise`
            (over the next request, something unforeseen), `hang` (no more answers).
        delay: seconds that each answer takes, one after another.
        pause: a file during whose existence no answer is given, where answers take time.
        texts: what it writes instead of the truth, one of them for each molecule, so that it costs next to nothing.
    """

    cut_off: dict[str, int] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    nonsense: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    poison: frozenset[str] = frozenset()
    deadly: frozenset[str] = frozenset()
    unforeseen: dict[str, int] = field(default_factory=dict)
    unanswered: frozenset[str] = frozenset()
    stunning: frozenset[str] = frozenset()
    start_error: str | None = None
    failing_starts: int | None = None
    broken_gpus: frozenset[str] = frozenset()
    starts: Path | None = None
    together: int = 0
    requests: Path | None = None
    answers: Path | None = None
    trouble: Path | None = None
    delay: float = 0.0
    pause: Path | None = None
    texts: tuple[str, ...] = ()

    def __call__(self, log_path: Path) -> ScriptedEngine:
        """Start an engine, as an `EngineFactory` does."""
        _add_line(self.starts, "start")
        if self.start_error is not None and self._fails():
            raise EngineStartError(self.start_error)
        if self.happens("start"):
            raise EngineStartError("it was told not to")
        while self._started() < self.together:
            time.sleep(0.05)
        return ScriptedEngine(self)

    def happens(self, trouble: str) -> bool:
        """Tell whether trouble of some kind has come, and take it away, so that it befalls one engine once."""
        if self.trouble is None:
            return False
        try:
            (self.trouble / trouble).unlink()
        except FileNotFoundError:
            return False
        return True

    def _fails(self) -> bool:
        if self.broken_gpus:
            return os.environ.get("CUDA_VISIBLE_DEVICES") in self.broken_gpus
        if self.failing_starts is None:
            return True
        return self._started() <= self.failing_starts

    def _started(self) -> int:
        return len(self.starts.read_text().splitlines()) if self.starts else 0


class ScriptedEngine:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._left = dict(script.cut_off)
        self._unforeseen = dict(script.unforeseen)
        self._dead = False
        self._stunned = False
        self._closing = Lock()
        self._closed = False
        self._one_after_another = ThreadPoolExecutor(max_workers=1)

    def submit(self, request: Request) -> Future[Completion]:
        with self._closing:
            if self._script.delay and not self._closed:
                return self._one_after_another.submit(self._answer_late, request)
        answer: Future[Completion] = Future()
        try:
            completion = self._answer(request)
        except (PromptRejectedError, EngineDeadError, UnforeseenError) as error:
            answer.set_exception(error)
        else:
            if completion is not None:
                answer.set_result(completion)
        return answer

    def close(self) -> None:
        with self._closing:
            self._dead = self._closed = True
        self._one_after_another.shutdown(wait=False, cancel_futures=False)

    def _answer_late(self, request: Request) -> Completion:
        time.sleep(self._script.delay)
        while self._script.pause and self._script.pause.exists() and not self._dead:
            time.sleep(0.05)
        completion = self._answer(request)
        while completion is None:  # as long as nobody closes it
            if self._dead:
                raise EngineDeadError("the scripted engine was closed")
            time.sleep(0.1)
        return completion

    def _answer(self, request: Request) -> Completion | None:
        """Answer, or return None where there never is an answer."""
        smiles = next(
            found[1] for part in request.content if isinstance(part, str) and (found := SMILES_LINE.search(part))
        )
        _add_line(self._script.requests, smiles)
        if smiles in self._script.deadly:
            os._exit(1)
        if self._dead or smiles in self._script.poison:
            self._dead = True
            raise EngineDeadError("the scripted engine died")
        if smiles in self._script.stunning or self._script.happens("hang"):
            self._stunned = True
        if self._stunned or smiles in self._script.unanswered:
            return None
        if self._unforeseen.get(smiles, 0) > 0 or self._script.happens("raise"):
            self._unforeseen[smiles] = self._unforeseen.get(smiles, 1) - 1
            raise UnforeseenError("no such tensor")
        if smiles in self._script.rejected:
            raise PromptRejectedError("the prompt is longer than the context")
        _add_line(self._script.answers, f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
        thought = None
        if request.thinking and request.thinking.on:
            if smiles in self._script.lost and request.thinking.budget is None:
                unfinished = Thought("It may be so, or else", request.thinking.room, ended=False)
                return Completion("", "length", 50, unfinished.tokens, unfinished)
            thought = Thought(f"I see {smiles}.", 7)
        text = self._text(smiles)
        if self._left.get(smiles, 0) > 0:
            self._left[smiles] -= 1
            return Completion(text=text[:10], finish_reason="length", prompt_tokens=50, completion_tokens=10)
        others = tuple(self._sample(text, number) for number in range(1, request.samples))
        return Completion(text, "stop", 50, len(text) // 4, thought, others)

    def _sample(self, text: str, number: int) -> Completion:
        """Return a further sample: every fourth is nonsense."""
        written = "nonsense" if number % 4 == 3 else text
        return Completion(written, "stop", 0, len(written) // 4)

    def _text(self, smiles: str) -> str:
        if smiles in self._script.nonsense:
            return "nonsense"
        if texts := self._script.texts:
            return texts[crc32(smiles.encode()) % len(texts)]
        return true_answer(smiles)


def _add_line(path: Path | None, line: str) -> None:
    if path is not None:
        with path.open("a") as file:
            file.write(line + "\n")
