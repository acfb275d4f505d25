"""What teachers say of a library's molecules: each is asked once, and what it says is kept beside the library.

Graph teachers speak of every molecule, a language teacher on embeddings of those that `gallon embed` has dealt with.

A teacher's folder of scores is named by a digest of its weights and settings. It has a file for each shard: the rows
that were scored, predictions, and representations in half precision. A later run asks about further rows only. Beside
them a list tells the shards that have such a file, so that one that was lost is not taken for nothing said.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.runtime.errors import ours_unwrapped
from distill.features.vectors import Scaler
from distill.learn.recipes import VECTORS_OF, Recipe, recipe
from distill.library.beside.embeddings import TextSet, read_texts
from distill.library.beside.molecule_vectors import MoleculeVectors
from distill.library.beside.row_arrays import ROWS, Arrays, add_rows, file_of, halved, read_rows
from distill.library.manifest import MANIFEST
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.shard import facts_of, graphs_of, read_columns, vectors_of
from distill.models.model_store import PREFIX, RULES, SCALER, WEIGHTS, usable_card
from distill.rules.rule_set import read as read_rules
from distill.rules.values import rule_values
from teacher import strict_json
from teacher.chemistry.molecule import mol_of
from teacher.errors import GallonError, UsageError
from teacher.files import write_text
from teacher.nn.inputs import Inputs, Matrix
from teacher.nn.text_encoder import FILES, check_version
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.runtime.session import RaySession
    from distill.models.card import ModelCard

logger = logging.getLogger(__name__)

SCORES = "scores"  # the folder in that of the library
SCORED = "scored.json"  # in a teacher's folder: the digests of the shards of which it says something
FIRST_LAYER = "body.0.weight"  # of a language teacher on embeddings, whose length is theirs


@dataclass(frozen=True, slots=True, eq=False)
class ShardScores:
    """What a teacher says of some rows of a shard.

    Attributes:
        rows: int64, ascending, the R rows.
        prediction: float32, (R, targets): logits of classes, or values; NaN where it cannot read the molecule.
        representation: float16, (R, width); NaN likewise.
    """

    rows: NDArray[np.int64]
    prediction: NDArray[np.float32]
    representation: NDArray[np.float16]

    def of(self, rows: NDArray[np.int64]) -> ShardScores:
        """Return what is said of rows, in their order; NaN of those that were not scored."""
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        unsaid = self.rows[places] != rows
        prediction, representation = self.prediction[places], self.representation[places]
        prediction[unsaid], representation[unsaid] = np.nan, np.nan
        return ShardScores(rows, prediction, representation)


def score_library(
    library: PreparedLibrary,
    selection: Selection,
    teacher: Path,
    session: RaySession,
    show: Callable[[int], None] | None = None,
) -> Path:
    """Let a teacher score the selected molecules, as far as it has not yet; return the folder of its scores.

    A language teacher scores those of them that have an embedding by its encoder, of an annotation under its spec.

    Args:
        library: whose molecules are scored.
        selection: which of them.
        teacher: its folder, as `gallon teach` leaves it.
        session: the Ray cluster to run on; its machines reach both folders by the same paths.
        show: called with the number of molecules that are done.

    Raises:
        UsageError: the teacher reads annotations that the library does not have, or features of another version.
        GallonError: a shard, or what lies beside it, is damaged.
        OutputError: the disk is full.
    """
    import ray
    from ray.util import ActorPool

    card = usable_card(teacher)
    texts = texts_of(library, card)
    if recipe(card.recipe).role == "lm" and not texts:
        if card.encoder:  # one that has changed embeds no more what the teacher reads
            check_version(card.encoder, card.encoder_version)
        raise UsageError(
            f"The teacher in {teacher} reads annotations in a way that the library in {library.folder} does not have "
            f"them (spec {card.spec}, encoder {card.encoder}): run 'gallon embed', or leave it out."
        )
    folder = _folder(library, teacher, card)
    done = len(selection)
    if texts:
        selection = annotated(library, selection, texts)
    numbers = [number for number in range(len(library)) if len(selection.rows[number])]
    work = [(number, missing) for number in numbers if len(missing := missing_rows(library, folder, number, selection))]
    left = sum(len(rows) for _, rows in work)
    done -= left
    logger.info("%s scores %d molecules of the library in %s", card.recipe, left, library.folder)
    if work:
        gpus = 1 if session.gpus else 0
        workers = min(len(work), max(1, session.room(1, gpus)))
        scorer = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=3, max_task_retries=3)(Scorer)
        pool = ActorPool([scorer.remote(teacher.resolve(), library.folder, folder) for _ in range(workers)])
        with ours_unwrapped():
            for scored in pool.map_unordered(lambda actor, task: actor.score.remote(*task), work):
                done += scored
                if show:
                    show(done)
    list_scored(library, folder, numbers)
    return folder


def list_scored(library: PreparedLibrary, folder: Path, numbers: Sequence[int]) -> None:
    """Add shards to the list of those of which a teacher says something.

    Raises:
        DamagedShardError: one of them is missing or damaged.
    """
    digests = {facts_of(library.shard(number)).digest for number in numbers}
    write_text(folder / SCORED, json.dumps(sorted(digests | (scored_shards(folder) or set()))) + "\n")


def scored_shards(folder: Path) -> set[str] | None:
    """Return the digests of the shards of which a teacher says something; None where that is not to be read."""
    try:
        return set(strict_json.read(list[str], (folder / SCORED).read_bytes()))
    except (OSError, ValueError):
        return None


def texts_of(library: PreparedLibrary, card: ModelCard) -> TextSet | None:
    """Return the embeddings in a library that a language teacher reads; None where there are none, or of others."""
    if recipe(card.recipe).reads != "embeddings" or not card.spec or not card.encoder:
        return None
    known = card.encoder_version or ""
    version = known if known.startswith(FILES) else None
    texts = TextSet.at(library.folder, card.spec, card.encoder, version)
    if texts.folder.is_dir():
        return texts
    if known:
        return None
    # A card from before does not say which files its encoder's folder had: what was embedded last, then.
    named = (card.spec, card.encoder)
    return next((each for each in TextSet.all_of(library.folder) if (each.spec, each.encoder) == named), None)


def annotated(library: PreparedLibrary, selection: Selection, texts: TextSet) -> Selection:
    """Return those of the selected molecules that have an embedding."""
    rows = []
    for number, selected in enumerate(selection.rows):
        shard = facts_of(library.shard(number)).digest if len(selected) else None
        said = read_texts(texts, number, shard, vectors=False) if shard else None
        rows.append(selected[np.isin(selected, said.rows)] if said else selected[:0])
    return selection.narrowed(rows)


def scored(library: PreparedLibrary, selection: Selection, folder: Path) -> Selection:
    """Return those of the selected molecules of which a teacher says something."""
    missing = (missing_rows(library, folder, number, selection) for number in range(len(library)))
    return selection.narrowed(
        [rows[~np.isin(rows, unsaid)] for rows, unsaid in zip(selection.rows, missing, strict=True)]
    )


def read_scores(folder: Path, number: int, shard_digest: str) -> ShardScores | None:
    """Return what a teacher says of a shard; None where it has not been asked, or of other rows."""
    found = read_rows(file_of(folder, number), shard_digest)
    return ShardScores(found[ROWS], found["prediction"], found["representation"]) if found else None


class Scorer:
    """A teacher in a worker.

    It is loaded when it is first asked, not when the actor starts, which Ray would only tell as a death: of a machine
    that does not reach the folders this is told by the sentence that says so.

    Args:
        teacher: its folder.
        library: the library's.
        folder: where its scores go.
    """

    def __init__(self, teacher: Path, library: Path, folder: Path) -> None:
        self._load = functools.partial(_LoadedTeacher, teacher, library, folder)

    def score(self, number: int, rows: NDArray[np.int64]) -> int:
        """Score rows of a shard, and keep that beside what is there; return how many."""
        return self._teacher.score(number, rows)

    @functools.cached_property
    def _teacher(self) -> _LoadedTeacher:
        return self._load()


class _LoadedTeacher:
    """A teacher that is loaded, and what it reads of the library."""

    def __init__(self, teacher: Path, library: Path, folder: Path) -> None:
        import torch

        from distill.learn.network import Network

        torch.set_num_threads(1)
        card = usable_card(teacher)
        self._recipe = replace(recipe(card.recipe), settings=card.settings, descriptors=card.descriptors)
        self._library, self._folder = PreparedLibrary.open(library), folder
        self._texts = texts_of(self._library, card)
        self._scaler, settings = _scaled(teacher, self._recipe)
        kind = self._recipe.pretrained
        if kind and card.encoder:
            check_version(card.encoder, card.encoder_version)
        self._vectors = MoleculeVectors(library, kind, card.encoder or "") if kind else None
        self._rules = read_rules(teacher / RULES).rules if card.rules else ()
        build = functools.partial(self._recipe.build, len(card.targets), **settings)
        self._network = Network.load(teacher / WEIGHTS, build)

    def score(self, number: int, rows: NDArray[np.int64]) -> int:
        """Score rows of a shard, and keep that beside what is there; return how many."""
        file = self._library.shard(number)
        shard = facts_of(file).digest
        add_rows(file_of(self._folder, number), shard, self._ask(file, rows, shard))
        return len(rows)

    def _ask(self, file: Path, rows: NDArray[np.int64], shard_digest: str) -> Arrays:
        inputs, readable = self._inputs(file, rows, shard_digest)
        prediction, representation = self._network.predict(inputs, np.arange(len(rows)))
        prediction[~readable] = np.nan
        representation[~readable] = np.nan
        return {ROWS: rows, "prediction": prediction.astype(np.float32), "representation": halved(representation)}

    def _inputs(self, file: Path, rows: NDArray[np.int64], shard_digest: str) -> tuple[Inputs, NDArray[np.bool_]]:
        """Return what the teacher reads of rows, and which of them it can read."""
        readable: NDArray[np.bool_] = np.ones(len(rows), dtype=bool)
        if self._texts:
            return Matrix(self._embeddings(file, rows)), readable
        if self._scaler is None:
            return graphs_of(file).take(rows), readable
        parts = [] if self._recipe.reads == "rules" else [vectors_of(file, self._scaler).dense(rows)]
        if self._vectors:
            parts.append(self._vectors.of(file, self._library.number(file), shard_digest, rows))
            readable = np.asarray(np.isfinite(parts[-1]).all(axis=1))
        if self._rules:
            smiles = read_columns(file, ["smiles"])["smiles"].take(rows.tolist()).to_pylist()
            parts.append(rule_values([mol_of(each) for each in smiles], self._rules))
        return Matrix(self._scaler.transform(np.concatenate(parts, axis=1))), readable

    def _embeddings(self, file: Path, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the embeddings of annotated rows, and beside them how far samples agree, if the teacher reads that."""
        assert self._texts is not None
        said = read_texts(self._texts, self._library.number(file), facts_of(file).digest)
        if not said:
            raise GallonError(f"The embeddings of {file} are gone: run 'gallon embed' again.")
        places = np.searchsorted(said.rows, rows)
        vectors = said.vectors[places].astype(np.float32)
        if self._network.module.state_dict()[FIRST_LAYER].shape[0] == vectors.shape[1]:
            return vectors
        return np.column_stack([vectors, np.nan_to_num(said.agreement[places])])


def _scaled(teacher: Path, known: Recipe) -> tuple[Scaler | None, dict[str, object]]:
    """Return the scale of what a teacher reads, if that is vectors, and the settings of its network."""
    from safetensors import safe_open
    from safetensors.numpy import load_file

    if known.reads == "embeddings":
        with safe_open(teacher / WEIGHTS, framework="numpy") as opened:
            return None, {**known.settings, "features": opened.get_slice(PREFIX + FIRST_LAYER).get_shape()[0]}
    if known.reads not in VECTORS_OF:
        return None, dict(known.settings)
    scaler = Scaler.from_arrays(load_file(teacher / SCALER))
    return scaler, {**known.settings, "features": len(scaler.keep)}


def _folder(library: PreparedLibrary, teacher: Path, card: ModelCard) -> Path:
    """Return the folder of a teacher's scores, with a manifest in it."""
    weights = hashlib.sha256((teacher / WEIGHTS).read_bytes()).hexdigest()
    facts = {
        "weights": weights,
        "recipe": card.recipe,
        "settings": dict(card.settings),
        "descriptors": card.descriptors,
        "features": card.features,
        "encoder": card.encoder,
        "rules": dict(card.rules),
        "targets": [asdict(target) for target in card.targets],
    }
    folder = library.folder / SCORES / f"{card.recipe}-{digest(facts, 16)}"
    if not (folder / MANIFEST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        facts |= {"dataset": dict(card.dataset), "split": dict(card.split), "versions": dict(card.versions)}
        write_text(folder / MANIFEST, strict_json.dumps(facts, indent=2) + "\n")
    return folder


def missing_rows(library: PreparedLibrary, folder: Path, number: int, selection: Selection) -> NDArray[np.int64]:
    """Return the selected rows of a shard that have no scores yet."""
    rows = selection.rows[number].astype(np.int64)
    there = read_scores(folder, number, facts_of(library.shard(number)).digest)
    return rows if there is None else np.setdiff1d(rows, there.rows)
