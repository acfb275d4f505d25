"""A prompt by which an LLM puts the candidates for a molecule's neighbours in an order, and the table that it shows.

After E-LLaGNN (arXiv 2407.14996), whose LLM samples a node's neighbours by their quality; its prompt could not be
read, this one is ours. Candidates are the most similar molecules of the training part. They are cells of the molecule's
row, so that the record of an answer goes by what was offered: an answer about other candidates, as of another split, is
another record, and is not found. No label stands in the table or in the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.data.dataset import Dataset
from distill.data.splits import Split
from distill.features.library_graph import NEIGHBOURS, LibraryGraph
from distill.features.neighbours import packed_of
from teacher.chemistry.molecule import record_key
from teacher.errors import UsageError
from teacher.llm.row_columns import pack_cells, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

CANDIDATES = 2 * NEIGHBOURS
ORDER = "order"  # key of an answer
MAX_TOKENS = 80


def column_names(number: int) -> tuple[str, ...]:
    """Return the columns of so many candidates."""
    return tuple(f"candidate_{place}" for place in range(1, number + 1))


def candidates_of(dataset: Dataset, split: Split, number: int) -> LibraryGraph:
    """Return the training molecules that are offered for each molecule, the most similar first, itself left out."""
    return LibraryGraph.of(packed_of(dataset.mols()), split.train, number)


def candidate_rows(dataset: Dataset, candidates: LibraryGraph) -> list[list[str]]:
    """Return the SMILES of each molecule's candidates; empty where there are no more."""
    return [[dataset.smiles[place] if place >= 0 else "" for place in near] for near in candidates.neighbours.tolist()]


def record_keys(dataset: Dataset, candidates: LibraryGraph) -> list[bytes]:
    """Return the keys of the records about these molecules with these candidates in sight."""
    names = column_names(candidates.neighbours.shape[1])
    cells = [dict(zip(names, map(shown, row), strict=True)) for row in candidate_rows(dataset, candidates)]
    return [record_key(key, pack_cells(each)) for key, each in zip(dataset.keys, cells, strict=True)]


def ranking_prompt(
    targets: Sequence[str], *, candidates: int = CANDIDATES, question: str | None = None
) -> dict[str, Any]:
    """Return a prompt file's content, as `teacher.llm.prompt` reads it.

    Args:
        targets: the names of the properties.
        candidates: how many are offered; the best `NEIGHBOURS` are asked for.
        question: what the property is, in words; by default the targets' names.

    Raises:
        UsageError: there are no more candidates than neighbours.
    """
    if candidates <= NEIGHBOURS:
        raise UsageError(
            f"A molecule has {NEIGHBOURS} neighbours, so that an order of {candidates} candidates decides nothing: "
            "offer more by --candidates."
        )
    about = question or " and ".join(f"'{target}'" for target in targets)
    offered = "\n".join(f"{place}: {{column:{name}}}" for place, name in enumerate(column_names(candidates), start=1))
    return {
        "name": "rank-neighbours",
        "version": 1,
        "summary": f"the {NEIGHBOURS} most informative of {candidates} similar molecules",
        "max_tokens": MAX_TOKENS,
        "instructions": (
            f"You are an expert chemist. A property of a molecule is to be predicted from that of similar ones: "
            f"{candidates} numbered candidates. The property: {about}\n"
            f"Choose the {NEIGHBOURS} candidates whose measured values would tell the most about the molecule's: those "
            "that are like it in what bears on this property, rather than in their structure as a whole.\n"
            f'Answer with one JSON object: "{ORDER}": the numbers of these candidates, each once, the most informative '
            "first. Where no candidate is given, there is none to choose."
        ),
        "image": "Drawing:",
        "smiles": "SMILES: {smiles}",
        "graph": "Bonds between numbered atoms: {graph}",
        "columns": f"Candidates:\n{offered}",
        "closing": "JSON:",
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "required": [ORDER],
            "properties": {
                ORDER: {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": NEIGHBOURS,
                    "uniqueItems": True,
                    "items": {"type": "integer", "minimum": 1, "maximum": candidates},
                }
            },
        },
    }
