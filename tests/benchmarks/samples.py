"""What several samples of one request are worth: how far the answer that is kept agrees with RDKit.

    python -m tests.benchmarks.samples [--molecules 200] [--samples 8] [--temperature 0.7] [--json]

`tiny` in the real vLLM, molecules that come with RDKit. Every molecule is asked about once; of its samples the first
one alone, the best and the vote are compared. Intervals are 95 %, bootstrapped over molecules, paired for differences.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import RDConfig

from cluster.library.rows import read_all
from cluster.library.source import resolve
from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.molecule import key_of
from teacher.chemistry.parsing import Parsed, shared_parser
from teacher.llm.acceptance import accept
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.models import identify, local_path
from teacher.llm.request import build_request
from teacher.llm.spec import Keep, Samples
from teacher.llm.validation import RejectedError
from tests.support.machine import machine

LIBRARY = f"{RDConfig.RDDataDir}/NCI/first_5K.smi"
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=200)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    scores = _scores(arguments.molecules, arguments.samples, arguments.temperature)
    result: dict[str, Any] = {way: _interval(values) for way, values in scores.items()}
    result |= {f"{way} minus one": _interval(scores[way] - scores["one"]) for way in ("best", "vote")}
    for name, (mean, low, high) in result.items():
        print(f"{name:16} {mean:+.3f}  ({low:+.3f} to {high:+.3f})")
    if arguments.json:
        told = {name: value for name, value in vars(arguments).items() if name != "json"}
        print(json.dumps({**told, "grounding": result, "machine": machine()}))


def _scores(molecules: int, samples: int, temperature: float) -> dict[str, NDArray[np.float64]]:
    """Return, for each way to choose among samples, the grounding of each molecule's answer; 0 without one."""
    config = SpecConfig(model="tiny", temperature=temperature, samples=samples)
    resolved = resolve_spec(config)
    spec, prompt = resolved.spec, resolved.prompt
    rows = next(iter(read_all(resolve([LIBRARY])))).slice(0, molecules).to_pylist()
    parsed = shared_parser().parse([(row["raw"], row["notation"]) for row in rows])
    smiles = list(dict.fromkeys(molecule.smiles for molecule in parsed if isinstance(molecule, Parsed)))
    ways: dict[str, list[float]] = {"one": [], "best": [], "vote": []}
    with tempfile.TemporaryDirectory() as folder:
        settings = EngineSettings(max_num_seqs=64, image_size=spec.image_size)
        engine = VllmEngine(identify("tiny"), local_path("tiny"), settings, Path(folder) / "vllm.log")
        built = [build_request(each, key_of(each), spec, prompt) for each in smiles]
        for (_, facts), answer in zip(built, [engine.submit(request) for request, _ in built], strict=True):
            completion = answer.result()
            for way, scores in ways.items():
                keep: Keep = "vote" if way == "vote" else "best"
                kept = spec.model_copy(update={"samples": Samples(number=samples, keep=keep) if way != "one" else None})
                try:
                    scores.append(accept(completion, prompt.json_schema, facts, kept).grounding.score)
                except RejectedError:
                    scores.append(0.0)
        engine.close()
    return {way: np.array(scores) for way, scores in ways.items()}


def _interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean, and the bounds of its 95 % interval."""
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return round(float(values.mean()), 4), round(float(low), 4), round(float(high), 4)


if __name__ == "__main__":
    main()
