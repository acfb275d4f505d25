"""GALLON's student, as it was released."""

from __future__ import annotations

import numpy as np
import torch
from rdkit import Chem
from torch import nn

from distill.learn.recipes import recipe
from teacher.nn.graphs import Graphs

MOLS = [Chem.MolFromSmiles(smiles) for smiles in ("CCO", "c1ccccc1O", "[Na+]")]


def test_gallons_networks_are_those_that_were_released() -> None:
    student, teacher = (recipe(name) for name in ("student-gallon", "gallon-gcn"))
    network = student.build(2, **student.settings)
    assert [type(layer) for layer in network.body[-2:]] == [type(network.body[3]), nn.Linear]  # the last one is plain
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in network.body) == 2
    unused = 2 * student.settings["width"]  # of a BatchNorm that is counted in the paper and computes nothing
    for known in (student, teacher):
        parameters = sum(parameter.numel() for parameter in known.build(2, **known.settings).parameters())
        assert parameters + unused == 2690
        assert known.raw_labels and known.schedule.gradient_norm is None and known.schedule.weight_decay == 0


def test_gallons_networks_drop_out_behind_the_pooling() -> None:
    networks = [known.build(1, **known.settings) for known in (recipe("student-gallon"), recipe("gallon-gcn"))]
    networks[0].body.eval()  # so that nothing else drops out
    networks[1].norms.eval()
    networks[1].dropout = 0.0
    batch = Graphs.of(MOLS).batch(np.arange(len(MOLS)))
    for network in networks:
        torch.manual_seed(0)
        (one, pooled), (other, again) = network(batch), network(batch)
        assert torch.allclose(pooled, again) and not torch.allclose(one, other)
