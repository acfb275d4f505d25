"""An OpenAI-compatible server in place of an engine: vLLM, Ray Serve, SGLang, LiteLLM, or a service paid by the token.

The server is shared with others and may be busy, so that a refusal for the moment (429, 503) cools all requests down
together, and what is broken for the moment is tried again until the deadline. Only a refusal that is about what was
asked (400, 413, 422) is the prompt's fault: a server that no longer has the model ends the engine. What the server is
asked is what the engine would be asked; whether it keeps to the schema is found out when the answer is checked.
"""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.completion import Completion, Thought
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.event_loop import EventLoop
from teacher.llm.engines.messages import openai_part
from teacher.llm.engines.thoughts import split_text

if TYPE_CHECKING:
    import httpx

UNPROVEN = "unproven"  # the revision of a model that a server only claims to have
KEY_VARIABLES = ("GALLON_ENDPOINT_KEY", "OPENAI_API_KEY")
BUSY = frozenset({402, 408, 425, 429, 502, 503, 504})  # for the moment, or until somebody pays
DENIED = frozenset({401, 403})
GONE = frozenset({404, 405, 410})  # the model, or what we ask at this address
PROMPT_REFUSED = frozenset({400, 413, 422})
CONNECT_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds, where the server does not say how long
REASON_SHOWN, WORDS_SHOWN = 200, 300  # characters
MOST_TOKENS = 10**9  # of one answer: more is no count, and the store adds up exactly only so far
LIMIT, NEWER_LIMIT = "max_tokens", "max_completion_tokens"  # OpenAI's newest models refuse the first, others the second
BROKEN_TRIES = 3  # of an answer that is no answer: cut off on the way, no JSON, an error of the server's own
NO_SAMPLES = "The server at {} draws no several samples (n): leave out --samples."
ERRORS_IN_A_ROW = 4 * BROKEN_TRIES  # of the server's own: with more it fails, whatever it is asked

_without_samples: set[tuple[str, str]] = set()  # servers and models that ignore `n`, until the next start says so


class EndpointError(RuntimeError):
    """The server gave no usable answer to a request, whatever was tried until its deadline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Where the server is, and how it is asked.

    Attributes:
        url: up to and without `/chat/completions`, e.g. `http://10.0.0.5:8000/v1`.
        model: the name by which the server knows it.
        key: sent as a bearer token; never shown.
        concurrency: requests that are open at a time.
        seconds: for one request, all its tries and waits included.
        samples: answers to one request that are asked for.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    concurrency: int = 64
    seconds: float = 1_800.0
    samples: int = 1


class EndpointEngine:
    """An `Engine` behind HTTP.

    Raises:
        EngineRefusedError: the server does not let us in, has no such model, or has answered once where several
            samples were asked for.
        EngineStartError: no server answers.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._loop = EventLoop("endpoint")
        self._cool_until = 0.0
        self._limit = LIMIT
        self._errors = 0  # of the server's own, since it last answered
        try:
            self._loop.run(self._connect())
        except EngineStartError:
            self._loop.stop()
            raise

    def submit(self, request: Request) -> Future[Completion]:
        """Queue a request and return at once."""
        return self._loop.submit(lambda: self._complete(request))

    def close(self) -> None:
        """Fail what is unfinished, and close the connections."""
        if not self._loop.cancel():
            return
        self._loop.finish(self._client.aclose())
        self._loop.stop()

    async def _connect(self) -> None:
        """Open the connections, and look whether the server has the model."""
        import httpx

        key = self._settings.key
        self._open = asyncio.Semaphore(self._settings.concurrency)
        self._client = httpx.AsyncClient(
            base_url=self._settings.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self._settings.seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=self._settings.concurrency),
        )
        try:
            answer = await self._client.get("models", timeout=CONNECT_SECONDS)
            self._check(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            await self._client.aclose()
            raise EngineStartError(
                f"No OpenAI-compatible server answers at {self._settings.url} ({self._reason(error)}): start it, or "
                "correct --endpoint, which ends with /v1 for most servers."
            ) from None
        except EngineStartError:
            await self._client.aclose()
            raise

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code in DENIED:
            raise EngineRefusedError(
                f"The server at {self._settings.url} does not let us in (HTTP {answer.status_code}): put its key into "
                f"{KEY_VARIABLES[0]}."
            )
        if answer.status_code in BUSY:
            raise EngineStartError(f"The server at {self._settings.url} is busy ({self._told(answer)}).")
        if answer.is_server_error:  # while it starts, or behind a proxy
            raise EngineStartError(f"The server at {self._settings.url} fails ({self._told(answer)}).")
        try:
            names = [str(known["id"]) for known in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            raise EngineRefusedError(
                f"What answers at {self._settings.url} is no OpenAI-compatible server (HTTP {answer.status_code}): "
                "correct --endpoint, which ends with /v1 for most servers."
            ) from None
        if self._settings.model not in names:
            raise EngineRefusedError(
                f"The server at {self._settings.url} has no model '{self._settings.model}': it has {', '.join(names)}."
            )
        if self._settings.samples > 1 and self._served in _without_samples:
            _without_samples.discard(self._served)  # it may be another server by the time of a later run
            raise EngineRefusedError(NO_SAMPLES.format(self._settings.url))

    @property
    def _served(self) -> tuple[str, str]:
        return self._settings.url, self._settings.model

    async def _complete(self, request: Request) -> Completion:
        async with self._open:
            completion = await self._answered(chat_body(self._settings.model, request, self._limit))
        self._check_samples(completion, request.samples)
        return completion

    def _check_samples(self, completion: Completion, wanted: int) -> None:
        """Check that a server has drawn all samples: fewer would agree all too well. The next start ends the run.

        Raises:
            EngineDeadError: it has not, and would not for any other molecule.
        """
        if completion.samples < wanted:
            _without_samples.add(self._served)
            raise EngineDeadError(NO_SAMPLES.format(self._settings.url))

    async def _answered(self, body: dict[str, Any]) -> Completion:
        """Ask until there is an answer, the server refuses the request, or its time is over."""
        import httpx

        deadline = time.monotonic() + self._settings.seconds
        broken, backoff = 0, FIRST_WAIT
        while True:
            await self._cool(deadline)
            try:
                answer = await self._client.post(
                    "chat/completions", json=body, timeout=max(0.1, deadline - time.monotonic())
                )
            except httpx.TimeoutException as error:
                raise EndpointError(f"the server did not answer in time ({self._reason(error)})") from None
            except httpx.TransportError as error:
                reason = self._reason(error)
                self._cool_down(backoff)
                backoff = _longer(backoff)
            else:
                self._check_that_it_serves(answer)
                if answer.status_code in BUSY or self._fails_everyone(answer):
                    reason = self._told(answer)
                    self._cool_down(_retry_after(answer) or backoff)
                    backoff = _longer(backoff)
                elif answer.status_code in PROMPT_REFUSED:
                    message = self._words(answer)
                    if LIMIT in body and NEWER_LIMIT in message:
                        self._limit = NEWER_LIMIT
                        body[NEWER_LIMIT] = body.pop(LIMIT)
                        continue
                    raise PromptRejectedError(f"the server refuses it (HTTP {answer.status_code}): {message}")
                else:
                    try:
                        return self._completion(answer)
                    except (ValueError, KeyError, TypeError, IndexError) as error:
                        reason = f"HTTP {answer.status_code}, {self._reason(error)}"
                    broken += 1
                    if broken >= BROKEN_TRIES:
                        raise EndpointError(f"the server's answers are broken ({reason})") from None
                    await asyncio.sleep(backoff)
                    backoff = _longer(backoff)
            if time.monotonic() >= deadline:
                raise EndpointError(f"the server gave no answer until the deadline ({reason})")

    def _check_that_it_serves(self, answer: httpx.Response) -> None:
        """Check that the server still lets us in and has the model; the next start finds out what has become of it.

        Raises:
            EngineDeadError: it does not, whatever it is asked.
        """
        if answer.status_code in DENIED:
            raise EngineDeadError(f"the server does not let us in any more (HTTP {answer.status_code})")
        if answer.status_code in GONE:
            raise EngineDeadError(f"the server does not serve the model any more ({self._told(answer)})")

    def _fails_everyone(self, answer: httpx.Response) -> bool:
        """Tell whether an error of the server's own is one of many in a row: no request is to blame then."""
        is_its_own = answer.is_error and answer.status_code not in PROMPT_REFUSED
        self._errors = self._errors + 1 if is_its_own else 0
        return self._errors > ERRORS_IN_A_ROW

    def _cool_down(self, seconds: float) -> None:
        """Let all requests wait: a server that refuses one for the moment refuses its neighbours, too."""
        self._cool_until = max(self._cool_until, time.monotonic() + seconds)

    def _completion(self, answer: httpx.Response) -> Completion:
        """Read an answer; raises what `completion_of` does, and where the server failed its own words."""
        if answer.is_error:
            raise ValueError(self._words(answer))
        return completion_of(answer.json())

    def _told(self, answer: httpx.Response) -> str:
        """Return the status of an error, with the server's words."""
        words = self._words(answer)
        return f"HTTP {answer.status_code}{f': {words}' if words else ''}"

    def _words(self, answer: httpx.Response) -> str:
        """Return the server's own words about an error, in one line; some servers repeat the key in them."""
        return self._without_key(_message(answer))[:WORDS_SHOWN]

    def _reason(self, error: Exception) -> str:
        """Return what an error says, in one line; some quote what was sent."""
        return self._without_key(" ".join(str(error).split()))[:REASON_SHOWN] or type(error).__name__

    def _without_key(self, words: str) -> str:
        return words.replace(self._settings.key, "***") if self._settings.key else words

    async def _cool(self, deadline: float) -> None:
        while (left := min(self._cool_until, deadline) - time.monotonic()) > 0:
            await asyncio.sleep(left + random.uniform(0, min(0.1, left)))  # not all at once


def chat_body(model: str, request: Request, limit: str = LIMIT) -> dict[str, Any]:
    """Return what a server is sent to have a request answered by a model, as OpenAI's chat completions have it.

    Args:
        model: by the name that the server knows.
        request: what is asked.
        limit: what the server calls the most tokens that may be written.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            *({"role": turn.role, "content": turn.text} for turn in request.before),
            {"role": "user", "content": [openai_part(part) for part in request.content]},
        ],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        limit: request.max_tokens,
    }
    if request.thinking:  # as vLLM and SGLang take it; who does not know it may refuse it, or think as it likes
        body["chat_template_kwargs"] = request.thinking.template_arguments
        if request.thinking.budget:
            body["thinking_token_budget"] = request.thinking.budget
    if sampling.temperature > 0:
        body["seed"] = sampling.seed
    if request.samples > 1:
        body["n"] = request.samples
    if request.schema:
        described = {"name": "answer", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    return body


def completion_of(facts: Any) -> Completion:
    """Read the body of an answer.

    Raises:
        ValueError, KeyError, TypeError, IndexError: it is none.
    """
    usage = _object(_object(facts).get("usage") or {})
    first = _choice(facts["choices"][0], usage)
    return replace(
        first,
        prompt_tokens=_tokens(usage.get("prompt_tokens", 0)),
        completion_tokens=_tokens(usage.get("completion_tokens", 0)),  # of all samples: nobody tells them apart
        others=tuple(_choice(choice, {}) for choice in facts["choices"][1:]),
    )


def _choice(choice: dict[str, Any], usage: dict[str, Any]) -> Completion:
    """Read one answer, without the tokens that are counted for all of them."""
    reason = _object(choice)["finish_reason"]
    if not isinstance(reason, str | None):
        raise TypeError("a finish reason that is no text")
    thought, text = _told_apart(_object(choice["message"]), usage)
    return Completion(text, reason, 0, 0, thought)


def _told_apart(message: dict[str, Any], usage: dict[str, Any]) -> tuple[Thought | None, str]:
    """Return what was thought, if anything, and the answer; a server without a parser leaves both in one text.

    Raises:
        TypeError: there is neither.
    """
    thought = message.get("reasoning") or message.get("reasoning_content")
    text = message.get("content")
    if isinstance(text, str) and not isinstance(thought, str):
        thought, text = split_text(text)
    elif text is None and isinstance(thought, str):
        text = ""
    if not isinstance(text, str):
        refusal = message.get("refusal")
        raise TypeError(f"the model refuses: {refusal}" if refusal else "an answer without text")
    if thought is None:
        return None, text
    tokens = _object(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Thought(thought, _tokens(tokens), ended=bool(text.strip())), text


def _object(value: Any) -> dict[str, Any]:
    """Return what has to be a JSON object.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in the place of a JSON object")
    return value


def _tokens(number: Any) -> int:
    """Return a count of tokens that the store can add up, which a server need not have told."""
    if not 0 <= (tokens := int(number)) <= MOST_TOKENS:
        raise ValueError(f"{tokens} tokens")
    return tokens


def _retry_after(answer: httpx.Response) -> float | None:
    """Return how many seconds the server asks us to wait, but for at most as long as we would wait by ourselves."""
    told = answer.headers.get("Retry-After")
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _longer(backoff: float) -> float:
    return min(2 * backoff, LONGEST_WAIT)


def _message(answer: httpx.Response) -> str:
    """Return the server's own words about an error, in one line."""
    try:
        return error_message(answer.json())
    except (ValueError, AttributeError):
        return " ".join(answer.text.split())


def error_message(facts: Any) -> str:
    """Return the words in the body of an error, in one line.

    Raises:
        AttributeError: it is no JSON object.
    """
    error = facts.get("error", facts)
    words = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(words).split())
