"""Which rows of a shard end the process that describes them: found out in a process of its own (`safe_process`).

It is asked only about rows that have ended a worker, since asking costs as much as describing them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distill.features.vectors import DescriptorSet
from distill.library.shard import Describer, ShardFacts, write_shard
from teacher.chemistry.parsing import Text
from teacher.chemistry.safe_process import SECONDS, SafeProcess, serve

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_A_TIME = 200

Row = tuple[Text, DescriptorSet]


def write_shard_safely(rows: pa.Table, descriptors: DescriptorSet, file: Path, module: str = __name__) -> ShardFacts:
    """Describe and write rows as `write_shard` does; those that RDKit does not survive are written as no molecules.

    Args:
        rows: as `cluster.library.rows.read` yields them.
        descriptors: that stand beside the counts.
        file: to be written.
        module: what the process runs.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    texts = list(zip(rows["raw"].to_pylist(), rows["notation"].to_pylist(), strict=True))
    return write_shard(rows, descriptors, file, killers(texts, descriptors, module))


def killers(texts: Sequence[Text], descriptors: DescriptorSet, module: str = __name__) -> dict[int, str]:
    """Return what each of the texts does that RDKit does not survive, by its place."""
    process = SafeProcess(module, SECONDS, ROWS_AT_A_TIME)
    try:
        verdicts = process.work([(text, descriptors) for text in texts], _question, _answers, str)
    finally:
        process.close()
    return {place: reason for place, reason in enumerate(verdicts) if reason}


def _question(rows: Sequence[Row]) -> bytes:
    asked = [(raw.decode("latin-1"), notation, descriptors) for (raw, notation), descriptors in rows]
    return json.dumps(asked).encode()


def _answers(line: bytes) -> list[str]:
    return [""] * int(json.loads(line))


def main() -> None:
    """Describe what standard input asks for: each line is a list of texts, notations and descriptor sets, as JSON."""
    from rdkit import Chem  # noqa: F401  which is not to count as the first row's time

    serve(_answer)


def _answer(question: bytes) -> bytes:
    rows = json.loads(question)
    describer = Describer(rows[0][2])
    for raw, notation, _ in rows:
        describer.add(raw.encode("latin-1"), notation)
    return json.dumps(len(rows)).encode()


if __name__ == "__main__":
    main()
