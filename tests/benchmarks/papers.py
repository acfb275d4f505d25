"""What each part of the papers' methods is worth: all rows with the bundled model, and real texts where there are some.

    python -m tests.benchmarks.papers --data-root MOLECULENET --kept FOLDER [--sets esol,bbbp] [--seeds 3]
        [--parts ablations,gallon,dillm,mmf,few-shot,ranked,e-llagnn,depth] [--molecules N]
        [--texts clintox_gpt35.jsonl] [--out RESULTS] [--json]

Scaffold split. GALLON's ablations, for which `tiny` annotates each set under five specs (everything, no drawing, no
graph, SMILES only, and GALLON's own prompt); GALLON as released; DiLLM-GNN; MMF with every part switched off in turn,
and with few-shot predictions; E-LLaGNN with neighbours by an LLM's order; E-LLaGNN at 5, 10, 20 and 50 % of the
training part, chosen by uncertainty, by coverage and at random, beside all texts and none; the gradients' norms of its
layers by depth. `tiny` knows one prompt, `describe`: what it answers to others is a valid answer by chance, so that
`few-shot` and `ranked` tell what answers without knowledge cost. With --texts, real texts of GPT-3.5 on ClinTox (one
target). The same command goes on in FOLDER where it was stopped: records, fits and finished comparisons stay.
--molecules takes the first N of each set; --out puts the rows into RESULTS/papers.json, in the place of those of the
same set and part.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import gallon
from cluster.records.importer import import_annotations
from cluster.runtime.session import ray_session
from cluster.store.open import choose_spec, open_store
from cluster.training.driver import fit_all, plan_resources
from distill.data.annotations import fetch
from distill.data.dataset import Dataset
from distill.data.moleculenet import load
from distill.data.splits import split
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.network import Network, settings_for
from distill.learn.recipes import MMF_WITHOUT, recipe
from teacher.nn.library import gradient_norms
from tests.benchmarks.paper_tables import BUDGETS, CHOICES, KEPT, PARTS
from tests.support.machine import machine

SHOWN: dict[str, dict[str, Any]] = {
    "everything": {"graph": True},
    "no drawing": {"graph": True, "image": False},
    "no graph": {"graph": False},
    "SMILES only": {"graph": False, "image": False},
    "prompt gallon": {"graph": True, "prompt": "gallon"},
}
DEPTHS = (1, 2, 3)
GALLON_ROWS = ["gallon-gcn", "student", "student+gnn", "student+lm", "student+both"]
GNNS = ["gin", "dmpnn", "gin+lm", "dmpnn+lm", "gnn+lm"]
MMF_ROWS = [name for name in MMF_WITHOUT if name != "mmf-few-shot"]
TEXTS_ROWS = ["lm", "student", "student+lm", "student+both", "student+shuffled"]
FEW_SHOT_ROWS = ["llm-few-shot", "mmf", "mmf-few-shot"]
RANKED_ROWS = ["e-llagnn-sage", "e-llagnn-sage-ranked", "e-llagnn-sage-shuffled"]
CLINTOX, TOXIC = "clintox", "CT_TOX"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--sets", default="esol,bbbp")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--molecules", type=int)
    parser.add_argument("--texts", type=Path, help="real texts on ClinTox, as JSON lines that gallon import reads")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    with gallon.session():
        rows = [row for name in arguments.sets.split(",") for row in _rows(name, arguments)]
        if arguments.texts:
            scene = Scene(load(CLINTOX, data_root=arguments.data_root, targets=[TOXIC]), [TOXIC], arguments)
            rows += scene.evaluated("gpt35", TEXTS_ROWS, spec_id=scene.imported(arguments.texts))
    spent = round(time.perf_counter() - begun)
    result = {"seeds": arguments.seeds, "seconds": spent, "rows": rows, "machine": machine()}
    if arguments.out:
        _keep(result, arguments.out / KEPT)
    if arguments.json:
        print(json.dumps(result))


def _keep(result: dict[str, Any], file: Path) -> None:
    """Put the rows of a result in the place of those of the same sets and parts."""
    done = {(row["set"], row["part"]) for row in result["rows"]}
    before = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    rows = [*(row for row in before if (row["set"], row["part"]) not in done), *result["rows"]]
    facts = {"seeds": result["seeds"], "rows": rows, "machine": result["machine"]}
    file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _rows(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of a set."""
    dataset = load(name, data_root=arguments.data_root)
    scene = Scene(dataset, [target.name for target in dataset.targets], arguments)
    return [row for part in arguments.parts.split(",") for row in scene.part(part)]


class Scene:
    """One set, and the folder in which its records, fits and tables stay."""

    def __init__(self, dataset: Dataset, targets: Sequence[str], arguments: argparse.Namespace) -> None:
        self._folder = arguments.kept / dataset.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._store = str(arguments.kept / "store")
        self._table = self._folder / f"{dataset.name}.csv"
        self._specs: dict[str, str] = {}  # by what was shown
        self._name, self._targets, self._seeds = dataset.name, tuple(targets), arguments.seeds
        _write(dataset, arguments.molecules or len(dataset), self._table)

    def spec(self, shown: str) -> str:
        """Have `tiny` describe the set in one of the ways, where it has not, and return the id of the spec."""
        if shown not in self._specs:
            how = SHOWN[shown]
            task = {"task": self._name} if how.get("prompt") == "gallon" else {}
            self._specs[shown] = gallon.annotate(self._table, store=self._store, **how, **task).spec
        return self._specs[shown]

    def imported(self, texts: Path) -> str:
        """Import texts, and return the id of their spec."""
        with open_store(self._store) as opened:
            (spec,) = import_annotations(opened, texts)
        return spec

    def part(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a part of the papers."""
        parts: dict[str, Callable[[str], list[dict[str, Any]]]] = {
            "ablations": self._ablations,
            "gallon": lambda whole: self.evaluated("gallon", GALLON_ROWS, spec_id=whole, objective="gallon"),
            "dillm": lambda whole: self.evaluated("dillm", GNNS, spec_id=whole),
            "mmf": lambda whole: self.evaluated("mmf", MMF_ROWS, spec_id=whole),
            "few-shot": lambda whole: self.evaluated(
                "few-shot", FEW_SHOT_ROWS, spec_id=whole, predictions=self._guessed()
            ),
            "ranked": lambda whole: self.evaluated("ranked", RANKED_ROWS, spec_id=whole, ranking=self._ranked()),
            "e-llagnn": self._budgets,
            "depth": self._depths,
        }
        return parts[name](self.spec("everything"))

    def evaluated(self, part: str, methods: list[str], **how: Any) -> list[dict[str, Any]]:
        """Compare methods, or read the table where that was done."""
        out = self._folder / part
        if not (out / "table.json").exists():
            gallon.evaluate(
                self._table,
                target=self._targets,
                methods=methods,
                seeds=self._seeds,
                out=out,
                store=self._store,
                **how,
            )
        table = json.loads((out / "table.json").read_text())
        keys = ("method", "metric", "mean", "std", "valid", "fits", "spent")
        return [_told({"set": self._name, "part": part, **{key: row[key] for key in keys}}) for row in table["rows"]]

    def _ablations(self, whole: str) -> list[dict[str, Any]]:
        others = [f"{shown}={self.spec(shown)}" for shown in SHOWN if shown != "everything"]
        return self.evaluated(
            "ablations", ["lm", "student", "student+lm", "student+both"], spec_id=whole, other_specs=others
        )

    def _guessed(self) -> str:
        """Have `tiny` predict the property out of similar training molecules, and return the id of the spec."""
        prompt = self._folder / "few-shot.yaml"
        gallon.few_shot_prompt(self._table, target=self._targets, out=prompt, overwrite=True)
        return str(gallon.annotate(self._table, store=self._store, prompt=str(prompt), image=False).spec)

    def _ranked(self) -> str:
        """Have `tiny` put the candidates for each molecule's neighbours in an order, and return the id of the spec."""
        prompt = self._folder / "rank.yaml"
        _, table = gallon.ranking_prompt(self._table, target=self._targets, out=prompt, overwrite=True)
        return str(gallon.annotate(table, store=self._store, prompt=str(prompt), image=False).spec)

    def _budgets(self, spec: str) -> list[dict[str, Any]]:
        rows = self.evaluated("e-llagnn all", ["e-llagnn-sage", "e-llagnn-gcn", "library-sage"], spec_id=spec)
        for budget in BUDGETS:
            for by in CHOICES:
                spent = {"llm_budget": budget, "budget_by": by, "spec_id": spec}
                rows += self.evaluated(f"e-llagnn {budget:.0%} by {by}", ["e-llagnn-sage"], **spent)
        return rows

    def _depths(self, spec_id: str) -> list[dict[str, Any]]:
        """Train E-LLaGNN and its control at several depths, and tell the norms of their layers' gradients."""
        dataset = load(str(self._table), targets=self._targets)
        with open_store(self._store) as opened:
            annotations = fetch(opened, choose_spec(opened, spec_id), dataset.keys)
        model_inputs, parts = ModelInputs(dataset, annotations, self._folder / "inputs"), split(dataset, "scaffold")
        rows = []
        with ray_session(None) as session:
            for name in ("e-llagnn-sage", "library-sage"):
                for depth in DEPTHS:
                    known = recipe(name)
                    deep = replace(known, settings={**known.settings, "layers": depth})
                    batch = Batch(model_inputs)
                    batch.add(deep, parts, 0)
                    (outcome,) = fit_all(batch.fit_set, self._folder / "fits", plan_resources(session, None))
                    _, inputs = model_inputs.inputs(deep, parts)
                    settings = settings_for(deep, inputs, model_inputs.encoder)
                    build = functools.partial(deep.build, len(dataset.targets), **settings)
                    network: Any = Network.load(outcome.weights, build).module.cpu()
                    norms = gradient_norms(network, inputs.batch(parts.train[:64]))
                    facts = {"set": self._name, "part": "depth", "method": name, "layers": depth}
                    norms = [round(norm, 4) for norm in norms]
                    rows.append(_told({**facts, "valid": float(outcome.score), "gradients": norms}))
        return rows


def _told(row: dict[str, Any]) -> dict[str, Any]:
    print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v}" for k, v in row.items()), flush=True)
    return row


def _write(dataset: Dataset, most: int, path: Path) -> None:
    names = [target.name for target in dataset.targets]
    lines = [",".join(["smiles", *names])]
    for smiles, labels in zip(dataset.smiles[:most], dataset.labels[:most], strict=True):
        lines.append(",".join([smiles, *("" if np.isnan(label) else f"{label:g}" for label in labels)]))
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
