"""A trained model as a folder: weights in safetensors and a JSON card. Nothing in it is pickled, nothing is run."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from distill.data.dataset import Dataset, Target
from distill.features.features_id import features_id
from distill.features.neighbours import fingerprints_of, packed
from distill.features.vectors import DESCRIPTOR_SETS, DescriptorSet
from distill.learn.doubt import Doubt
from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import check_folder, replacing_folder
from teacher.provenance import installed

if TYPE_CHECKING:
    from rdkit.DataStructs import ExplicitBitVect

    from cluster.training.fit import Outcome
    from distill.data.splits import Split
    from distill.learn.inputs import ModelInputs
    from distill.learn.recipes import Recipe

logger = logging.getLogger(__name__)

FORMAT = "gallon model 2"
CARD, WEIGHTS, SCALER, OUTPUTS = "card.json", "weights.safetensors", "scaler.safetensors", "outputs.parquet"
TRAINING, TRAINING_SMILES = "training.safetensors", "training.smi"  # of the molecules that it learned from
FINGERPRINTS = "fingerprints"
PACKAGES = ("gallon", "torch", "torch-geometric", "rdkit", "numpy")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model is and where it comes from.

    Attributes:
        recipe, settings: name of the recipe, and the settings of its network.
        schedule: how long and how fast it was trained.
        balance: whether both classes weighed the same.
        descriptors: that it reads beside a fingerprint.
        features: id of the features that it was trained on (`distill.features.features_id`).
        targets: what it predicts.
        dataset: name and sha256 of what it learnt from.
        split: kind, sha256 and description of the split.
        seed: of the training.
        spec: id of the spec of the annotations that it or its teachers read, if any.
        encoder: of a language teacher, the text encoder that it reads by.
        teachers: of a student, the cards of its teachers.
        transfer: of a student, how many molecules without labels it also learnt of, and the sha256 of the dataset with
            them behind it; empty without.
        metrics: of each part of the split; None where a part cannot be scored.
        doubt: what was learnt about its errors (`distill.learn.doubt.Doubt`); empty of one that reads annotations.
        best_epoch, epochs, seconds: of the training.
        history: of each epoch the terms of the loss, the loss, and the validation score.
        versions: of the software that made it.
    """

    recipe: str
    settings: Mapping[str, Any]
    descriptors: DescriptorSet
    features: str
    targets: tuple[Target, ...]
    dataset: Mapping[str, str]
    split: Mapping[str, str]
    seed: int
    schedule: Mapping[str, Any] = field(default_factory=dict)
    balance: bool = False
    spec: str | None = None
    encoder: str | None = None
    teachers: Sequence[Mapping[str, Any]] = ()
    transfer: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=lambda: MappingProxyType({}))
    doubt: Mapping[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    history: Sequence[Mapping[str, float]] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: installed(PACKAGES))


def save(
    folder: Path,
    recipe: Recipe,
    model_inputs: ModelInputs,
    split: Split,
    outcome: Outcome,
    *,
    seed: int,
    metrics: Mapping[str, Mapping[str, float]],
    spec: str | None = None,
    teachers: Sequence[ModelCard] = (),
) -> ModelCard:
    """Write a model as a folder, in the place of one that is there; see `check_place`.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    from safetensors.numpy import save as serialized

    dataset = model_inputs.dataset
    fingerprints = fingerprints_of(dataset.mols()) if recipe.role != "lm" else []
    training = [fingerprints[row] for row in split.train] if fingerprints else []
    card = ModelCard(
        recipe=recipe.name,
        settings=dict(recipe.settings),
        schedule=asdict(recipe.schedule),
        balance=recipe.balance,
        descriptors=recipe.descriptors,
        features=features_id(),
        targets=dataset.targets,
        dataset={"name": dataset.name, "sha256": dataset.sha256},
        split={"kind": split.kind, "sha256": split.sha256, "description": split.describe()},
        seed=seed,
        spec=spec,
        encoder=model_inputs.encoder if recipe.role == "lm" else None,
        teachers=[asdict(teacher) for teacher in teachers],
        transfer=model_inputs.describe_transfer() if teachers else {},
        metrics=metrics,
        doubt=_doubt(dataset, split, outcome, fingerprints, training).facts() if fingerprints else {},
        best_epoch=outcome.best_epoch,
        epochs=outcome.epochs,
        seconds=outcome.seconds,
        history=outcome.history,
    )
    with replacing_folder(folder, ours=(CARD, WEIGHTS, SCALER, OUTPUTS, TRAINING, TRAINING_SMILES)) as aside:
        shutil.copyfile(outcome.weights, aside / WEIGHTS)
        if recipe.reads == "fingerprint":
            (aside / SCALER).write_bytes(serialized(model_inputs.scaler(recipe.descriptors, split).arrays()))
        if training:
            (aside / TRAINING).write_bytes(serialized({FINGERPRINTS: packed(training)}))
            lines = [f"{dataset.smiles[row]}\n" for row in split.train]
            (aside / TRAINING_SMILES).write_text("".join(lines), encoding="utf-8")
        written = strict_json.dumps({"format": FORMAT, **asdict(card)}, indent=2)
        (aside / CARD).write_text(written + "\n", encoding="utf-8")
    logger.info("model %s is saved in %s, with its best epoch %d", recipe.name, folder, outcome.best_epoch)
    return card


def _doubt(
    dataset: Dataset,
    split: Split,
    outcome: Outcome,
    fingerprints: Sequence[ExplicitBitVect],
    training: Sequence[ExplicitBitVect],
) -> Doubt:
    """Learn how wrong a model is of the validation part."""
    rows = split.valid
    held_out = [fingerprints[row] for row in rows]
    return Doubt.of(dataset.kind, dataset.labels[rows], outcome.prediction[rows], held_out, training)


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
    except FileNotFoundError:
        raise UsageError(f"There is no model in {folder}: it should hold card.json and weights.safetensors.") from None
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
