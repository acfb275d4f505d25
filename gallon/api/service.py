"""The on-demand service: descriptions and predictions of molecules over HTTP."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.annotation.job import Job
from cluster.runtime.session import RaySession
from cluster.service.access import check_host, digest_of, read_token
from cluster.service.deployment import Annotators, served
from cluster.service.deployment import Service as Offer
from cluster.service.predicting import Prediction
from cluster.store.store import Store
from gallon.api.annotation import annotation_session, engines_for, started_ray
from gallon.api.library import StrPath, refuse_row_columns
from gallon.api.prediction import load
from gallon.api.spec import ResolvedSpec, resolve_spec
from gallon.config import ServiceConfig, ServingConfig, SpecConfig
from gallon.progress import ProgressCallback, phase
from teacher.errors import UsageError


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
    if not service.describe and service.student is None:
        raise UsageError("There is nothing to serve: give --student FOLDER, or leave out --no-describe.")
    predictor = functools.partial(_predictor, service.student) if service.student else None
    if predictor:
        predictor()  # a mistake need not wait for a cluster to start
    offer = Offer(
        host=service.host,
        port=service.port,
        replicas=service.replicas,
        queue=service.queue,
        token_digest=digest_of(token) if token else None,
        drain_seconds=service.drain_seconds,
    )
    with ExitStack() as stack:
        if service.describe:
            resolved = resolve_spec(spec)
            refuse_row_columns(resolved)
            opened, session = stack.enter_context(annotation_session(store, engine, progress))
            annotators = _annotators(opened, resolved, engine, session)
        else:
            session, annotators = stack.enter_context(started_ray(engine.ray, progress)), None
        with phase(progress, "starting the service", ""):
            url = stack.enter_context(served(offer, annotators=annotators, load=predictor, session=session))
        yield Service(url=url, spec=annotators.job.spec.id if annotators else None)


def _annotators(store: Store, resolved: ResolvedSpec, engine: ServingConfig, session: RaySession) -> Annotators:
    factory, pool = engines_for(resolved, engine, session)
    job = Job(
        run="",  # each annotator begins one of its own
        store_url=store.url,
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
