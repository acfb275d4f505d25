"""What a model is and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from distill.data.dataset import Target
from distill.features.vectors import DescriptorSet
from teacher.provenance import installed

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
        members: how many networks predict together; their seeds count on.
        spec: id of the spec of the annotations that it or its teachers read, if any.
        encoder: of a language teacher or one that reads SMILES, the text encoder that it reads by.
        encoder_version: of that encoder (`teacher.nn.text_encoder.encoder_version`); None of a card from before.
        pretrained: of one that reads a pre-trained network's vectors, what that is, what it was pre-trained on, and
            the overlap with the dataset, if one is known (`distill.features.pretrained`); empty of others.
        start: of one that began with a pre-trained network, its sha256, what it had learned and of how many molecules,
            why none of that is a label, and how many molecules of each part it had seen
            (`distill.models.pretraining.Start`); empty of others.
        rules: of one that reads rules, their task, digest, number and sources; empty of others.
        ranking: of one whose neighbours an LLM has put in an order, its spec, how many candidates it was offered, and
            about how many molecules it has answered; empty of others. New molecules have the most similar ones.
        teachers: of a student, the cards of its teachers.
        objective: of a student, the name of the objective that it was distilled by, and the weights of its terms.
        experts: of a mixture of experts, the mean share of each over the validation part.
        transfer: of a student, how many molecules without labels it also learnt of, and a sha256 of them; empty
            without. Of a prepared library also its digest, how many of its molecules were left out since the labelled
            data hold them, and the share of labelled molecules in a step.
        metrics: of each part of the split; None where a part cannot be scored.
        doubt: what was learnt about its errors (`distill.models.doubt.Doubt`); empty of one that reads annotations.
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
    members: int = 1
    spec: str | None = None
    encoder: str | None = None
    encoder_version: str | None = None
    pretrained: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)
    ranking: Mapping[str, Any] = field(default_factory=dict)
    teachers: Sequence[Mapping[str, Any]] = ()
    transfer: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    experts: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=lambda: MappingProxyType({}))
    doubt: Mapping[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    history: Sequence[Mapping[str, float]] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: installed(PACKAGES))
