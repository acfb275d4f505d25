"""A saved student that nobody trained: its folder is as `gallon distill` leaves one, its predictions mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cluster.training.fit import Outcome
from distill.data.dataset import read
from distill.data.splits import split
from distill.learn.inputs import ModelInputs
from distill.learn.network import settings_for
from distill.learn.recipes import recipe
from distill.learn.saving import save
from distill.models.model_store import PREFIX

TARGET = "logS"


def untrained_student(folder: Path, name: str = "student-fingerprint", targets: tuple[str, ...] = (TARGET,)) -> Path:
    """Save a student with random weights, and return its folder."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    rows = [",".join([f"{'C' * n}O", *(f"{n}.5" for _ in targets)]) for n in range(1, 30)]
    data = folder / "alcohols.csv"
    data.write_text("\n".join([",".join(["smiles", *targets]), *rows]) + "\n")
    inputs = ModelInputs(read(data, targets=list(targets)), None, folder / "inputs")
    parts, known = split(inputs.dataset, "random", seed=0), recipe(name)
    torch.manual_seed(0)
    network = known.build(len(targets), **{**known.settings, **settings_for(known, inputs.inputs(known, parts)[1], "")})
    weights = {f"{PREFIX}{name}": value for name, value in network.state_dict().items()}
    weights |= {"means": torch.zeros(len(targets)), "deviations": torch.ones(len(targets))}
    save_file(weights, folder / "weights.safetensors")
    nothing = np.zeros((len(inputs.dataset), len(targets)), dtype=np.float32)
    outcome = Outcome(
        prediction=nothing,
        representation=nothing,
        score=0.0,
        epochs=1,
        best_epoch=1,
        history=[],
        weights=folder / "weights.safetensors",
        seconds=0.0,
    )
    save(folder / "student", known, inputs, parts, outcome, seed=0, metrics={})
    return folder / "student"
