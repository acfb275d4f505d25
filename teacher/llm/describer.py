"""Descriptions of a few molecules, now: an engine in this process, without a store and without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from teacher.chemistry.facts import Structure
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.errors import EngineDeadError
from teacher.llm.acceptance import accept
from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, PromptRejectedError, Request
from teacher.llm.prompt import Prompt
from teacher.llm.request import build_request, retried
from teacher.llm.spec import Spec
from teacher.llm.validation import Grounding, RejectedError

IN_FLIGHT = 256  # molecules at a time: an engine queues what it cannot compute yet


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What the LLM wrote about a molecule, or why there is nothing.

    Attributes:
        molecule: as it was given.
        smiles: canonical; None where it is no molecule.
        text: the accepted answer; None without one.
        fields: of the answer, if the prompt asks for JSON.
        grounding: how far the answer agrees with RDKit.
        agreement: of several samples with what most of them say.
        reasoning: what the LLM thought before it answered; None where it did not.
        attempts: answers that were needed.
        error: why there is no text.
    """

    molecule: str
    smiles: str | None = None
    text: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    grounding: Grounding | None = None
    agreement: float | None = None
    reasoning: str | None = None
    attempts: int = 0
    error: str | None = None


class Describer:
    """Describes molecules by an engine that is kept between calls.

    Args:
        engine: that serves the spec's model; `close` closes it.
        spec: what decides the descriptions.
        prompt: that the spec refers to.
        max_attempts: answers that may be rejected before a molecule is given up.
    """

    def __init__(self, engine: Engine, spec: Spec, prompt: Prompt, max_attempts: int = 3) -> None:
        self.spec = spec
        self._engine, self._prompt, self._max_attempts = engine, prompt, max_attempts

    def __enter__(self) -> Describer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()

    def describe(self, molecules: Iterable[str], show: Callable[[int], None] | None = None) -> list[Description]:
        """Describe molecules, in their order; one that cannot be described says why.

        Args:
            molecules: SMILES.
            show: called with the number of molecules that are done.

        Raises:
            EngineDeadError: the engine died.
        """
        waiting, found = list(molecules), []
        for start in range(0, len(waiting), IN_FLIGHT):
            asked = [self._ask(text) for text in waiting[start : start + IN_FLIGHT]]
            for question in asked:
                found.append(question if isinstance(question, Description) else self._answer(question))
                if show:
                    show(len(found))
        return found

    def _ask(self, text: str) -> Description | _Question:
        """Put a molecule to the engine, or say why it cannot be: whatever is raised here is about this one."""
        try:
            molecule = parse(text.encode())
        except InvalidMoleculeError as error:
            return Description(molecule=text, error=str(error))
        try:
            request, structure = build_request(molecule.smiles, molecule.key, self.spec, self._prompt)
        except Exception as error:  # noqa: BLE001
            return Description(molecule=text, smiles=molecule.smiles, error=f"it cannot be rendered: {error}")
        return _Question(text, molecule.smiles, request, structure, self._engine.submit(request))

    def _answer(self, question: _Question) -> Description:
        """Wait for an acceptable answer; a rejected one is followed by another attempt, as in a batch job."""
        found = Description(molecule=question.molecule, smiles=question.smiles)
        answer = question.answer
        for attempt in range(1, self._max_attempts + 1):
            try:
                annotation = accept(answer.result(), self._prompt.json_schema, question.structure, self.spec)
            except EngineDeadError:
                raise
            except PromptRejectedError as error:
                return replace(found, error=str(error))
            # What nobody foresaw, about one molecule, costs that molecule at most, as in a batch job.
            except Exception as error:  # noqa: BLE001
                found = replace(found, error=str(error) or type(error).__name__, attempts=attempt)
                rejected = error.stage if isinstance(error, RejectedError) else None
                if attempt < self._max_attempts:
                    answer = self._engine.submit(retried(question.request, self.spec, attempt, rejected))
                continue
            return replace(
                found,
                text=annotation.text,
                fields=annotation.fields or {},
                grounding=annotation.grounding,
                agreement=annotation.agreement,
                reasoning=annotation.thought.text if annotation.thought else None,
                attempts=attempt,
                error=None,
            )
        return found


@dataclass(frozen=True, slots=True)
class _Question:
    """A molecule that the engine is asked about: as it was given, canonical, and what the answer is held to."""

    molecule: str
    smiles: str
    request: Request
    structure: Structure
    answer: Future[Completion]
