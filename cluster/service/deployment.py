"""The service on Ray Serve: what is deployed, and how it ends without losing anything."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.annotation.job import Job
from cluster.annotation.pool import Pool
from cluster.runtime.logs import worker_level
from cluster.runtime.session import RaySession
from cluster.service.annotating import AnnotatorReplica
from cluster.service.app import FrontReplica
from cluster.service.front import FrontSettings
from cluster.service.listening import ListeningFront, bind, url_of
from cluster.service.predicting import Predict, PredictorReplica
from teacher.errors import EngineStartError, GallonError, UsageError
from teacher.wording import counted

logger = logging.getLogger(__name__)

FRONT, ANNOTATORS, PREDICTORS = "gallon", "gallon-annotators", "gallon-predictors"  # applications of Ray Serve
SMALL_CPUS = 0.1  # of what waits most of the time
WAITING = 1.5  # molecules at an annotator for each that its engine computes, as in a batch run
HEALTH_SECONDS = 2.0
LOOK_SECONDS = 0.1
MANY = 1_000_000  # requests at a front: it says itself when there are too many
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
ENGINE_ERRORS = ("EngineStartError", "EngineRefusedError")
OURS = re.compile(r"(?:^|[.:\s])(\w+Error): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How the service is offered.

    Attributes:
        host, port: where it listens.
        replicas: processes that answer requests.
        queue: molecules that each may have on their way to annotators.
        token_digest: of the token that is asked for; None where none is.
        drain_seconds: how long requests may take to finish when the service is stopped.
        starts: how often a replica may fail to start before the service is given up; an engine that cannot start does
            not count any more once another is ready.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    queue: int = 256
    token_digest: str | None = field(default=None, repr=False)
    drain_seconds: float = 60.0
    starts: int = 1

    @property
    def url(self) -> str:
        """Where it is reached."""
        return url_of(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotators:
    """What annotates behind the service: the job, how many engines there are, and what each takes."""

    job: Job
    pool: Pool


@contextmanager
def served(
    service: Service,
    *,
    annotators: Annotators | None,
    load: Callable[[], Predict] | None,
    session: RaySession,
) -> Iterator[str]:
    """Offer the service while the body runs, and yield its URL; then let it finish what it has in hand.

    The body begins as soon as one engine is ready; others may still start, or wait for CPUs and GPUs.

    Args:
        service: how it is offered.
        annotators: what describes; None where nothing is to be described.
        load: loads the model of `/predict`; None where nothing is to be predicted.
        session: the Ray cluster.

    Raises:
        UsageError: the address is taken, or this machine has no room for so many engines or replicas.
        EngineStartError: no engine starts.
        GallonError: Ray Serve is used by others, or what is deployed does not start.
    """
    from ray import serve

    _refuse_taken(service)
    if session.local:
        _refuse_too_many(service, annotators.pool if annotators else None, session)
    patience = 0.0  # nobody has been answered yet
    try:
        _start()
        behind = {}
        if annotators:
            behind[ANNOTATORS] = _annotators(service, annotators, session.logs)
        if load:
            behind[PREDICTORS] = _predictors(service, load)
        targets = [serve.RunTarget(bound, name, None) for name, bound in behind.items()]
        handles = dict(zip(behind, serve.run_many(targets, wait_for_applications_running=False), strict=True))
        front = _listening_fronts(service, annotators, handles.get(ANNOTATORS), handles.get(PREDICTORS), session)
        serve.run_many([serve.RunTarget(front, FRONT, None)], wait_for_applications_running=False)
        _wait([FRONT, *handles])
        logger.info("the service listens at %s", service.url)
        if annotators:
            _tell_missing(annotators.pool.workers)
        patience = service.drain_seconds
        yield service.url
    finally:
        _stop(patience)


def application(
    service: Service, *, annotators: Annotators | None, load: Callable[[], Predict] | None, logs: Path
) -> Any:
    """Return all of the service as one application of Ray Serve, for whoever deploys it there.

    `served` deploys the same as three, so that it can stop one after another, and with fronts that listen themselves;
    here the proxies of Ray Serve do, which are what probes and balancers of a cluster know.

    Args:
        service: how it is offered; where it listens is for Ray Serve to say.
        annotators: what describes; None where nothing is to be described.
        load: loads the model of `/predict`; None where nothing is to be predicted.
        logs: folder of Ray's logs on each machine.
    """
    return _fronts(
        service,
        annotators,
        _annotators(service, annotators, logs) if annotators else None,
        _predictors(service, load) if load else None,
    )


def _start() -> None:
    """Start Ray Serve without its proxies.

    Raises:
        GallonError: it does not start.
    """
    from ray import serve
    from ray.exceptions import RayError

    try:
        serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
    except (RayError, RuntimeError, TimeoutError) as error:
        reason = str(error).strip().rsplit("\n", maxsplit=1)[-1].rstrip(".")
        raise GallonError(f"Ray Serve does not start: {reason}.") from error


def _fronts(service: Service, described_by: Annotators | None, annotators: Any, predictors: Any) -> Any:
    """Return fronts behind the proxies of Ray Serve, given what is to be deployed with them."""
    from ray import serve

    return (
        serve.deployment(serve.ingress()(FrontReplica))
        .options(num_replicas=service.replicas, ray_actor_options={"num_cpus": SMALL_CPUS}, **_options(service, MANY))
        .bind(_front_settings(service, described_by), annotators, predictors)
    )


def _listening_fronts(
    service: Service, described_by: Annotators | None, annotators: Any, predictors: Any, session: RaySession
) -> Any:
    """Return fronts that listen on this machine, given handles of what is behind them."""
    import ray
    from ray import serve

    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    cpus = SMALL_CPUS if session.local else 0.0  # a cluster's head often has none to give
    return (
        serve.deployment(ListeningFront)
        .options(
            num_replicas=service.replicas,
            ray_actor_options={"num_cpus": cpus, "label_selector": here},
            **_options(service, MANY),
        )
        .bind(_front_settings(service, described_by), annotators, predictors, service.host, service.port)
    )


def _front_settings(service: Service, described_by: Annotators | None) -> FrontSettings:
    return FrontSettings(
        store_url=described_by.job.store_url if described_by else None,
        spec_id=described_by.job.spec.id if described_by else None,
        token_digest=service.token_digest,
        queue=service.queue,
        log_level=worker_level(),
    )


def _annotators(service: Service, annotators: Annotators, logs: Path) -> Any:
    from ray import serve

    pool = annotators.pool
    threads = math.ceil(WAITING * pool.concurrency)
    return (
        serve.deployment(AnnotatorReplica)
        .options(
            num_replicas=pool.workers,
            ray_actor_options={"num_cpus": pool.cpus, "num_gpus": pool.gpus},
            **_options(service, threads, starts=service.starts * pool.workers),
        )
        .bind(annotators.job, str(logs), worker_level(), threads)
    )


def _predictors(service: Service, load: Callable[[], Predict]) -> Any:
    from ray import serve

    return (
        serve.deployment(PredictorReplica)
        .options(ray_actor_options={"num_cpus": SMALL_CPUS}, **_options(service, MANY))
        .bind(load)
    )


def _options(service: Service, ongoing: int, starts: int | None = None) -> dict[str, Any]:
    return {
        "max_ongoing_requests": ongoing,
        "graceful_shutdown_timeout_s": service.drain_seconds,
        "graceful_shutdown_wait_loop_s": LOOK_SECONDS,
        "health_check_period_s": HEALTH_SECONDS,
        "max_constructor_retry_count": starts or service.starts,  # of all its replicas together
        "logging_config": {"enable_access_log": False},
    }


def _wait(names: Sequence[str]) -> None:
    """Wait until applications are there.

    Raises:
        EngineStartError: no engine starts.
        GallonError: one of them does not start for another reason.
    """
    from ray import serve

    while True:
        known = serve.status().applications
        missing = [name for name in names if name not in known or not _can_answer(name, known[name])]
        if not missing:
            return
        for name in missing:
            if name in known and known[name].status in FAILED:
                raise _why_not([known[name].message, *(each.message for each in known[name].deployments.values())])
        time.sleep(LOOK_SECONDS)


def _can_answer(name: str, application: Any) -> bool:
    """Tell whether an application is there, of which Ray Serve says so only when all of its replicas are.

    For annotators one is enough: the others may wait for CPUs and GPUs, or stand on a GPU that is broken.
    """
    return _running(application) > 0 if name == ANNOTATORS else application.status == "RUNNING"


def _running(application: Any) -> int:
    return sum(each.replica_states.get("RUNNING", 0) for each in application.deployments.values())


def _tell_missing(engines: int) -> None:
    """Log how many engines are ready, where some are not yet."""
    from ray import serve

    ready = _running(serve.status().applications[ANNOTATORS])
    if ready < engines:
        logger.warning("%d of %s ready: the others start, or wait for CPUs and GPUs", ready, counted(engines, "engine"))


def _why_not(messages: Sequence[str]) -> GallonError:
    """Find, in what Ray Serve says of replicas that do not start, the sentence that they ended with."""
    found = [match for text in messages for match in OURS.findall(text)]
    for kind, sentence in reversed(found):
        if kind in ENGINE_ERRORS:
            return EngineStartError(sentence)
    reason = found[-1][1] if found else messages[0].strip().split("\n", maxsplit=1)[0]
    return GallonError(f"The service does not start: {reason}")


def _refuse_taken(service: Service) -> None:
    """Refuse an address that another process has, and a cluster whose Ray Serve is another's.

    Raises:
        UsageError: the address is taken.
        GallonError: Ray Serve runs in the cluster already.
    """
    from ray import serve

    if running := serve.status().applications:
        raise GallonError(
            f"Ray Serve is used in this cluster already ({', '.join(sorted(running))}): stop that where it was "
            "started, or, if nobody does, by 'serve shutdown --yes', or name another cluster with --ray."
        )
    bind(service.host, service.port, shared=False).close()


def _refuse_too_many(service: Service, pool: Pool | None, session: RaySession) -> None:
    """Refuse what this machine has no CPUs or GPUs for: Ray would wait for them for ever.

    Raises:
        UsageError: it has too few.
    """
    if pool and pool.workers > (most := _room_for_engines(pool, session)):
        advice = f"give --workers {_at_most(most)}" if most else "name a cluster that has more with --ray"
        raise UsageError(
            f"This machine has CPUs and GPUs for {counted(most, 'engine')}, not for {pool.workers}: {advice}."
        )
    taken, beside = (pool.workers * pool.cpus, " beside the engines") if pool else (0.0, "")
    room = _shares(session.cpus - taken, SMALL_CPUS) - 1  # for the predictor
    if service.replicas > room:
        raise UsageError(
            f"This machine has CPUs for {counted(room, 'replica')}{beside}, not for {service.replicas}: "
            f"give --replicas {_at_most(room)}."
        )


def _room_for_engines(pool: Pool, session: RaySession) -> int:
    """Return how many engines this machine has CPUs and GPUs for, beside a replica and the predictor."""
    if not pool.cpus:
        return pool.workers  # which ask a server, and are too many for shares of the CPUs
    return min(session.room(pool.cpus, pool.gpus), _shares(session.cpus - 2 * SMALL_CPUS, pool.cpus))


def _shares(cpus: float, each: float) -> int:
    """Return how many shares CPUs have, of which sums of decimals are not exact."""
    return int(round(cpus / each, 6))


def _at_most(number: int) -> str:
    return f"{number} or fewer" if number > 1 else str(number)


def _stop(seconds: float) -> None:
    """Take no more requests, let the fronts finish theirs, then the rest, and end Ray Serve."""
    from ray import serve

    for name in (FRONT, PREDICTORS, ANNOTATORS):
        serve.delete(name, _blocking=False)
        until = time.monotonic() + seconds + HEALTH_SECONDS
        while name in serve.status().applications and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
    serve.shutdown()
