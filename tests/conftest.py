"""Fixtures that tests share: a real redis-server, a real local Ray, the real vLLM engine, each started once."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from cluster.annotation.annotate import Result, annotate
from cluster.annotation.pool import Pool
from cluster.library.cells import with_columns
from cluster.library.source import Source, resolve
from cluster.runtime.session import RaySession, ray_session
from cluster.store.embedded import embedded_redis
from cluster.store.store import Store
from gallon.cli.app import main
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.models import identify, local_path
from teacher.llm.prompt import Prompt, load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from tests.support.command import CommandHere, Done
from tests.support.data import SHARED_DATA
from tests.support.gpus import FAKE_GPUS
from tests.support.scripted import Script

hypothesis.settings.register_profile("patient", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("patient")


TinyEngine = Callable[[], VllmEngine]
OWN_VARIABLES = ("GALLON_STORE", "HF_HUB_OFFLINE", "RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED")


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the user's store and cluster, and offline."""
    kept = {name: os.environ.pop(name, None) for name in OWN_VARIABLES}
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else each Ray starts an actor to count what it sends
    # Of its own, for several processes may test side by side.
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    # Ray spells it so; the tests of metrics need not wait for ten seconds.
    os.environ["RAY_metrics_report_interval_ms"] = "2000"  # noqa: SIM112
    yield
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """An empty store in the tests' Redis."""
    store = Store(redis_url)
    store._redis.flushall()
    yield store
    store.close()


@pytest.fixture(scope="session")
def ray_with_gpus(own_environment: None) -> Iterator[RaySession]:
    """A local Ray that believes it has GPUs, on which the scripted engine may be placed."""
    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"GPU": FAKE_GPUS})
    try:
        with ray_session(None) as session:
            del os.environ["RAY_OVERRIDE_RESOURCES"]
            yield session
    finally:
        os.environ.pop("RAY_OVERRIDE_RESOURCES", None)


@pytest.fixture(scope="session")
def ray_here(ray_with_gpus: RaySession) -> RaySession:
    """The same Ray for whoever is to find no GPUs there."""
    return replace(ray_with_gpus, nodes=tuple(replace(node, gpus=0.0) for node in ray_with_gpus.nodes))


@pytest.fixture(scope="session")
def ray_address(ray_with_gpus: RaySession) -> str:
    """The address of the same Ray for commands in processes of their own, which need not start one each.

    Its token is where the environment says, which they inherit.
    """
    import ray

    address: str = ray.get_runtime_context().gcs_address
    return address


@pytest.fixture
def command_here(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[CommandHere]:
    """Calls the `gallon` command in this process: for what needs no Ray."""
    on_sigterm = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str | Path, store: Path | str) -> Done:
        monkeypatch.setenv("GALLON_STORE", str(store))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["gallon", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    yield call
    signal.signal(signal.SIGTERM, on_sigterm)


@pytest.fixture
def describe() -> Prompt:
    return load("describe")


@pytest.fixture
def spec(describe: Prompt) -> Spec:
    """A spec without a picture, so that tests about rows draw nothing."""
    return Spec(
        model=Model(name="scripted", revision="1"),
        prompt=PromptRef.of(describe),
        sampling=Sampling(max_tokens=100),
    )


@pytest.fixture
def run(store: Store, ray_here: RaySession, describe: Prompt, spec: Spec) -> Callable[..., Result]:
    """Annotate files with the scripted engine, under `spec` unless another is given."""

    def run_it(*files: Path, script: Script | None = None, limit: int | None = None, **changes: Any) -> Result:
        sources: list[Source] = resolve([str(file) for file in files], changes.pop("smiles_column", None))
        usual = {"spec": spec, "prompt": describe, "store": store, "pool": Pool(concurrency=16), "start_waits": ()}
        settings = {**usual, **changes}
        sources = with_columns(sources, settings["spec"].columns)
        return annotate(sources, limit=limit, session=ray_here, engine=script or Script(), **settings)

    return run_it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the data for tests and benchmarks is not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def start_tiny_engine(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyEngine]:
    """Start the shipped model in the real vLLM, or return the engine that runs already, unless a test has closed it."""
    settings = EngineSettings(max_num_seqs=32, kv_cache_bytes=1 << 28, cpu_threads=1)
    started: list[VllmEngine] = []

    def start() -> VllmEngine:
        if not started or started[-1]._loop.closed:
            log = tmp_path_factory.mktemp("vllm") / "vllm.log"
            started.append(VllmEngine(identify("tiny"), local_path("tiny"), settings, log))
        return started[-1]

    yield start
    for engine in started:
        engine.close()


@pytest.fixture
def tiny_engine(start_tiny_engine: TinyEngine) -> VllmEngine:
    """The shipped model in the real vLLM, started once for all tests of a process."""
    return start_tiny_engine()
