"""Connections to Redis, and its failures in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from teacher.errors import GallonError, UsageError

if TYPE_CHECKING:
    from redis import Redis
    from redis.retry import Retry

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
CLUSTER = "+cluster"  # what the scheme of a cluster's URL ends in


class StoreError(GallonError):
    """Redis refused or failed; what was acknowledged before is safe, and the same command resumes."""


class StoreGoneError(StoreError):
    """Redis cannot be reached, or the connection broke and did not come back."""


class StoreFullError(StoreError):
    """Redis has reached its memory limit."""


class StoreDeniedError(StoreError):
    """Redis refused the password, or the user may not run a command."""


def connect(url: str) -> Redis:
    """Connect to the Redis at `url` and make sure that it answers.

    A connection that breaks later is tried again for about 20 s before it is given up; the first one is not.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://` for a single server, `redis+cluster://` or `rediss+cluster://`
            for any node of a Redis Cluster.

    Raises:
        UsageError: the URL is none that this project understands.
        StoreError: nobody answers, or the answer is a refusal.
    """
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    connect_once(url).close()
    return _client(url, ANSWER_SECONDS, Retry(ExponentialBackoff(cap=5.0, base=0.1), 8))


def connect_once(url: str) -> Redis:
    """Connect as `connect` does, for a few calls that are not worth waiting for.

    Raises:
        UsageError: the URL is none that this project understands.
        StoreError: nobody answers, or the answer is a refusal.
    """
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with store_errors(url):
        try:
            redis = _client(url, CONNECT_SECONDS, Retry(NoBackoff(), 0))
        except ValueError as error:
            raise UsageError(f"'{_without_password(url)}' is no Redis URL: {error}.") from None
        redis.ping()
    return redis


def is_cluster(url: str) -> bool:
    """Tell whether a URL names a Redis Cluster."""
    return urlsplit(url).scheme.endswith(CLUSTER)


def _client(url: str, answer_seconds: float, retry: Retry) -> Redis:
    """Make a client; one of a cluster asks a node for the others at once. Both kinds have the commands that we use."""
    from redis import Redis
    from redis.cluster import RedisCluster

    timeouts = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": answer_seconds}
    if is_cluster(url):
        return cast("Redis", RedisCluster.from_url(url.replace(CLUSTER, "", 1), retry=retry, **timeouts))
    return Redis.from_url(url, retry=retry, **timeouts)


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Turn Redis' own errors into `StoreError`s with one clear sentence."""
    from redis import exceptions

    place = _without_password(url)
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
        raise StoreDeniedError(
            f"Redis at {place} refused the user name or password: give them in the URL or in GALLON_STORE."
        ) from error
    except exceptions.NoPermissionError as error:
        raise StoreDeniedError(f"Redis at {place} does not allow a command that gallon needs: {error}.") from error
    except (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ClusterError,
        exceptions.RedisClusterException,
    ) as error:
        raise StoreGoneError(f"Redis at {place} cannot be reached: {_why_gone(url, error)}.") from error
    except exceptions.OutOfMemoryError as error:
        raise StoreFullError(
            f"Redis at {place} is full: raise its maxmemory or free some, then run the same command again; "
            "everything acknowledged so far is kept."
        ) from error
    except exceptions.ResponseError as error:
        raise StoreError(f"Redis at {place} refused: {error}.") from error


def _why_gone(url: str, error: BaseException) -> str:
    """Say why a connection broke, or was not made, and what to do."""
    from ssl import SSLCertVerificationError

    cause = error.__context__
    if isinstance(cause, SSLCertVerificationError):
        return (
            f"nobody here vouches for its certificate ({cause.verify_message}); name the certificate of its authority "
            "by ?ssl_ca_certs=FILE in the URL"
        )
    plain = urlsplit(url).scheme.removesuffix(CLUSTER) == "redis"
    if plain and (cause is None or isinstance(cause, ConnectionResetError)):
        return "it hung up; if it speaks TLS only, let the URL begin with rediss://, or else run the same command again"
    return "start it (its log says whether a full disk ended it) or correct --store, then run the same command again"


def _without_password(url: str) -> str:
    """Return `url` without what nobody should read in a log."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
