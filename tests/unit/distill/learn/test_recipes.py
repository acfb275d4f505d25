"""What can be trained, by name: networks are found by their names, and nothing is loaded to look one up."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import import_module

import pytest
from torch import nn

from distill.learn.recipes import RECIPES, recipe
from teacher.errors import UsageError
from teacher.nn.text_encoder import MINILM


def test_an_unknown_recipe_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no 'schnet' to train: choose out of gcn, gin, gat, dmpnn, lm"):
        recipe("schnet")


def test_networks_on_vectors_are_trained_by_one_worker_and_those_on_graphs_are_shared() -> None:
    shared = {name for name, known in RECIPES.items() if known.is_shareable}
    assert {"dmpnn", "gin", "gcn", "mmf", "lm-fine-tuned"} <= shared
    assert not {"student-fingerprint", "lm", "minimol", "rules", "e-llagnn"} & shared


def test_recipes_go_by_their_own_names() -> None:
    assert all(name == known.name == recipe(name).name for name, known in RECIPES.items())


@pytest.mark.parametrize("name", RECIPES)
def test_networks_are_classes_that_can_be_imported(name: str) -> None:
    known = recipe(name)
    given = {
        "tokens": {"encoder": MINILM},
        "graphs": {},
        "library graph": {"features": 5, "text_features": 3},
    }.get(known.reads, {"features": 5})
    network = known.build(2, **known.settings, **given)
    for module in network.modules():
        kind = type(module)
        assert isinstance(module, nn.Module) and getattr(import_module(kind.__module__), kind.__name__) is kind
    if known.reads != "tokens":
        again = pickle.loads(pickle.dumps(network))
        assert again.state_dict().keys() == network.state_dict().keys()


LIGHT = (
    *("gallon.cli.app", "distill.learn.recipes", "distill.models.model_store", "distill.evaluate.methods"),
    "distill.report.run",
)


@pytest.mark.parametrize("module", LIGHT)
def test_what_answers_at_once_loads_no_network(module: str) -> None:
    heavy = {"torch", "torch_geometric", "transformers", "vllm", "ray"}
    program = f"import sys, {module}; print(*({heavy!r} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not loaded.stdout.split()


@pytest.mark.parametrize(
    "work",
    [
        "from distill.screen import screening; known = recipe('student-fingerprint'); "
        "known.build(1, features=5, **known.settings)",
        "from teacher.nn.graphs import Graphs; from rdkit import Chem; known = recipe('dmpnn'); "
        "Graphs.of([Chem.MolFromSmiles('C[C@H](N)O')]); known.build(1, **known.settings)",
    ],
)
def test_students_on_fingerprints_and_dmpnns_need_no_pyg(work: str) -> None:
    program = f"import sys; from distill.learn.recipes import recipe; {work}; print('torch_geometric' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["False"]
