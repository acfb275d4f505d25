"""The HTTP side of the service: paths, what they take and return, and who is let in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.metrics import SERVICE_REQUESTS
from cluster.service.access import is_allowed
from cluster.service.errors import AbsentError, ServiceError, UnavailableError
from cluster.service.front import RUN, Answer, Front
from cluster.service.refusals import HOW, sentence_of
from cluster.store.connection import StoreError
from teacher import strict_json
from teacher.wording import counted

logger = logging.getLogger(__name__)

OPEN = (
    "/healthz",
    "/readyz",
    "/docs",
    "/openapi.json",
)  # for all, and nothing is told of molecules
PATHS = ("/describe", "/predict", *OPEN)
ABSENT = {
    "/describe": "This service describes nothing: start it without --no-describe, and with the --model to ask.",
    "/predict": "This service has no student: start it with the folder of one ('gallon serve --student FOLDER', out of "
    "'gallon distill').",
}
EXAMPLES = ["CC(=O)Oc1ccccc1C(=O)O", ["CCO", "c1ccccc1O"]]
JSON = "application/json"
LONGEST_TEXT = 10_000  # characters: far more than a SMILES may have, whose own limit says more

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
T = TypeVar("T")


class Question(BaseModel):
    """One molecule, or several."""

    model_config = ConfigDict(extra="forbid")

    smiles: Annotated[Text | list[Text], Field(description="A SMILES, or a list of them.", examples=EXAMPLES)]

    @property
    def texts(self) -> list[str]:
        """All molecules."""
        return [self.smiles] if isinstance(self.smiles, str) else self.smiles


class PredictedMolecule(BaseModel):
    """What a model predicts: probabilities of classes, and values in the units of the labels."""

    smiles: str
    predictions: dict[str, float | None]


class Failure(BaseModel):
    """Why there is no answer, in one sentence."""

    detail: str


FAILURES: dict[int | str, dict[str, Any]] = {
    401: {"model": Failure, "description": "The token is missing or wrong."},
    404: {"model": Failure, "description": "The service does not offer this: it was started without."},
    413: {"model": Failure, "description": "The body is larger than the molecules of one request can be."},
    422: {"model": Failure, "description": "The request is wrong, e.g. a SMILES is no molecule."},
    429: {
        "model": Failure,
        "description": "Too many molecules are on their way; `Retry-After` says how long.",
    },
    503: {"model": Failure, "description": "There is no answer now; `Retry-After` says how long to wait."},
}


class StraightRoute(APIRoute):
    """A route whose well-formed questions go straight to what answers them, which halves the framework's part of that.

    Any other request is left to the framework, which finds out what is wrong with it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request."""
        careful = super().get_route_handler()

        async def handle(request: Request) -> Response:
            question = await _well_formed(request)
            answer: Response = await (careful(request) if question is None else self.endpoint(question))
            return answer

        return handle


class FrontReplica(Front):
    """A front behind the proxy of Ray Serve, which deploys it."""

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(self)


def build_app(front: Front) -> FastAPI:
    """Return the application of a front."""
    app = FastAPI(
        title="gallon",
        version=version("gallon"),
        summary="Descriptions of molecules by an LLM, and predictions by a saved model.",
        redoc_url=None,
    )
    questions = APIRouter(route_class=StraightRoute)
    shared: dict[str, Any] = {"responses": FAILURES, "dependencies": [Security(HTTPBearer(auto_error=False))]}

    @questions.post("/describe", response_model=Answer | list[Answer], include_in_schema=front.describes, **shared)
    async def describe(question: Question) -> Response:
        """Return what an LLM writes about molecules: stored answers at once, others when they are made."""
        if not front.describes:
            raise AbsentError(ABSENT["/describe"])
        answers = _as_asked(question, await front.describe(question.texts))
        return Response(strict_json.write(Answer | list[Answer], answers), media_type=JSON)

    several = PredictedMolecule | list[PredictedMolecule]

    @questions.post("/predict", response_model=several, include_in_schema=front.predicts, **shared)
    async def predict(question: Question) -> Response:
        """Return what the saved model predicts for molecules."""
        if not front.predicts:
            raise AbsentError(ABSENT["/predict"])
        predicted = zip(question.texts, await front.predict(question.texts), strict=True)
        return _json(_as_asked(question, [{"smiles": smiles, "predictions": values} for smiles, values in predicted]))

    app.include_router(questions)

    @app.get("/healthz", response_model=dict[str, str | None])
    async def healthz() -> Response:
        """Tell that the service is alive: its process listens, whatever its store does."""
        return _json({"status": "ok", "spec": front.settings.spec_id})

    @app.get("/readyz", response_model=dict[str, str | None], responses={503: FAILURES[503]})
    async def readyz() -> Response:
        """Tell whether requests can be answered now: the store answers, where the service has one."""
        await front.check_ready()
        return _json({"status": "ready", "spec": front.settings.spec_id})

    app.exception_handler(ServiceError)(_failed)
    app.exception_handler(StoreError)(_store_failed)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_refused)
    app.add_middleware(BodyLimit, most=(front.settings.queue + 1) * LONGEST_TEXT)  # one text for what is around them
    app.add_middleware(Gate, digest=front.settings.token_digest)
    return app


class Gate:
    """Lets in who has the token, and counts requests by path and status."""

    def __init__(self, app: ASGIApp, digest: str | None) -> None:
        self._app, self._digest = app, digest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in PATHS else "other"
                SERVICE_REQUESTS.add(1, run=RUN, path=path, status=str(message["status"]))
            await send(message)

        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if scope["path"] in OPEN or is_allowed(header, self._digest):
            await self._app(scope, receive, observed)
        else:
            refused = _failure(401, "The token is missing or wrong: send 'Authorization: Bearer TOKEN'.")
            refused.headers["WWW-Authenticate"] = "Bearer"
            await refused(scope, receive, observed)


class BodyLimit:
    """Refuses a body beyond a number of bytes: unread where its length is announced, else as soon as it is longer."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        length = int(announced) if announced.isdigit() else 0  # a server refuses what is no number
        received = 0

        async def bounded() -> Message:
            nonlocal received
            self._refuse(length)
            message = await receive()
            received += len(message.get("body", b""))
            self._refuse(received)
            return message

        await self._app(scope, bounded, send)

    def _refuse(self, length: int) -> None:
        if length > self._most:
            sentence = f"The body is larger than {counted(self._most, 'byte')}: send the molecules in several requests."
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)


async def _well_formed(request: Request) -> Question | None:
    """Return the question of a request as clients usually send it; None where there is more to find out about it."""
    if request.headers.get("content-type") != JSON:
        return None
    with suppress(ValidationError, ClientDisconnect):
        return Question.model_validate_json(await request.body())
    return None


def _as_asked(question: Question, answers: Sequence[T]) -> T | Sequence[T]:
    """Return one answer to a question about one molecule, and several to one about several."""
    return answers[0] if isinstance(question.smiles, str) else answers


async def _failed(_: Any, error: Exception) -> Response:
    assert isinstance(error, ServiceError), "what it is registered for"
    answer = _failure(error.status, str(error))
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


async def _store_failed(request: Request, error: Exception) -> Response:
    """Tell a client no address, and nothing that only who runs the service can do."""
    logger.warning("%s cannot be answered: %s", request.url.path, error)
    return await _failed(request, UnavailableError("The service's store fails: ask again later; its log says why."))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "what it is registered for"
    return _failure(422, sentence_of(error.errors(), request.headers.get("content-type", "")))


async def _refused(request: Request, error: Exception) -> Response:
    """Tell what is refused before it is a question: a path, a method, a body that is too large, broken text."""
    assert isinstance(error, HTTPException), "what it is registered for"
    path = request.url.path
    if error.status_code == HTTPStatus.NOT_FOUND:
        sentence = f"There is no '{path:.100}' here, but {', '.join(PATHS[:-2])}; /docs explains them."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        taken = (error.headers or {}).get("Allow", "")
        sentence = f"{path} takes {taken}, not {request.method}{f': {HOW}' if taken == 'POST' else ''}."
    elif error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        sentence = error.detail
    else:
        sentence = f"The body is no JSON in UTF-8: {HOW}."
    answer = _failure(error.status_code, sentence)
    answer.headers.update(error.headers or {})
    return answer


def _failure(status: int, sentence: str) -> Response:
    return _json({"detail": sentence}, status)


def _json(facts: Any, status: int = 200) -> Response:
    return Response(strict_json.dumps(facts), status, media_type=JSON)
