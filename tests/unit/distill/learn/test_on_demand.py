"""Texts asked for while training: under the budget, store first, nothing twice, and by labels of the training part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.training.driver import TrainResources
from distill.data.annotations import Annotations
from distill.data.dataset import Dataset, read
from distill.data.splits import Split, split
from distill.features.library_graph import NODE_CHOICES, NodeChoice
from distill.learn import on_demand
from distill.learn.inputs import ModelInputs
from distill.learn.on_demand import UNCERTAINTY, Budget, OnDemand, Service, disagreement
from teacher.errors import UsageError
from teacher.tiny import library


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("data") / "nci.csv"
    rows = [f"{smiles},{number}" for number, smiles in enumerate(library.read(None)[:60])]
    path.write_text("\n".join(["smiles,number", *rows]) + "\n")
    return read(path, targets=["number"])


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, "random")


@dataclass
class Written:
    """A store, and a service that fills it."""

    dataset: Dataset
    texts: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    dies_after: int | None = None

    def describe(self, smiles: Sequence[str]) -> None:
        for one in smiles:
            if self.dies_after == len(self.asked):
                self.dies_after = None
                raise ConnectionError("the service is gone")
            self.asked.append(one)
            self.texts[one] = f"about {one}"

    def fetch(self) -> Annotations:
        texts = tuple(self.texts.get(one) for one in self.dataset.smiles)
        return Annotations(texts, "spec", str(len(self.texts)))

    @property
    def service(self) -> Service:
        return Service(describe=self.describe, fetch=self.fetch)


def told(annotations: Annotations | None) -> set[int]:
    assert annotations is not None
    return {row for row, text in enumerate(annotations.texts) if text is not None}


@pytest.fixture
def enrich(dataset: Dataset, parts: Split, tmp_path: Path) -> Callable[..., ModelInputs]:
    def call(written: Written, *, labels: Any = None, **how: Any) -> ModelInputs:
        data = dataset if labels is None else replace(dataset, labels=labels)
        inputs = ModelInputs(data, written.fetch(), tmp_path)
        demand = OnDemand(**{"share": 0.25, "by": "degree", **how})
        resources = TrainResources(workers=1)
        return demand.enrich(inputs, parts, written.service, folder=tmp_path, resources=resources)

    return call


def test_no_more_is_asked_than_the_budget_and_nothing_that_the_store_has(
    enrich: Callable[..., ModelInputs], dataset: Dataset, parts: Split
) -> None:
    fresh = Written(dataset)
    number = int(0.25 * len(parts.train))
    known = told(enrich(fresh, rounds=3).annotations)
    assert len(known) == len(fresh.asked) == len(set(fresh.asked)) == number
    assert known <= set(parts.train.tolist())  # a network reads no others' texts
    again = Written(dataset, texts=dict(list(fresh.texts.items())[:5]))
    assert told(enrich(again, rounds=1).annotations) == known
    assert len(again.asked) == number - 5 and set(again.texts) == set(fresh.texts)


def test_texts_that_the_store_has_of_others_are_not_read(
    enrich: Callable[..., ModelInputs], dataset: Dataset, parts: Split
) -> None:
    whole = Written(dataset, texts=dict.fromkeys(dataset.smiles, "text"))
    assert len(told(enrich(whole, by="random").annotations)) == int(0.25 * len(parts.train)) and not whole.asked
    with pytest.raises(UsageError, match="is none: give more"):
        enrich(whole, share=0.001)


def test_a_service_that_dies_between_two_molecules_is_asked_for_the_rest_alone(
    enrich: Callable[..., ModelInputs], dataset: Dataset, parts: Split
) -> None:
    dying = Written(dataset, dies_after=4)
    with pytest.raises(ConnectionError):
        enrich(dying, rounds=2)
    known = told(enrich(dying, rounds=2).annotations)  # the same command again
    assert len(dying.asked) == len(set(dying.asked)) == len(known) == int(0.25 * len(parts.train))


@pytest.fixture
def committee(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Networks that disagree about molecules the more the later they come; returns what each had texts of."""
    heard: list[set[int]] = []

    def fit_all(fit_set: Any, *_: Any) -> list[Any]:
        (inputs,) = fit_set.inputs.values()
        heard.append(set(np.flatnonzero(inputs.told).tolist()))
        assert len({fit.train.tobytes() for fit in fit_set.fits}) == len(fit_set.fits) == on_demand.MEMBERS
        rows = np.arange(len(inputs.features), dtype=np.float32)[:, None]
        return [SimpleNamespace(prediction=member * rows) for member in range(len(fit_set.fits))]

    monkeypatch.setattr(on_demand, "fit_all", fit_all)
    monkeypatch.setattr(ModelInputs, "embeddings", SimpleNamespace(values=np.zeros((60, 3), dtype=np.float32)))
    return heard


def test_by_uncertainty_the_network_is_trained_on_what_was_written_before_it_chooses_on(
    enrich: Callable[..., ModelInputs], dataset: Dataset, parts: Split, committee: list[set[int]]
) -> None:
    written = Written(dataset)
    known = told(enrich(written, by=UNCERTAINTY, rounds=2).annotations)
    number = int(0.25 * len(parts.train))
    most = sorted(parts.train.tolist(), reverse=True)[:number]
    assert known == set(most)
    assert committee == [set(), set(most[: number // 2])]
    labels = dataset.labels.copy()
    labels[parts.test] = 0
    assert told(enrich(Written(dataset), labels=labels, by=UNCERTAINTY, rounds=2).annotations) == known


def test_disagreement_is_in_units_of_the_labels() -> None:
    predictions = [np.array([[0.0, 0.0], [1.0, 0.0]], dtype=np.float32), np.array([[0.0, 2.0], [3.0, 0.0]], np.float32)]
    labels = np.array([[0.0, 0.0], [2.0, 8.0]], dtype=np.float32)  # deviations 1 and 4
    assert disagreement(predictions, labels).tolist() == [(0 + 1 / 4) / 2, (1 + 0) / 2]


@pytest.fixture(scope="module")
def annotations(dataset: Dataset) -> Annotations:
    return Annotations(tuple(f"text {row}" for row in range(len(dataset))), "spec", "sha", (0.5,) * len(dataset))


@pytest.mark.parametrize("by", NODE_CHOICES)
def test_no_more_is_read_than_the_budget_allows(by: NodeChoice, dataset: Dataset, annotations: Annotations) -> None:
    kept = Budget(share=0.2, by=by).spend(annotations, dataset)
    assert len(told(kept)) == int(0.2 * len(dataset))
    assert all(kept.texts[row] == annotations.texts[row] for row in told(kept))
    assert kept.agreement is not None and {row for row, each in enumerate(kept.agreement) if each} == told(kept)
    assert kept.sha256 != annotations.sha256
    other = replace(dataset, labels=np.random.default_rng(0).normal(size=dataset.labels.shape).astype(np.float32))
    assert told(Budget(share=0.2, by=by).spend(annotations, other)) == told(kept)


def test_a_budget_of_all_reads_all_and_one_of_nothing_is_refused(dataset: Dataset, annotations: Annotations) -> None:
    assert told(Budget(share=1.0, by="random").spend(annotations, dataset)) == set(range(len(dataset)))
    with pytest.raises(UsageError, match="is none"):
        Budget(share=0.01).spend(annotations, dataset)
