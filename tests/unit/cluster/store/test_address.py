"""Addresses of stores: every password stays hidden, and every folder's name is a folder's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from cluster.store.address import Address, is_url, parse, unix_url
from teacher.errors import UsageError


@pytest.mark.parametrize("special", ["/", "?", "#", "[", "]"])
@pytest.mark.parametrize("entry", [":Sekret{}77abc", "user:Sekret{}77abc", ":6390{}sekret", "user:12{}sekret=77abc"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "rediss+cluster", "unix"])
def test_a_password_that_breaks_the_url_is_to_be_encoded_and_not_shown(special: str, entry: str, scheme: str) -> None:
    place = "/tmp/redis.sock" if scheme == "unix" else "127.0.0.1:6390/0"
    url = f"{scheme}://{entry.format(special)}@{place}"
    with pytest.raises(UsageError, match="percent-encode it") as caught:
        parse(url)
    told = str(caught.value).lower()
    assert not any(part in told for part in ("sekret", "77abc", "user:", "6390"))


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("redis://:a@b@host", "a@b"),
        ("redis://:100%@host", "100%"),
        ("redis://:a b@host", "a b"),
        ("redis://user:%2F%3F%23%5B@host", "/?#["),
        ("redis://host?password=a%2Fb", "a/b"),
        ("redis://user:@host", ""),
        ("redis://host", None),
    ],
)
def test_other_passwords_are_read(url: str, password: str | None) -> None:
    assert parse(url).password == password
    assert parse(url).host == "host"


@given(st.text(), st.text(min_size=1), st.sampled_from(["redis", "rediss", "unix"]))
def test_what_is_read_arrives_at_redis_and_is_not_shown(username: str, password: str, scheme: str) -> None:
    where = {"path": "/a#b?c%41/d e"} if scheme == "unix" else {"host": "host", "port": 6390}
    address = Address(scheme=scheme, username=username or None, password=password, **where)
    assert parse(address.client_url) == address
    arrived = parse_url(address.client_url)
    assert (arrived.get("username"), arrived["password"]) == (username or None, password)
    assert {name: arrived[name] for name in where} == where
    shown = "unix:///a#b?c%41/d e" if scheme == "unix" else f"{scheme}://host:6390"
    assert str(address) == shown
    assert repr(password) not in repr(address)


@given(st.text())
def test_any_text_is_read_or_refused_without_a_word_of_what_stands_before_an_at(text: str) -> None:
    try:
        parse(f"redis://:qqqq{text}@host:1/2")
    except UsageError as error:
        assert "qqqq" not in str(error)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1", "is not a Redis URL"),
        ("redis://127.0.0.1:port", "port"),
        ("redis://127.0.0.1:99999", "port"),
        ("redis://127.0.0.1:-1", "port"),
        ("redis://:6390", "no host"),
        ("redis://127.0.0.1/abc", "number of a database"),
        ("redis://127.0.0.1?db=abc", "db should be a whole number"),
        ("redis://127.0.0.1?decode_responses=True", "no option 'decode_responses'"),
        ("redis://127.0.0.1?protocol=2", "no option 'protocol'"),
        ("redis://127.0.0.1?retry_on_error=x", "no option 'retry_on_error'"),
        ("redis://127.0.0.1?socket_timeout=nan", "seconds"),
        ("redis://127.0.0.1?ssl_cert_reqs=none", "rediss://"),
        ("rediss://127.0.0.1?ssl_ca_certs=/nowhere.pem", "path of a file"),
        ("rediss://127.0.0.1?ssl_cert_reqs=perhaps", "none, optional or required"),
        ("redis+cluster://127.0.0.1/1", "database 0"),
        ("redis://[::1", "host"),
        ("redis://[zz]:1", "host"),
        ("redis://a b", "host"),
        ("unix://redis.sock", "unix:///PATH"),
        ("unix://", "unix:///PATH"),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse(url)


def test_ipv6_and_options_arrive() -> None:
    arrived = parse_url(parse("REDIS://user@[::1]:6390/3?client_name=lab%201&socket_timeout=7").client_url)
    expected = {"username": "user", "host": "::1", "port": 6390, "db": 3, "client_name": "lab 1", "socket_timeout": 7.0}
    assert {name: arrived[name] for name in expected} == expected


@pytest.mark.parametrize(
    "where", ["localhost:6390", "10.0.0.5:6379/0", "[::1]:6379", ":6390", "redis:localhost", "redis:/localhost"]
)
def test_an_address_without_its_scheme_is_no_folder(where: str) -> None:
    with pytest.raises(UsageError, match="redis://"):
        is_url(where)


@pytest.mark.parametrize("where", [":Sekret@127.0.0.1:6390", "user:Sek/ret@host", "u:Sek#ret@[::1]:1/0"])
def test_an_address_without_its_scheme_shows_no_password(where: str) -> None:
    with pytest.raises(UsageError, match="redis://") as caught:
        is_url(where)
    assert "Sek" not in str(caught.value)


@pytest.mark.parametrize("where", ["", " "])
def test_a_store_needs_a_name(where: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        is_url(where)


@pytest.mark.parametrize(
    "where", ["my store", "it's", 'a"b', "lab#1", "100%41", "é", "a\\b", "trailing ", "-x", "~", "./localhost:6390"]
)
def test_any_other_name_is_a_folder(where: str) -> None:
    assert not is_url(where)


def test_a_socket_of_any_path_has_an_address(tmp_path: object) -> None:
    for name in ("my store", "it's", "lab#1", "100%41", "é?x=[y]@z"):
        assert parse(unix_url(f"/tmp/{name}")).path == f"/tmp/{name}"  # type: ignore[arg-type]
