"""What the store has about molecules, read by an event loop that has other things to do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from cluster.store.address import parse
from cluster.store.connection import ANSWER_SECONDS, CONNECT_SECONDS, store_errors
from cluster.store.keys import bucket_of, of_spec
from cluster.store.record import DeadLetter, Record
from cluster.store.stored import damaged

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECTIONS = 32  # at most; who finds none free waits for one


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
        if not keys:
            return {}
        async with self._free:
            with store_errors(self._url):
                pipe = self._redis.pipeline(transaction=False)
                for key in keys:
                    for place in of_spec(bucket_of(key), self._spec_id, "accepted", "dead"):
                        pipe.hget(place, cast("str", key))
                packed = await pipe.execute()
        found: dict[bytes, Record | DeadLetter] = {}
        for number, key in enumerate(keys):
            accepted, dead = packed[2 * number : 2 * number + 2]
            with damaged(f"what became of a molecule, {key.hex()},"):
                if accepted is not None:
                    found[key] = Record.unpack(accepted)
                elif dead is not None:
                    found[key] = DeadLetter.unpack(dead)
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _client(url: str) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

    address = parse(url)
    options: dict[str, Any] = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": ANSWER_SECONDS}
    if address.is_cluster:
        return cast("Redis", RedisCluster.from_url(address.client_url, **options))
    return Redis.from_url(address.client_url, **options)
