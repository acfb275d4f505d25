"""What teachers have to say about every molecule: predictions and representations, fit to be learnt from.

A teacher that has seen a molecule's label repeats it, and a student of such predictions learns the label twice over. So
the predictions of training molecules come out of fold: from networks that were trained without them. Representations
come from one network for all molecules, the one trained on the whole training part, because those of different
networks have no common axes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.data.dataset import Dataset
from distill.data.splits import PARTS, Split, folds
from distill.features.pretrained.encoders import check_installed
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.network import Network, parts_said, settings_for
from distill.learn.recipes import Recipe, recipe
from distill.models.card import ModelCard
from distill.models.ensemble import logits, probabilities
from distill.models.model_store import OUTPUTS, RULES, WEIGHTS, usable_card
from distill.rules.rule_set import read as read_rules
from teacher.errors import UsageError
from teacher.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.training.fit import Outcome


@dataclass(frozen=True, kw_only=True)
class TeacherOutputs:
    """What one teacher says.

    Attributes:
        teacher: the name of its recipe.
        prediction: float32, (molecules, targets): logits of classes, values in the labels' units. NaN for molecules
            that it cannot read, and for targets of which it has seen no label.
        representation: float32, (molecules, width); NaN likewise.
        fold: int64, one a molecule: the fold that its prediction was held out with, or -1 where the network that was
            trained on the whole training part predicted it.
        communities, walks: what a graph network says of the parts of molecules (`with_parts`); None where it was not
            asked.
    """

    teacher: str
    prediction: NDArray[np.float32]
    representation: NDArray[np.float32]
    fold: NDArray[np.int64]
    communities: NDArray[np.float32] | None = None
    walks: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CrossFitPlan:
    """The fits behind one teacher's outputs: one of the whole training part, and one for each fold held out."""

    recipe: Recipe
    split: Split
    seed: int
    parts: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, recipe: Recipe, model_inputs: ModelInputs, split: Split, seed: int, number: int) -> CrossFitPlan:
        """Plan the fits with this many folds; none means that the teacher has seen what it predicts.

        Raises:
            UsageError: there are fewer molecules than folds.
        """
        parts = folds(split.train, model_inputs.dataset.labels, number, seed) if number else []
        return cls(recipe, split, seed, parts)

    def add_to(self, batch: Batch) -> None:
        """Add its fits to those that are done in one go, the whole one first."""
        batch.add(self.recipe, self.split, self.seed)
        for number, part in enumerate(self.parts):
            rest = np.setdiff1d(self.split.train, part)
            name = f"{self.recipe.name} without fold {number + 1}"
            batch.add(self.recipe, self.split, self.seed, train=rest, name=name)

    @property
    def fits(self) -> int:
        """How many fits it takes."""
        return 1 + len(self.parts)

    def outputs(self, whole: Outcome, held_out: Sequence[Outcome], model_inputs: ModelInputs) -> TeacherOutputs:
        """Put the outcomes of its fits together."""
        prediction, representation = whole.prediction.copy(), whole.representation.copy()
        fold = np.full(len(prediction), -1, dtype=np.int64)
        readable = model_inputs.readable_by(self.recipe)

        def unlearnt(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
            """Tell which targets have no label among the rows that a network has learnt from."""
            return np.asarray(np.isnan(model_inputs.dataset.labels[rows[readable[rows]]]).all(axis=0))

        prediction[:, unlearnt(self.split.train)] = np.nan
        for number, (part, outcome) in enumerate(zip(self.parts, held_out, strict=True)):
            prediction[part] = outcome.prediction[part]
            prediction[np.ix_(part, unlearnt(np.setdiff1d(self.split.train, part)))] = np.nan
            fold[part] = number
        prediction[~readable] = np.nan
        representation[~readable] = np.nan
        return TeacherOutputs(teacher=self.recipe.name, prediction=prediction, representation=representation, fold=fold)


def with_transfer_set(
    outputs: TeacherOutputs, recipe: Recipe, weights: Path, model_inputs: ModelInputs, split: Split
) -> TeacherOutputs:
    """Let a teacher also speak of the transfer set, by its network of the whole training part.

    Of molecules without annotation a language teacher says nothing.

    Args:
        outputs: what it says of the dataset.
        recipe: how it was trained.
        weights: of that network.
        model_inputs: the dataset, with its transfer set.
        split: that it was trained under.
    """
    wider, rows = model_inputs.transfer, model_inputs.transferred()
    if wider is None:
        return outputs
    width = outputs.prediction.shape[1], outputs.representation.shape[1]
    prediction, representation = (np.full((len(rows), columns), np.nan, dtype=np.float32) for columns in width)
    readable = wider.readable_by(recipe)[rows]
    if readable.any():
        _, inputs = wider.inputs(recipe, split)
        settings = settings_for(recipe, inputs, wider.encoder)
        network = Network.load(weights, functools.partial(recipe.build, len(wider.dataset.targets), **settings))
        prediction[readable], representation[readable] = network.predict(inputs, rows[readable])
    return replace(
        outputs,
        prediction=np.concatenate([outputs.prediction, prediction]),
        representation=np.concatenate([outputs.representation, representation]),
        fold=np.concatenate([outputs.fold, np.full(len(rows), -1)]),
    )


def with_parts(outputs: TeacherOutputs, recipe: Recipe, weights: Path, model_inputs: ModelInputs) -> TeacherOutputs:
    """Let a graph network also say what a student learns of the parts of molecules (MuGSI, `teacher.nn.mugsi`).

    It is the network of the whole training part that does, as for representations and as in the paper: similarities of
    a molecule's own parts are not its label, which stays out of fold.

    Args:
        outputs: what it says of the dataset.
        recipe: how it was trained; one of `teacher.nn.registry.ARCHITECTURES`.
        weights: of that network.
        model_inputs: the dataset.
    """
    build = functools.partial(recipe.build, len(model_inputs.dataset.targets), **recipe.settings)
    communities, walks = parts_said(Network.load(weights, build), model_inputs.structured_graphs)
    return replace(outputs, communities=communities, walks=walks)


def write(outputs: TeacherOutputs, model_inputs: ModelInputs, split: Split, file: Path) -> None:
    """Write a teacher's outputs as Parquet, one row a molecule.

    Columns: `key` (hexadecimal), `smiles`, `part` of the split, `fold`, one `prediction` for each target (probabilities
    of classes), and the `representation`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    dataset = model_inputs.dataset
    part = np.empty(len(dataset), dtype=object)
    for name in PARTS:
        part[getattr(split, name)] = name
    shown = probabilities(outputs.prediction) if dataset.kind == "classification" else outputs.prediction
    columns = {
        "key": [key.hex() for key in dataset.keys],
        "smiles": dataset.smiles,
        "part": part,
        "fold": outputs.fold,
        **{f"prediction {target.name}": shown[:, n] for n, target in enumerate(dataset.targets)},
        "representation": list(outputs.representation),
    }
    with replacing(file) as aside:
        pq.write_table(pa.table(columns), aside)


def find(folder: Path) -> list[Path]:
    """Return the folders of the teachers that `gallon teach` left in a folder.

    Raises:
        UsageError: there is none.
    """
    found = sorted(file.parent for file in folder.glob(f"[!.]*/{OUTPUTS}"))
    if not found:
        raise UsageError(f"There is no teacher in {folder}: run 'gallon teach' on the same data first.")
    return found


def check_all(folders: Sequence[Path], dataset: Dataset, split: Split) -> None:
    """Refuse what `read_all` would refuse by the teachers' cards, which takes no time.

    Raises:
        UsageError: a folder holds no teacher, or one of another dataset or split.
    """
    for folder in folders:
        _card(folder, dataset, split)


def read_all(
    folders: Sequence[Path], model_inputs: ModelInputs, split: Split
) -> list[tuple[TeacherOutputs, ModelCard]]:
    """Read what teachers said, with their cards; of the transfer set, if there is one, they are asked now.

    Raises:
        UsageError: a folder holds no teacher, or one of another dataset, split, spec of annotations, or encoder.
    """
    readable = []
    for folder in folders:
        outputs, card = _read(folder, model_inputs.dataset, split)
        if model_inputs.transfer:
            trained = replace(recipe(card.recipe), settings=card.settings, descriptors=card.descriptors)
            _check_reading(folder, card, model_inputs.transfer)
            asked = _with_its_rules(model_inputs, folder) if card.rules else model_inputs
            outputs = with_transfer_set(outputs, trained, folder / WEIGHTS, asked, split)
        readable.append((outputs, card))
    return readable


def _with_its_rules(model_inputs: ModelInputs, folder: Path) -> ModelInputs:
    """Return a dataset and its transfer set with the rules that a teacher reads."""
    rules = read_rules(folder / RULES)
    return replace(
        model_inputs, rules=rules, transfer=model_inputs.transfer and replace(model_inputs.transfer, rules=rules)
    )


def _check_reading(folder: Path, card: ModelCard, model_inputs: ModelInputs) -> None:
    """Refuse to ask a language teacher about texts of another spec, or in an encoding that it has not learnt."""
    if kind := recipe(card.recipe).pretrained:
        check_installed(kind, card.pretrained["version"])
    if card.encoder and card.encoder != model_inputs.encoder:
        raise UsageError(
            f"The teacher in {folder} reads by {card.encoder}, not {model_inputs.encoder}: name it by --encoder."
        )
    if card.encoder:
        from teacher.nn.text_encoder import check_version

        check_version(card.encoder, card.encoder_version)
    spec = model_inputs.annotations and model_inputs.annotations.spec
    if card.spec and spec and card.spec != spec:
        raise UsageError(
            f"The teacher in {folder} reads annotations of spec {card.spec}, not of {spec}: name its own by --spec."
        )


def _card(folder: Path, dataset: Dataset, split: Split) -> ModelCard:
    """Return the card of a teacher that has learnt from this dataset and split."""
    card = usable_card(folder)
    if card.dataset["sha256"] != dataset.sha256:
        raise UsageError(
            f"The teacher in {folder} has learnt from {card.dataset['name']} with other molecules or labels."
        )
    if card.split["sha256"] != split.sha256:
        raise UsageError(f"The teacher in {folder} has learnt from another split: {card.split['description']}.")
    return card


def _read(folder: Path, dataset: Dataset, split: Split) -> tuple[TeacherOutputs, ModelCard]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    card = _card(folder, dataset, split)
    try:
        table = pq.read_table(folder / OUTPUTS)
        shown = np.stack([table[f"prediction {target.name}"].to_numpy() for target in dataset.targets], axis=1)
        representation = np.stack(table["representation"].to_numpy()).astype(np.float32)
        fold = table["fold"].to_numpy()
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UsageError(
            f"The teacher's outputs in {folder} are missing or damaged ({error}): run 'gallon teach' again."
        ) from None
    prediction = logits(shown) if dataset.kind == "classification" else shown
    outputs = TeacherOutputs(
        teacher=card.recipe, prediction=prediction.astype(np.float32), representation=representation, fold=fold
    )
    return outputs, card
