"""Who is let in, and where the service may listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.service.access import (
    TOKEN_VARIABLE,
    check_host,
    digest_of,
    holds_password,
    is_allowed,
    is_loopback,
    read_token,
)
from teacher.errors import UsageError

TOKEN = "0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def test_a_token_comes_out_of_a_private_file_or_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "another that is long enough")
    assert read_token(None) == "another that is long enough"
    assert read_token(file) == TOKEN


def test_a_token_of_the_environment_has_no_blanks_around_it_as_one_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, f" {TOKEN}\n")  # as a secret of Kubernetes that 'echo' made
    token = read_token(None)
    assert token == TOKEN and is_allowed(f"Bearer {TOKEN}", digest_of(token))
    monkeypatch.setenv(TOKEN_VARIABLE, " \n")
    with pytest.raises(UsageError, match="fewer than 16 characters"):
        read_token(None)


@pytest.mark.parametrize("odd", ["\N{LATIN SMALL LETTER E WITH ACUTE}", "\n", "\x07", "\udcff"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_repeated(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, f"{TOKEN}{odd}{TOKEN}")
    with pytest.raises(UsageError, match=f"The token in {TOKEN_VARIABLE} has characters that cannot be") as refused:
        read_token(None)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("https://alice:hunter2@proxy/v1", True),
        ("https://hunter2@proxy/v1", True),
        ("https://alice:hunter2@proxy:port/v1", True),
        ("https://alice:hunter/2@proxy/v1", True),
        ("https://alice:hunter2@[proxy/v1", True),
        ("alice:hunter2@proxy/v1", True),
        ("https://proxy:8000/v1/publishers/@google", False),
        ("http://[::1]:8000/v1", False),
        ("nonsense", False),
    ],
)
def test_a_password_in_a_url_is_found_however_the_url_is_broken(url: str, holds: bool) -> None:
    assert holds_password(url) == holds


def test_a_token_that_others_may_read_or_guess_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.chmod(0o640)
    with pytest.raises(UsageError, match="Others may read the token file"):
        read_token(file)
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(UsageError, match="fewer than 16 characters") as refused:
        read_token(file)
    assert "short" not in str(refused.value)
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(UsageError, match=f"in {TOKEN_VARIABLE} has fewer"):
        read_token(None)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_token_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_without_a_token_the_service_listens_on_loopback(host: str) -> None:
    assert is_loopback(host)
    check_host(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "gallon.example.org"])
def test_where_others_reach_it_the_service_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="put a token into GALLON_SERVICE_TOKEN"):
        check_host(host, None)
    check_host(host, TOKEN)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Bearer {TOKEN}0", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (TOKEN, False),
        (f"Basic {TOKEN}", False),
        ("Bearer ", False),
        ("Bearer \xff", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_token_as_a_bearer_token_lets_in(header: str | None, allowed: bool) -> None:
    assert is_allowed(header, digest_of(TOKEN)) == allowed
    assert is_allowed(header, None)
