"""Parsing in a process of its own: a text that kills RDKit, or keeps it busy for ever, costs itself and nothing else.

`bounds` refuses what is known to do so. What is not known yet ends the process that parses, which is then started
again; the texts that it held are tried one by one, and the one that ends it alone is no molecule. It has to do so
twice, since a process may also be killed for what others did (by the kernel, where memory is short).
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

from teacher.chemistry.bounds import Notation, is_long
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, from_mol, key_of, parse, read_mol

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

Text = tuple[bytes, Notation]

TEXTS_AT_A_TIME = 200  # parsed in a twentieth of a second; asking costs a hundredth of that
SECONDS = 60.0  # for so many, or for one: the slowest molecule within the bounds takes about two
MEMORY_BYTES = 8 << 30
TRIES = 2  # of a text alone


@dataclass(frozen=True, slots=True)
class Parsed:
    """What is known of a molecule that was parsed elsewhere: its canonical SMILES, and its key (16 bytes)."""

    smiles: str
    key: bytes


class SafeParser:
    """Parses texts in a process of its own, which is started with the first text; threads take turns.

    Args:
        seconds: after which a text is given up.
        module: what the process runs.
    """

    def __init__(self, seconds: float = SECONDS, module: str = __name__) -> None:
        self._command = [sys.executable, "-m", module, str(seconds)]
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def parse(self, texts: Sequence[Text]) -> list[Parsed | InvalidMoleculeError]:
        """Return for each text its molecule, or why it is none."""
        with self._lock:
            return [
                found
                for start in range(0, len(texts), TEXTS_AT_A_TIME)
                for found in self._parse(texts[start : start + TEXTS_AT_A_TIME])
            ]

    def close(self) -> None:
        """End the process; the next text would start it again."""
        with self._lock:
            if self._process is not None:
                self._process.communicate()
                self._process = None

    def _parse(self, texts: Sequence[Text], tries: int = TRIES) -> list[Parsed | InvalidMoleculeError]:
        try:
            return self._ask(texts)
        except _ParserEndedError as error:
            logger.warning("the process that parses ended: one of %d texts %s", len(texts), error.reason(self._seconds))
            if len(texts) > 1:
                return [found for text in texts for found in self._parse([text])]
            if error.is_about_time or tries == 1:
                return [InvalidMoleculeError(error.reason(self._seconds))]
            return self._parse(texts, tries - 1)

    def _ask(self, texts: Sequence[Text]) -> list[Parsed | InvalidMoleculeError]:
        """Have texts parsed, all of them or none.

        Raises:
            _ParserEndedError: the process ended over them.
        """
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        question = json.dumps([(raw.decode("latin-1"), notation) for raw, notation in texts])
        try:
            process.stdin.write(question.encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            self._process = None
            with process, suppress(BrokenPipeError):  # over what it did not read
                process.stdin.close()
            raise _ParserEndedError(process.returncode)
        return [
            Parsed(smiles, key_of(smiles)) if smiles is not None else InvalidMoleculeError(reason)
            for smiles, reason in json.loads(answer)
        ]

    def _start(self) -> subprocess.Popen[bytes]:
        # Workers of Ray find modules where their driver does, which their environment does not tell.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.Popen(self._command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@cache
def shared_parser() -> SafeParser:
    """Return this process's parser."""
    return SafeParser()


def read_mol_safely(raw: bytes, notation: Notation = "smiles") -> Mol:
    """Return the sanitised RDKit molecule of a text, as `read_mol` does, and try a long text elsewhere before.

    Raises:
        InvalidMoleculeError: as `read_mol`, or RDKit does not survive the text.
    """
    if is_long(raw, notation):
        (found,) = shared_parser().parse([(raw, notation)])
        if isinstance(found, InvalidMoleculeError):
            raise found
    return read_mol(raw, notation)


def parse_safely(raw: bytes, notation: Notation = "smiles") -> Molecule:
    """Parse a text as `parse` does, and try a long one elsewhere before.

    Raises:
        InvalidMoleculeError: as `read_mol_safely`.
    """
    return from_mol(read_mol_safely(raw, notation))


class _ParserEndedError(Exception):
    """The process that parses ended before it answered."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self._signal = signal.Signals(-status).name if status < 0 else f"exit status {status}"

    @property
    def is_about_time(self) -> bool:
        """Whether its time was over: it would be again."""
        return self._signal == signal.SIGALRM.name

    def reason(self, seconds: float) -> str:
        """Say what a text did."""
        if self.is_about_time:
            return f"keeps RDKit busy for more than {seconds:g} s"
        return f"kills RDKit ({self._signal})"


def main() -> None:
    """Answer questions on standard input until it is closed, each a line of JSON, as is its answer."""
    from rdkit import Chem  # noqa: F401  which is not to count as the first text's time

    seconds = float(sys.argv[1])
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # RDKit's last words: the reason is in the answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks, and closes standard input
    for question in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # nobody handles its signal, which ends RDKit wherever it is
        _answer(json.loads(question), answers)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(texts: list[Any], answers: IO[bytes]) -> None:
    found = [_parsed(raw.encode("latin-1"), notation) for raw, notation in texts]
    answers.write(json.dumps(found).encode() + b"\n")
    answers.flush()


def _parsed(raw: bytes, notation: Notation) -> tuple[str | None, str | None]:
    try:
        return parse(raw, notation).smiles, None
    except InvalidMoleculeError as error:
        return None, str(error)


if __name__ == "__main__":
    main()
