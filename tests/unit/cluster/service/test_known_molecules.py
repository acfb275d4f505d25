"""Molecules that were asked for before: parsed once, whoever asks for others meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from cluster.service.known_molecules import KnownMolecules
from teacher.chemistry.molecule import InvalidMoleculeError
from teacher.chemistry.parsing import Parsed, SafeParser

KEPT = 2


@pytest.fixture
def parser() -> Iterator[SafeParser]:
    with closing(SafeParser()) as parser:
        yield parser


def test_a_request_keeps_its_molecules_while_others_bring_more_than_are_kept(parser: SafeParser) -> None:
    known = KnownMolecules(parser, most=KEPT)

    async def ask() -> list[list[Parsed | InvalidMoleculeError]]:
        await known.parse(["C"])
        return await asyncio.gather(known.parse(["N", "O"]), known.parse(["C", "CC", "C"]))

    _, found = asyncio.run(ask())
    assert [each.smiles for each in found if isinstance(each, Parsed)] == ["C", "CC", "C"]


def test_what_was_asked_for_before_is_not_parsed_again(parser: SafeParser) -> None:
    known = KnownMolecules(parser)
    first = asyncio.run(known.parse(["CCO", "CX"]))
    parser.close()
    assert asyncio.run(known.parse(["CX", "CCO"])) == first[::-1]
    assert parser._process._process is None


def test_a_stall_of_the_machine_does_not_stick_to_a_molecule(parser: SafeParser) -> None:
    known = KnownMolecules(parser)
    process = parser._process._process
    assert process is not None
    process.send_signal(signal.SIGALRM)  # as its own clock does, however little of the time the process was given
    process.wait()
    (stalled,) = asyncio.run(known.parse(["CCO"]))
    assert isinstance(stalled, InvalidMoleculeError)
    assert "busy" in str(stalled)
    (found,) = asyncio.run(known.parse(["CCO"]))
    assert isinstance(found, Parsed)
