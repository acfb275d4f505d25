"""From a molecule to what the LLM is asked about it; batch jobs and single descriptions share this."""

from __future__ import annotations

from dataclasses import replace

from teacher.chemistry.depiction import draw
from teacher.chemistry.drawing import unpack
from teacher.chemistry.facts import Structure, structure_of
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import mol_of
from teacher.llm.engine import Request
from teacher.llm.prompt import Picture, Prompt
from teacher.llm.schema import for_grammar
from teacher.llm.spec import Sampling, Spec
from teacher.llm.validation import Stage


def build_request(
    smiles: str, key: bytes, spec: Spec, prompt: Prompt, drawing: bytes | None = None
) -> tuple[Request, Structure]:
    """Render the prompt of a molecule; what RDKit knows of it comes first, so that no answer is asked for in vain.

    Args:
        smiles: canonical.
        key: of the molecule; names the drawing.
        spec: what the LLM is shown, and how it samples.
        prompt: that the spec refers to.
        drawing: of the molecule, packed, if it was drawn before.

    Returns:
        The request of the first attempt, and the structure that the answer is validated against.

    Raises:
        Exception: whatever RDKit raises for a molecule that it cannot draw or describe.
    """
    mol = mol_of(smiles)
    structure = structure_of(mol)
    picture = None
    if spec.image_size is not None:
        image = draw(mol, spec.image_size) if drawing is None else unpack(drawing, spec.image_size)
        picture = Picture(image, uuid=f"{key.hex()}-{spec.image_size}")
    content = prompt.render(
        task=spec.task,
        smiles=smiles if spec.smiles else None,
        picture=picture,
        graph=graph_text(mol) if spec.graph else None,
    )
    grammar = for_grammar(prompt.json_schema) if spec.structured else None
    return Request(content, sampling_of(spec), grammar, spec.thinking), structure


def sampling_of(spec: Spec, attempt: int = 0, *, cut_off: bool = False) -> Sampling:
    """Return how an attempt samples: 0 is the first; `cut_off` tells that the last answer was not finished."""
    assert spec.sampling is not None, "only specs of imported annotations have none"
    return spec.sampling.retry_sampling(attempt, cut_off)


def retried(request: Request, spec: Spec, attempt: int, rejected: Stage | None) -> Request:
    """Return a request as a later attempt makes it.

    Args:
        request: of the first attempt.
        spec: that it was built by.
        attempt: 0 is the first.
        rejected: the check that rejected the last answer; None where there was no answer, or none was rejected.
    """
    thinking = request.thinking
    if thinking and rejected == "thinking":
        thinking = thinking.after_a_lost_thought(attempt)
    return replace(request, sampling=sampling_of(spec, attempt, cut_off=rejected == "finish"), thinking=thinking)
