"""What a front reads of the store: the right thing about each molecule, by few commands."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cluster.service.stored_answers import StoredAnswers
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Row, Store
from teacher.chemistry.molecule import key_of
from tests.support.records import letter, record

SMILES = ("CCO", "CCN", "CCC", "CCS")
KEYS = [key_of(smiles) for smiles in SMILES]


def keep(store: Store) -> None:
    """Store two records and a dead letter, and have one molecule pending."""
    store.register("spec", "run", [Row(key, 0, row) for row, key in enumerate(KEYS, 1)])
    outcomes: list[Record | DeadLetter] = [record(SMILES[0]), replace(letter(), smiles=SMILES[1]), record(SMILES[2])]
    store.commit("spec", "run", list(zip(KEYS[:3], outcomes, strict=True)), [(1, 1)] * 3)


def read(store: Store, keys: list[bytes]) -> dict[bytes, Record | DeadLetter]:
    async def go() -> dict[bytes, Record | DeadLetter]:
        answers = StoredAnswers(store.url, "spec")
        try:
            return await answers.read(keys)
        finally:
            await answers.close()

    return asyncio.run(go())


def test_each_molecule_has_its_record_or_its_letter_or_nothing(store: Store) -> None:
    keep(store)
    found = read(store, [*KEYS, key_of("CCF")])
    assert [found[key].smiles for key in KEYS[:3]] == list(SMILES[:3])
    assert [type(found[key]) for key in KEYS[:3]] == [Record, DeadLetter, Record]
    assert found.keys() == set(KEYS[:3])
    assert read(store, KEYS[1:2]).keys() == {KEYS[1]}
    assert read(store, []) == read(store, KEYS[3:]) == {}


def test_a_stored_record_is_read_by_one_command(store: Store) -> None:
    keep(store)
    before = store._redis.info("commandstats").get("cmdstat_hget", {"calls": 0})["calls"]
    assert read(store, KEYS[:1])
    assert store._redis.info("commandstats")["cmdstat_hget"]["calls"] == before + 1


def test_connections_that_redis_has_closed_are_opened_again(store: Store) -> None:
    keep(store)

    async def go() -> None:
        answers = StoredAnswers(store.url, "spec")
        try:
            for _ in range(3):
                found = await asyncio.gather(*(answers.read(KEYS[:1]) for _ in range(8)))
                assert all(each.keys() == {KEYS[0]} for each in found)
                store._redis.client_kill_filter(_type="normal", skipme=True)
        finally:
            await answers.close()

    asyncio.run(go())
