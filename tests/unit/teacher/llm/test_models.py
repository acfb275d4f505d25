"""Which model a name means: known by its files or its commit, wherever they lie."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from teacher.llm.models import identify, local_path
from teacher.llm.prompt import load
from teacher.llm.spec import PromptRef, Sampling, Spec


def spec_of(folder: Path) -> Spec:
    return Spec(model=identify(str(folder)), prompt=PromptRef.of(load("describe")), sampling=Sampling(max_tokens=9))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "here" / "checkpoint"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(Path(local_path("tiny")) / name, folder)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100_000)
    return folder


def test_a_checkpoint_that_was_moved_or_renamed_makes_the_same_records(checkpoint: Path, tmp_path: Path) -> None:
    before = spec_of(checkpoint)
    (checkpoint / "README.md").write_text("Our own fine-tune.")
    moved = checkpoint.rename(tmp_path / "elsewhere")
    assert spec_of(moved).id == before.id
    assert before.model.name == "checkpoint" and str(tmp_path) not in before.model_dump_json()


@pytest.mark.parametrize("place", [0, 13_000_000, 25_599_000])
def test_a_checkpoint_of_other_weights_makes_other_records(checkpoint: Path, place: int) -> None:
    before = spec_of(checkpoint)
    with (checkpoint / "model.safetensors").open("r+b") as weights:
        weights.seek(place)
        weights.write(bytes(200_000))
    assert spec_of(checkpoint).id != before.id


def test_a_checkpoint_with_another_template_makes_other_records(checkpoint: Path) -> None:
    before = spec_of(checkpoint)
    (checkpoint / "chat_template.jinja").write_text("{{ messages }}")
    assert spec_of(checkpoint).id != before.id


def test_a_snapshot_of_the_hub_is_known_by_its_repository_and_commit(checkpoint: Path, tmp_path: Path) -> None:
    snapshots = tmp_path / "hub" / "models--Qwen--Qwen2.5-VL-7B-Instruct" / "snapshots"
    snapshots.mkdir(parents=True)
    found = identify(str(checkpoint.rename(snapshots / "cc59489")))
    assert (found.name, found.revision) == ("Qwen/Qwen2.5-VL-7B-Instruct", "cc59489")


@pytest.mark.parametrize("config", ["config.json", "params.json"])
def test_a_cached_model_is_known_by_its_id_offline_in_either_format(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "c" * 40
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (snapshot := tmp_path / "models--mistralai--Pixtral-12B-2409" / "snapshots" / commit).mkdir(parents=True)
    (snapshot / config).write_text("{}")
    (refs := snapshot.parents[1] / "refs").mkdir()
    (refs / "main").write_text(commit)
    assert identify("mistralai/Pixtral-12B-2409").revision == commit


def test_vllm_is_imported_only_when_its_environment_is_set() -> None:
    """It reads some of it at its first import; what is set later comes too late."""
    program = """
import builtins, os
from pathlib import Path
imported = builtins.__import__
def watch(name, *rest, **more):
    if name.split(".")[0] == "vllm":
        print(os.environ["VLLM_NO_USAGE_STATS"], os.environ["VLLM_LOGGING_LEVEL"], os.environ["OMP_NUM_THREADS"])
        raise SystemExit
    return imported(name, *rest, **more)
builtins.__import__ = watch
from cluster.annotation.metrics import serve_measured
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.models import identify, local_path
serve_measured(identify("tiny"), local_path("tiny"), EngineSettings(cpu_threads=3), Path("vllm.log"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1", "WARNING", "3"], done.stderr
