"""`gallon pretrain`: a graph network learns what is known of every molecule of a library, before it sees a label."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cluster.training.driver import FitProgress, TrainResources, fit_all
from cluster.training.fit import Fit, FitSet, Outcome, Schedule
from distill.features.features_id import features_id
from distill.learn.metrics import retrieval
from distill.learn.objective import NetworkWithTargets
from distill.learn.recipes import Recipe
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.shard import read_columns
from distill.library.stream import LibraryStream
from distill.library.targets import TARGETS, PretrainingTargets
from distill.models.model_store import WEIGHTS
from distill.models.pretraining import FILES, SEEN, PretrainingCard, check_place, short_keys, write_card
from teacher.errors import UsageError
from teacher.files import replacing_folder
from teacher.nn.alignment import IDENTITY, SHARED_WIDTH, contrast
from teacher.nn.graphs import Graphs
from teacher.provenance import digest
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.library.beside.embeddings import TextSet
    from distill.library.targets import Group

FORMAT = 1  # of what a pre-training is; raise it when the same call comes to train otherwise
FEWEST = 2  # molecules
VALIDATED = 2_000  # molecules that choose the epoch, or a tenth where there are few
LEARNING_RATE, GRADIENT_NORM = 1e-3, 1.0  # as graph teachers have them


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How a network is pre-trained.

    Attributes:
        recipe: of the network.
        weights: of the groups of targets, that of the alignment among them.
        texts: the annotations that are learned; None where there are none.
        molecules: of the library, drawn at random; None takes all.
        epochs: times that training goes through them.
        batch_size: molecules of a step.
        seed: of the draw and of the training.
    """

    recipe: Recipe
    weights: dict[Group, float]
    texts: TextSet | None
    molecules: int | None
    epochs: int
    batch_size: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network that was pre-trained.

    Attributes:
        path: its folder.
        card: what it is.
    """

    path: Path
    card: PretrainingCard


def pretrain(
    library: PreparedLibrary,
    pretraining: Pretraining,
    *,
    without: Collection[bytes] = (),
    folder: Path,
    resources: TrainResources,
    show: Callable[[FitProgress], None] | None = None,
) -> Pretrained:
    """Pre-train a network on a library, and write it to a folder; the same call goes on where it was stopped.

    No worker holds more than two windows of the library; the driver holds the molecules that choose the epoch.

    Args:
        library: the prepared library.
        pretraining: how.
        without: keys of molecules that take no part.
        folder: of the network, and in it, while it is trained, of its checkpoints.
        resources: the workers.
        show: called with the progress.

    Raises:
        UsageError: the folder holds something else, or there is nothing to learn.
        TrainingError: the workers kept dying; the same call goes on.
    """
    check_place(folder)
    selection = library.select(without, pretraining.molecules, pretraining.seed)
    if len(selection) < FEWEST:
        raise UsageError(
            f"The library in {library.folder} has {counted(len(selection), 'molecule')} to learn of, and it takes "
            f"{FEWEST} at least: one that is learned, and one that chooses the epoch."
        )
    valid, train = selection.divided(min(VALIDATED, max(1, len(selection) // 10)), pretraining.seed)
    targets = PretrainingTargets.fit(library, train, pretraining.weights, pretraining.texts, seed=pretraining.seed)
    fit_set = _fit_set(library, pretraining, targets, train, valid)
    (outcome,) = fit_all(fit_set, folder / "fits", resources, show)
    card = PretrainingCard(
        recipe=pretraining.recipe.name,
        settings=dict(pretraining.recipe.settings),
        schedule=asdict(fit_set.fits[0].schedule),
        library=library.manifest.digest,
        selection=train.digest,
        molecules=len(train),
        validated=len(valid),
        left_out=selection.excluded,
        targets=targets.facts,
        explained=explained(targets, fit_set.columns[TARGETS], outcome.prediction),
        retrieved=_retrieved(targets, fit_set, outcome),
        examples=targets.texts.facts["examples"] if targets.texts else [],
        seed=pretraining.seed,
        best_epoch=outcome.best_epoch,
        epochs=outcome.epochs,
        seconds=outcome.seconds,
        history=outcome.history,
    )
    _save(card, library, train, outcome.weights, folder)
    return Pretrained(path=folder, card=card)


def explained(
    targets: PretrainingTargets, truth: NDArray[np.float32], prediction: NDArray[np.float32]
) -> dict[str, float]:
    """Return of each group the share of the variance that is predicted (R²), over all of its columns together.

    A group is left out of which these molecules know nothing, or the same of all.

    Args:
        targets: T columns.
        truth: (molecules, T), standardised; NaN where nothing is known.
        prediction: the same shape.
    """
    found: dict[str, float] = {}
    first = 0
    for name, width, _ in targets.groups:
        wanted, said = truth[:, first : first + width], prediction[:, first : first + width]
        known = ~np.isnan(wanted)
        means = np.where(known, wanted, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        spread, missed = (float(np.square(np.where(known, wanted - guess, 0)).sum()) for guess in (means, said))
        if spread:
            found[name] = 1 - missed / spread
        first += width
    return found


def _retrieved(targets: PretrainingTargets, fit_set: FitSet, outcome: Outcome) -> dict[str, float]:
    """Return how well the molecules that were held out find their texts; nothing where none is aligned."""
    from safetensors.torch import load_file

    if not targets.alignment:
        return {}
    learner = fit_set.fits[0].build()
    learner.load_state_dict(load_file(outcome.weights))
    with torch.inference_mode():
        truth = learner.truth(torch.from_numpy(fit_set.columns[TARGETS])).numpy()
    graphs, texts, identity = _aligned(targets.numbers, truth, outcome.prediction)
    return retrieval(graphs, texts, identity) if len(texts) else {}


def _fit_set(
    library: PreparedLibrary, how: Pretraining, targets: PretrainingTargets, train: Selection, valid: Selection
) -> FitSet:
    """Return the fit, which streams the molecules to learn from, and holds those that choose the epoch."""
    known = how.recipe
    stream = LibraryStream(library, train, targets, None)
    held = LibraryStream(library, valid, targets, None).loaded()
    schedule = Schedule(
        epochs=how.epochs, batch_size=how.batch_size, learning_rate=LEARNING_RATE, gradient_norm=GRADIENT_NORM
    )
    facts = {
        "format": FORMAT,
        "features": features_id(),
        "recipe": [known.name, dict(known.settings), asdict(schedule)],
        "stream": stream.digest,
        "valid": valid.digest,
        "seed": how.seed,
    }
    outputs = targets.numbers + (SHARED_WIDTH if targets.alignment else 0)
    network = functools.partial(known.build, outputs, **known.settings)
    fit = Fit(
        id=digest(facts),
        name=f"{known.name}, pre-trained",
        build=functools.partial(NetworkWithTargets, network, targets.groups, targets.alignment),
        inputs="graphs",
        targets={TARGETS: TARGETS},
        train=np.zeros(0, dtype=np.int64),
        valid=np.arange(len(valid)),
        score=functools.partial(_score, targets.groups, targets.alignment, how.batch_size),
        schedule=schedule,
        seed=how.seed,
        stream=stream,
        labelled_share=0.0,
    )
    inputs, columns = held
    assert isinstance(inputs, Graphs)
    return FitSet(fits=[fit], inputs={"graphs": inputs}, columns=columns)


def _score(
    groups: tuple[tuple[str, int, float], ...],
    alignment: tuple[int, float] | None,
    batch_size: int,
    truth: NDArray[np.float32],
    prediction: NDArray[np.float32],
) -> float:
    """Return the loss of the validation molecules, negative, so that greater is better.

    Texts are told apart among as many as a step has: the loss of a larger choice is larger.
    """
    loss, first = 0.0, 0
    for _, width, weight in groups:
        columns = slice(first, first + width)
        missed = np.square(truth[:, columns] - prediction[:, columns])
        if not np.isnan(missed).all():
            loss += weight * float(np.nanmean(missed))
        first += width
    if alignment:
        loss += alignment[1] * _contrasted(*_aligned(first, truth, prediction), batch_size)
    return -loss


def _contrasted(
    graphs: NDArray[np.float32], texts: NDArray[np.float32], identity: NDArray[np.float32], batch_size: int
) -> float:
    """Return the loss of an alignment among as many as a step has; 0 where none of them has a text."""
    if not len(graphs):
        return 0.0
    known = torch.ones(len(graphs), dtype=torch.bool)
    places, told, same = map(torch.from_numpy, (graphs, texts, identity))
    losses = [
        contrast(places[some], told[some], same[some], known[some], slice(0, len(some)))
        for some in torch.arange(len(graphs)).tensor_split(max(1, round(len(graphs) / batch_size)))
    ]
    return float(torch.cat(losses).mean())


def _aligned(
    first: int, truth: NDArray[np.float32], prediction: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return what is aligned of the molecules that have a text: places of molecules, of texts, the texts' identity."""
    known = ~np.isnan(truth[:, first:]).any(axis=1)
    texts, identity = truth[known, first:-IDENTITY], truth[known, -IDENTITY:]
    return prediction[known, first:], texts, identity


def _save(card: PretrainingCard, library: PreparedLibrary, train: Selection, weights: Path, folder: Path) -> None:
    from safetensors.numpy import save_file

    seen = []
    for number, rows in enumerate(train.rows):
        if len(rows):
            keys = read_columns(library.shard(number), ["key"])["key"].to_pylist()
            seen.append(short_keys([keys[row] for row in rows.tolist()]))
    with replacing_folder(folder, ours=FILES) as aside:
        shutil.copyfile(weights, aside / WEIGHTS)
        save_file({"keys": np.sort(np.concatenate(seen))}, aside / SEEN)
        write_card(card, aside)
