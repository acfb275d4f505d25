"""What a screening has done so far, in files beside its output: who was stopped goes on behind them.

A part holds the rows that are written of `PART_ROWS` and more rows of the library. It is complete or not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher.errors import UsageError
from teacher.files import replacing, write_text
from teacher.provenance import digest

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 65_536  # of the library, some seconds of work
PLAN = "screening.json"
PARTS, ASIDE = "[0-9]" * 6 + ".arrow", ".gallon-*"  # the files of parts, and those that a killed process was writing


class Parts:
    """The parts of an output.

    Args:
        out: the output.
        facts: all that decides what stands in it, fit for JSON; parts of another screening are removed.

    Attributes:
        rows: of the library that are done.
        invalid: those of them that hold no molecule.

    Raises:
        UsageError: what lies in the place of their folder is not of a screening.
    """

    def __init__(self, out: Path, facts: dict[str, Any]) -> None:
        self._folder, self._plan = out.with_name(f"{out.name}.parts"), digest(facts)
        self._files: list[Path] = []
        self.rows = self.invalid = 0
        self._refuse_what_is_not_ours(out)
        self._find()

    def _refuse_what_is_not_ours(self, out: Path) -> None:
        if not self._folder.exists() or (self._folder / PLAN).is_file():
            return
        if not self._folder.is_dir() or set(self._folder.iterdir()) - set(self._folder.glob(ASIDE)):
            raise UsageError(
                f"{self._folder} is not of a screening, and its name is that of the parts of {out.name}: move it, or "
                "choose another name with --out."
            )

    def _find(self) -> None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            if json.loads((self._folder / PLAN).read_text())["plan"] == self._plan:
                while (file := self._file(len(self._files))).is_file():
                    counts = _schema(file).metadata
                    self.rows += int(counts[b"rows"])
                    self.invalid += int(counts[b"invalid"])
                    self._files.append(file)

    def add(self, tables: Iterable[pa.Table], rows: int, invalid: int) -> None:
        """Keep what is to be written of so many rows of the library.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        import pyarrow as pa

        if not self._files:
            self.remove()
            self._folder.mkdir(exist_ok=True)
            write_text(self._folder / PLAN, json.dumps({"plan": self._plan}))
        part = pa.concat_tables(tables)
        schema = part.schema.with_metadata({"rows": str(rows), "invalid": str(invalid)})
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        file = self._file(len(self._files))
        with (
            replacing(file) as aside,
            pa.OSFile(str(aside), "wb") as sink,
            pa.ipc.new_file(sink, schema, options=options) as writer,
        ):
            writer.write_table(part)
        self._files.append(file)
        self.rows += rows
        self.invalid += invalid

    def tables(self) -> Iterator[pa.Table]:
        """Yield what is to be written, part by part."""
        import pyarrow as pa

        for file in self._files:
            with pa.OSFile(str(file)) as source, pa.ipc.open_file(source) as reader:
                yield reader.read_all().replace_schema_metadata(None)

    def remove(self) -> None:
        """Remove all parts: they are written, or of no use. What else somebody has put beside them stays.

        The plan goes last: it tells whose the others are.
        """
        with suppress(OSError):
            for file in [*self._folder.glob(ASIDE), *sorted(self._folder.glob(PARTS)), self._folder / PLAN]:
                file.unlink(missing_ok=True)
            self._folder.rmdir()

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06}.arrow"


def _schema(file: Path) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(file)) as source, pa.ipc.open_file(source) as reader:
        return reader.schema
