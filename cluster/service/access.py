"""Who may ask the service: whoever has its token. Of the token, the service itself knows a digest only."""

from __future__ import annotations

import hmac
import ipaddress
import os
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from teacher.errors import UsageError

TOKEN_VARIABLE = "GALLON_SERVICE_TOKEN"
SHORTEST = 16  # characters of a token: fewer could be guessed
OF_OTHERS = 0o077  # the permissions of everybody but a file's owner
SCHEME = "bearer"


def read_token(file: Path | None) -> str | None:
    """Return the token: out of a file, or else of the environment; None where there is none.

    Raises:
        UsageError: others may read the file, it cannot be read, or the token is too short or none that can be sent.
    """
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE)
        # A secret that 'echo' made ends with a new line, which nobody who sends the token can send.
        return _usable(token.strip(), f"in {TOKEN_VARIABLE}") if token else None
    try:
        readable_by_others = file.stat().st_mode & OF_OTHERS
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"The token file {file} cannot be read: {reason}.") from None
    if readable_by_others:
        raise UsageError(f"Others may read the token file {file}: take that from them by 'chmod 600 {file}'.")
    return _usable(text.strip(), f"in {file}")


def check_host(host: str, token: str | None) -> None:
    """Refuse to listen where others reach the service, unless they need a token.

    Raises:
        UsageError: there is no token, and the address is none of this machine alone.
    """
    if token is None and not is_loopback(host):
        raise UsageError(
            f"Without a token the service listens on this machine only, and {host} is reached by others: put a token "
            f"into {TOKEN_VARIABLE} or a file that --token-file names, or listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Tell whether only processes of the same machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def digest_of(token: str) -> str:
    """Return what the service keeps of a token."""
    return sha256(token.encode()).hexdigest()


def is_allowed(header: str | None, digest: str | None) -> bool:
    """Tell whether an `Authorization` header holds the token of this digest, in a time that says nothing about it.

    Args:
        header: as it was sent; None where there is none.
        digest: of the token; None where none is needed.
    """
    if digest is None:
        return True
    scheme, _, token = (header or "").partition(" ")
    return scheme.lower() == SCHEME and hmac.compare_digest(digest_of(token.strip()), digest)


def holds_password(url: str) -> bool:
    """Tell whether a URL says who asks, as https://NAME:PASSWORD@HOST does; a name alone may be the key itself."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a password with a slash in it ends in what is no port
    except ValueError:
        return "@" in url
    return "@" in (parts.netloc or url)


def _usable(token: str, where: str) -> str:
    """Return a token that can be sent, and not be guessed; what is refused is not repeated."""
    if not (token.isascii() and token.isprintable()):
        raise UsageError(
            f"The token {where} has characters that cannot be sent, as letters other than ASCII's: copy it once more."
        )
    if len(token) < SHORTEST:
        raise UsageError(f"The token {where} has fewer than {SHORTEST} characters: 'openssl rand -hex 32' makes one.")
    return token
