"""What an LLM is asked about a molecule, with its drawing and its graph."""

from __future__ import annotations

from teacher.chemistry.depiction import draw
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import parse
from teacher.llm.engine import Request
from teacher.llm.prompt import Picture, Prompt
from teacher.llm.spec import Sampling


def request(prompt: Prompt, smiles: str, *, drawn: str | None = None, uuid: str | None = None) -> Request:
    mol = parse(smiles.encode()).mol
    picture = Picture(draw(parse((drawn or smiles).encode()).mol, 224), uuid or f"test-{drawn or smiles}")
    content = prompt.render(task=None, smiles=smiles, picture=picture, graph=graph_text(mol))
    return Request(content, Sampling(max_tokens=prompt.max_tokens), prompt.json_schema)
