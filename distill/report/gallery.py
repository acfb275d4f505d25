"""The annotations as `gallery.js` shows them: drawn, with each claim marked right or wrong, and their provenance.

A page carries them in pieces of a few hundred, each compressed by itself, and unpacks only those that somebody looks at
or searches: 100,000 records are a page of some tens of megabytes that opens at once.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from cluster.store.record import Record
from cluster.store.stored import damaged
from distill.report.layout import layout
from teacher import strict_json
from teacher.chemistry.facts import Facts, facts_of, matches_of_groups, mentioned_groups
from teacher.chemistry.molecule import read_mol
from teacher.llm.validation import claimed_groups, parsed_object, right_ring_counts
from teacher.processes import process_pool

PER_PIECE = 500
LEVEL = 6  # of compression: level 9 takes twice as long for two hundredths
RDKIT_ERRORS = (RuntimeError, ValueError)  # what RDKit raises over a molecule that it cannot lay out
NO_SKETCH: dict[str, list[Any]] = {"at": [], "labels": [], "bonds": []}

Keyed = tuple[bytes, Record]


@dataclass(kw_only=True)
class Gallery:
    """Records packed for a page.

    Attributes:
        pieces: compressed JSON of `PER_PIECE` records each, in base64.
        scores: a byte of grounding for each record, in hundredths.
        own: a byte for each record: whether the run that is reported on made it.
        groups: how many records claim a group, by its name.
    """

    pieces: list[str] = field(default_factory=list)
    scores: bytes = b""
    own: bytes = b""
    groups: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.scores)

    def index(self) -> dict[str, Any]:
        """Return what the page knows of all records before it unpacks one."""
        return {
            "records": len(self),
            "perPiece": PER_PIECE,
            "scores": base64.b64encode(self.scores).decode(),
            "own": base64.b64encode(self.own).decode(),
        }


def gallery(
    records: Iterable[Keyed], run: str, *, structured: bool, show: Callable[[int], None] | None = None
) -> Gallery:
    """Pack records for a page, on all cores: laying a molecule out takes a millisecond or two.

    Args:
        records: with the keys of their molecules.
        run: that is reported on.
        structured: whether their texts are JSON objects.
        show: called with the number of records packed so far.
    """
    whole = Gallery()
    for piece in _spread(partial(_piece, run=run, structured=structured), _cut(records)):
        whole.pieces += piece.pieces
        whole.scores += piece.scores
        whole.own += piece.own
        whole.groups += piece.groups
        if show:
            show(len(whole))
    return whole


def _cut(records: Iterable[Keyed]) -> Iterator[list[Keyed]]:
    stream = iter(records)
    while part := list(islice(stream, PER_PIECE)):
        yield part


def _spread(pack: Callable[[list[Keyed]], Gallery], parts: Iterator[list[Keyed]]) -> Iterator[Gallery]:
    """Pack parts in order, in other processes where there is more than one, a few ahead of what is taken."""
    ahead = list(islice(parts, 2))
    if len(ahead) < 2:
        yield from map(pack, ahead)
        return
    cores = os.cpu_count() or 1
    with process_pool(cores) as pool:
        waiting = [pool.submit(pack, part) for part in (*ahead, *islice(parts, 2 * cores))]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(pack, part) for part in islice(parts, 1)]


def _piece(records: Sequence[Keyed], run: str, *, structured: bool) -> Gallery:
    groups: Counter[str] = Counter()
    entries = []
    for key, record in records:
        with damaged(f"a record, under {key.hex()},"):  # which the checks of a run would not have accepted
            fields = parsed_object(record.text) if structured else None
            claimed = claimed_groups(fields) if fields is not None else mentioned_groups(record.text)
            groups.update(claimed)
            entries.append(_entry(key, record, fields, claimed))
    text = strict_json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    return Gallery(
        pieces=[base64.b64encode(zlib.compress(text.encode(), LEVEL)).decode()],
        scores=bytes(round(100 * record.grounding.score) for _, record in records),
        own=bytes(record.run == run for _, record in records),
        groups=groups,
    )


def _entry(key: bytes, record: Record, fields: Mapping[str, Any] | None, claimed: frozenset[str]) -> dict[str, Any]:
    mol = read_mol(record.smiles.encode())  # within the bounds of a library's, whoever wrote it
    facts = facts_of(mol)
    try:
        drawn = layout(mol)
    except RDKIT_ERRORS:
        drawn = NO_SKETCH
    return {
        "smiles": record.smiles,
        "text": record.text,
        "groups": list(_marked(claimed, facts, matches_of_groups(mol))),
        "facts": list(_judged(fields, facts)) if fields is not None else [],
        "score": round(record.grounding.score, 3),
        "made": {
            "molecule key": key.hex(),
            **{f"column {name}": cell for name, cell in record.columns.items()},
            "run": record.run,
            "time": record.time,
            "seconds": record.seconds,
            "attempts": record.attempts,
            "prompt tokens": record.prompt_tokens,
            "completion tokens": record.completion_tokens,
            **({"of them thoughts": record.reasoning_tokens} if record.reasoning is not None else {}),
            **({"agreement of samples": round(record.agreement, 3)} if record.agreement is not None else {}),
            "finish reason": record.finish_reason,
            "seed": record.seed,
            "temperature": record.temperature,
            "max tokens": record.max_tokens,
            "software": record.software,
        },
        "sketch": drawn,
    }


def _marked(
    claimed: frozenset[str], facts: Facts, matches: Mapping[str, list[frozenset[int]]]
) -> Iterator[tuple[str, str, list[int]]]:
    """Yield each group with "right", "wrong" or "missed", and the atoms where it is."""
    there = facts.functional_groups
    for name in (*there, *sorted(claimed.difference(there))):
        mark = "wrong" if name not in there else "right" if name in claimed else "missed"
        yield name, mark, sorted(frozenset().union(*matches.get(name, [])))


def _judged(fields: Mapping[str, Any], facts: Facts) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that RDKit knows as well: its name, what was claimed, and what is true."""
    for name, true in {**asdict(facts), **right_ring_counts(fields, facts)}.items():
        if name not in ("functional_groups", "perimeter_rings") and isinstance(fields.get(name), str | int | float):
            yield name, fields[name], true
