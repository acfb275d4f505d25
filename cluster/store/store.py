"""The store: what Redis holds, and the few atomic steps by which it changes.

Every molecule of a spec stands in exactly one of three hashes: pending, accepted or dead. A step moves it from one to
another in one Lua script, and the ledger is the length of the hashes, so it cannot drift from what is there.
`cluster.store.keys` lists all keys.
"""

from __future__ import annotations

from cluster.store.catalog import Catalog
from cluster.store.contents import Contents
from cluster.store.keys import LETTERS_SECONDS, RUN_SECONDS
from cluster.store.ledgers import Ledgers
from cluster.store.molecules import FINISHED, HELD, Molecules, Row

__all__ = ["FINISHED", "HELD", "LETTERS_SECONDS", "RUN_SECONDS", "Row", "Store"]


class Store(Catalog, Molecules, Ledgers, Contents):
    """The annotations in one Redis.

    What it can be asked is in five families: what has a name (`Catalog`), who is alive (`Heartbeats`), how a molecule
    moves (`Molecules`), how many there are (`Ledgers`), and what was written (`Contents`).

    Every method raises `StoreError` when Redis fails or refuses.
    """
