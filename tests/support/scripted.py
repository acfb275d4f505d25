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

from teacher.engine import Completion, PromptRejectedError, Request
from teacher.errors import EngineDeadError, EngineStartError
from teacher.facts import facts_of
from teacher.molecule import parse

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


@dataclass(kw_only=True)
class Script:
    """How the engine behaves, by canonical SMILES; a molecule not named is described truly at once.

    Attributes:
        cut_off: molecules whose answer is cut off so many times first.
        nonsense: molecules whose answer is no JSON.
        rejected: molecules whose prompt is refused as too long.
        poison: molecules that kill the engine.
        deadly: molecules that kill the engine's whole worker.
        start_error: the reason why the engine does not start at all.
        starts: a file to which each start of the engine adds a line.
        requests: a file to which each request adds its SMILES.
        delay: seconds that each answer takes, one after another.
        texts: what it writes instead of the truth, one of them for each molecule, so that it costs next to nothing.
    """

    cut_off: dict[str, int] = field(default_factory=dict)
    nonsense: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    poison: frozenset[str] = frozenset()
    deadly: frozenset[str] = frozenset()
    start_error: str | None = None
    starts: Path | None = None
    requests: Path | None = None
    delay: float = 0.0
    texts: tuple[str, ...] = ()

    def __call__(self, log_path: Path) -> ScriptedEngine:
        """Start an engine, as an `EngineFactory` does."""
        _add_line(self.starts, "start")
        if self.start_error is not None:
            raise EngineStartError(self.start_error)
        return ScriptedEngine(self)


class ScriptedEngine:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._left = dict(script.cut_off)
        self._dead = False
        self._closing = Lock()
        self._closed = False
        self._one_after_another = ThreadPoolExecutor(max_workers=1)

    def submit(self, request: Request) -> Future[Completion]:
        with self._closing:
            if self._script.delay and not self._closed:
                return self._one_after_another.submit(self._answer_late, request)
        answer: Future[Completion] = Future()
        try:
            answer.set_result(self._answer(request))
        except (PromptRejectedError, EngineDeadError) as error:
            answer.set_exception(error)
        return answer

    def close(self) -> None:
        with self._closing:
            self._dead = self._closed = True
        self._one_after_another.shutdown(wait=False, cancel_futures=False)

    def _answer_late(self, request: Request) -> Completion:
        time.sleep(self._script.delay)
        return self._answer(request)

    def _answer(self, request: Request) -> Completion:
        smiles = next(
            found[1] for part in request.content if isinstance(part, str) and (found := SMILES_LINE.search(part))
        )
        _add_line(self._script.requests, smiles)
        if smiles in self._script.deadly:
            os._exit(1)
        if self._dead or smiles in self._script.poison:
            self._dead = True
            raise EngineDeadError("the scripted engine died")
        if smiles in self._script.rejected:
            raise PromptRejectedError("the prompt is longer than the context")
        text = self._text(smiles)
        if self._left.get(smiles, 0) > 0:
            self._left[smiles] -= 1
            return Completion(text=text[:10], finish_reason="length", prompt_tokens=50, completion_tokens=10)
        return Completion(text=text, finish_reason="stop", prompt_tokens=50, completion_tokens=len(text) // 4)

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
