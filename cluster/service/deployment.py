"""The service on Ray Serve: what is deployed, and how it ends without losing anything."""

from __future__ import annotations

import logging
import math
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.annotation.job import Job
from cluster.annotation.pool import Pool
from cluster.runtime.logs import worker_level
from cluster.runtime.session import RaySession
from cluster.service.access import is_loopback
from cluster.service.annotating import AnnotatorReplica
from cluster.service.app import FrontReplica
from cluster.service.front import FrontSettings
from cluster.service.predicting import Predict, PredictorReplica
from teacher.errors import EngineStartError, GallonError, UsageError

logger = logging.getLogger(__name__)

FRONT, ANNOTATORS, PREDICTORS = "gallon", "gallon-annotators", "gallon-predictors"  # applications of Ray Serve
SMALL_CPUS = 0.1  # of what waits most of the time
WAITING = 1.5  # molecules at an annotator for each that its engine computes, as in a batch run
HEALTH_SECONDS = 2.0
LOOK_SECONDS = 0.1
MANY = 1_000_000  # requests at a front: it says itself when there are too many
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
    """

    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    queue: int = 256
    token_digest: str | None = field(default=None, repr=False)
    drain_seconds: float = 60.0

    @property
    def url(self) -> str:
        """Where it is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


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

    Args:
        service: how it is offered.
        annotators: what describes; None where nothing is to be described.
        load: loads the model of `/predict`; None where nothing is to be predicted.
        session: the Ray cluster.

    Raises:
        UsageError: the address is taken.
        EngineStartError: no engine starts.
        GallonError: Ray Serve is used by others, or what is deployed does not start.
    """
    from ray import serve

    _refuse_taken(service, session)
    everywhere = "HeadOnly" if is_loopback(service.host) else "EveryNode"
    serve.start(
        proxy_location=everywhere,
        http_options={"host": service.host, "port": service.port},
        logging_config={"enable_access_log": False},
    )
    try:
        describing = _run(ANNOTATORS, _annotators(service, annotators, session.logs), None) if annotators else None
        predicting = _run(PREDICTORS, _predictors(service, load), None) if load else None
        settings = FrontSettings(
            store_url=annotators.job.store_url if annotators else None,
            spec_id=annotators.job.spec.id if annotators else None,
            token_digest=service.token_digest,
            queue=service.queue,
            log_level=worker_level(),
        )
        _run(FRONT, _fronts(service, settings, describing, predicting), "/")
        logger.info("the service listens at %s", service.url)
        yield service.url
    finally:
        _stop(service.drain_seconds)


def _fronts(service: Service, settings: FrontSettings, annotators: Any, predictors: Any) -> Any:
    from ray import serve

    return (
        serve.deployment(serve.ingress()(FrontReplica))
        .options(num_replicas=service.replicas, ray_actor_options={"num_cpus": SMALL_CPUS}, **_options(service, MANY))
        .bind(settings, annotators, predictors)
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
            **_options(service, threads),
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


def _options(service: Service, ongoing: int) -> dict[str, Any]:
    return {
        "max_ongoing_requests": ongoing,
        "graceful_shutdown_timeout_s": service.drain_seconds,
        "graceful_shutdown_wait_loop_s": LOOK_SECONDS,
        "health_check_period_s": HEALTH_SECONDS,
        "max_constructor_retry_count": 1,
        "logging_config": {"enable_access_log": False},
    }


def _run(name: str, application: Any, route: str | None) -> Any:
    """Deploy an application, and wait until it is there.

    Raises:
        EngineStartError: its engines do not start.
        GallonError: it does not start for another reason.
    """
    from ray import serve

    try:
        return serve.run(application, name=name, route_prefix=route)
    except RuntimeError as error:
        raise _why_not(name, error) from error


def _why_not(name: str, error: RuntimeError) -> GallonError:
    """Find, in what Ray Serve says of replicas that do not start, the sentence that they ended with."""
    from ray import serve

    told = [str(error)]
    with suppress(KeyError):
        told += [each.message for each in serve.status().applications[name].deployments.values()]
    found = [match for text in told for match in OURS.findall(text)]
    kinds = {"EngineStartError": EngineStartError, "EngineRefusedError": EngineStartError}
    for kind, sentence in reversed(found):
        if kind in kinds:
            return kinds[kind](sentence)
    reason = found[-1][1] if found else told[0].strip().split("\n", maxsplit=1)[0]
    return GallonError(f"The service does not start: {reason}")


def _refuse_taken(service: Service, session: RaySession) -> None:
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
    if not session.local:
        return  # the proxies are on other machines, too
    try:
        socket.create_server((service.host, service.port), reuse_port=False).close()
    except OSError as error:
        raise UsageError(
            f"The service cannot listen at {service.url}: {error.strerror}; choose another --port or --host."
        ) from None


def _stop(seconds: float) -> None:
    """Take no more requests, let the fronts finish theirs, then the rest, and end Ray Serve."""
    from ray import serve

    for name in (FRONT, PREDICTORS, ANNOTATORS):
        serve.delete(name, _blocking=False)
        until = time.monotonic() + seconds + HEALTH_SECONDS
        while name in serve.status().applications and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
    serve.shutdown()
