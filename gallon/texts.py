"""What an LLM wrote, or itself predicts, about the molecules of a dataset, out of the store that a user names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from cluster.library.cells import with_columns
from cluster.library.molecules import unique_entries
from cluster.library.source import Source, resolve
from cluster.service.access import TOKEN_VARIABLE, holds_password, read_token
from cluster.service.client import ServiceClient
from cluster.store.open import choose_spec, has_store, open_store
from distill.data.annotations import Annotations, fetch
from distill.data.dataset import Dataset
from distill.data.few_shot import refuse_test_examples
from distill.data.guesses import Guesses
from distill.data.leakage import refuse_targets, warn_of_examples
from distill.data.moleculenet import SETS
from distill.data.splits import Split
from distill.evaluate.methods import FROM_START
from distill.learn.inputs import ModelInputs
from distill.learn.on_demand import Service
from distill.ranking.prompt import candidates_of, column_names
from distill.ranking.prompt import record_keys as ranked_keys
from distill.ranking.ranking import Ranking
from gallon.config import DEFAULT_STORE, DataConfig, TrainConfig
from gallon.progress import ProgressCallback, phase
from teacher.errors import UsageError
from teacher.wording import counted

logger = logging.getLogger(__name__)


def named_specs(texts: Sequence[str]) -> Mapping[str, str]:
    """Read what several specs are called, each given as NAME=SPEC.

    Raises:
        UsageError: one is given otherwise, or two have the same name.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, spec = text.partition("=")
        if not (sign and name.strip() and spec.strip()) or set("[]") & set(name):
            raise UsageError(f"--other-spec '{text}' is not NAME=SPEC, as in no-drawing=1f2e: correct it.")
        if name.strip() == FROM_START:
            raise UsageError(f"--other-spec calls a spec '{FROM_START}', as rows of --start are called: rename it.")
        if name in found:
            raise UsageError(f"--other-spec calls two specs '{name}': give each a name of its own.")
        found[name.strip()] = spec.strip()
    return found


def check_encoder(name: str) -> None:
    """Refuse a text encoder that cannot be loaded, but for the one that comes with gallon.

    Raises:
        UsageError: there is none of this name, or it cannot be reached.
    """
    from teacher.nn.text_encoder import MINILM, load_encoder, tokenize

    if name != MINILM:
        load_encoder(name)
        tokenize(["C"], name)


def service_client(training: TrainConfig) -> ServiceClient | None:
    """Return a client of the service that a training asks; None where it asks none.

    Raises:
        UsageError: its address holds a password, which every message would show, or the token cannot be used.
    """
    if not training.service:
        return None
    if holds_password(training.service):
        raise UsageError(
            f"--service holds a password: put the token into {TOKEN_VARIABLE} and leave the password out of the URL."
        )
    return ServiceClient(training.service, read_token(None))


def agreed_spec(client: ServiceClient, spec_id: str | None) -> str:
    """Return the id of the spec that a service describes under.

    Raises:
        UsageError: the user has named another.
    """
    spec = client.spec()
    if spec_id and not spec.startswith(spec_id):
        raise UsageError(f"The service describes under spec {spec}, not {spec_id}: leave out --spec, or ask another.")
    return spec


def described_by(
    client: ServiceClient | None, store: str, model_inputs: ModelInputs, progress: ProgressCallback | None
) -> Service:
    """Return who describes molecules for a training; without a client, nobody does, and what is stored is read."""
    annotations = model_inputs.annotations
    if annotations is None:
        raise UsageError("There are no annotations: run 'gallon annotate', or name a --service.")
    if client is None:
        return Service(describe=lambda _: None, fetch=lambda: annotations)
    asked = client

    def describe(smiles: Sequence[str]) -> None:
        with phase(progress, "asking the service", "molecules") as running:
            failed = asked.describe(smiles, lambda done: running.update(done, len(smiles)))
        if failed:
            logger.warning("%s could not be described, and count as spent", counted(failed, "molecule"))

    def stored() -> Annotations:
        with open_store(store, create=False) as opened:
            return fetch(opened, choose_spec(opened, annotations.spec), model_inputs.dataset.keys)

    return Service(describe=describe, fetch=stored)


def annotations_of(
    store: str,
    spec_id: str | None,
    dataset: Dataset,
    splits: Sequence[Split],
    tables: Callable[[], Sequence[Source]],
) -> Annotations | None:
    """Fetch the annotations of molecules; None where the store is empty and no spec was asked for.

    Where they were written with cells of a row in sight, `tables` are read again: a molecule has those of its first
    row.

    Raises:
        UsageError: the labels were in sight, too.
    """
    if spec_id is None and store == DEFAULT_STORE and not has_store(store):
        return None
    with open_store(store, create=False) as opened:
        if spec_id is None and not opened.specs():
            return None
        spec = choose_spec(opened, spec_id)
        for sentence in warn_of_examples(opened.prompt(spec), dataset, splits):
            logger.warning("%s", sentence)
        if not spec.columns:
            return fetch(opened, spec, dataset.keys)
        refuse_targets(spec.columns, [target.name for target in dataset.targets])
        return fetch(opened, spec, record_keys(dataset.keys, with_columns(tables(), spec.columns)))


def guesses_of(store: str, spec_id: str, dataset: Dataset, splits: Sequence[Split]) -> Guesses:
    """Fetch what the LLM itself predicts of molecules.

    Raises:
        UsageError: it had labels of the validation or the test part in sight, or there are several targets.
    """
    if len(dataset.targets) > 1:
        raise UsageError("--predictions are of one property: name one with --target.")
    with open_store(store, create=False) as opened:
        spec = choose_spec(opened, spec_id)
        refuse_test_examples(opened.prompt(spec), dataset, splits)
        return Guesses.of(fetch(opened, spec, dataset.keys))


def rankings_of(store: str, spec_id: str, dataset: Dataset, splits: Sequence[Split]) -> dict[str, Ranking]:
    """Fetch the orders in which an LLM puts the candidates for neighbours, by the sha256 of each split.

    Raises:
        UsageError: the spec is of another kind, or nothing was answered about the candidates of a split.
    """
    found = {}
    with open_store(store, create=False) as opened:
        spec = choose_spec(opened, spec_id)
        if not spec.columns or spec.columns != column_names(len(spec.columns)):
            raise UsageError(f"Spec {spec.id} does not order neighbours: name one of a prompt by 'gallon prompt rank'.")
        for each in {split.sha256: split for split in splits}.values():
            candidates = candidates_of(dataset, each, len(spec.columns))
            ranking = Ranking.of(fetch(opened, spec, ranked_keys(dataset, candidates)), candidates)
            missing = len(dataset) - int(ranking.answered.sum())
            if missing == len(dataset):
                raise UsageError(
                    f"Under spec {spec.id} nothing is answered about the candidates of this split: run 'gallon prompt "
                    "rank' with the same --split and --seed, and annotate the table that it writes."
                )
            if missing:
                logger.warning(
                    "%s without an LLM's order of neighbours, who have the most similar ones",
                    counted(missing, "molecule"),
                )
            found[each.sha256] = ranking
    return found


def table_of(data: str, labels: DataConfig) -> list[Source]:
    """Return the file with the labels as one of a library.

    Raises:
        UsageError: it is a set of MoleculeNet, which has no columns but labels.
    """
    if data.lower() in SETS:
        raise UsageError(
            f"The annotations were written with columns of a table in sight, which the MoleculeNet set '{data}' does "
            "not have: choose those of another spec with --spec."
        )
    return resolve([data], labels.smiles_column, labels.separator, labels.encoding)


def record_keys(keys: Sequence[bytes], tables: Sequence[Source]) -> list[bytes]:
    """Return the keys of the records of molecules, with the cells of the first row of each."""
    first: dict[bytes, bytes] = {}
    for entry in unique_entries(tables):
        first.setdefault(entry.molecule.key, entry.key)
    return [first.get(key, key) for key in keys]
