"""What the store holds: records of accepted annotations and letters about dead ones, and how they are packed.

Both are JSON in a Zstandard frame, so that `redis-cli --raw HGET ... | zstd -d` reads one without this project.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from teacher import strict_json
from teacher.llm.acceptance import Annotation, Sample
from teacher.llm.completion import Completion
from teacher.llm.spec import Sampling
from teacher.llm.validation import Grounding, Share, storable

# On a record of 1.36 kB level 3 takes 10 µs to 499 bytes, level 9 19 µs to 497, level 19 147 µs to 493.
COMPRESSION_LEVEL = 3
LONGEST = 1 << 26  # bytes of an unpacked record: more is a damaged header, which would have terabytes allocated

RAW_SHOWN = 200  # of a row that is no molecule, in its letter

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what tables hold
Moment = Annotated[float, Field(ge=0, lt=253402300800)]  # seconds since 1970, up to the year 9999 that dates end with
Stage = Literal["parse", "prompt", "engine", "thinking", "finish", "schema", "grounding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One accepted annotation.

    Attributes:
        smiles: canonical SMILES of the molecule.
        text: what the LLM wrote, unchanged; where samples vote, what most of them say.
        finish_reason: why the LLM stopped: `stop`, or, of an annotation made elsewhere, what its maker calls it.
        prompt_tokens, completion_tokens: of the attempt that was accepted, all its samples together.
        grounding: how far the text's claims agree with RDKit.
        attempts: how many times the molecule was given to the engine, this time included.
        seed, temperature, max_tokens: the sampling of the attempt that was accepted.
        seconds: from handing the request to the engine to its answer.
        run, software: ids of the run and of the software that made it (see `Store.run` and `Store.software`).
        time: when it was accepted, in seconds since 1970 (UTC).
        reasoning: what the LLM thought before it answered; None where it did not think. No teacher reads it.
        reasoning_tokens: of the completion tokens, those of its thoughts.
        agreement: of several samples with what most of them say, 0 to 1; None where there was one answer.
        samples: the texts of all accepted samples, where all are kept.
        columns: the cells of its row that the LLM was shown, by the names of their columns; the record's key is of the
            molecule and of them.
    """

    smiles: str
    text: str
    finish_reason: str
    prompt_tokens: Whole
    completion_tokens: Whole
    grounding: Grounding
    attempts: Whole
    seed: Whole
    temperature: float
    max_tokens: Whole
    seconds: float
    run: str
    software: str
    time: Moment
    reasoning: str | None = None
    reasoning_tokens: Whole = 0
    columns: dict[str, str] = field(default_factory=dict)
    agreement: Share | None = None
    samples: tuple[Sample, ...] = ()

    @classmethod
    def of(
        cls, smiles: str, completion: Completion, annotation: Annotation, sampling: Sampling, **made_by: Any
    ) -> Record:
        """Make the record of an answer that was accepted.

        Args:
            smiles: canonical.
            completion: what the engine answered.
            annotation: what is kept of it.
            sampling: of the attempt.
            made_by: the other fields: when, in which run, at which attempt, with which cells of the row.
        """
        return cls(
            smiles=smiles,
            text=annotation.text,
            finish_reason="stop",
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.written,
            grounding=annotation.grounding,
            seed=sampling.seed,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            reasoning=storable(annotation.thought.text) if annotation.thought else None,
            reasoning_tokens=completion.thought_tokens,
            agreement=annotation.agreement,
            samples=annotation.samples,
            **made_by,
        )

    def pack(self) -> bytes:
        """Return the record as it is stored."""
        fields = {**_fields(self), "grounding": _fields(self.grounding)}
        if self.reasoning is None:  # as in most records, and in all that are older than thinking
            del fields["reasoning"], fields["reasoning_tokens"]
        fields["samples"] = [_fields(sample) for sample in self.samples]
        for later in ("columns", "agreement", "samples"):  # there were records before there were these
            if fields[later] in ({}, None, []):
                del fields[later]
        return _pack(fields)

    @classmethod
    def unpack(cls, packed: bytes) -> Record:
        """Read a stored record.

        Raises:
            ValueError: these bytes are no packed record.
        """
        return strict_json.read(cls, _unpack(packed))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter: an input that could not be annotated.

    Attributes:
        stage: where it failed.
        error: class of the error.
        message: what was wrong.
        source, row: file and row that brought it, counted from 1.
        smiles: canonical SMILES, or None where the row is no molecule.
        raw: the beginning of the row's molecule as it was written, where it is no molecule.
        text: the beginning of what the LLM wrote last, if anything.
        attempts: how many times it was given to the engine.
        run: id of the run.
        time: when, in seconds since 1970 (UTC).
        columns: the cells of its row that the prompt shows, by the names of their columns, as in a record.
    """

    stage: Stage
    error: str
    message: str
    source: str
    row: Whole
    smiles: str | None = None
    raw: str | None = None
    text: str | None = None
    attempts: Whole = 0
    run: str
    time: Moment
    columns: dict[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Return the letter as it is stored."""
        fields = _fields(self)
        if not self.columns:  # as in all letters that are older than cells
            del fields["columns"]
        return _pack(fields)

    @classmethod
    def unpack(cls, packed: bytes) -> DeadLetter:
        """Read a stored letter.

        Raises:
            ValueError: these bytes are no packed letter.
        """
        return strict_json.read(cls, _unpack(packed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How the molecules of a spec stand. They add up by construction: each stands in exactly one place."""

    accepted: int = 0
    dead: int = 0
    pending: int = 0

    @property
    def molecules(self) -> int:
        """All molecules that the spec has seen."""
        return self.accepted + self.dead + self.pending


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """How the rows of a run stand: `rows = molecules + duplicates + invalid`, `molecules = accepted + dead + pending`.

    `new` and `new_dead` are the molecules that this run itself moved; tokens are those that it spent, and `gpu_seconds`
    those for which its annotators held GPUs, None where nobody counted them.
    """

    rows: int = 0
    molecules: int = 0
    duplicates: int = 0
    invalid: int = 0
    accepted: int = 0
    dead: int = 0
    pending: int = 0
    new: int = 0
    new_dead: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = field(default=0.0)
    gpu_seconds: float | None = None


class _Packer(threading.local):
    """Compressor and decompressor, which may not be shared between threads."""

    def __init__(self) -> None:
        import zstandard

        self.compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_packer: _Packer | None = None


def _fields(kept: Record | DeadLetter | Grounding | Sample) -> dict[str, Any]:
    """Return the fields by name; `dataclasses.asdict` copies the values too, which takes longer than packing them."""
    return {name: getattr(kept, name) for name in kept.__slots__}


def _pack(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    packed: bytes = _codec().compress(text.encode(errors="replace"))  # letters quote texts refused for surrogates
    return packed


def _unpack(packed: bytes) -> bytes:
    import zstandard

    try:
        if (length := zstandard.frame_content_size(packed)) > LONGEST:
            raise ValueError(f"says that it is {length:,} bytes long")
        unpacked: bytes = _codec().decompress(packed)
    except zstandard.ZstdError as error:
        raise ValueError(f"no Zstandard frame: {error}") from None
    return unpacked


def _codec() -> _Packer:
    global _packer  # noqa: PLW0603  made on first use, so that nothing is imported before it is needed
    if _packer is None:
        _packer = _Packer()
    return _packer
