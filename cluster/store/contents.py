"""What was stored, read back: records and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from cluster.store.calls import Calls
from cluster.store.connection import store_errors
from cluster.store.keys import STATES, bucket_of, letters_key, of_spec
from cluster.store.record import DeadLetter, Record
from cluster.store.stored import damaged

KINDS = {Record: "record", DeadLetter: "dead letter"}

Stored = TypeVar("Stored", Record, DeadLetter)


class Contents(Calls):
    """Records and dead letters, as they were written."""

    def records(self, spec_id: str) -> Iterator[tuple[bytes, Record]]:
        """Yield all accepted records of a spec with their keys, bucket by bucket."""
        for key, packed in self.packed_records(spec_id):
            yield key, _unpacked(Record, key, packed)

    def packed_records(self, spec_id: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield all accepted records of a spec as they are stored."""
        return self._scan(spec_id, "accepted")

    def dead_letters(self, spec_id: str) -> Iterator[tuple[bytes, DeadLetter]]:
        """Yield the dead letters of a spec's molecules with their keys, bucket by bucket."""
        for key, packed in self._scan(spec_id, "dead"):
            yield key, _unpacked(DeadLetter, key, packed)

    def invalid_letters(self, run: str) -> Iterator[DeadLetter]:
        """Yield the letters of the rows of a run that are no molecule."""
        with store_errors(self.url):
            for row, packed in self._redis.hscan_iter(letters_key(run), count=500):
                yield _unpacked(DeadLetter, row, packed)

    def fetch(self, spec_id: str, keys: Sequence[bytes]) -> list[Record | None]:
        """Return the accepted record of each key, or None."""
        return self._fetch(Record, "accepted", spec_id, keys)

    def fetch_letters(self, spec_id: str, keys: Sequence[bytes]) -> list[DeadLetter | None]:
        """Return the dead letter of each key, or None."""
        return self._fetch(DeadLetter, "dead", spec_id, keys)

    def _fetch(self, kind: type[Stored], place: str, spec_id: str, keys: Sequence[bytes]) -> list[Stored | None]:
        found = self._pipeline(
            lambda pipe: [pipe.hget(of_spec(bucket_of(key), spec_id, place)[0], key) for key in keys]
        )
        return [_unpacked(kind, key, packed) if packed else None for key, packed in zip(keys, found, strict=True)]

    def state_of(self, spec_id: str, keys: Sequence[bytes]) -> list[str]:
        """Tell for each key where it stands: `accepted`, `dead`, `pending` or `missing`."""
        found = self._pipeline(
            lambda pipe: [
                pipe.hexists(place, key) for key in keys for place in of_spec(bucket_of(key), spec_id, *STATES)
            ]
        )
        places = [*STATES, "missing"]
        return [places[[*found[i : i + 3], True].index(True)] for i in range(0, len(found), 3)]


def _unpacked(kind: type[Stored], key: bytes, packed: bytes) -> Stored:
    try:
        return kind.unpack(packed)
    except ValueError:
        with damaged(f"a {KINDS[kind]}, under {key.hex()},"):
            raise
