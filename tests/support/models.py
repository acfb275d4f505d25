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
from teacher.nn.text_encoder import MINILM

TARGET = "logS"


def untrained_student(
    folder: Path,
    name: str = "student-fingerprint",
    targets: tuple[str, ...] = (TARGET,),
    members: int = 1,
    encoder: str = MINILM,
) -> Path:
    """Save a student of so many networks with random weights, and return its folder."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    rows = [",".join([f"{'C' * n}O", *(f"{n}.5" for _ in targets)]) for n in range(1, 30)]
    data = folder / "alcohols.csv"
    data.write_text("\n".join([",".join(["smiles", *targets]), *rows]) + "\n")
    inputs = ModelInputs(read(data, targets=list(targets)), None, folder / "inputs", encoder)
    parts, known = split(inputs.dataset, "random", seed=0), recipe(name)
    settings = {**known.settings, **settings_for(known, inputs.inputs(known, parts)[1], "")}
    nothing = np.zeros((len(inputs.dataset), len(targets)), dtype=np.float32)
    outcomes = []
    for member in range(members):
        torch.manual_seed(member)
        network, file = known.build(len(targets), **settings), folder / f"weights{member}.safetensors"
        weights = {f"{PREFIX}{name}": value for name, value in network.state_dict().items()}
        save_file({**weights, "means": torch.zeros(len(targets)), "deviations": torch.ones(len(targets))}, file)
        outcomes.append(
            Outcome(
                prediction=nothing,
                outputs=folder / "outputs.safetensors",
                score=0.0,
                epochs=1,
                best_epoch=1,
                history=[],
                weights=file,
                seconds=0.0,
            )
        )
    first, *further = outcomes
    save(folder / "student", known, inputs, parts, first, seed=0, further=further, metrics={})
    return folder / "student"
