"""Annotations under a budget: never more of them are read, and which does not depend on labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distill.data.annotations import Annotations
from distill.data.dataset import Dataset, read
from distill.features.library_graph import NODE_CHOICES, NodeChoice
from distill.learn.on_demand import Budget
from teacher.errors import UsageError
from teacher.tiny import library


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("data") / "nci.csv"
    rows = [f"{smiles},{number}" for number, smiles in enumerate(library.read(None)[:60])]
    path.write_text("\n".join(["smiles,number", *rows]) + "\n")
    return read(path, targets=["number"])


@pytest.fixture(scope="module")
def annotations(dataset: Dataset) -> Annotations:
    return Annotations(tuple(f"text {row}" for row in range(len(dataset))), "spec", "sha", (0.5,) * len(dataset))


def told(annotations: Annotations) -> set[int]:
    return {row for row, text in enumerate(annotations.texts) if text is not None}


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
