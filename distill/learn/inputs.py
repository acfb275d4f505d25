"""What teachers and students read of a dataset's molecules, computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.annotations import Annotations
from distill.data.cache import cached
from distill.data.dataset import Dataset
from distill.data.guesses import Guesses
from distill.features.environments import FINGERPRINT_BITS
from distill.features.features_id import features_id
from distill.features.library_graph import NEIGHBOURS as IN_GRAPH
from distill.features.library_graph import LibraryGraph
from distill.features.neighbours import neighbour_features, packed_of
from distill.features.pretrained.encoders import PretrainedKind, VectorKind, encoder_of, pretrained_vectors
from distill.features.scaled_vectors import ScaledVectors
from distill.features.vectors import (
    DescriptorSet,
    Scaler,
    fingerprint_features,
    in_chunks,
    student_features,
)
from distill.learn.recipes import VECTORS_OF
from distill.ranking.ranking import Ranking
from distill.rules.rule_set import RuleSet
from distill.rules.values import rule_values
from teacher.errors import UsageError
from teacher.nn.graphs import Graphs, Paired
from teacher.nn.inputs import Inputs, Matrix, TokenStates
from teacher.nn.library import LibraryInputs
from teacher.nn.mugsi import StructuredGraphs, communities, random_walks
from teacher.nn.text_encoder import LONGEST_LEARNT, MINILM, embed, encoder_id, format_text, token_states, tokenize
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.splits import Split
    from distill.learn.recipes import Columns, Recipe

NEIGHBOURS = 16  # whose annotations are averaged; with 4 and 8 students of ESOL validate worse (0.89, 0.87, 0.82)


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """A dataset in all the forms in which it is read.

    Attributes:
        dataset: the molecules and labels.
        annotations: what an LLM wrote about them, or None: then there is no language teacher.
        folder: where what takes long (fingerprints, embeddings) is kept for the next time.
        encoder: the text encoder of the language teacher.
        guesses: what the LLM itself predicts, if it was asked.
        processes: that compute fingerprints and descriptors.
        rules: of the task, for teachers and students that read them.
        rankings: of splits, by their sha256, in which order an LLM puts candidates for neighbours, if it was asked.
        transfer: the same with the transfer set behind the dataset's own molecules, if there is one.
    """

    dataset: Dataset
    annotations: Annotations | None
    folder: Path
    encoder: str = MINILM
    processes: int = 1
    transfer: ModelInputs | None = None
    guesses: Guesses | None = None
    rules: RuleSet | None = None
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    _loaded: dict[str, NDArray[Any]] = field(default_factory=dict, init=False, repr=False)
    _scalers: dict[str, Scaler] = field(default_factory=dict, init=False, repr=False)

    def transferred(self) -> NDArray[np.int64]:
        """Return the rows of the transfer set; none without one."""
        return np.arange(len(self.dataset), len((self.transfer or self).dataset))

    def describe_transfer(self) -> dict[str, Any]:
        """Say what the transfer set is, fit for JSON; nothing without one."""
        if self.transfer is None:
            return {}
        rows = self.transferred()
        read = int(self.transfer.annotated[rows].sum()) if self.transfer.annotations else 0
        return {"molecules": len(rows), "annotated": read, "sha256": self.transfer.dataset.sha256}

    def inputs(self, recipe: Recipe, split: Split) -> tuple[str, Inputs]:
        """Return what a recipe reads, under a name that says what it depends on (`inputs_name`)."""
        return self.inputs_name(recipe, split), self._read_inputs(recipe, split)

    def inputs_name(self, recipe: Recipe, split: Split) -> str:  # noqa: PLR0911 (one for each kind)
        """Return a name of what a recipe reads, which says what it depends on, without computing it."""
        reads, parts = recipe.reads, split.sha256[:16]
        if reads == "graphs":
            return "graphs"
        if reads in VECTORS_OF:
            return f"{self._vectors_name(recipe)}.{parts}"
        if reads == "tokens":
            return f"tokens.{LONGEST_LEARNT}.{self._read_by}"
        if reads == "graphs and states":
            return f"graphs+states.{self._read_by}"
        if reads == "graphs, states and guesses":
            return f"graphs+states+fenced guesses.{self._read_by}.{self.guessed.sha256[:16]}.{parts}"
        if reads == "library graph":
            return self._library_name(recipe, split)
        if reads == "neighbourhoods":
            return f"neighbourhoods.{recipe.descriptors}.{parts}.{self._read_by}"
        return f"embeddings.{self._read_by}"

    def _read_inputs(self, recipe: Recipe, split: Split) -> Inputs:  # noqa: PLR0911 (one for each kind)
        reads = recipe.reads
        if reads == "graphs":
            return self.graphs
        if reads in VECTORS_OF:
            return ScaledVectors(self.vectors(recipe), self.scaler(recipe, split))
        if reads == "tokens":
            return self.tokens
        if reads == "graphs and states":
            return Paired(self.graphs, self.states)
        if reads == "graphs, states and guesses":
            return Paired(self.graphs, self.states, Matrix(self.guessed.features(split.train, self.dataset.kind)))
        if reads == "library graph":
            return self.library(recipe, split)
        if reads == "neighbourhoods":
            return self._neighbourhoods(recipe.descriptors, split)
        return self.embeddings

    def scaler(self, recipe: Recipe, split: Split) -> Scaler:
        """Return the scale of a recipe's vectors, from the training molecules alone."""
        name = f"{self._vectors_name(recipe)}.{split.sha256}"
        if name not in self._scalers:
            bits = 0 if recipe.reads == "rules" else FINGERPRINT_BITS
            self._scalers[name] = Scaler.fit(self.vectors(recipe)[split.train], bits)
        return self._scalers[name]

    def vectors(self, recipe: Recipe) -> NDArray[np.float32]:
        """Return what a recipe of `VECTORS_OF` reads, not yet scaled: (molecules, features), one array for all."""
        return self._once(self._vectors_name(recipe), lambda: self._joined_vectors(recipe))

    def _joined_vectors(self, recipe: Recipe) -> NDArray[np.float32]:
        parts = [] if recipe.reads == "rules" else [self.features(recipe.descriptors)]
        parts += [self.pretrained(recipe.pretrained)] if recipe.pretrained else []
        parts += [self._rule_values(recipe.rules)] if recipe.rules else []
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def features(self, descriptors: DescriptorSet) -> NDArray[np.float32]:
        """Return what a student reads, not yet scaled: (molecules, features)."""
        return self._described("student", student_features, descriptors)

    def fingerprints(self, descriptors: DescriptorSet) -> NDArray[np.float32]:
        """Return fingerprints and descriptors, not yet scaled: (molecules, features)."""
        return self._described("fingerprints", fingerprint_features, descriptors)

    def readable_by(self, recipe: Recipe) -> NDArray[np.bool_]:
        """Return which molecules a recipe can read: all, or where it reads what was written about them, those."""
        if recipe.pretrained:
            return np.asarray(np.isfinite(self.pretrained(recipe.pretrained)).all(axis=1))
        if recipe.role != "lm":
            return np.ones(len(self.dataset), dtype=bool)
        if self.annotations is None:
            return np.zeros(len(self.dataset), dtype=bool)
        return self.annotated | (recipe.reads in ("neighbourhoods", "library graph"))

    def check_texts(self, recipe: Recipe, split: Split) -> None:
        """Refuse a language teacher whose texts are not there, which costs nothing.

        Raises:
            UsageError: there are no annotations, or none in the training part to borrow from, or no guesses.
        """
        _ = self._annotated
        if recipe.reads in ("neighbourhoods", "library graph"):
            self._donors(split)
        if recipe.reads == "graphs, states and guesses":
            _ = self.guessed

    @property
    def annotated(self) -> NDArray[np.bool_]:
        """Which molecules have an annotation."""
        return np.array([text is not None for text in self._annotated.texts])

    @cached_property
    def graphs(self) -> Graphs:
        """The molecules as graphs."""
        return Graphs.of(self.dataset.mols())

    @cached_property
    def structured_graphs(self) -> StructuredGraphs:
        """The molecules as graphs with their parts, for students that are compared with a teacher part by part."""
        found = in_chunks(communities, self.dataset.mols(), self.processes)
        return StructuredGraphs(self.graphs, found, random_walks(self.graphs))

    @cached_property
    def embeddings(self) -> Matrix:
        """What the encoder makes of SMILES and annotation, and beside it how far samples agree, if there were some."""
        encoded = self._cached(f"embeddings-{self._read_by}", lambda: embed(self._texts, self.encoder))
        agreement = self._annotated.agreement
        if agreement is None:
            return Matrix(encoded)
        return Matrix(np.column_stack([encoded, np.asarray(agreement, dtype=encoded.dtype)]))

    @cached_property
    def tokens(self) -> Inputs:
        """SMILES and annotation as the encoder's tokens."""
        return tokenize(self._texts, self.encoder, LONGEST_LEARNT)

    @cached_property
    def states(self) -> TokenStates:
        """SMILES and annotation as the states that the encoder gives their tokens."""
        computed: list[TokenStates] = []

        def compute() -> NDArray[Any]:
            computed.append(token_states(self._texts, self.encoder))
            return computed[0].states

        states = self._cached(f"states-{self._read_by}", compute)
        return computed[0] if computed else TokenStates(states, tokenize(self._texts, self.encoder).starts)

    @property
    def guessed(self) -> Guesses:
        """What the LLM itself predicts.

        Raises:
            UsageError: nobody has asked it.
        """
        if self.guesses is None:
            raise UsageError(
                "The LLM's own predictions are needed: write its prompt with 'gallon prompt few-shot', run "
                "'gallon annotate' with it, and name the spec with --predictions."
            )
        return self.guesses

    def pretraining(self, kind: PretrainedKind | None) -> dict[str, Any]:
        """Say what a pre-trained network is and has seen, fit for JSON; empty where there is none."""
        return encoder_of(kind, self.encoder).facts(self.dataset.name) if kind else {}

    def pretrained(self, kind: VectorKind) -> NDArray[np.float32]:
        """Return a pre-trained network's vectors, (molecules, width); NaN of molecules that it cannot read."""
        return self._cached(
            f"{self._embedded_by(kind)}-{self._featured}",
            lambda: pretrained_vectors(kind, self.dataset.smiles, self.encoder, self.processes),
        )

    def _embedded_by(self, kind: VectorKind) -> str:
        version = encoder_of(kind, self.encoder).version
        return f"{kind}-{hashlib.sha256(version.encode()).hexdigest()[:16]}"

    def rule_set(self, columns: Columns) -> RuleSet:
        """Return the rules that were named, or a control.

        Raises:
            UsageError: none were.
        """
        if self.rules is None:
            raise UsageError("A teacher on rules needs rules: name their file by --rules ('gallon rules' writes it).")
        if columns == "random":
            return self.rules.at_random()
        return self.rules.all_descriptors() if columns == "all" else self.rules

    def _rule_values(self, columns: Columns) -> NDArray[np.float32]:
        """Return the values of rules, (molecules, rules), or a control of them."""
        rules = self.rule_set(columns)
        values = self._cached(
            f"rules-{rules.columns_digest}-{self._featured}",
            lambda: rule_values(self.dataset.mols(), rules.rules, workers=self.processes),
        )
        return np.random.default_rng(0).permutation(values) if columns == "shuffled" else values

    def _vectors_name(self, recipe: Recipe) -> str:
        names = ["rules"] if recipe.reads == "rules" else [f"features.{recipe.descriptors}"]
        names += [self._embedded_by(recipe.pretrained)] if recipe.pretrained else []
        names += [f"{recipe.rules}-{self.rule_set(recipe.rules).columns_digest}"] if recipe.rules else []
        return ".".join(names)

    def _neighbourhoods(self, descriptors: DescriptorSet, split: Split) -> Matrix:
        """Return a student's features, and the averaged annotations of the most similar training molecules.

        These are at hand wherever a molecule is to be predicted; what was written about others is not.

        Raises:
            UsageError: the training part has no annotated molecule.
        """
        donors = self._donors(split)
        around = self._cached(
            f"neighbours-{self._read_by}-{split.sha256[:16]}-{self._featured}",
            lambda: neighbour_features(
                packed_of(self.dataset.mols()), donors, self.embeddings.values[donors], NEIGHBOURS
            ),
        )
        values = np.concatenate([self.features(descriptors), around], axis=1)
        return Matrix(Scaler.fit(values[split.train]).transform(values))

    def _library_name(self, recipe: Recipe, split: Split) -> str:
        read_by = self._read_by if recipe.role == "lm" else ""
        name = f"library.{recipe.descriptors}.{recipe.settings['layers']}.{split.sha256[:16]}.{read_by}"
        if recipe.neighbours == "tanimoto":
            return name
        return f"{name}.{recipe.neighbours}.{self.ranking(split).sha256[:16]}"

    def library(self, recipe: Recipe, split: Split) -> LibraryInputs:
        """Return the molecules over the graph of the training part, whose annotations are read if the recipe has them.

        Raises:
            UsageError: the training part has no annotated molecule, or no LLM has put its molecules in the order that
                the recipe takes.
        """
        reading = recipe.role == "lm"
        told = np.zeros(len(self.dataset), dtype=bool)
        texts = np.zeros((len(self.dataset), 1), dtype=np.float32)
        if reading:
            told[self._donors(split)] = True
            texts = np.where(told[:, None], self.embeddings.values, 0).astype(np.float32)
        graph = self._library_graph(recipe, split)
        return LibraryInputs(
            features=self.scaler(recipe, split).transform(self.features(recipe.descriptors)),
            texts=texts,
            told=told,
            neighbours=graph.neighbours,
            similarity=graph.similarity,
            itself=np.arange(len(self.dataset)),
            depth=recipe.settings["layers"],
            rows=np.arange(len(self.dataset)),
        )

    def ranking(self, split: Split) -> Ranking:
        """Return the order in which an LLM puts the candidates for neighbours, which are of a split's training part.

        Raises:
            UsageError: it was not asked about them.
        """
        if split.sha256 not in self.rankings:
            raise UsageError(
                "An LLM's order of neighbours is needed: write its prompt and table with 'gallon prompt rank', run "
                "'gallon annotate' on the table with the prompt, and name the spec with --ranking."
            )
        return self.rankings[split.sha256]

    def _library_graph(self, recipe: Recipe, split: Split) -> LibraryGraph:
        if recipe.neighbours == "tanimoto":
            return LibraryGraph.of(packed_of(self.dataset.mols()), split.train)
        return self.ranking(split).nearest(IN_GRAPH, recipe.neighbours)

    def _donors(self, split: Split) -> NDArray[np.int64]:
        """Return the annotated molecules of the training part.

        Raises:
            UsageError: there is none.
        """
        donors = split.train[self.annotated[split.train]]
        if not len(donors):
            raise UsageError(
                "No molecule of the training part is annotated, so there is nothing to borrow: run 'gallon annotate' "
                "on some of them first, or leave this teacher out."
            )
        return donors

    @cached_property
    def _read_by(self) -> str:
        """Digest of the SMILES and annotation of each molecule, of how far samples agree, and of who reads them."""
        return digest([encoder_id(self.encoder), self._annotated.sha256, self._texts], 16)

    @property
    def _featured(self) -> str:
        """The molecules, and who made numbers of them."""
        return f"{self.dataset.sha256[:16]}-{features_id()}"

    @property
    def _texts(self) -> list[str]:
        pairs = zip(self.dataset.smiles, self._annotated.texts, strict=True)
        return [format_text(smiles, text or "") for smiles, text in pairs]

    @property
    def _annotated(self) -> Annotations:
        if self.annotations is None:
            raise UsageError(
                "A language teacher reads annotations: run 'gallon annotate' on the molecules first, and name the "
                "store and the spec, or leave the language teacher out."
            )
        return self.annotations

    def _described(
        self, name: str, describe: Callable[..., NDArray[np.float32]], descriptors: DescriptorSet
    ) -> NDArray[np.float32]:
        return self._cached(
            f"{name}-{descriptors}-{self._featured}",
            lambda: describe(self.dataset.mols(), descriptors, workers=self.processes),
        )

    def _cached(self, name: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        return self._once(name, lambda: cached(self.folder / f"{name}.safetensors", compute))

    def _once(self, name: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if name not in self._loaded:
            self._loaded[name] = compute()
        return self._loaded[name]
