"""A saved model that predicts: its network out of its folder, and what it reads of molecules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays

from distill.features.environments import Environments
from distill.features.library_graph import LibraryGraph
from distill.features.neighbours import Neighbours, packed_of
from distill.features.pretrained.encoders import check_installed, pretrained_vectors
from distill.features.scaled import ScaledFeatures
from distill.features.vectors import Scaler, student_features
from distill.learn.recipes import VECTORS_OF, recipe
from distill.models.doubt import Doubt
from distill.models.ensemble import consensus, probabilities, spread
from distill.models.model_store import (
    FINGERPRINTS,
    LIBRARY,
    RULES,
    SCALER,
    TRAINING,
    TRAINING_SMILES,
    WEIGHTS,
    usable_card,
)
from distill.models.packing import unpacked_model
from distill.rules.rule_set import read as read_rules
from distill.rules.values import rule_values
from distill.screen.perceptron import Perceptron
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

    from distill.data.cells import Kind

AT_A_TIME = 512  # molecules, whose features fit into a core's cache


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a model says of N molecules, and how far to trust it.

    Attributes:
        values: float32, (N, T); probabilities of classes, values in the labels' units.
        half: float32, (N, T); half the width of the interval, NaN for classes and where nothing tells.
        similarity: float32, (N,); Tanimoto's to the nearest molecule that the model has learned from.
        nearest: int64, (N,); which that is.
        in_domain: (N,); whether it is as near as nearly all of those are to each other.
        spread: float32, (N, T); how far an ensemble's networks are apart, NaN of a single one.
    """

    values: NDArray[np.float32]
    half: NDArray[np.float32]
    similarity: NDArray[np.float32]
    nearest: NDArray[np.int64]
    in_domain: NDArray[np.bool_]
    spread: NDArray[np.float32]


Ask = Callable[["list[Mol]", Environments], "list[NDArray[np.float32]]"]  # what each network says, (N, T)


class SavedModel:
    """A saved student or graph teacher that predicts molecules, out of its folder or the file that it was packed into.

    Attributes:
        card: what it is.
        training: SMILES of the molecules that it has learned from.

    Raises:
        UsageError: the folder holds no whole model, one that needs texts, or features of another version, or its
            encoder has changed.
    """

    def __init__(self, place: Path) -> None:
        with unpacked_model(place) as folder:
            self._read(folder, place)

    def _read(self, folder: Path, place: Path) -> None:
        self.card = usable_card(folder)
        self._recipe = recipe(self.card.recipe)
        if not self._recipe.predicts_alone:
            raise UsageError(f"The model in {place} reads annotations; a library is scored by a student.")
        if self._recipe.pretrained:
            check_installed(self._recipe.pretrained, self.card.pretrained["version"])
        if self.card.encoder:
            from teacher.nn.text_encoder import check_version

            check_version(self.card.encoder, self.card.encoder_version)
        try:
            self._ask = self._asked(folder)
            self._doubt = Doubt.read(self.card.doubt, len(self.card.targets)) if self.card.doubt else None
            self.training: list[str] = []
            if self._doubt:
                fingerprints = load_arrays(folder / TRAINING)[FINGERPRINTS]
                self._neighbours = Neighbours.of(fingerprints)
                self.training = (folder / TRAINING_SMILES).read_text(encoding="utf-8").splitlines()
                if len(self.training) != len(fingerprints) or not self.training:
                    raise ValueError("its training molecules are not those of its fingerprints")
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            raise UsageError(f"The model in {place} is damaged ({reason}): train it again.") from None

    def _asked(self, folder: Path) -> Ask:
        """Return what asks the network, or all of an ensemble."""
        if self._recipe.reads in VECTORS_OF:
            return self._perceptron(folder)
        return self._over_library(folder) if self._recipe.reads == "library graph" else self._network(folder)

    def _over_library(self, folder: Path) -> Ask:
        """Return what asks a network over a library; a molecule of the library is asked about as if it were new."""
        from rdkit.Chem import MolToSmiles

        from distill.learn.network import Network
        from teacher.nn.library import LibraryInputs

        library = LibraryInputs.from_arrays(load_arrays(folder / LIBRARY), self.card.settings["layers"])
        scaler = Scaler.from_arrays(load_arrays(folder / SCALER))
        fingerprints = load_arrays(folder / TRAINING)[FINGERPRINTS]
        members = (folder / TRAINING_SMILES).read_text(encoding="utf-8").splitlines()
        place = {smiles: row for row, smiles in enumerate(members)}
        widths = {"features": library.features.shape[1], "text_features": library.texts.shape[1]}
        settings = {**self.card.settings, **widths}
        network = Network.load(
            folder / WEIGHTS, functools.partial(self._recipe.build, len(self.card.targets), **settings)
        )
        known = Neighbours.of(fingerprints)

        def ask(mols: list[Mol], _: Environments) -> list[NDArray[np.float32]]:
            features = scaler.transform(student_features(mols, self.card.descriptors))
            itself = [place.get(MolToSmiles(mol), -1) for mol in mols]
            graph = LibraryGraph.towards(known, packed_of(mols), itself, library.neighbours.shape[1])
            new = library.with_new(features, graph.neighbours, graph.similarity, np.array(itself))
            return [network.predict(new, np.arange(len(mols)))[0]]

        return ask

    def _perceptron(self, folder: Path) -> Ask:
        """Return what asks students on fingerprints, or a teacher that reads a pre-trained network's vectors, too."""
        from rdkit.Chem import MolToSmiles

        scaler = Scaler.from_arrays(load_arrays(folder / SCALER))
        networks = [
            Perceptron.load(folder / WEIGHTS, len(scaler.keep), len(self.card.targets), member)
            for member in range(self.card.members)
        ]
        kind, rules = self._recipe.pretrained, read_rules(folder / RULES).rules if self.card.rules else ()
        if kind is None and not rules:
            features = ScaledFeatures(scaler, self.card.descriptors)

            def ask_alone(mols: list[Mol], environments: Environments) -> list[NDArray[np.float32]]:
                vectors = features.of(mols, environments)
                return [network.predict(vectors) for network in networks]

            return ask_alone

        def ask(mols: list[Mol], _: Environments) -> list[NDArray[np.float32]]:
            parts = [] if self._recipe.reads == "rules" else [student_features(mols, self.card.descriptors)]
            if kind:
                smiles = [MolToSmiles(mol) for mol in mols]
                parts.append(pretrained_vectors(kind, smiles, self.card.encoder or ""))
            unreadable = np.isnan(parts[-1]).any(axis=1) if kind else np.zeros(len(mols), dtype=bool)
            parts += [rule_values(mols, rules)] if rules else []
            vectors = scaler.transform(np.concatenate(parts, axis=1))
            said = [network.predict(vectors) for network in networks]
            for each in said:
                each[unreadable] = np.nan
            return said

        return ask

    def _network(self, folder: Path) -> Ask:
        """Return what asks networks that read graphs."""
        from distill.learn.network import Network
        from teacher.nn.graphs import Graphs

        build = functools.partial(self._recipe.build, len(self.card.targets), **self.card.settings)
        networks = [Network.load(folder / WEIGHTS, build, member) for member in range(self.card.members)]

        def ask(mols: list[Mol], _: Environments) -> list[NDArray[np.float32]]:
            graphs, rows = Graphs.of(mols), np.arange(len(mols))
            return [network.predict(graphs, rows)[0] for network in networks]

        return ask

    def predict(self, mols: list[Mol]) -> NDArray[np.float32]:
        """Return calibrated probabilities of classes and values in the labels' units: (molecules, targets)."""
        return np.concatenate([self._values(self._ask(some, Environments.of(some))) for some in _parts(mols)])

    @property
    def _kind(self) -> Kind:
        return self.card.targets[0].kind  # of all of them

    def _values(self, said: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the predictions of what the networks say."""
        values = consensus(said, self._kind)
        if self._kind == "regression":
            return values
        calibrated = self._doubt.calibrated(values) if self._doubt else values
        return probabilities(calibrated).astype(np.float32)

    @property
    def doubts(self) -> bool:
        """Whether the model knows about its errors."""
        return self._doubt is not None

    def predict_with_doubt(self, mols: list[Mol]) -> Predicted:
        """Return predictions, and how far to trust them; only of a model that `doubts`."""
        parts = [self._doubted(some, Environments.of(some)) for some in _parts(mols)]
        names = [field.name for field in fields(Predicted)]
        return Predicted(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def _doubted(self, mols: list[Mol], environments: Environments) -> Predicted:
        assert self._doubt is not None
        similarity, place = self._neighbours.nearest(environments.packed())
        said = self._ask(mols, environments)
        return Predicted(
            values=self._values(said),
            half=self._doubt.half_widths(similarity).astype(np.float32),
            similarity=similarity.astype(np.float32),
            nearest=place,
            in_domain=similarity >= self._doubt.domain,
            spread=spread(said, self._kind),
        )


def _parts(mols: list[Mol]) -> list[list[Mol]]:
    return [mols[start : start + AT_A_TIME] for start in range(0, max(len(mols), 1), AT_A_TIME)]
