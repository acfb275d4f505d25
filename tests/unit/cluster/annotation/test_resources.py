"""Whether a run fits a cluster is found out before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.annotation import resources
from cluster.annotation.pool import Pool
from cluster.annotation.resources import default_renderers, plan_pool
from cluster.runtime.session import Node, RaySession
from cluster.training.driver import TrainResources, plan_resources
from teacher.errors import EngineStartError, UsageError
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.models import TINY, local_path

CLUSTER = RaySession(
    address="head:6379", local=False, dashboard=None, logs=Path(), nodes=(Node(cpus=32, gpus=4), Node(cpus=32, gpus=4))
)
SETTINGS = EngineSettings(max_num_seqs=16)


@pytest.fixture
def with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "on_cpu", lambda: False)


def plan(
    session: RaySession, settings: EngineSettings = SETTINGS, workers: int | None = None, wait: bool = False
) -> Pool:
    return plan_pool(session, local_path(TINY), settings, workers=workers, wait_for_gpus=wait)


def of_nodes(*nodes: Node) -> RaySession:
    return replace(CLUSTER, nodes=nodes)


def test_a_cluster_of_one_cpu_is_refused_rather_than_waited_for():
    with pytest.raises(EngineStartError, match=r"A run needs 2 CPUs and the Ray cluster has 1"):
        plan(of_nodes(Node(cpus=1)))
    assert plan(of_nodes(Node(cpus=1)), wait=True)


@pytest.mark.usefixtures("with_gpus")
def test_there_are_as_many_annotators_as_the_gpus_allow():
    assert plan(CLUSTER).workers == 8
    assert plan(CLUSTER, replace(SETTINGS, tensor_parallel_size=4)).workers == 2
    assert plan(CLUSTER, replace(SETTINGS, tensor_parallel_size=4)).gpus == 4
    assert plan(CLUSTER, workers=3).workers == 3


@pytest.mark.usefixtures("with_gpus")
def test_too_few_gpus_are_refused_unless_more_will_come():
    few = of_nodes(Node(cpus=8, gpus=1))
    with pytest.raises(EngineStartError, match=r"needs 2 GPUs on one machine and the largest .* has 1"):
        plan(few, replace(SETTINGS, tensor_parallel_size=2))
    assert plan(few, replace(SETTINGS, tensor_parallel_size=2), wait=True).workers == 1


@pytest.mark.usefixtures("with_gpus")
def test_what_no_single_machine_can_hold_is_refused_though_all_together_could():
    with pytest.raises(EngineStartError, match=r"needs 8 GPUs on one machine and the largest .* has 4"):
        plan(CLUSTER, replace(SETTINGS, tensor_parallel_size=8))
    uneven = of_nodes(Node(cpus=8, gpus=3), Node(cpus=8, gpus=3), Node(cpus=8))
    assert plan(uneven, replace(SETTINGS, tensor_parallel_size=2)).workers == 2


@pytest.mark.usefixtures("with_gpus")
def test_annotators_leave_their_machine_a_cpu_to_read_and_parse():
    assert plan(CLUSTER).cpus == 1
    assert plan(of_nodes(Node(cpus=5, gpus=8))).cpus == 0.5
    assert plan(of_nodes(Node(cpus=2, gpus=1), Node(cpus=64, gpus=8))).cpus == 1


@pytest.mark.usefixtures("with_gpus")
def test_what_makes_prompts_takes_half_of_the_cores_beside_a_gpu_and_leaves_the_rest():
    assert default_renderers(of_nodes(Node(cpus=16, gpus=1)), gpus=1) == 4
    assert default_renderers(of_nodes(Node(cpus=64, gpus=8)), gpus=1) == 3
    assert default_renderers(of_nodes(Node(cpus=64, gpus=8), Node(cpus=4, gpus=1), Node(cpus=2)), gpus=1) == 1
    assert default_renderers(of_nodes(Node(cpus=64, gpus=8)), gpus=4) == 4
    assert default_renderers(of_nodes(Node(cpus=2, gpus=1)), gpus=1) == 0
    assert default_renderers(of_nodes(Node(cpus=2)), gpus=1) == 2  # nodes with GPUs are to come

    assert plan(of_nodes(Node(cpus=64, gpus=8)), replace(SETTINGS, renderers=3)).cpus == 4
    assert plan(of_nodes(Node(cpus=4, gpus=1)), replace(SETTINGS, renderers=8)).cpus == 3  # or it would find no place


def test_engines_on_few_cpus_share_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "on_cpu", lambda: True)
    assert plan(of_nodes(Node(cpus=2)), workers=2).cpus == 0.5
    assert default_renderers(of_nodes(Node(cpus=64, gpus=8)), gpus=1) == 0


def test_training_workers_are_fitted_to_each_machine():
    assert plan_resources(of_nodes(Node(cpus=2), Node(cpus=2), Node(cpus=2)), 2).cpus == 2  # three fit on none
    assert plan_resources(of_nodes(Node(cpus=16, gpus=4), Node(cpus=2, gpus=4)), None) == TrainResources(
        workers=6, cpus=1, gpus=1
    )
    assert plan_resources(of_nodes(Node(cpus=8, gpus=2)), None) == TrainResources(workers=2, cpus=4, gpus=1)
    assert plan_resources(of_nodes(Node(cpus=2)), None) == TrainResources(workers=2, cpus=1)


def test_more_training_workers_than_the_machines_can_hold_are_refused():
    with pytest.raises(UsageError, match="has room for 2 training workers with a CPU each, not for 3: lower --workers"):
        plan_resources(of_nodes(Node(cpus=2)), 3)
    with pytest.raises(UsageError, match="room for 1 training worker with a CPU and a GPU each"):
        plan_resources(of_nodes(Node(cpus=8, gpus=1), Node(cpus=8)), 2)


def test_engines_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "on_cpu", lambda: True)
    with pytest.raises(EngineStartError, match="GiB of memory"):
        plan(replace(CLUSTER, local=True), workers=100_000)
