"""How the molecules of a library are counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.records.completeness import unique_keys
from teacher.chemistry.molecule import KEY_BYTES

ENDINGS = st.integers(0, KEY_BYTES).map(lambda zeros: b"\xff" * (KEY_BYTES - zeros) + b"\0" * zeros)


@given(st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES) | ENDINGS))
def test_every_key_is_counted_once_whatever_its_bytes(keys: list[bytes]) -> None:
    joined = unique_keys(b"".join(keys))
    assert sorted(joined[i : i + KEY_BYTES] for i in range(0, len(joined), KEY_BYTES)) == sorted(set(keys))
