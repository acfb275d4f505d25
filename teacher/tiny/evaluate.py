"""How true the answers of a model to the `describe` prompt are, on molecules that `tiny` was never trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from teacher.chemistry.depiction import draw
from teacher.chemistry.facts import Facts, facts_of
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import Molecule
from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, Request
from teacher.llm.prompt import Content, Picture, Prompt
from teacher.llm.spec import Sampling
from teacher.llm.validation import RejectedError, claimed_groups, validate
from teacher.tiny.examples import held_out
from teacher.tiny.library import valid
from teacher.tiny.model import IMAGE_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.progress import Progress

IN_FLIGHT = 250  # requests, each with its picture
SEED = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """What the model is given of a molecule.

    Attributes:
        picture: the drawing, a white square of its size, or nothing.
        constrained: whether the answer is held to the schema while it is written.
    """

    name: str
    smiles: bool = True
    picture: str | None = "drawn"
    graph: bool = False
    constrained: bool = False


CONDITIONS = (
    Condition("full"),
    Condition("full, constrained", constrained=True),
    Condition("SMILES only", picture=None),
    Condition("picture only", smiles=False),
    Condition("blank picture only", smiles=False, picture="blank"),
    Condition("full, with bonds", graph=True),
)


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares (0 to 1) of a condition's answers.

    Attributes:
        accepted: finished by themselves, and valid under the schema. What is not accepted claims nothing below.
        groups_f1: micro-averaged over all claims of functional groups, 2 TP / (2 TP + FP + FN).
        rings: both ring counts right.
        polarity, lipophilicity: band right.
    """

    accepted: float
    groups_f1: float
    rings: float
    polarity: float
    lipophilicity: float


def sample(smiles: Sequence[str], limit: int) -> list[Molecule]:
    """Return up to `limit` held-out molecules of a library, each once; the same library gives the same ones."""
    order = list(smiles)
    Random(SEED).shuffle(order)
    chosen: dict[bytes, Molecule] = {}
    for molecule in valid(order):
        if len(chosen) == limit:
            break
        if held_out(molecule.key):
            chosen[molecule.key] = molecule
    return list(chosen.values())


def digest_of(molecules: Iterable[Molecule]) -> str:
    """Digest which molecules were tested; 16 hexadecimal digits."""
    keys = sorted(molecule.key for molecule in molecules)
    return hashlib.sha256(b"".join(keys)).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of what decides the scores."""
    import rdkit
    import torch
    import transformers
    import vllm

    return {module.__name__: str(module.__version__) for module in (vllm, torch, transformers, rdkit)}


def evaluate(engine: Engine, prompt: Prompt, molecules: Sequence[Molecule], progress: Progress) -> dict[str, Scores]:
    """Ask about every molecule under every condition, greedily, and return the scores by the condition's name."""
    facts = [facts_of(molecule.mol) for molecule in molecules]
    task = progress.add_task("evaluating", total=len(molecules) * len(CONDITIONS), note="")
    scores = {}
    for condition in CONDITIONS:
        completions = []
        for start in range(0, len(molecules), IN_FLIGHT):
            some = molecules[start : start + IN_FLIGHT]
            futures = [engine.submit(_request(molecule, prompt, condition)) for molecule in some]
            for future in futures:
                completions.append(future.result())
                progress.advance(task)
        scores[condition.name] = _scores(completions, facts, prompt)
    return scores


def _request(molecule: Molecule, prompt: Prompt, condition: Condition) -> Request:
    sampling = Sampling(max_tokens=prompt.max_tokens)
    return Request(
        _content(molecule, prompt, condition), sampling, prompt.json_schema if condition.constrained else None
    )


def _content(molecule: Molecule, prompt: Prompt, condition: Condition) -> Content:
    picture = None
    if condition.picture == "blank":
        picture = Picture(_blank(), "blank")
    elif condition.picture:
        picture = Picture(draw(molecule.mol, IMAGE_SIZE), molecule.key.hex())
    return prompt.render(
        task=None,
        smiles=molecule.smiles if condition.smiles else None,
        picture=picture,
        graph=graph_text(molecule.mol) if condition.graph else None,
    )


def _blank() -> Image:
    from PIL import Image

    return Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), "white")


def _scores(completions: Sequence[Completion], facts: Sequence[Facts], prompt: Prompt) -> Scores:
    answers = [_fields(completion, truth, prompt) for completion, truth in zip(completions, facts, strict=True)]
    right = claimed = there = 0
    for answer, truth in zip(answers, facts, strict=True):
        claims, groups = claimed_groups(answer), frozenset(truth.functional_groups)
        right, claimed, there = right + len(claims & groups), claimed + len(claims), there + len(groups)

    def share(*names: str) -> float:
        pairs = zip(answers, facts, strict=True)
        return sum(all(answer.get(name) == getattr(truth, name) for name in names) for answer, truth in pairs) / len(
            facts
        )

    return Scores(
        accepted=sum(map(bool, answers)) / len(facts),
        groups_f1=2 * right / (claimed + there),
        rings=share("aromatic_rings", "aliphatic_rings"),
        polarity=share("polarity"),
        lipophilicity=share("lipophilicity"),
    )


def _fields(completion: Completion, facts: Facts, prompt: Prompt) -> dict[str, Any]:
    """Return the answer's fields, or none if it is not acceptable."""
    try:
        return validate(completion.text, completion.finish_reason, prompt.json_schema, facts).fields or {}
    except RejectedError:
        return {}
