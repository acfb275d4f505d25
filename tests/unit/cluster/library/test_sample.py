"""Rows drawn from a library."""

from __future__ import annotations

from pathlib import Path

from cluster.library.rows import ROWS_PER_BLOCK
from cluster.library.sample import sample_rows
from cluster.library.source import resolve


def test_rows_are_drawn_from_all_of_a_library_by_a_seed(tmp_path: Path) -> None:
    lengths = (ROWS_PER_BLOCK + 10, 100)
    for number, length in enumerate(lengths):
        (tmp_path / f"{number}.smi").write_text("".join(f"{number}-{row}\n" for row in range(1, length + 1)))
    sources = resolve([str(tmp_path / "0.smi"), str(tmp_path / "1.smi")])
    drawn = sample_rows(sources, None, sum(lengths), 400, seed=0)
    rows = drawn.to_pylist()
    assert len({row["raw"] for row in rows}) == 400
    assert all(row["raw"].decode() == f"{row['source']}-{row['row']}" for row in rows)
    assert {row["source"] for row in rows} == {0, 1} and max(row["row"] for row in rows) > ROWS_PER_BLOCK * 0.9
    assert rows == sorted(rows, key=lambda row: (row["source"], row["row"]))
    assert drawn == sample_rows(sources, None, sum(lengths), 400, seed=0)
    assert drawn != sample_rows(sources, None, sum(lengths), 400, seed=1)
    assert sample_rows(sources, 50, 50, 400, seed=0).num_rows == 50
