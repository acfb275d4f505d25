"""A witness: remembers what the store acknowledged and what runs said, and compares it with what is true at the end."""

from __future__ import annotations

from typing import Any

from cluster.records.completeness import CompletenessReport
from cluster.store.store import Store


class Witness:
    """What was seen during the faults.

    Attributes:
        failures: runs that ended with an error though nothing that ends a run befell them.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._acknowledged: set[bytes] = set()
        self._said: list[dict[str, Any]] = []

    def forget(self) -> None:
        """Begin anew, since all that was stored is gone."""
        self._acknowledged.clear()
        self._said.clear()

    def look(self, store: Store, spec_id: str) -> None:
        """Remember which molecules are accepted now."""
        self._acknowledged |= {key for key, _ in store.packed_records(spec_id)}

    def hear(self, ledger: dict[str, Any]) -> None:
        """Remember the ledger of a run that finished."""
        self._said.append(ledger)

    def lost(self, store: Store, spec_id: str) -> int:
        """Count the molecules that were accepted once and are not now."""
        return len(self._acknowledged - {key for key, _ in store.packed_records(spec_id)})

    def lies(self, true: CompletenessReport) -> int:
        """Count the finished runs whose ledger does not say what a recount of their library finds."""
        facts = {
            "rows": true.rows,
            "molecules": true.molecules,
            "duplicates": true.duplicates,
            "invalid": true.invalid,
            "accepted": true.accepted,
            "dead": true.dead,
            "pending": 0,
        }
        return sum(any(ledger[name] != fact for name, fact in facts.items()) for ledger in self._said)
