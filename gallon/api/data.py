"""What teachers and students are trained with: data, split, annotations, workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cluster.library.source import Source, data_name
from cluster.runtime.session import RaySession
from cluster.service.client import ServiceClient
from cluster.training.driver import TrainResources, plan_resources
from distill.data.annotations import Annotations, catalog
from distill.data.dataset import Dataset
from distill.data.moleculenet import DATA_ROOT, SETS, load
from distill.data.splits import Split, splits_under
from distill.data.transfer import with_transfer_set
from distill.evaluate.tuning import found_in
from distill.features.library_graph import node_choice
from distill.learn.inputs import ModelInputs
from distill.learn.labels import check
from distill.learn.on_demand import UNCERTAINTY, Budget, OnDemand
from distill.learn.recipes import FINE_TUNED, POOLINGS, RECIPES, Recipe, recipe
from distill.models.model_store import refuse_other_data
from distill.rules.rule_set import RuleSet
from distill.rules.rule_set import read as read_rules
from gallon.api.annotation import started_ray
from gallon.api.library import StrPath, further_sources
from gallon.config import DataConfig, TrainConfig, TransferConfig
from gallon.progress import ProgressCallback, phase
from gallon.texts import agreed_spec, annotations_of, described_by, guesses_of, rankings_of, service_client, table_of
from teacher.errors import UsageError
from teacher.files import placed
from teacher.wording import counted

logger = logging.getLogger(__name__)

MODELS = Path("gallon-models")
# Settings of a training that say more of the texts.
OF_TEXTS = ("also_spec", "predictions", "ranking", "llm_budget", "texts_each", "service")


@dataclass(frozen=True, kw_only=True)
class TrainingSession:
    """What teachers and students are trained with.

    Attributes:
        model_inputs: the dataset in all the forms in which it is read.
        splits: one for each seed.
        folder: where results go.
        resources: the workers, and what each may use.
        ray: the cluster that they are in.
        recipes: what replaces the recipes of these names.
        others: by the names of further specs, the same with their annotations.
    """

    model_inputs: ModelInputs
    splits: Sequence[Split]
    folder: Path
    resources: TrainResources
    ray: RaySession
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    others: Mapping[str, ModelInputs] = field(default_factory=dict)

    def recipe(self, name: str) -> Recipe:
        """Return a recipe as it is to be trained.

        Raises:
            UsageError: there is none of this name.
        """
        known = recipe(name)
        return self.recipes.get(name, known)


def results_folder(data: StrPath, training: TrainConfig) -> Path:
    """Return where the results of learning from a table or a MoleculeNet set go."""
    name = str(data).lower() if str(data).lower() in SETS else data_name(str(data))
    return training.out or MODELS / name


def read_dataset(data: StrPath, labels: DataConfig) -> Dataset:
    """Read molecules and labels.

    Raises:
        UsageError: they cannot be read.
    """
    return load(
        str(data),
        smiles_column=labels.smiles_column,
        targets=labels.target or (),
        split_column=labels.split_column,
        time_column=labels.time_column,
        data_root=labels.data_root or DATA_ROOT,
        separator=labels.separator,
        encoding=labels.encoding,
    )


@contextmanager
def training_session(
    data: StrPath,
    labels: DataConfig,
    training: TrainConfig,
    check_folder: Callable[[Path], None],
    *,
    store: StrPath | None = None,
    spec_id: str | None = None,
    transfer: TransferConfig | None = None,
    other_specs: Mapping[str, str] = MappingProxyType({}),
    tuning: StrPath | None = None,
    seeds: int = 1,
    check_inputs: Callable[[ModelInputs, Sequence[Split]], object] | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[TrainingSession]:
    """Read and split the data, and read the transfer set if there is one; then connect to Ray.

    What is wrong with the data or the settings is found before a cluster starts, also by `check_folder`, which looks
    whether results can be written to the folder, and by `check_inputs`, which looks whether there is what models read.
    Where nothing reads annotations no store is given, so that nobody has to choose a spec, or to reach a store, for
    nothing; what is said of annotations then would change nothing, and is refused.
    """
    if store is None:
        refuse_text_options(training, spec_id, other_specs)
    dataset = read_dataset(data, labels)
    folder = results_folder(data, training)
    check_folder(folder)
    if not training.overwrite:
        refuse_other_data(folder, dataset)
    budget = budget_of(training, labels.seed, has_transfer_set=bool(transfer and transfer.transfer))
    rules = rules_of(training)
    client = service_client(training) if store else None
    spec_id = agreed_spec(client, spec_id) if client else spec_id
    splits = splits_of(dataset, labels, seeds)
    check_on_demand(training, splits, other_specs)
    recipes = recipes_of(dataset, splits[0], tuning, training)

    read = _Reading(
        data=str(data),
        labels=labels,
        training=training,
        transfer=transfer or TransferConfig(),
        store=str(store) if store else None,
        dataset=dataset,
        splits=splits,
        folder=folder / "inputs",
        budget=budget,
        rules=rules,
    )
    model_inputs = read.all(spec_id)
    logger.info("%s", described(model_inputs))
    with_other_texts = {name: read.all(spec) for name, spec in other_specs.items()}
    if check_inputs:
        check_inputs(model_inputs, splits)
    with started_ray(training.ray, progress) as session:
        resources = plan_resources(session, training.workers)
        asking = _Asking(training, labels.seed, client, str(store), folder / "fits", resources)
        model_inputs = asking.enrich(model_inputs, splits[0], progress)
        yield TrainingSession(
            model_inputs=model_inputs,
            splits=splits,
            folder=folder,
            resources=resources,
            ray=session,
            recipes=recipes,
            others=with_other_texts,
        )


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """From a dataset to what models read of it."""

    data: str
    labels: DataConfig
    training: TrainConfig
    transfer: TransferConfig
    store: str | None
    dataset: Dataset
    splits: Sequence[Split]
    folder: Path
    budget: Budget | None
    rules: RuleSet | None

    def all(self, spec: str | None) -> ModelInputs:
        """Read the dataset, and the transfer set if there is one, with the texts of a spec."""
        wider = self._read(spec, self._with_others, (), None) if self._with_others else None
        return self._read(spec, self.dataset, self.splits, wider)

    def _read(
        self, spec: str | None, dataset: Dataset, splits: Sequence[Split], wider: ModelInputs | None
    ) -> ModelInputs:
        annotations = guesses = None
        if self.store:
            annotations = self._texts(self.store, spec, dataset, splits)
            if self.budget and annotations:
                annotations = self.budget.spend(annotations, dataset)
        if self.store and self.training.predictions:
            guesses = guesses_of(self.store, self.training.predictions, dataset, splits)
        rankings = {}
        if self.store and self.training.ranking:
            rankings = rankings_of(self.store, self.training.ranking, dataset, self.splits)
        processes, encoder = os.cpu_count() or 1, self.training.encoder
        return ModelInputs(dataset, annotations, self.folder, encoder, processes, wider, guesses, self.rules, rankings)

    def _texts(self, store: str, spec: str | None, dataset: Dataset, splits: Sequence[Split]) -> Annotations | None:
        """Return the texts of a spec, or of a catalog of them."""
        specs = [spec, *(self.training.also_spec or ())]
        found = [annotations_of(store, each, dataset, splits, self._tables) for each in specs]
        known = [annotations for annotations in found if annotations]
        return catalog(known, self.training.texts_each, self.labels.seed) if len(known) > 1 else found[0]

    def _tables(self) -> list[Source]:
        return [*table_of(self.data, self.labels), *self._others]

    @cached_property
    def _others(self) -> list[Source]:
        return further_sources(self.transfer.transfer or (), "--transfer", self.labels)

    @cached_property
    def _with_others(self) -> Dataset | None:
        """The dataset with the transfer set behind it."""
        if not self._others:
            return None
        return with_transfer_set(self.dataset, self._others, self.transfer.transfer_rows, self.labels.seed)


@dataclass(frozen=True)
class _Asking:
    """How texts are chosen, and asked for, once there are workers to train by."""

    training: TrainConfig
    seed: int
    client: ServiceClient | None
    store: str
    fits: Path
    resources: TrainResources

    def enrich(self, model_inputs: ModelInputs, split: Split, progress: ProgressCallback | None) -> ModelInputs:
        """Return the dataset with the texts that the budget allows; as it is where all are read."""
        share = self.training.llm_budget
        if model_inputs.annotations is None or share is None or not self.training.on_demand:
            return model_inputs
        demand = OnDemand(share=share, by=self.training.budget_by, rounds=self.training.llm_rounds, seed=self.seed)
        service = described_by(self.client, self.store, model_inputs, progress)
        with phase(progress, "choosing", "fits") as running:
            return demand.enrich(
                model_inputs,
                split,
                service,
                folder=self.fits,
                resources=self.resources,
                show=lambda fits: running.update(fits.done, fits.all),
            )


def described(model_inputs: ModelInputs) -> str:
    """Say what was read, and what of it cannot be learned from."""
    dataset, annotations = model_inputs.dataset, model_inputs.annotations
    words = [counted(len(dataset), "molecule")]
    words += [f"{counted(len(dataset.invalid), 'row')} without one"] if dataset.invalid else []
    words += [f"{counted(dataset.duplicates, 'duplicate row')} merged"] if dataset.duplicates else []
    words += [f"{counted(dataset.conflicts, 'contradictory label')} left out"] if dataset.conflicts else []
    if annotations and annotations.missing:
        words += [f"{counted(annotations.missing, 'molecule')} without annotation, which no language teacher reads"]
    if transfer := model_inputs.describe_transfer():
        words += [f"{transfer['molecules']:,} more without labels, {transfer['annotated']:,} of them annotated"]
    return "; ".join(words) + "."


def splits_of(dataset: Dataset, config: DataConfig, seeds: int) -> list[Split]:
    """Split the dataset under each seed, and warn of what cannot be scored.

    Raises:
        UsageError: a part is empty, or has nothing to learn from.
    """
    under = range(config.seed, config.seed + seeds)
    splits = splits_under(under, dataset, config.split, chirality=config.scaffold_chirality)  # type: ignore[arg-type]
    _warn([warning for parts in splits for warning in check(parts, dataset)])
    return splits


def recipes_of(dataset: Dataset, split: Split, tuning: StrPath | None, training: TrainConfig) -> dict[str, Recipe]:
    """Return the recipes that are not to be trained at their defaults.

    Raises:
        UsageError: the tuning is none, or a setting does not fit the data.
    """
    recipes: dict[str, Recipe] = {}
    if tuning:
        recipes, warnings = found_in(placed(tuning), dataset, split)
        _warn(warnings)
    if training.pooling:
        known = recipes.get(FINE_TUNED) or recipe(FINE_TUNED)
        recipes[FINE_TUNED] = replace(known, settings={**known.settings, "pooling": _pooling(training.pooling)})
    if training.balance:
        if dataset.kind != "classification":
            raise UsageError(f"--balance weighs classes, and the labels of {dataset.name} are numbers: leave it out.")
        recipes = {name: replace(recipes.get(name, known), balance=True) for name, known in RECIPES.items()}
    return recipes


def rules_of(training: TrainConfig) -> RuleSet | None:
    """Read the rules of the property, if some are named.

    Raises:
        UsageError: the file holds none, or damaged ones.
    """
    return read_rules(training.rules) if training.rules else None


def budget_of(training: TrainConfig, seed: int, *, has_transfer_set: bool) -> Budget | None:
    """Return how many annotations may be read; None where all may.

    Raises:
        UsageError: it is chosen by nothing that is known, or there is a transfer set, whose annotations it would count.
    """
    by = node_choice(training.budget_by) if training.budget_by != UNCERTAINTY else None
    if training.llm_budget is None:
        if training.service:
            raise UsageError("--service is asked under a budget: say by --llm-budget what share it may describe.")
        return None
    if has_transfer_set:
        raise UsageError("--llm-budget is of the molecules with labels: leave out it or --transfer.")
    if training.on_demand or by is None:
        return None  # chosen later, by networks or out of the training part
    return Budget(share=training.llm_budget, by=by, seed=seed)


def refuse_text_options(training: TrainConfig, spec_id: str | None, other_specs: Collection[str] = ()) -> None:
    """Refuse what is said of texts where nothing reads any.

    Raises:
        UsageError: something is.
    """
    given = {
        "--spec": spec_id,
        "--other-spec": other_specs or None,
        **{f"--{name.replace('_', '-')}": getattr(training, name) for name in OF_TEXTS},
    }
    if option := next((option for option, value in given.items() if value is not None), None):
        raise UsageError(f"{option} is about what a language model wrote, and nothing here reads it: leave it out.")


def without_texts(training: TrainConfig) -> TrainConfig:
    """Return a training of what reads no texts, with what else was said of it."""
    nothing: dict[str, Any] = dict.fromkeys(OF_TEXTS)
    return replace(training, **nothing)


def check_on_demand(training: TrainConfig, splits: Sequence[Split], other_specs: Iterable[str] = ()) -> None:
    """Refuse to choose by labels of one training part what networks on another read.

    Raises:
        UsageError: texts are chosen while training, and there are several splits, or several specs.
    """
    if not training.on_demand:
        return
    if len({each.sha256 for each in splits}) > 1:
        raise UsageError(
            "--service and --budget-by uncertainty choose molecules of one training part: use a split that is the same "
            "for all seeds, as --split scaffold."
        )
    if [*other_specs, *(training.also_spec or ())]:
        raise UsageError(
            "--service and --budget-by uncertainty are about one spec: leave out --other-spec and --also-spec."
        )


def _pooling(name: str) -> str:
    if name not in POOLINGS:
        raise UsageError(f"There is no pooling '{name}': choose one of {', '.join(POOLINGS)}.")
    return name


def _warn(sentences: Sequence[str]) -> None:
    """Warn of each thing once."""
    for sentence in dict.fromkeys(sentences):
        logger.warning("%s", sentence)
