"""Does a run fit the machines it is given? Found out before anything is started."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from cluster.annotation.pool import Pool
from cluster.store.connection import StoreError
from cluster.store.open import is_embedded
from cluster.store.store import Store
from teacher.errors import EngineStartError
from teacher.llm.engines.vllm_engine import on_cpu
from teacher.llm.models import weight_bytes
from teacher.wording import counted

if TYPE_CHECKING:
    from cluster.runtime.session import RaySession
    from teacher.llm.engines.vllm_arguments import EngineSettings

GIB = 2**30
OVERHEAD_BYTES = GIB  # vLLM and PyTorch themselves, beside weights and KV cache
LEAST_CPUS = 2  # with one, Ray would wait for ever for a place for the last step of the pipeline
CPU_CONCURRENCY = 64
GPU_CONCURRENCY = 256
ENDPOINT_CONCURRENCY = 64
MOST_RENDERERS = 4  # one makes 60 prompts/s
RENDERERS_ELSEWHERE = 2  # where nodes with GPUs are yet to come: they seldom have less than six cores for each


def default_concurrency() -> int:
    """Return how many molecules an engine works on at a time unless the user says otherwise."""
    return CPU_CONCURRENCY if on_cpu() else GPU_CONCURRENCY


def cpu_threads(workers: int) -> int | None:
    """Return the threads that each of some engines on this machine's CPU gets; None where they run on GPUs.

    One core is left to the annotators, which draw, tokenise and check: on two cores an engine with two threads was
    slower by half.
    """
    return max(1, ((os.cpu_count() or 1) - 1) // workers) if on_cpu() else None


def default_renderers(session: RaySession, gpus: int) -> int:
    """Return how many processes make prompts for each engine, unless the user says otherwise.

    To make a prompt costs as much as to draw its molecule, so that half of an engine's cores is left to drawing, beside
    its own.

    Args:
        session: the cluster.
        gpus: that an engine takes.
    """
    if on_cpu():
        return 0  # there the model wants the cores
    shares = [node.cpus / (node.gpus // gpus) for node in session.nodes if node.gpus >= gpus]
    return max(0, min(MOST_RENDERERS, int(min(shares) - 2) // 2)) if shares else RENDERERS_ELSEWHERE


def check_reachable(store: Store, session: RaySession) -> None:
    """Refuse an embedded store for a cluster of several machines.

    Raises:
        StoreError: other machines could not reach the store.
    """
    if is_embedded(store) and len(session.nodes) > 1:
        raise StoreError(
            f"The embedded store is on this machine and the Ray cluster has {len(session.nodes)}: "
            "name a Redis that all of them reach, with --store redis://HOST."
        )


def plan_pool(
    session: RaySession, path: str, settings: EngineSettings, *, workers: int | None, wait_for_gpus: bool
) -> Pool:
    """Decide how many annotators there are and what each takes.

    Args:
        session: the cluster.
        path: where the model lies, to weigh it.
        settings: of the engine in each annotator.
        workers: the most annotators; None lets the resources decide.
        wait_for_gpus: whether nodes that are not there yet will come.

    Raises:
        EngineStartError: the machine has too little memory, or the cluster too few CPUs or GPUs.
    """
    if session.cpus < LEAST_CPUS and not wait_for_gpus:
        raise EngineStartError(
            f"A run needs {LEAST_CPUS} CPUs and the Ray cluster has {session.cpus:g}, to read and parse beside the "
            "annotators: give its nodes more, or give --wait-for-gpus if an autoscaler brings nodes."
        )
    if on_cpu():
        _check_memory(path, settings, workers or 1, session)
        number = workers or 1
        cpus = _share(session.cpus, number, settings.renderers)
        return Pool(workers=number, cpus=cpus, concurrency=settings.max_num_seqs)
    engines = [int(node.gpus // settings.gpus) for node in session.nodes]
    if not any(engines) and not wait_for_gpus:
        largest = max((node.gpus for node in session.nodes), default=0)
        raise EngineStartError(
            f"An engine needs {counted(settings.gpus, 'GPU')} on one machine and the largest of the Ray cluster has "
            f"{largest:g}: start such nodes, lower --tensor-parallel, or give --wait-for-gpus if an autoscaler "
            "brings them."
        )
    shares = [
        _share(node.cpus, number, settings.renderers)
        for node, number in zip(session.nodes, engines, strict=True)
        if number
    ]
    return Pool(
        workers=workers or max(1, sum(engines)),
        cpus=min(shares, default=1.0),
        gpus=settings.gpus,
        concurrency=settings.max_num_seqs,
    )


def plan_clients(session: RaySession, *, workers: int | None, concurrency: int) -> Pool:
    """Decide how many annotators ask a server, which take no GPU.

    Args:
        session: the cluster.
        workers: the annotators; by default one, which a server keeps busy as long as drawing takes less than a core.
        concurrency: requests that each has open at a time.
    """
    number = workers or 1
    return Pool(workers=number, cpus=_share(session.cpus, number), concurrency=concurrency)


def _share(cpus: float, annotators: int, renderers: int = 0) -> float:
    """Return what each of some annotators on a machine takes of its CPUs: one, if that leaves one for reading.

    Args:
        cpus: of the machine.
        annotators: on it.
        renderers: processes of each that want a CPU as well.
    """
    return min(1.0 + renderers, math.floor(100 * max(cpus - 1, cpus / 2) / annotators) / 100)


def _check_memory(path: str, settings: EngineSettings, workers: int, session: RaySession) -> None:
    import psutil

    if not session.local:
        return  # its machines are not this one; vLLM itself says there when memory is short
    needed = workers * (weight_bytes(path) + settings.kv_cache_bytes + OVERHEAD_BYTES)
    free = psutil.virtual_memory().available
    if needed > free:
        raise EngineStartError(
            f"{counted(workers, 'engine')} would take about {needed / GIB:.1f} GiB of memory and this machine has "
            f"{free / GIB:.1f} GiB free: use a smaller model, --kv-cache-gib or --workers."
        )
