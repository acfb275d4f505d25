"""Addresses of stores: what users write, what Redis' client is given, and what may be shown of them.

A URL may hold a password, also one that breaks the URL. So a URL is taken apart in this place alone, and no message
repeats more of it than scheme, host, port and path of one that could be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from teacher.errors import UsageError

CLUSTER = "+cluster"  # what the scheme of a cluster's URL ends in
SCHEMES = ("redis", "rediss", "unix", f"redis{CLUSTER}", f"rediss{CLUSTER}")
FORMS = "redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:///PATH, redis+cluster://HOST:PORT or rediss+cluster://..."
ENCODE = (
    "percent-encode it: in the user name and password, / is written %2F, ? %3F, # %23, [ %5B, ] %5D, @ %40 and % %25"
)
PORT = 6379
LARGEST_PORT = 65_535

HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[^\s:\[\]]*)(:(?P<port>[0-9]*))?")
EXPLICIT_FOLDER = re.compile(r"[/~]|\.\.?(/|$)")
BARE_ADDRESS = re.compile(r"([\w.-]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}(/[0-9]*)?")
BARE_WITH_PASSWORD = re.compile(r".*:.*@[\w.:\[\]-]+(/[0-9]*)?")
WITHOUT_SLASHES = re.compile(rf"({'|'.join(map(re.escape, SCHEMES))}):.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the value of an option has to be: in words, and as a test."""

    words: str
    fits: Callable[[str], bool]


WORD = Kind("a word", str.isprintable)
NUMBER = Kind("a whole number", lambda value: bool(re.fullmatch(r"[0-9]{1,9}", value)))
SECONDS = Kind("a number of seconds", lambda value: bool(re.fullmatch(r"[1-9][0-9]{0,8}(\.[0-9]+)?", value)))
SWITCH = Kind("true or false", lambda value: value in {"true", "false"})
CHECKING = Kind("none, optional or required", lambda value: value in {"none", "optional", "required"})
FILE = Kind("the path of a file on this machine", os.path.exists)

# Options of redis-py's URLs that change nothing that the store relies on.
OPTIONS = {
    "db": NUMBER,
    "username": WORD,
    "password": WORD,
    "client_name": WORD,
    "socket_timeout": SECONDS,
    "socket_connect_timeout": SECONDS,
    "socket_keepalive": SWITCH,
    "health_check_interval": NUMBER,
}
TLS_OPTIONS = {
    "ssl_ca_certs": FILE,
    "ssl_ca_path": FILE,
    "ssl_certfile": FILE,
    "ssl_keyfile": FILE,
    "ssl_password": WORD,
    "ssl_cert_reqs": CHECKING,
    "ssl_check_hostname": SWITCH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a Redis is, and how it is entered.

    Attributes:
        scheme: one of `SCHEMES`.
        host, port: of a server, or of any node of a cluster.
        path: of a Unix socket.
        username, password: None where the URL names none.
        options: of the connection.
    """

    scheme: str
    host: str = ""
    port: int = PORT
    path: str = ""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Return what may be shown."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        database = f"/{self.options['db']}" if "db" in self.options else ""
        return f"{self.scheme}://{self.host}:{self.port}{database}"

    @property
    def is_cluster(self) -> bool:
        """Whether this is a Redis Cluster."""
        return self.scheme.endswith(CLUSTER)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.startswith("rediss")

    @property
    def client_url(self) -> str:
        """The URL for redis-py, in which everything is quoted; it holds the password."""
        user = quote(self.username or "", safe="")
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        entry = f"{user}{password}@" if user or password else ""
        place = quote(self.path) if self.scheme == "unix" else f"{quote(self.host, safe='[]:')}:{self.port}"
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{self.scheme.removesuffix(CLUSTER)}://{entry}{place}{query}"

    def hide(self, text: str) -> str:
        """Return a text of somebody else's, such as a server's error, without the password."""
        for secret in (self.password, self.options.get("ssl_password")):
            if secret:
                text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return text


def is_url(where: str) -> bool:
    """Tell whether a user who names a store means a Redis; else it is a folder.

    Raises:
        UsageError: it looks like an address without its scheme, or it is empty.
    """
    if not where.strip():
        raise UsageError("The store has no name: give --store a folder or a Redis URL.")
    if "://" in where:
        return not EXPLICIT_FOLDER.match(where)
    if EXPLICIT_FOLDER.match(where):
        return False
    if BARE_ADDRESS.fullmatch(where):
        raise UsageError(f"'{where}' has no scheme: write redis://{where} for a Redis, or ./{where} for a folder.")
    if WITHOUT_SLASHES.fullmatch(where) or BARE_WITH_PASSWORD.fullmatch(where):
        raise UsageError(
            "The store looks like the address of a Redis without its scheme: write redis://USER:PASSWORD@HOST:PORT, "
            "or ./NAME for a folder."
        )
    return False


@lru_cache(maxsize=16)  # each read of a stored answer names the place, for the case that it fails
def parse(url: str) -> Address:
    """Take the URL of a Redis apart.

    Raises:
        UsageError: it is none that this project understands.
    """
    scheme, _, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise UsageError(f"The store's URL is not a Redis URL: use {FORMS}.")
    end = re.search(r"[/?#]|$", rest)
    assert end is not None  # an end there always is
    entry, _, place = rest[: end.start()].rpartition("@")
    path, _, query = rest[end.start() :].partition("?")
    if "#" in path + query or _is_broken(scheme, entry, place, path + query):
        raise _unreadable(scheme, f"if its password, or another part, holds a special character, {ENCODE}")
    where = _socket(place, path) if scheme == "unix" else _server(scheme, place, path)
    options = {**where.pop("options", {}), **_options(scheme, query)}
    if scheme.endswith(CLUSTER) and int(options.pop("db", 0)):
        raise _unreadable(scheme, "a Redis Cluster has database 0 only")
    username, colon, password = entry.partition(":")
    named, secret = options.pop("username", None), options.pop("password", None)
    return Address(
        scheme=scheme,
        username=unquote(username) or named,
        password=unquote(password) if colon else secret,
        options=options,
        **where,
    )


def unix_url(socket: Path) -> str:
    """Return the URL of a Redis that listens on a Unix socket."""
    return f"unix://{quote(os.fspath(socket))}"


def _is_broken(scheme: str, entry: str, place: str, rest: str) -> bool:
    """Tell whether the URL was torn apart at a character of its password."""
    torn = "@" in rest and (scheme != "unix" or bool(place))
    return torn or bool(set("[]") & set(entry))


def _socket(place: str, path: str) -> dict[str, Any]:
    """Read where a Unix socket is."""
    if place or not path.strip("/"):
        raise _unreadable("unix", "write unix:///PATH, with the absolute path of the server's socket")
    return {"path": unquote(path)}


def _server(scheme: str, place: str, path: str) -> dict[str, Any]:
    """Read where a server is, and which of its databases is meant."""
    found = HOST_AND_PORT.fullmatch(place)
    port = found["port"] if found else None
    if found is None or (port and int(port) not in range(1, LARGEST_PORT + 1)):
        raise _unreadable(
            scheme,
            f"its port is no number from 1 to {LARGEST_PORT:,}, or its host no name; if that is a part of its "
            f"password, {ENCODE}",
        )
    if port is not None and not found["host"]:
        raise _unreadable(scheme, "it names no host, such as localhost")
    if path.strip("/") and not re.fullmatch(r"/[0-9]{1,9}/?", path):
        raise _unreadable(scheme, f"only the number of a database may follow its port; if there is more, {ENCODE}")
    database = {"db": path.strip("/")} if path.strip("/") else {}
    return {"host": found["host"] or "localhost", "port": int(port or PORT), "options": database}


def _options(scheme: str, query: str) -> dict[str, str]:
    known = {**OPTIONS, **TLS_OPTIONS} if scheme.startswith("rediss") else OPTIONS
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name in TLS_OPTIONS and name not in known:
            raise _unreadable(scheme, f"its option {name} is for TLS: begin it with rediss://")
        if name not in known:
            shown = f"'{name}'" if re.fullmatch(r"[a-z_]{1,40}", name) else "of that name"
            raise _unreadable(scheme, f"there is no option {shown} here: choose out of {', '.join(known)}")
        if not known[name].fits(value):
            raise _unreadable(scheme, f"its option {name} should be {known[name].words}")
    return options


def _unreadable(scheme: str, reason: str) -> UsageError:
    return UsageError(f"The store's URL, {scheme}://..., cannot be read: {reason}.")
