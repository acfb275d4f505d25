"""What Redis holds is checked as it is read: whoever reaches it may have written there, and disks fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cluster.store.connection import StoreError
from cluster.store.record import Ledger, Moment
from teacher import strict_json


class DamagedError(StoreError):
    """The store holds what gallon did not write so."""


class RunFacts(BaseModel):
    """What is known of a run, and perhaps more."""

    model_config = ConfigDict(extra="allow")

    spec: str
    sources: list[str]
    host: str
    state: str
    started: Moment
    finished: Moment = 0.0
    limit: int | None = None
    total_rows: Annotated[int, Field(ge=0)] | None = None
    ledger: Ledger = Ledger()
    reason: str = ""


def run_facts(run: str, text: bytes | str) -> dict[str, Any]:
    """Read what is known of a run, exactly as it was written.

    Raises:
        DamagedError: it is not what a run says of itself.
    """
    with damaged(f"a run, {run},"):
        strict_json.read(RunFacts, text)
        facts: dict[str, Any] = json.loads(text)
        return facts


def ledger_of(facts: Mapping[str, Any]) -> Ledger:
    """Return the ledger with which a run ended."""
    return strict_json.read(Ledger, strict_json.dumps(facts["ledger"]))


@contextmanager
def damaged(what: str) -> Iterator[None]:
    """Take what cannot be read in the body for damage to `what`.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(
            f"The store holds {what} that cannot be read ({' '.join(str(error).split())}): somebody else wrote to it, "
            "or it was damaged. Restore it from a backup."
        ) from error
