"""What the store has about molecules, read by an event loop that has other things to do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from cluster.store.address import parse
from cluster.store.connection import ANSWER_SECONDS, CONNECT_SECONDS, StoreGoneError, store_errors
from cluster.store.keys import bucket_of, of_spec
from cluster.store.record import DeadLetter, Record
from cluster.store.stored import damaged

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECTIONS = 32  # at most; who finds none free waits for one
CHECK_SECONDS = 3.0  # for a sign of life: what asks for it, a probe, does not wait long
TRIES_AGAIN = 3  # over a connection that Redis has closed, say because it was started again; reading twice does no harm


class StoredAnswers:
    """Records and dead letters of one spec.

    Args:
        url: of the Redis.
        spec_id: the spec.
    """

    def __init__(self, url: str, spec_id: str) -> None:
        self._url, self._spec_id = url, spec_id
        self._redis = _client(url)
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def read(self, keys: Sequence[bytes]) -> dict[bytes, Record | DeadLetter]:
        """Return what became of molecules, by their keys; those that have not ended are left out.

        Raises:
            StoreError: Redis failed.
        """
        accepted = await self._packed("accepted", keys)
        dead = await self._packed("dead", [key for key in keys if key not in accepted])  # seldom any, in what is stored
        found: dict[bytes, Record | DeadLetter] = {}
        for packed, unpack in ((accepted, Record.unpack), (dead, DeadLetter.unpack)):
            for key, text in packed.items():
                with damaged(f"what became of a molecule, {key.hex()},"):
                    found[key] = unpack(text)
        return found

    async def check(self) -> None:
        """Ask Redis for a sign of life, which takes none of the connections that requests wait for.

        Raises:
            StoreError: it gives none, or not in time.
        """
        with store_errors(self._url):
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._redis.ping()
            except TimeoutError:
                raise StoreGoneError(f"{parse(self._url)} gives no sign of life.") from None

    async def _packed(self, state: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what lies in the hashes of a state; one key goes without a pipeline, which takes twice the time."""
        places = [(of_spec(bucket_of(key), self._spec_id, state)[0], cast("str", key)) for key in keys]
        if not places:
            return {}
        packed: list[Any]
        async with self._free:
            with store_errors(self._url):
                if len(places) == 1:
                    packed = [await self._redis.hget(*places[0])]
                else:
                    pipe = self._redis.pipeline(transaction=False)
                    for place in places:
                        pipe.hget(*place)
                    packed = await pipe.execute()
        return {key: text for key, text in zip(keys, packed, strict=True) if text is not None}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _client(url: str) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialWithJitterBackoff
    from redis.exceptions import ConnectionError as LostConnection

    address = parse(url)
    retry = Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), TRIES_AGAIN, supported_errors=(LostConnection,))
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "retry": retry,
    }
    if address.is_cluster:
        return cast("Redis", RedisCluster.from_url(address.client_url, **options))
    return Redis.from_url(address.client_url, **options)
