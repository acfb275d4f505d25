"""Connections to Redis, and its failures in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from cluster.store.address import Address, parse
from teacher.errors import GallonError, UsageError

if TYPE_CHECKING:
    from redis import Redis
    from redis.retry import Retry

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0


class StoreError(GallonError):
    """Redis refused or failed; what was acknowledged before is safe, and the same command resumes."""


class StoreGoneError(StoreError):
    """Redis cannot be reached, or the connection broke and did not come back."""


class StoreUnsettledError(StoreError):
    """Parts of a Redis Cluster are on their way to another node, or have none."""


class StoreFullError(StoreError):
    """Redis has reached its memory limit."""


class StoreDeniedError(StoreError):
    """Redis refused the password, or the user may not run a command."""


def connect(url: str) -> Redis:
    """Connect to the Redis at `url` and make sure that it answers.

    A connection that breaks later is tried again for about 20 s before it is given up; the first one is not.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://` for a single server, `redis+cluster://` or `rediss+cluster://`
            for any node of a Redis Cluster; see `cluster.store.address`.

    Raises:
        UsageError: the URL is none that this project understands.
        StoreError: nobody answers, or the answer is a refusal.
    """
    from cluster.runtime.patience import patient

    connect_once(url).close()
    return _client(url, ANSWER_SECONDS, patient(str(parse(url))))


def connect_once(url: str) -> Redis:
    """Connect as `connect` does, for a few calls that are not worth waiting for.

    Raises:
        UsageError: the URL is none that this project understands.
        StoreError: nobody answers, or the answer is a refusal.
    """
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with store_errors(url):
        redis = _client(url, CONNECT_SECONDS, Retry(NoBackoff(), 0))
        try:
            redis.ping()
        except UnicodeError:
            raise UsageError(f"{parse(url)} names no host that can be: correct the address of the store.") from None
    return redis


def is_cluster(url: str) -> bool:
    """Tell whether a URL names a Redis Cluster."""
    return parse(url).is_cluster


def _client(url: str, answer_seconds: float, retry: Retry) -> Redis:
    """Make a client; one of a cluster asks a node for the others at once. Both kinds have the commands that we use."""
    from redis import Redis
    from redis.cluster import RedisCluster

    address = parse(url)
    timeouts = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": answer_seconds}
    if address.is_cluster:
        return cast("Redis", RedisCluster.from_url(address.client_url, retry=retry, **timeouts))
    return Redis.from_url(address.client_url, retry=retry, **timeouts)


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Turn Redis' own errors into `StoreError`s with one clear sentence."""
    from redis import exceptions

    place = parse(url)
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
        raise StoreDeniedError(
            f"Redis at {place} refused the user name or password: give the right ones in GALLON_STORE or --store, "
            "with special characters percent-encoded."
        ) from error
    except exceptions.NoPermissionError as error:
        raise StoreDeniedError(
            f"Redis at {place} does not allow a command that gallon needs: {place.hide(str(error))}."
        ) from error
    except (exceptions.ClusterError, exceptions.SlotNotCoveredError, exceptions.TryAgainError) as error:
        raise StoreUnsettledError(
            f"The Redis Cluster at {place} is not whole: slots are on their way to another node, or have none "
            f"({place.hide(str(error))}). Run the same command again when 'redis-cli --cluster check' finds no fault."
        ) from error
    except exceptions.AskError as error:  # and MOVED, which a client of a cluster follows by itself
        raise UsageError(
            f"Redis at {place} is a node of a Redis Cluster: let the URL begin with redis+cluster:// (or "
            "rediss+cluster://), so that the other nodes are asked too."
        ) from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.RedisClusterException) as error:
        raise StoreGoneError(f"Redis at {place} cannot be reached: {_why_gone(place, error)}.") from error
    except exceptions.OutOfMemoryError as error:
        raise StoreFullError(
            f"Redis at {place} is full: raise its maxmemory or free some, then run the same command again; "
            "everything acknowledged so far is kept."
        ) from error
    except exceptions.ResponseError as error:
        raise StoreError(f"Redis at {place} refused: {place.hide(str(error))}.") from error
    except exceptions.InvalidResponse as error:
        raise StoreError(f"What answers at {place} is no Redis: correct the address.") from error


def is_unsettled(answer: object) -> bool:
    """Tell whether an answer is an error that goes by itself, once a Redis Cluster has moved what it is moving."""
    from redis.exceptions import ClusterError, TryAgainError

    return isinstance(answer, ClusterError | TryAgainError)


def _why_gone(place: Address, error: BaseException) -> str:
    """Say why a connection broke, or was not made, and what to do."""
    from ssl import SSLCertVerificationError, SSLError

    from redis.exceptions import BusyLoadingError

    if isinstance(error, BusyLoadingError):
        return "it is still reading its data back: run the same command again when it has"
    cause = error.__context__
    if isinstance(cause, SSLCertVerificationError):
        return (
            f"nobody here vouches for its certificate ({cause.verify_message}); name the certificate of its authority "
            "by ?ssl_ca_certs=FILE in the URL"
        )
    if isinstance(cause, SSLError):
        return f"TLS cannot be spoken with it ({cause.reason}); without TLS, let the URL begin with redis://"
    if isinstance(cause, TimeoutError) and "handshake" in str(cause):  # a Redis without TLS waits for more of it
        return "it does not answer in TLS; if it speaks none, let the URL begin with redis://"
    hung_up = cause is None or isinstance(cause, ConnectionResetError)
    if hung_up and not place.is_tls and not place.path:
        return "it hung up; if it speaks TLS only, let the URL begin with rediss://, or else run the same command again"
    return "start it (its log says whether a full disk ended it) or correct --store, then run the same command again"
