"""The card of a model for people."""

from __future__ import annotations

import math
import re

from distill.models.card import ModelCard
from teacher.wording import counted

METRICS = {"roc_auc": "ROC-AUC", "average_precision": "average precision", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}


def readme(card: ModelCard) -> str:
    """Return as Markdown what a model predicts, how well, for which molecules, and how to ask it.

    Its head is as the Hugging Face Hub reads it.
    """
    parts = [part for part in ("train", "valid", "test") if part in card.metrics]
    names = [name for name in METRICS if any(name in card.metrics[part] for part in parts)]
    table = [
        f"| {METRICS[name]} | {' | '.join(_shown(card.metrics[part].get(name)) for part in parts)} |" for name in names
    ]
    targets = ", ".join(f"`{_plain(target.name)}` ({target.kind})" for target in card.targets)
    lines = [
        *("---", "library_name: gallon", "tags: [chemistry, molecules, knowledge-distillation]", "---", ""),
        *(f"# {card.recipe} of {_plain(card.dataset['name'])}", ""),
        *(f"Predicts {targets} of a molecule from its SMILES.", ""),
        *("| data | sha256 |", "|---|---|", f"| {_plain(card.dataset['name'])} | `{card.dataset['sha256']}` |", ""),
        *(f"Split: {card.split['description']}.", ""),
        *(_taught(card)),
        *([f"{counted(card.members, 'network')} predict together, as their mean.", ""] if card.members > 1 else []),
        *([f"| | {' | '.join(parts)} |", f"|---{'|---' * len(parts)}|", *table, ""] if table else []),
        *(_pretrained(card)),
        *(_started(card)),
        *(_experts(card)),
        *(_rules(card)),
        *(_ranking(card)),
        *(_library(card)),
        *(_domain(card)),
        *(
            "```python",
            "import gallon",
            "",
            'model = gallon.load("FOLDER OR FILE")',
            'model.predict(["CCO"])',
            "```",
            "",
        ),
        f"Made by {', '.join(f'{name} {version}' for name, version in card.versions.items())}.",
    ]
    return "\n".join(lines) + "\n"


def _pretrained(card: ModelCard) -> list[str]:
    """Say what pre-trained networks the model or its teachers read, and where that leaves no evidence."""
    told = [facts for facts in (card.pretrained, *(teacher.get("pretrained") for teacher in card.teachers)) if facts]
    lines = []
    for facts in told:
        overlap = f" {_plain(facts['overlap'])}." if facts["overlap"] else ""
        lines += [
            f"{'Learned from a teacher that reads' if card.teachers else 'Reads'} vectors of {_plain(facts['title'])} "
            f"{_plain(facts['version'])} (licence: {_plain(facts['licence'])}), pre-trained on {_plain(facts['data'])}."
            f"{overlap}",
            "",
        ]
    return lines


def _started(card: ModelCard) -> list[str]:
    """Say what the model, or a teacher of it, had learned before it saw a label, and which molecules it had seen."""
    told = [facts for facts in (card.start, *(teacher.get("start") for teacher in card.teachers)) if facts]
    return [
        line
        for facts in told
        for line in (
            f"{'A teacher began' if card.teachers else 'Began'} with a network that was pre-trained on "
            f"{counted(facts['molecules'], 'molecule')}, to predict {', '.join(facts['targets'])} ({facts['labels']}). "
            f"Structures of the data among them: {facts['seen']['train']:,} of the training, "
            f"{facts['seen']['valid']:,} of the validation and {facts['seen']['test']:,} of the test part.",
            "",
        )
    ]


def _taught(card: ModelCard) -> list[str]:
    if not card.teachers:
        return []
    teachers = ", ".join(teacher["recipe"] for teacher in card.teachers)
    name = card.objective.get("objective", "")
    by = {"gallon": "GALLON's objective as released", "whitened": "soft labels and whitened representations"}.get(name)
    return [f"Taught by {teachers}{f', by {by}' if by else ''}.", ""]


def _experts(card: ModelCard) -> list[str]:
    if not card.experts:
        return []
    shares = ", ".join(f"{_plain(name)} {share:.0%}" for name, share in card.experts.items())
    return [f"Its experts count, on average over the validation part: {shares}.", ""]


def _rules(card: ModelCard) -> list[str]:
    """Say which rules the model or its teachers read."""
    told = [facts for facts in (card.rules, *(teacher.get("rules") for teacher in card.teachers)) if facts]
    lines = [
        f"Reads {counted(facts['rules'], 'rule')} about {_plain(facts['task'])} (digest `{_plain(facts['digest'])}`)."
        for facts in told
    ]
    return [line for each in dict.fromkeys(lines) for line in (each, "")]


def _ranking(card: ModelCard) -> list[str]:
    """Say who chose the neighbours that the model was measured with, and who chooses those of new molecules."""
    if not card.ranking:
        return []
    told = card.ranking
    order = "an LLM's order" if told["by"] == "llm" else "an order by chance"
    return [
        f"Its neighbours were taken out of {counted(told['candidates'], 'candidate')} in {order} (spec "
        f"`{_plain(told['spec'])}`, {told['answered']:,} of {counted(told['molecules'], 'molecule')} answered; the "
        "others by similarity), also where it was measured. New molecules are predicted without an LLM, from the most "
        "similar ones.",
        "",
    ]


def _library(card: ModelCard) -> list[str]:
    """Say of how many unlabelled molecules a student has learned, and that none of them is a labelled one."""
    if not card.transfer:
        return []
    checked = ""
    if (left_out := card.transfer.get("labelled_left_out")) is not None:
        checked = f" ({left_out:,} of the data {'was' if left_out == 1 else 'were'} found there and left out)"
    molecules = counted(card.transfer["molecules"], "molecule")
    return [f"Learned what its teachers say of {molecules} without labels, none of them in the data{checked}.", ""]


def _domain(card: ModelCard) -> list[str]:
    if not card.doubt:
        return []
    return [
        f"Trust it for molecules whose Tanimoto similarity (ECFP4) to the nearest training molecule is at least "
        f"{card.doubt['domain']:.2f}; `predict(..., doubt=True)` tells that, and intervals of "
        f"{card.doubt['level']:.0%}. The SMILES of the training molecules are in `training.smi`.",
        "",
    ]


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _plain(name: str) -> str:
    """Return a name out of the data as text that Markdown takes for nothing else."""
    return re.sub(r"[^\w .,:;()+%/-]", "_", name)
