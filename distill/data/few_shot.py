"""A prompt by which an LLM predicts a property from the most similar molecules that it is known of.

It is the few-shot branch of MMF (arXiv 2408.14964), whose prompt could not be read; this one is ours. The examples are
molecules of the training part alone, and a molecule is none of its own, so that no label that is to be predicted stands
in the prompt. They are part of the prompt, so that another split is another spec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import Dataset
from distill.data.guesses import CONFIDENCE, CONFIDENCES, PREDICTION
from distill.data.splits import Split
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.shots import LARGEST_POOL, all_examples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

MAX_TOKENS = 60


def few_shot_prompt(dataset: Dataset, split: Split, *, shots: int, question: str | None = None) -> dict[str, Any]:
    """Return a prompt file's content, as `teacher.llm.prompt` reads it.

    Args:
        dataset: molecules with labels of one target.
        split: whose training part the examples are of; of more than `LARGEST_POOL`, so many are drawn.
        shots: how many examples a molecule is asked about with.
        question: what the property is, in words; by default the target's name.

    Raises:
        UsageError: the dataset has several targets, or too few labelled molecules to learn from.
    """
    if len(dataset.targets) > 1:
        named = ", ".join(target.name for target in dataset.targets)
        raise UsageError(f"A few-shot prompt asks for one property, and there are {named}: name one with --target.")
    (target,) = dataset.targets
    pool = _pool(dataset, split)
    if len(pool) <= shots:
        raise UsageError(f"There are {len(pool)} labelled molecules to take {shots} examples from: ask for fewer.")
    classes = target.kind == "classification"
    number = {"type": "number", **({"minimum": 0, "maximum": 1} if classes else {})}
    asked = f"the probability, 0 to 1, that '{target.name}' is 1" if classes else f"the value of '{target.name}'"
    described = f" The property: {question}" if question else ""
    return {
        "name": "few-shot",
        "version": 1,
        "summary": f"{target.name} out of the {shots} most similar molecules of a training part",
        "max_tokens": MAX_TOKENS,
        "instructions": (
            f"You are an expert chemist. Predict a property of a molecule from measured ones of similar molecules, "
            f"which come first, the most similar one last.{described}\n"
            f'Answer with one JSON object: "{PREDICTION}": {asked}; "{CONFIDENCE}": "low", "medium" or "high", how '
            "sure you are. The examples are measurements, and so sure."
        ),
        "image": "Drawing:",
        "smiles": "SMILES: {smiles}",
        "graph": "Bonds between numbered atoms: {graph}",
        "closing": "JSON:",
        "shots": {"nearest": shots, "pool": [_shot(dataset, row, classes=classes) for row in pool.tolist()]},
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "required": [PREDICTION, CONFIDENCE],
            "properties": {PREDICTION: number, CONFIDENCE: {"type": "string", "enum": list(CONFIDENCES)}},
        },
    }


def refuse_test_examples(prompt: Prompt | None, dataset: Dataset, splits: Iterable[Split]) -> None:
    """Refuse predictions that were made with a label of a validation or test molecule in sight.

    Raises:
        UsageError: the prompt is not known, or has such an example.
    """
    from teacher.chemistry.molecule import parse

    if prompt is None:
        raise UsageError("The prompt of these predictions is not in the store, so nobody knows what it showed.")
    shown = {parse(shot.smiles.encode()).key for shot in all_examples(prompt.shots)}
    for split in splits:
        held_out = [*split.valid.tolist(), *split.test.tolist()]
        if any(dataset.keys[row] in shown for row in held_out):
            raise UsageError(
                "These predictions were made with labels of the validation or the test part in sight: write the prompt "
                "anew with 'gallon prompt few-shot' and the same --split and --seed, and use one seed."
            )


def _pool(dataset: Dataset, split: Split) -> NDArray[np.int64]:
    """Return the labelled rows of the training part, at most as many as a prompt may have."""
    rows: NDArray[np.int64] = split.train[~np.isnan(dataset.labels[split.train, 0])]
    if len(rows) <= LARGEST_POOL:
        return rows
    drawn = np.random.default_rng(split.seed or 0).permutation(len(rows))[:LARGEST_POOL]
    chosen: NDArray[np.int64] = rows[np.sort(drawn)]
    return chosen


def _shot(dataset: Dataset, row: int, *, classes: bool) -> dict[str, Any]:
    label = float(dataset.labels[row, 0])
    value: float = int(label) if classes else float(f"{label:.4g}")
    return {"smiles": dataset.smiles[row], "answer": {PREDICTION: value, CONFIDENCE: "high"}}
