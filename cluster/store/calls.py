"""How calls reach Redis: one by one, in pipelines, and as scripts over the buckets of molecules."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain, compress
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import NoScriptError

from cluster.store.connection import connect, is_cluster, is_unsettled, store_errors
from cluster.store.keys import BUCKETS, RUN_SECONDS, bucket_of, of_spec
from cluster.store.stored import damaged

if TYPE_CHECKING:
    from redis.client import Pipeline

logger = logging.getLogger(__name__)

SCRIPTS = ("register", "claim", "hand", "commit", "rows", "tally", "reword", "retry", "change")
UNSETTLED_SECONDS, UNSETTLED_PAUSE = 60.0, 0.5  # how long a step waits for slots of a cluster that are being moved

Call = tuple[list[str], list[Any]]  # the keys and the arguments of a script
T = TypeVar("T")


class Calls:
    """A Redis, as all families of the store's questions call it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._redis = connect(url)
        prelude = f"local run_seconds = {RUN_SECONDS}\n{_lua('prelude')}"
        self._scripts = {name: prelude + _lua(name) for name in SCRIPTS}
        self._on_cluster = is_cluster(url)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds) + microseconds / 1e6

    def _hash(self, name: str) -> dict[str, bytes]:
        (found,) = self._pipeline(lambda pipe: [pipe.hgetall(name)])
        with damaged(f"a name in {name}"):
            return {field.decode(): value for field, value in found.items()}

    def _scan(self, spec_id: str, place: str) -> Iterator[tuple[bytes, bytes]]:
        with store_errors(self.url):
            for bucket in BUCKETS:
                yield from self._redis.hscan_iter(of_spec(bucket, spec_id, place)[0], count=500)

    def _call(self, script: str, calls: dict[str, Call], common: Sequence[Any] = ()) -> dict[str, Any]:
        """Run a script over buckets, and return its answer for each.

        A single server does all of them in one atomic step. On a cluster, where a bucket is one slot, each is a step.
        """
        if not calls:
            return {}
        if self._on_cluster:
            answers = self._pipeline_of(script, [_joined([call]) for call in calls.values()], common)
            return dict(zip(calls, chain.from_iterable(answers), strict=True))
        keys, arguments = _joined(calls.values())
        with store_errors(self.url):
            return dict(zip(calls, self._run_script(script, keys, [*common, *arguments]), strict=True))

    def _call_apart(self, script: str, keys: dict[str, list[str]], common: Sequence[Any] = ()) -> list[Any]:
        """Run a script that takes its time once for each bucket, so that Redis can serve others in between."""
        return self._pipeline_of(script, [(each, []) for each in keys.values()], common)

    def _pipeline_of(self, script: str, calls: Iterable[Call], common: Sequence[Any] = ()) -> list[Any]:
        """Run a script several times. It is sent whole: what a server has forgotten cannot be loaded on the way."""
        text = self._scripts[script]
        commands = [("EVAL", text, len(keys), *keys, *common, *arguments) for keys, arguments in calls]
        with store_errors(self.url):
            answers = self._try(commands)
            until = time.monotonic() + UNSETTLED_SECONDS
            while any(unsettled := [*map(is_unsettled, answers)]) and time.monotonic() < until:
                logger.info("slots of the Redis Cluster are on their way to another node; waiting for them")
                time.sleep(UNSETTLED_PAUSE)
                again = iter(self._try(compress(commands, unsettled)))
                answers = [next(again) if so else answer for answer, so in zip(answers, unsettled, strict=True)]
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    def _try(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Send commands, and return for each its answer or its error."""
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            answers: list[Any] = pipe.execute(raise_on_error=False)
            return answers

    def _run_script(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script by its digest, or whole where the server does not know it (any more).

        A cluster may be moving the slot, which a client's own call gives up on at once.
        """
        if self._on_cluster:
            return self._pipeline_of(script, [(keys, arguments)])[0]
        text = self._scripts[script]
        arguments = [len(keys), *keys, *arguments]
        try:
            return self._redis.execute_command("EVALSHA", _sha(text), *arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return self._redis.execute_command("EVAL", text, *arguments)  # type: ignore[no-untyped-call]

    def _pipeline(self, fill: Callable[[Pipeline], object]) -> list[Any]:
        with store_errors(self.url), self._redis.pipeline(transaction=False) as pipe:
            fill(pipe)
            answers: list[Any] = pipe.execute()
            return answers


def by_bucket(
    items: Iterable[T], key: Callable[[T], bytes], arguments: Callable[[T], list[Any]]
) -> dict[str, list[Any]]:
    """Lay out the arguments of a script call for each bucket, in the order of the items."""
    calls: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        calls[bucket_of(key(item))] += arguments(item)
    return calls


def _joined(calls: Iterable[Call]) -> Call:
    """Put the calls of several buckets into one: keys after keys, and arguments after their number."""
    keys: list[str] = []
    arguments: list[Any] = []
    for its_keys, its_arguments in calls:
        keys += its_keys
        arguments += [len(its_arguments), *its_arguments]
    return keys, arguments


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _lua(name: str) -> str:
    return files("cluster.store").joinpath(f"lua/{name}.lua").read_text()
