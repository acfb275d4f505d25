"""What a prediction costs from SMILES: students, graph teachers, XGBoost, chemprop and n-grams, one core, one run.

    python -m tests.benchmarks.inference [--rows 2000] [--repeats 3] [--json]

Times are the processor's, the least of the repeats, which alternate. Networks are untrained, since their times do not
depend on what they have learned; their errors stand beside them from the kept comparison on ESOL (scaffold split, five
seeds). Chemprop, where the command is on the PATH, reads and writes files; its start is told apart.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rdkit import Chem

from distill.evaluate.baselines.chemprop_cli import COMMAND
from distill.features.environments import Environments
from distill.features.scaled import ScaledFeatures
from distill.features.vectors import DescriptorSet, Scaler, fingerprint_features, student_features
from distill.learn.network import Network
from distill.learn.recipes import recipe
from distill.models.model_store import WEIGHTS
from distill.screen.ngram_student import NGramStudent
from distill.screen.perceptron import Perceptron
from distill.screen.saved_model import AT_A_TIME, SavedModel
from teacher.nn.graphs import Graphs
from tests.benchmarks.screening import FEW, chemprop_asked, inhibitors_in, used, write_library
from tests.support.machine import machine
from tests.support.models import untrained_student

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEACHERS = ("gcn", "gin", "gat", "dmpnn")
STUDENTS: tuple[DescriptorSet, ...] = ("lean", "estimated")
TREES = 300
TRAINING = 1_000  # molecules, whose features a student reads
MEASURED = Path(__file__).parent / "results" / "esol-scaffold.json"
METHODS = {
    "student, lean": "student",
    "XGBoost, 217 descriptors": "gradient_boosting",
    COMMAND: COMMAND,
    **{name: name for name in TEACHERS},
}


@dataclass(frozen=True)
class Model:
    """What predicts.

    Attributes:
        whole: all of it, from SMILES.
        ready: its network alone, from what is ready.
        size: of its weights, in bytes.
        starts: whether each call starts it anew, which is told apart.
    """

    whole: Callable[[Sequence[str]], object]
    ready: Callable[[Sequence[str]], Callable[[], object]] | None
    size: int | None
    starts: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        smiles = write_library(folder / "library.smi", arguments.rows).read_text().splitlines()
        models = _models(folder, smiles)
        alone = {name: model.ready(smiles) for name, model in models.items() if model.ready}
        seconds: dict[tuple[str, str], float] = {}
        for _ in range(arguments.repeats):
            for name, model in models.items():
                _least(seconds, (name, "whole"), functools.partial(model.whole, smiles))
                if model.starts:
                    _least(seconds, (name, "start"), functools.partial(model.whole, smiles[:FEW]))
                if name in alone:
                    _least(seconds, (name, "alone"), alone[name])
    rows = _rows(models, seconds, len(smiles))
    print(f"{'':26}{'molecules/s':>12}{'us':>9}{'network, us':>13}{'kB':>9}{'ESOL, RMSE':>12}")
    for name, row in rows.items():
        network, size, error = row["network_us"], row["bytes"], row["esol_rmse"]
        print(
            f"{name:26}{row['molecules_per_second']:12,.0f}{row['us']:9.1f}"
            f"{'' if network is None else f'{network:.1f}':>13}{'' if size is None else f'{size / 1e3:,.0f}':>9}"
            f"{'' if error is None else f'{error:.3f}':>12}"
        )
    if arguments.json:
        print(json.dumps({"rows": len(smiles), "models": rows, "machine": machine()}))


def _least(seconds: dict[tuple[str, str], float], what: tuple[str, str], do: Callable[[], object]) -> None:
    began = used()
    do()
    seconds[what] = min(seconds.get(what, np.inf), used() - began)


def _rows(models: dict[str, Model], seconds: dict[tuple[str, str], float], rows: int) -> dict[str, dict[str, Any]]:
    errors = {row["method"]: row["mean"] for row in json.loads(MEASURED.read_text())["rows"]}
    found = {}
    for name, model in models.items():
        start, alone = seconds.get((name, "start")), seconds.get((name, "alone"))
        each = seconds[name, "whole"] / rows if start is None else (seconds[name, "whole"] - start) / (rows - FEW)
        error = errors.get(METHODS.get(name, ""))
        found[name] = {
            "molecules_per_second": round(1 / each),
            "us": round(each * 1e6, 1),
            "start_seconds": None if start is None else round(start, 1),
            "network_us": None if alone is None else round(alone / rows * 1e6, 1),
            "bytes": model.size,
            "esol_rmse": None if error is None else round(error, 3),
        }
    return found


def _parsed(smiles: Sequence[str]) -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(text) for text in smiles]


def _models(folder: Path, smiles: Sequence[str]) -> dict[str, Model]:
    models = {"parsing alone": Model(_parsed, None, 0)}
    for descriptors in STUDENTS:
        models[f"student, {descriptors}"] = _student(smiles, descriptors)
    for name in TEACHERS:
        models[name] = _teacher(folder / name, name)
    models["XGBoost, 217 descriptors"] = _trees(smiles)
    if shutil.which(COMMAND):
        models[COMMAND] = Model(chemprop_asked(inhibitors_in(folder), workers=0), None, None, starts=True)
    else:
        print("There is no command chemprop on the PATH: it is left out.", file=sys.stderr)
    return {**models, "n-grams": _ngrams(smiles)}


def _student(smiles: Sequence[str], descriptors: DescriptorSet) -> Model:
    """Return a student of the default shape, which reads what a training set of such molecules would leave."""
    scaler = Scaler.fit(student_features(_parsed(smiles[:TRAINING]), descriptors))
    width, rng = int(recipe("student-fingerprint").settings["width"]), np.random.default_rng(0)
    shapes = [(len(scaler.keep), width), (width, width), (width, 1)]
    layers = [(rng.normal(size=shape).astype(np.float32), np.zeros(shape[1], dtype=np.float32)) for shape in shapes]
    features, network = ScaledFeatures(scaler, descriptors), Perceptron(layers)

    def vectors(smiles: Sequence[str]) -> list[NDArray[np.float32]]:
        mols = _parsed(smiles)
        some = [mols[start : start + AT_A_TIME] for start in range(0, len(mols), AT_A_TIME)]
        return [features.of(part, Environments.of(part)) for part in some]

    def ready(smiles: Sequence[str]) -> Callable[[], object]:
        made = vectors(smiles)
        return lambda: [network.predict(part) for part in made]

    return Model(
        lambda smiles: [network.predict(part) for part in vectors(smiles)],
        ready,
        sum(weight.nbytes + bias.nbytes for weight, bias in layers),
    )


def _teacher(folder: Path, name: str) -> Model:
    place = untrained_student(folder, name)
    saved = SavedModel(place)
    build = functools.partial(recipe(name).build, 1, **saved.card.settings)

    def ready(smiles: Sequence[str]) -> Callable[[], object]:
        network, graphs = Network.load(place / WEIGHTS, build), Graphs.of(_parsed(smiles))
        return lambda: network.predict(graphs, np.arange(len(smiles)))

    return Model(lambda smiles: saved.predict(_parsed(smiles)), ready, (place / WEIGHTS).stat().st_size)


def _trees(smiles: Sequence[str]) -> Model:
    from xgboost import XGBRegressor

    few = fingerprint_features(_parsed(smiles[:200]), "all")
    trees = XGBRegressor(n_estimators=TREES, n_jobs=1).fit(few, np.arange(len(few)))

    def ready(smiles: Sequence[str]) -> Callable[[], object]:
        features = fingerprint_features(_parsed(smiles), "all")
        return lambda: trees.predict(features)

    size = len(trees.get_booster().save_raw())
    return Model(lambda smiles: trees.predict(fingerprint_features(_parsed(smiles), "all")), ready, size)


def _ngrams(smiles: Sequence[str]) -> Model:
    texts = [text.encode() for text in smiles]
    values = np.array([[len(text)] for text in texts], dtype=np.float32)
    student = NGramStudent.distilled(texts, values, {})
    size = student.weights.size * 2
    return Model(lambda smiles: student.score([text.encode() for text in smiles]), None, size)


if __name__ == "__main__":
    main()
