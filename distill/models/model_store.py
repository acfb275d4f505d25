"""A trained model as a folder: weights in safetensors and a JSON card. Nothing in it is pickled, nothing is run."""

from __future__ import annotations

import json
from pathlib import Path

from distill.data.dataset import Dataset, Target
from distill.features.features_id import features_id
from distill.features.vectors import DESCRIPTOR_SETS
from distill.models.card import ModelCard
from teacher.errors import UsageError
from teacher.files import check_folder

FORMAT = "gallon model 2"
CARD, WEIGHTS, SCALER, OUTPUTS = "card.json", "weights.safetensors", "scaler.safetensors", "outputs.parquet"
TRAINING, TRAINING_SMILES = "training.safetensors", "training.smi"  # of the molecules that it learned from
LIBRARY = "library.safetensors"  # of a network over a library: its molecules, their neighbours and texts
README = "README.md"
RULES = "rules.json"  # that it reads
NGRAMS = "ngrams.safetensors"  # a student of the model's, that reads the text of a SMILES
FILES = (CARD, WEIGHTS, SCALER, OUTPUTS, TRAINING, TRAINING_SMILES, LIBRARY, README, RULES, NGRAMS)
FINGERPRINTS = "fingerprints"
PREFIX = "network."  # of the network's weights, beside those of what maps it to its teachers


def check_place(folder: Path) -> None:
    """Check that a model can be saved as a folder: one that is new or empty, or that holds a model.

    Raises:
        UsageError: something else is there, or nothing can be written there.
    """
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CARD).is_file():
        raise UsageError(f"{folder} holds files and no model: move them, or choose another folder for the results.")


def refuse_other_data(folder: Path, dataset: Dataset) -> None:
    """Check that the results in a folder, models and a comparison, come of a dataset.

    Raises:
        UsageError: some come of another one, and would be overwritten or mixed up with those to come.
    """
    for file in sorted([*folder.glob(f"*/{CARD}"), *folder.glob("table.json")]):
        try:
            other = json.loads(file.read_text(encoding="utf-8"))["dataset"]
            name, sha256 = other["name"], other["sha256"]
        except (OSError, ValueError, TypeError, KeyError):
            continue  # a damaged one belongs to nobody
        if sha256 != dataset.sha256:
            raise UsageError(
                f"{folder} holds results of {name} with other molecules or labels: choose another folder with --out, "
                "or replace them with --overwrite."
            )


def read_card(folder: Path) -> ModelCard:
    """Read what a model is.

    Raises:
        UsageError: the folder holds no model of ours.
    """
    try:
        facts = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if facts.pop("format") != FORMAT or facts["descriptors"] not in DESCRIPTOR_SETS:
            raise UsageError(f"{folder} was written by another version of gallon: train it again.")
        return ModelCard(**{**facts, "targets": tuple(Target(**target) for target in facts["targets"])})
    except (FileNotFoundError, NotADirectoryError):
        below = sorted(str(card.parent) for card in folder.glob(f"*/{CARD}"))
        there = f" There are models in {', '.join(below)}." if below else ""
        raise UsageError(
            f"There is no model in {folder}: it should hold card.json and weights.safetensors.{there}"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"The model in {folder} is damaged: its card.json is not a card. Train it again.") from None


def usable_card(folder: Path) -> ModelCard:
    """Read what a model is that is to be asked.

    Raises:
        UsageError: the folder holds no model of ours, or one that was trained on features of another version.
    """
    card = read_card(folder)
    if card.features != (here := features_id()):
        software = " and ".join(f"{name} {card.versions.get(name, '?')}" for name in ("gallon", "rdkit"))
        raise UsageError(
            f"The model in {folder} was trained on features of version {card.features}, and here they are of version "
            f"{here}: train it again, or use it with what it was made by ({software})."
        )
    return card
