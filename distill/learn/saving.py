"""A trained model becomes a folder, with what it knows of its errors."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from distill.data.dataset import Dataset
from distill.features.features_id import features_id
from distill.features.neighbours import packed_of
from distill.learn.recipes import VECTORS_OF
from distill.models.card import ModelCard
from distill.models.doubt import Doubt
from distill.models.ensemble import consensus, together
from distill.models.model_store import (
    CARD,
    FILES,
    FINGERPRINTS,
    FORMAT,
    LIBRARY,
    README,
    RULES,
    SCALER,
    TRAINING,
    TRAINING_SMILES,
    WEIGHTS,
)
from distill.models.readme import readme
from teacher import strict_json
from teacher.files import replacing_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cluster.training.fit import Outcome
    from distill.data.splits import Split
    from distill.learn.inputs import ModelInputs
    from distill.learn.recipes import Recipe

logger = logging.getLogger(__name__)


def save(
    folder: Path,
    recipe: Recipe,
    model_inputs: ModelInputs,
    split: Split,
    outcome: Outcome,
    *,
    seed: int,
    further: Sequence[Outcome] = (),
    metrics: Mapping[str, Mapping[str, float]],
    spec: str | None = None,
    teachers: Sequence[ModelCard] = (),
    objective: Mapping[str, Any] = MappingProxyType({}),
    transfer: Mapping[str, Any] = MappingProxyType({}),
) -> ModelCard:
    """Write a model as a folder, in the place of one that is there; see `distill.models.model_store.check_place`.

    Of an ensemble `outcome` is the first network, and `further` are the others.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    from safetensors.numpy import save as serialized

    dataset = model_inputs.dataset
    fingerprints = packed_of(dataset.mols()) if recipe.predicts_alone else None
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
        members=1 + len(further),
        spec=spec,
        encoder=model_inputs.encoder if _reads_by_encoder(recipe) else None,
        encoder_version=_encoder_version(model_inputs.encoder) if _reads_by_encoder(recipe) else None,
        pretrained=model_inputs.pretraining(recipe.pretrained),
        start=recipe.start.facts(dataset, split) if recipe.start else {},
        rules=model_inputs.rule_set(recipe.rules).facts() if recipe.rules else {},
        ranking=_ranking(recipe, model_inputs, split),
        teachers=[asdict(teacher) for teacher in teachers],
        objective=dict(objective),
        experts=_experts(recipe, model_inputs, split, outcome),
        transfer=dict(transfer),
        metrics=metrics,
        doubt=_doubt(dataset, split, [outcome, *further], fingerprints).facts() if fingerprints is not None else {},
        best_epoch=outcome.best_epoch,
        epochs=outcome.epochs,
        seconds=sum(each.seconds for each in (outcome, *further)),
        history=outcome.history,
    )
    with replacing_folder(folder, ours=FILES) as aside:
        _write_weights(aside / WEIGHTS, [outcome, *further])
        _write_what_it_reads(aside, recipe, model_inputs, split)
        if fingerprints is not None:
            (aside / TRAINING).write_bytes(serialized({FINGERPRINTS: fingerprints[split.train]}))
            (aside / TRAINING_SMILES).write_text("".join(f"{dataset.smiles[row]}\n" for row in split.train), "utf-8")
        written = strict_json.dumps({"format": FORMAT, **asdict(card)}, indent=2)
        (aside / CARD).write_text(written + "\n", encoding="utf-8")
        (aside / README).write_text(readme(card), encoding="utf-8")
    logger.info("model %s is saved in %s, with its best epoch %d", recipe.name, folder, outcome.best_epoch)
    return card


def _reads_by_encoder(recipe: Recipe) -> bool:
    return recipe.role == "lm" or recipe.pretrained == "smiles"


def _encoder_version(name: str) -> str | None:
    from teacher.nn.text_encoder import encoder_version

    return encoder_version(name)


def _write_weights(file: Path, outcomes: Sequence[Outcome]) -> None:
    from safetensors.numpy import load_file
    from safetensors.numpy import save as serialized

    if len(outcomes) == 1:
        shutil.copyfile(outcomes[0].weights, file)
    else:
        file.write_bytes(serialized(together([load_file(each.weights) for each in outcomes])))


def _write_what_it_reads(folder: Path, recipe: Recipe, model_inputs: ModelInputs, split: Split) -> None:
    """Write what turns a molecule into what the network reads."""
    from safetensors.numpy import save as serialized

    if recipe.reads in VECTORS_OF or recipe.reads == "library graph":
        (folder / SCALER).write_bytes(serialized(model_inputs.scaler(recipe, split).arrays()))
    if recipe.reads == "library graph":
        (folder / LIBRARY).write_bytes(serialized(model_inputs.library(recipe, split).arrays(split.train)))
    if recipe.rules:
        (folder / RULES).write_text(model_inputs.rule_set(recipe.rules).written(), encoding="utf-8")


def _ranking(recipe: Recipe, model_inputs: ModelInputs, split: Split) -> dict[str, Any]:
    """Say who has put the neighbours in an order; nothing where they stand by similarity."""
    if recipe.neighbours == "tanimoto":
        return {}
    return {"by": recipe.neighbours, **model_inputs.ranking(split).facts}


def _experts(recipe: Recipe, model_inputs: ModelInputs, split: Split, outcome: Outcome) -> dict[str, float]:
    """Ask a mixture of experts how much each counts on the validation part; nothing of other networks."""
    if not recipe.mixes:
        return {}
    from distill.learn.network import Network, expert_shares, settings_for

    _, inputs = model_inputs.inputs(recipe, split)
    settings = settings_for(recipe, inputs, model_inputs.encoder)
    build = functools.partial(recipe.build, len(model_inputs.dataset.targets), **settings)
    rows = split.valid[model_inputs.readable_by(recipe)[split.valid]]
    return expert_shares(Network.load(outcome.weights, build), inputs, rows)


def _doubt(dataset: Dataset, split: Split, outcomes: Sequence[Outcome], fingerprints: NDArray[np.uint8]) -> Doubt:
    """Learn how wrong a model is of the validation part."""
    rows = split.valid
    said = consensus([each.prediction[rows] for each in outcomes], dataset.kind)
    return Doubt.of(dataset.kind, dataset.labels[rows], said, fingerprints[rows], fingerprints[split.train])
