"""From a molecule to what the LLM is asked about it; batch jobs and single descriptions share this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from teacher.chemistry.depiction import draw
from teacher.chemistry.drawing import unpack
from teacher.chemistry.facts import Structure, structure_of
from teacher.chemistry.facts_text import facts_text
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import mol_of
from teacher.llm.engine import Request
from teacher.llm.prompt import Picture, Prompt, Turn
from teacher.llm.row_columns import shown
from teacher.llm.schema import for_grammar
from teacher.llm.shots import answer_text, examples_for, texts_of
from teacher.llm.spec import Sampling, Spec
from teacher.llm.validation import Stage


def build_request(
    smiles: str,
    key: bytes,
    spec: Spec,
    prompt: Prompt,
    *,
    columns: Mapping[str, str] | None = None,
    drawing: bytes | None = None,
) -> tuple[Request, Structure]:
    """Render the prompt of a molecule; what RDKit knows of it comes first, so that no answer is asked for in vain.

    Args:
        smiles: canonical.
        key: of the molecule; names the drawing.
        spec: what the LLM is shown, and how it samples.
        prompt: that the spec refers to.
        columns: the cells of its row, as they are shown, for the spec's columns.
        drawing: of the molecule, packed, if it was drawn before.

    Returns:
        The request of the first attempt, and the structure that the answer is validated against.

    Raises:
        KeyError: a column of the spec's is missing.
        Exception: whatever RDKit raises for a molecule that it cannot draw or describe.
    """
    mol = mol_of(smiles)
    structure = structure_of(mol)
    picture = None
    if spec.image_size is not None:
        image = draw(mol, spec.image_size) if drawing is None else unpack(drawing, spec.image_size)
        picture = Picture(image, uuid=f"{key.hex()}-{spec.image_size}")
    before = turns_before(prompt, spec, smiles)
    content = prompt.render(
        task=spec.task,
        smiles=smiles if spec.smiles else None,
        picture=picture,
        graph=graph_text(mol) if spec.graph else None,
        facts=facts_text(mol) if spec.facts else None,
        columns=columns or {},
        instructed=not any(turn.role == "user" for turn in before),
    )
    grammar = for_grammar(prompt.json_schema) if spec.structured else None
    return Request(content, sampling_of(spec), grammar, before, spec.thinking, spec.answers), structure


def turns_before(prompt: Prompt, spec: Spec, smiles: str | None = None) -> tuple[Turn, ...]:
    """Return the turns that come before the question about a molecule: the system's, then the examples'.

    Without a molecule they are what such turns look like, where they differ.

    The instructions stand in the first turn of the user. Examples are shown as the molecule that is asked about is, but
    for the drawing: a request has one picture.
    """
    turns = [Turn("system", prompt.system.replace("{task}", spec.task or "").strip())] if prompt.system else []
    for number, shot in enumerate(examples_for(prompt.shots, smiles)):
        its_smiles, graph, facts = texts_of(shot.smiles)
        (question,) = prompt.render(
            task=spec.task,
            smiles=its_smiles if spec.smiles else None,
            graph=graph if spec.graph else None,
            facts=facts if spec.facts else None,
            columns={name: shown(cell) for name, cell in shot.columns.items()},
            instructed=number == 0,
        )
        assert isinstance(question, str), "without a picture a message is one text"
        turns += [Turn("user", question), Turn("assistant", answer_text(shot))]
    return tuple(turns)


def sampling_of(spec: Spec, attempt: int = 0, rejected: Stage | None = None) -> Sampling:
    """Return how an attempt samples: 0 is the first; `rejected` is the check that rejected the last answer, if any."""
    assert spec.sampling is not None, "only specs of imported annotations have none"
    return spec.sampling.retry_sampling(attempt, cut_off=rejected == "finish", answers=spec.answers)


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
    return replace(request, sampling=sampling_of(spec, attempt, rejected), thinking=thinking)
