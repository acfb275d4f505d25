"""Annotations of a prepared library and their embeddings, as they lie beside its shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.library.shard import FACTS
from teacher import strict_json
from teacher.errors import GallonError, UsageError
from teacher.files import replacing, write_text
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMBEDDINGS, MANIFEST = "embeddings", "manifest.json"
VERSION = "encoder_version"


@dataclass(frozen=True, slots=True)
class TextSet:
    """The annotations of a spec, read by an encoder: a folder with a file of each shard that has some.

    Attributes:
        folder: of the files.
        spec: id of the spec.
        encoder: name of the encoder.
        version: of an encoder in a folder, as `teacher.nn.text_encoder.folder_version` tells it; None of others, and of
            embeddings from before that was written down.
    """

    folder: Path
    spec: str
    encoder: str
    version: str | None = None

    @classmethod
    def at(cls, library: Path, spec: str, encoder: str, version: str | None = None) -> TextSet:
        """Return where they belong in the folder of a library."""
        name = Path(encoder).name if encoder else "none"
        known_by = [spec, encoder, version] if version else [spec, encoder]
        return cls(library / EMBEDDINGS / f"{name}-{digest(known_by, 16)}", spec, encoder, version)

    @classmethod
    def find(cls, library: Path, spec: str | None = None) -> TextSet | None:
        """Return the one that there is in the folder of a library, of the spec whose id begins so; None without one.

        Of those of an encoder whose files have changed it is the one that was embedded last.

        Raises:
            UsageError: there are several.
        """
        found = [each for each in cls.all_of(library) if each.spec.startswith(spec or "")]
        if len(found) > 1:
            several = ", ".join(f"{each.spec} by {each.encoder}" for each in found)
            raise UsageError(f"The library in {library} has several embeddings ({several}): choose one with --spec.")
        return found[0] if found else None

    @classmethod
    def all_of(cls, library: Path) -> Sequence[TextSet]:
        """Return those in the folder of a library: of each spec and encoder the one that was embedded last.

        Raises:
            UsageError: one is damaged.
        """
        files = sorted((library / EMBEDDINGS).glob(f"*/{MANIFEST}"), key=lambda file: file.stat().st_mtime_ns)
        last = {}
        for file in files:
            facts = _facts(file)
            each = cls(file.parent, facts["spec"], facts["encoder"], facts.get(VERSION))
            last[each.spec, each.encoder] = each
        return sorted(last.values(), key=lambda each: each.folder)

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of them: `spec`, `encoder`, `examples` (keys of molecules that their prompt shows)."""
        return _facts(self.folder / MANIFEST)

    @property
    def named(self) -> dict[str, str]:
        """Which annotations they are of, and who read them, fit for JSON."""
        version = {VERSION: self.version} if self.version else {}
        return {"spec": self.spec, "encoder": self.encoder, **version}

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Make the folder, and write down what it holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = {**self.named, **facts}
        write_text(self.folder / MANIFEST, strict_json.dumps(known, indent=2) + "\n")

    def file(self, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{number:06d}.arrow"


@dataclass(frozen=True, slots=True, eq=False)
class ShardTexts:
    """The annotated rows of a shard.

    Attributes:
        rows: int64, ascending, the R rows.
        texts: the annotations.
        agreement: float32, (R): of an annotation's samples; NaN where there was one answer.
        vectors: float16, (R, width).
    """

    rows: NDArray[np.int64]
    texts: Sequence[str]
    agreement: NDArray[np.float32]
    vectors: NDArray[np.float16]


def write_texts(texts: ShardTexts, where: TextSet, number: int, shard_digest: str) -> None:
    """Write what is known of a shard, whole or not at all.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(texts.vectors.ravel()), texts.vectors.shape[1])
    table = pa.table(
        {
            "row": pa.array(texts.rows, pa.int32()),
            "text": pa.array(list(texts.texts), pa.string()),
            "agreement": pa.array(texts.agreement),
            "embedding": vectors,
        }
    ).replace_schema_metadata({FACTS: json.dumps({"shard": shard_digest})})
    (batch,) = table.combine_chunks().to_batches()
    with replacing(where.file(number)) as aside, pa.OSFile(str(aside), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)


class DamagedTextsError(GallonError):
    """What was written of a shard cannot be read; to embed again writes it anew."""


def read_texts(where: TextSet, number: int, shard_digest: str, *, vectors: bool = True) -> ShardTexts | None:
    """Return what is known of a shard; None where that is nothing, or of other rows.

    Args:
        where: the folder.
        number: of the shard.
        shard_digest: of the shard's rows.
        vectors: whether embeddings are read, too; else there are none.

    Raises:
        DamagedTextsError: what is written of it cannot be read.
    """
    import pyarrow as pa

    file = where.file(number)
    try:
        with pa.memory_map(str(file)) as opened:
            fields = None if vectors else [0, 1, 2]
            reader = pa.ipc.open_file(opened, options=pa.ipc.IpcReadOptions(included_fields=fields))
            if json.loads((reader.schema.metadata or {})[FACTS])["shard"] != shard_digest:
                return None
            batch = reader.get_batch(0)
            rows = batch["row"].to_numpy().astype(np.int64)
            texts, agreement = batch["text"].to_pylist(), np.array(batch["agreement"].to_numpy())
            half = np.zeros((len(rows), 0), dtype=np.float16)
            if vectors:
                half = np.array(batch["embedding"].flatten().to_numpy()).reshape(len(rows), -1)
            return ShardTexts(rows, texts, agreement, half)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DamagedTextsError(f"{file} is damaged: run the same 'gallon embed' again.") from error


def _facts(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(facts["spec"], str) and isinstance(facts["encoder"], str):
            return dict(facts)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{file} is damaged: remove its folder, and run 'gallon embed' again.")
