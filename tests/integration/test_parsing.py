"""A text that RDKit does not survive costs itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from teacher.chemistry.bounds import LONG, Notation, why_too_dense
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.chemistry.parsing import Parsed, SafeParser, parse_safely
from teacher.chemistry.safe_process import SafeProcess
from teacher.module_process import ProcessStartError
from tests.support.interrupt import interrupt_waiting_after
from tests.support.killers import complete_graph, graphene, v3000

GOOD = [b"CCO", b"c1ccccc1O", b"[Na+].[Cl-]"]
# C60, about the densest that chemists draw.
FULLERENE = (
    b"c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c%10c5c5c1c1c6c6c%11c2c2c7c3c3c8c4c4"
    b"c9c5c1c1c6c2c3c41"
)


@pytest.fixture(scope="module")
def parser() -> Iterator[SafeParser]:
    with closing(SafeParser()) as parser:
        yield parser


@pytest.fixture
def unbounded() -> Iterator[SafeParser]:
    """A parser that hands RDKit what the bounds would refuse."""
    with closing(SafeParser(seconds=3, module="tests.support.unbounded_parser")) as parser:
        yield parser


def smiles(texts: list[bytes]) -> list[tuple[bytes, Notation]]:
    return [(text, "smiles") for text in texts]


def test_it_finds_what_parsing_here_finds(parser: SafeParser) -> None:
    texts = [*GOOD, b"C1CC", b"CC\xffO", b"", b"CN(C)(C)(C)C", FULLERENE] * 100  # more than are asked for at a time
    for text, found in zip(texts, parser.parse(smiles(texts)), strict=True):
        try:
            molecule = parse(text)
        except InvalidMoleculeError as error:
            assert isinstance(found, InvalidMoleculeError)
            assert str(found) == str(error)
        else:
            assert found == Parsed(molecule.smiles, molecule.key)


def test_what_kills_rdkit_and_what_keeps_it_busy_cost_themselves(unbounded: SafeParser) -> None:
    killer, staller = (complete_graph(100), "molblock"), (complete_graph(60), "molblock")
    first, dead, second, stalled, third = unbounded.parse(
        [(GOOD[0], "smiles"), killer, (GOOD[1], "smiles"), staller, (GOOD[2], "smiles")]
    )
    assert [found.smiles for found in (first, second, third) if isinstance(found, Parsed)] == [
        parse(text).smiles for text in GOOD
    ]
    assert isinstance(dead, InvalidMoleculeError)
    assert isinstance(stalled, InvalidMoleculeError)
    assert str(stalled) == "keeps RDKit busy for more than 3 s"
    # On a slow machine it may be given up before it has used up its stack.
    assert str(dead) in {"kills RDKit (SIGSEGV)", "keeps RDKit busy for more than 3 s"}


def test_a_text_is_not_blamed_for_the_death_of_a_process_that_others_kill(parser: SafeParser) -> None:
    for _ in range(2):
        (found,) = parser.parse(smiles(GOOD[:1]))
        assert isinstance(found, Parsed)
        process = parser._process._process
        assert process is not None
        process.kill()
        process.wait()


def test_a_question_that_is_interrupted_leaves_no_answer_for_the_next(parser: SafeParser) -> None:
    parser.parse(smiles(GOOD[:1]))
    process = parser._process._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)  # it takes long over the next question
    interrupt_waiting_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        parser.parse(smiles([b"CCO"]))
    process.send_signal(signal.SIGCONT)
    assert parser.parse(smiles([b"CCN"])) == [Parsed("CCN", parse(b"CCN").key)]
    assert process.poll() is not None


def test_more_or_fewer_answers_than_were_asked_for_are_those_of_no_molecule() -> None:
    with closing(SafeProcess("teacher.chemistry.parsing", 60, at_a_time=200)) as process:
        found = process.work(
            [b"CCO", b"CCN", b"CCC"],
            lambda some: json.dumps([(raw.decode(), "smiles") for raw in some]).encode(),
            lambda line: [smiles for smiles, _ in json.loads(line)][:1],
            str,
        )
    assert found == ["CCO", "CCN", "CCC"]


@pytest.mark.parametrize("is_among_the_places", [False, True], ids=["a command", "a worker of Ray"])
def test_files_of_the_users_are_not_run_in_the_place_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_among_the_places: bool
) -> None:
    for module in ("select", "rdkit"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    if is_among_the_places:  # which the worker has from its driver
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with closing(SafeParser()) as parser:
        assert parser.parse(smiles(GOOD[:1])) == [Parsed("CCO", parse(b"CCO").key)]


def test_a_module_in_the_current_folder_is_found_where_the_caller_would_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_parser_in_a_checkout.py").write_text("from teacher.chemistry.parsing import main\n\nmain()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with closing(SafeParser(module="a_parser_in_a_checkout")) as parser:
        assert parser.parse(smiles(GOOD[:1])) == [Parsed("CCO", parse(b"CCO").key)]


def test_a_process_that_cannot_start_is_the_machines_fault_and_no_molecules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_broken_parser.py").write_text("print('hello')\nraise MemoryError('of a small machine')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        closing(SafeParser(module="a_broken_parser")) as parser,
        pytest.raises(ProcessStartError, match=r"cannot start .*exit status 1, MemoryError: of a small machine"),
    ):
        parser.parse(smiles(GOOD))


LITTLE_MEMORY = """
import resource
from contextlib import closing

from teacher.chemistry.parsing import SafeParser

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
with closing(SafeParser()) as parser:
    print(parser.parse([(b"OCC", "smiles")])[0].smiles)
"""


def test_molecules_are_parsed_where_less_memory_is_allowed_than_we_would_take() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-c", LITTLE_MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "CCO\n", done.stderr


@pytest.mark.parametrize(
    ("raw", "notation", "reason"),
    [
        (complete_graph(80), "molblock", "3,081 rings"),
        (complete_graph(80, "C"), "molblock", "3,081 rings"),
        (v3000(["U"] * 400, [(hub, atom) for atom in range(3, 401) for hub in (1, 2)]), "molblock", "rings"),
        (v3000(["U"] * 102, [(hub, atom) for atom in range(3, 103) for hub in (1, 2)]), "molblock", "100 neighbours"),
        (v3000(["C"] * 500, [(1, atom) for atom in range(2, 501)]), "molblock", "499 neighbours"),
        (graphene(30, 40), "smiles", "rings"),
        (v3000(["C"], []).replace(b" C 0 0 0 0", b" C 0 0 0 0 VAL=99999999"), "molblock", "breaks RDKit"),
    ],
)
def test_what_rdkit_cannot_bear_is_refused_with_the_reason(raw: bytes, notation: Notation, reason: str) -> None:
    with pytest.raises(InvalidMoleculeError, match=reason):
        parse_safely(raw, notation)


def test_what_chemists_draw_is_within_the_bounds() -> None:
    assert parse_safely(FULLERENE).mol.GetNumAtoms() == 60
    chain = b"C" * 400
    assert len(chain) > LONG["smiles"]
    assert parse_safely(chain).mol.GetNumAtoms() == 400
    assert why_too_dense(graphene(16, 18).decode(), "smiles") is None


@pytest.mark.parametrize("text", ["", "\n\n\n", "\n\n\n999999 V2000", "\n\n\n  0  0 V3000\nM  V30 1 1 x y", "C(", "\0"])
@pytest.mark.parametrize("notation", ["smiles", "molblock"])
def test_a_damaged_text_is_left_to_rdkit(text: str, notation: Notation) -> None:
    assert why_too_dense(text, notation) is None
