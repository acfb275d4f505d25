"""The on-demand service: descriptions and predictions of molecules over HTTP."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.annotation.job import Job
from cluster.runtime.session import RaySession, session_here
from cluster.service.access import TOKEN_VARIABLE, check_host, digest_of, read_token
from cluster.service.deployment import Annotators, application, served
from cluster.service.deployment import Service as Offer
from cluster.service.predicting import Prediction
from cluster.store.address import is_url, parse
from gallon.api.annotation import annotation_session, engines_for, started_ray
from gallon.api.library import StrPath, refuse_row_columns, store_named
from gallon.api.spec import ResolvedSpec, resolve_spec
from gallon.config import STORE_VARIABLE, ServiceConfig, ServingConfig, SpecConfig
from gallon.flat import flat
from gallon.predictor import load
from gallon.progress import ProgressCallback, phase
from teacher.errors import UsageError

STARTS = 20  # that a replica is given where nobody waits for the service to start, and a store or a GPU may come late
SAID_ELSEWHERE = {
    "host": "http_options of Ray Serve",
    "port": "http_options of Ray Serve",
    "ray": "the cluster that Ray Serve runs in",
    "store": STORE_VARIABLE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A service that runs.

    Attributes:
        url: where it is reached.
        spec: id of the spec that its descriptions are stored under; None where it only predicts.
    """

    url: str
    spec: str | None


@contextmanager
def serve(
    *,
    service: ServiceConfig,
    spec: SpecConfig,
    engine: ServingConfig,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[Service]:
    """Answer requests for descriptions and predictions over HTTP, as long as the body of a `with` statement runs.

    A molecule that has a record under the same spec is answered from the store; another one is described, checked and
    stored as in a batch run. At the end no more requests are taken, and those that are being answered are finished.

    Args:
        service: how the service is offered.
        spec: what decides a description.
        engine: how the engines run.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        progress: called while it starts.

    Yields:
        Where the service is.

    Raises:
        UsageError: the settings contradict one another, or the address is taken.
        GallonError: it does not start.
    """
    token = read_token(service.token_file)
    check_host(service.host, token)
    _refuse_nothing(service)
    predictor = functools.partial(_predictor, service.student) if service.student else None
    if predictor:
        predictor()  # a mistake need not wait for a cluster to start
    offer = _offer(service, token)
    with ExitStack() as stack:
        if service.describe:
            resolved = resolve_spec(spec, engine=engine)
            refuse_row_columns(resolved)
            opened, session = stack.enter_context(annotation_session(store, engine, progress))
            annotators = _annotators(opened.url, resolved, engine, session)
        else:
            session, annotators = stack.enter_context(started_ray(engine.ray, progress)), None
        with phase(progress, "starting the service", ""):
            url = stack.enter_context(served(offer, annotators=annotators, load=predictor, session=session))
        yield Service(url=url, spec=annotators.job.spec.id if annotators else None)


def build(options: dict[str, Any]) -> Any:
    """Return the service as an application of Ray Serve, whose configuration names it as `gallon.api.service:build`.

    Args:
        options: those of `gallon.serve` by their names, but for what Ray Serve or the environment says: where it
            listens, and the Redis, whose URL is in GALLON_STORE on every machine.

    Raises:
        UsageError: there is no such option, no token, or no store.
    """
    options_of = inspect.signature(_application).parameters
    if elsewhere := next((name for name in options if name in SAID_ELSEWHERE), None):
        raise UsageError(f"{elsewhere} is said by {SAID_ELSEWHERE[elsewhere]}: leave it out of args.")
    if unknown := next((name for name in options if name not in options_of), None):
        raise UsageError(f"There is no option {unknown} in args: those of 'gallon serve' are written with underscores.")
    return _application(**options)


@flat
def _application(*, service: ServiceConfig, spec: SpecConfig, engine: ServingConfig) -> Any:
    token = read_token(service.token_file)
    if token is None:
        raise UsageError(f"The service is reached by others and needs a token: put one into {TOKEN_VARIABLE}.")
    session, annotators = session_here(), None
    if service.describe:
        resolved = resolve_spec(spec, engine=engine)
        refuse_row_columns(resolved)
        annotators = _annotators(_shared_store(session), resolved, engine, session)
    predictor = functools.partial(_predictor, service.student) if service.student else None
    _refuse_nothing(service)
    return application(_offer(service, token, starts=STARTS), annotators=annotators, load=predictor, logs=session.logs)


def _shared_store(session: RaySession) -> str:
    """Return the URL of the Redis in the environment, which nobody connects to yet: it may start together with us."""
    where = store_named(None)
    if not is_url(where) or (parse(where).scheme == "unix" and len(session.nodes) > 1):
        raise UsageError(f"The service's machines need one store: put the URL of a Redis into {STORE_VARIABLE}.")
    return where


def _refuse_nothing(service: ServiceConfig) -> None:
    if not service.describe and service.student is None:
        raise UsageError("There is nothing to serve: give --student FOLDER, or leave out --no-describe.")


def _offer(service: ServiceConfig, token: str | None, starts: int = 1) -> Offer:
    return Offer(
        host=service.host,
        port=service.port,
        replicas=service.replicas,
        queue=service.queue,
        token_digest=digest_of(token) if token else None,
        drain_seconds=service.drain_seconds,
        starts=starts,
    )


def _annotators(store_url: str, resolved: ResolvedSpec, engine: ServingConfig, session: RaySession) -> Annotators:
    factory, pool = engines_for(resolved, engine, session)
    job = Job(
        run="",  # each annotator begins one of its own
        store_url=store_url,
        spec=resolved.spec,
        prompt=resolved.prompt,
        sources=(),
        max_attempts=engine.max_attempts,
        engine=factory,
        request_seconds=engine.request_minutes * 60,
    )
    return Annotators(job=job, pool=pool)


def _predictor(folder: Path) -> Callable[[Sequence[str]], list[Prediction]]:
    """Load a saved model, and return what predicts by it."""
    model = load(folder)

    def predict(molecules: Sequence[str]) -> list[Prediction]:
        table = model.predict(list(molecules))
        return [{name: float(row[name]) for name in model.targets} for row in table.to_dict("records")]

    return predict
