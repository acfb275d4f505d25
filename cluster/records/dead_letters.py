"""Dead letters of a spec: list them, write them to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from cluster.store.record import DeadLetter
from cluster.store.store import Store
from teacher import strict_json
from teacher.files import replacing
from teacher.llm.spec import Spec


def dead_letters(store: Store, spec: Spec, run: str | None = None) -> Iterator[DeadLetter]:
    """Yield the letters of a spec's dead molecules, then of rows that are no molecule.

    Args:
        store: that has them.
        spec: of the molecules.
        run: whose rows count; by default the latest run over each library, for each parses its rows anew.
    """
    for _, letter in store.dead_letters(spec.id):
        yield letter
    for each in [run] if run else _latest_runs(store, spec):
        yield from store.invalid_letters(each)


def _latest_runs(store: Store, spec: Spec) -> list[str]:
    """Return the latest run of a spec over each set of files, the oldest first."""
    latest: dict[frozenset[str], str] = {}
    for run, facts in store.runs().items():
        if facts["spec"] == spec.id:
            files = frozenset(facts["sources"])
            latest.pop(files, None)
            latest[files] = run
    return list(latest.values())


def write_jsonl(letters: Iterable[DeadLetter], out: Path) -> int:
    """Write letters to a file of JSON lines and return how many.

    Raises:
        OutputError: the file cannot be written.
    """
    written = 0
    with replacing(out) as aside, aside.open("w", encoding="utf-8") as file:
        for letter in letters:
            file.write(strict_json.dumps(asdict(letter), ensure_ascii=False) + "\n")
            written += 1
    return written
