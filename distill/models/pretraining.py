"""A pre-trained network as a folder: weights in safetensors, a JSON card, and which molecules it has seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.splits import PARTS
from distill.features.features_id import features_id
from distill.models.card import PACKAGES
from distill.models.model_store import WEIGHTS
from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import check_folder, write_text
from teacher.provenance import installed
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.dataset import Dataset
    from distill.data.splits import Split

FORMAT = "gallon pretraining 1"
CARD, SEEN = "pretraining.json", "seen.safetensors"
FILES = (CARD, SEEN, WEIGHTS)
NO_LABELS = "descriptors are computed from the structure, and annotations are what an LLM wrote of it: none is a label"


@dataclass(frozen=True, kw_only=True)
class PretrainingCard:
    """What a pre-trained network is and where it comes from.

    Attributes:
        recipe, settings: name of the recipe, and the settings of its network.
        schedule: how long and how fast it was trained.
        features: id of the features that it was trained on.
        library: digest of the library's rows.
        selection: digest of the molecules that it was trained on.
        molecules, validated: how many those are, and by how many others its epoch was chosen.
        left_out: molecules of the library that were to take no part.
        targets: what it learned (`distill.library.targets.PretrainingTargets.facts`).
        explained: of each group of targets the share of the variance that it predicts of the others (R²).
        retrieved: how well those others find their annotations (`distill.learn.metrics.retrieval`), where the network
            was aligned with them; else empty.
        examples: keys of molecules whose answers were shown to the LLM that wrote the annotations.
        labels: why none of the targets is a label.
        seed: of the training.
        best_epoch, epochs, seconds, history: of the training.
        versions: of the software that made it.
    """

    recipe: str
    settings: Mapping[str, Any]
    schedule: Mapping[str, Any]
    library: str
    selection: str
    molecules: int
    validated: int
    left_out: int
    targets: Mapping[str, Any]
    explained: Mapping[str, float]
    examples: Sequence[str]
    seed: int
    best_epoch: int
    epochs: int
    seconds: float
    history: Sequence[Mapping[str, float]]
    retrieved: Mapping[str, float] = field(default_factory=dict)
    labels: str = NO_LABELS
    features: str = field(default_factory=features_id)
    versions: Mapping[str, str] = field(default_factory=lambda: installed(PACKAGES))


def check_place(folder: Path) -> None:
    """Check that a pre-trained network can be saved as a folder: one that is new, empty, or holds one.

    Raises:
        UsageError: something else is there, or nothing can be written there.
    """
    check_folder(folder)
    if folder.is_dir() and any(each.name != "fits" for each in folder.iterdir()) and not (folder / CARD).is_file():
        raise UsageError(f"{folder} holds files and no pre-trained network: choose another folder with --out.")


def write_card(card: PretrainingCard, folder: Path) -> None:
    """Write down what a pre-trained network is."""
    write_text(folder / CARD, strict_json.dumps({"format": FORMAT, **asdict(card)}, indent=2) + "\n")


def read_card(folder: Path) -> PretrainingCard:
    """Read what a pre-trained network is.

    Raises:
        UsageError: the folder holds none, or one of another version of the features.
    """
    try:
        facts = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if facts.pop("format") != FORMAT:
            raise UsageError(f"{folder} was written by another version of gallon: pre-train it again.")
        card = PretrainingCard(**facts)
    except FileNotFoundError:
        raise UsageError(
            f"There is no pre-trained network in {folder}: make one with 'gallon pretrain LIBRARY --out {folder}'."
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"The pre-trained network in {folder} is damaged: pre-train it again.") from None
    if card.features != (here := features_id()):
        raise UsageError(
            f"The network in {folder} was pre-trained on features of version {card.features}, and here they are of "
            f"version {here}: pre-train it again."
        )
    return card


def short_keys(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    """Return the first 64 bits of molecules' keys, which two out of a million share in one of 40 million libraries."""
    return np.frombuffer(b"".join(key[:8] for key in keys), dtype=">u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class Start:
    """A pre-trained network that training begins with.

    Attributes:
        weights: its file.
        digest: sha256 of the file.
        card: what it is.
        seen: uint64, ascending: the first 64 bits of the keys of the molecules that it was trained on.
    """

    weights: Path
    digest: str
    card: PretrainingCard
    seen: NDArray[np.uint64]

    @classmethod
    def read(cls, folder: Path) -> Start:
        """Read a folder that `gallon pretrain` has left.

        Raises:
            UsageError: as `read_card`, or its weights are missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        card, weights = read_card(folder), (folder / WEIGHTS).resolve()
        try:
            found = hashlib.sha256(weights.read_bytes()).hexdigest()
            return cls(weights, found, card, load_file(folder / SEEN)["keys"])
        except (OSError, SafetensorError, KeyError):
            raise UsageError(f"The pre-trained network in {folder} is damaged: pre-train it again.") from None

    def refuse_seen_labels(self, dataset: Dataset, split: Split) -> None:
        """Refuse a network that has learned from texts which were written with answers of test molecules in sight.

        Raises:
            UsageError: it has.
        """
        shown = set(self.card.examples)
        tested = [row for row in split.test if dataset.keys[row].hex() in shown]
        if tested:
            raise UsageError(
                f"The network has been pre-trained on annotations whose prompt shows {counted(len(tested), 'example')} "
                f"out of the test part of {dataset.name}: pre-train it without them (--field-weight 0 "
                "--embedding-weight 0 --alignment-weight 0), or on annotations of another spec."
            )

    def facts(self, dataset: Dataset, split: Split) -> dict[str, Any]:
        """Say what a model began with, fit for its card: `seen` counts the molecules of each part."""
        known = np.isin(short_keys(dataset.keys), self.seen)
        return {
            "sha256": self.digest,
            "library": self.card.library,
            "molecules": self.card.molecules,
            "epochs": self.card.epochs,
            "targets": [name for name, _, _ in self.card.targets["groups"]],
            "texts": self.card.targets["texts"],
            "labels": self.card.labels,
            "seen": {name: int(known[getattr(split, name)].sum()) for name in PARTS},
        }
