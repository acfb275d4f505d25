"""`gallon embed`: what an LLM wrote about the molecules of a prepared library, and what a text encoder makes of it.

Texts come out of the store shard by shard, a pool of actors embeds them, and both are kept beside the shards: a file of
each shard in a folder that the spec and the encoder name. A later call embeds what has been annotated since, and no
text twice. A molecule takes about 1 kB: its vector in half precision (768 bytes of MiniLM), and its text.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.runtime.errors import ours_unwrapped
from distill.library import duplicates
from distill.library.beside.embeddings import DamagedTextsError, ShardTexts, TextSet, read_texts, write_texts
from distill.library.manifest import PACKAGES
from distill.library.prepared import PreparedLibrary
from distill.library.shard import facts_of, read_columns
from teacher.chemistry.molecule import parse
from teacher.errors import UsageError
from teacher.llm.shots import all_examples
from teacher.nn.text_encoder import TextEmbedder, folder_version, format_text
from teacher.provenance import installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.runtime.session import RaySession
    from cluster.store.store import Store
    from teacher.llm.spec import Spec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What came of embedding a library's annotations.

    Attributes:
        path: the folder.
        spec: of the annotations.
        encoder: that read them.
        molecules: distinct ones of the library.
        annotated: of them, those that have an annotation and now its embedding.
        new: of these, those that were embedded by this call.
        seconds: it took.
    """

    path: Path
    spec: str
    encoder: str
    molecules: int
    annotated: int
    new: int
    seconds: float


def embed_library(
    library: PreparedLibrary,
    store: Store,
    spec: Spec,
    *,
    encoder: str,
    session: RaySession,
    show: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Embed what the store says of a library's molecules, as far as it has not been; the same call goes on.

    Only this process reads the store, so that a machine of the cluster needs to reach the library's folder alone.

    Args:
        library: the prepared library.
        store: with the annotations.
        spec: of the annotations.
        encoder: name of the text encoder.
        session: the Ray cluster to run on.
        show: called with the number of molecules that are done, and of all.

    Raises:
        UsageError: the annotations were written with cells of a row in sight, the encoder cannot be loaded, or a shard
            is damaged.
        StoreError: the store cannot be reached.
    """
    import ray
    from ray.util import ActorPool

    refuse_columns(spec)
    begun = time.monotonic()
    texts = TextSet.at(library.folder, spec.id, encoder, folder_version(encoder))
    texts.begin({"examples": _examples(store, spec), "versions": installed(PACKAGES)})
    gpus = 1 if session.gpus else 0
    workers = min(len(library), max(1, session.room(1, gpus)))
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=3, max_task_retries=3)(Embedder)
    pool: ActorPool | None = None
    annotated, new, done = 0, 0, 0
    for number, molecules, found in _to_do(library, store, spec, texts):
        done += molecules
        annotated += len(found.rows)
        if found.new:
            pool = pool or ActorPool([actor.remote(texts, encoder) for _ in range(workers)])
            if not pool.has_free():
                new += _next(pool)
            pool.submit(lambda worker, task: worker.embed.remote(*task), (number, found))
        if show:
            show(done, library.manifest.molecules)
    while pool and pool.has_next():
        new += _next(pool)
    logger.info("%d of %d molecules of %s have an embedding", annotated, done, library.folder)
    return Embedded(
        path=texts.folder,
        spec=spec.id,
        encoder=encoder,
        molecules=library.manifest.molecules,
        annotated=annotated,
        new=new,
        seconds=time.monotonic() - begun,
    )


def refuse_columns(spec: Spec) -> None:
    """Refuse annotations that a molecule may have several of, and that may hold what stands in the user's table.

    Raises:
        UsageError: they were written with cells of a row in sight.
    """
    if spec.columns:
        raise UsageError(
            f"The annotations of spec {spec.id} were written with cells of a row in sight ({', '.join(spec.columns)}), "
            "which a prepared library does not have: choose those of another spec with --spec."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the store says of a shard.

    Attributes:
        shard: digest of the shard's rows.
        rows: int64, ascending: those that are annotated.
        smiles, texts: of each of them.
        agreement: of its samples, NaN where there was one answer.
        new: whether some of it is not embedded yet.
    """

    shard: str
    rows: NDArray[np.int64]
    smiles: Sequence[str]
    texts: Sequence[str]
    agreement: NDArray[np.float32]
    new: bool


class Embedder:
    """A text encoder in a worker.

    Args:
        texts: where embeddings go.
        encoder: its name.
    """

    def __init__(self, texts: TextSet, encoder: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._texts, self._name = texts, encoder

    @cached_property
    def _embed(self) -> TextEmbedder:
        return TextEmbedder(self._name)  # not when the actor starts, which Ray would only tell as a death

    def embed(self, number: int, found: Found) -> int:
        """Embed the texts of a shard that are new or have changed, and keep all; return how many those were.

        Of a shard of which the store says nothing any more, nothing is kept.
        """
        if not len(found.rows):
            self._texts.file(number).unlink(missing_ok=True)
            return 0
        before = _left(self._texts, number, found.shard)
        place = {row: n for n, row in enumerate(before.rows.tolist())} if before else {}
        kept = {
            n: place[row]
            for n, (row, text) in enumerate(zip(found.rows.tolist(), found.texts, strict=True))
            if before and row in place and before.texts[place[row]] == text
        }
        missing = [n for n in range(len(found.rows)) if n not in kept]
        embedded = self._embed([format_text(found.smiles[n], found.texts[n]) for n in missing])
        vectors = np.empty((len(found.rows), embedded.shape[1]), dtype=np.float16)
        vectors[missing] = embedded
        if before and kept:
            vectors[list(kept)] = before.vectors[list(kept.values())]
        write_texts(ShardTexts(found.rows, found.texts, found.agreement, vectors), self._texts, number, found.shard)
        return len(missing)


def _left(texts: TextSet, number: int, shard_digest: str, *, vectors: bool = True) -> ShardTexts | None:
    """Return what there is of a shard from before; what is damaged is made anew."""
    try:
        return read_texts(texts, number, shard_digest, vectors=vectors)
    except DamagedTextsError as error:
        logger.warning("%s", error)
        return None


def _next(pool: Any) -> int:
    """Return how many texts a worker has embedded that is done.

    Raises:
        UsageError: the encoder cannot be loaded.
    """
    with ours_unwrapped():
        done: int = pool.get_next_unordered()
    return done


def _to_do(library: PreparedLibrary, store: Store, spec: Spec, texts: TextSet) -> Iterator[tuple[int, int, Found]]:
    """Yield each shard, how many distinct molecules it has, and what the store says of them."""
    repeated = duplicates.read(library.folder)
    for number in range(len(library)):
        file = library.shard(number)
        facts = facts_of(file)
        columns = read_columns(file, ["key", "smiles"])
        keys, smiles = columns["key"].to_pylist(), columns["smiles"].to_pylist()
        again = set(repeated.get(number, np.zeros(0, dtype=np.int64)).tolist())
        distinct = [row for row, key in enumerate(keys) if key is not None and row not in again]
        records = store.fetch(spec.id, [keys[row] for row in distinct])
        said = [(row, record) for row, record in zip(distinct, records, strict=True) if record]
        written = [record.text for _, record in said]
        rows = np.array([row for row, _ in said], dtype=np.int64)
        agreement = np.array([np.nan if r.agreement is None else r.agreement for _, r in said], dtype=np.float32)
        there = _left(texts, number, facts.digest, vectors=False)
        same = np.array_equal(there.rows, rows) and list(there.texts) == written if there else not said
        yield (
            number,
            len(distinct),
            Found(facts.digest, rows, [smiles[row] for row in rows.tolist()], written, agreement, new=not same),
        )


def _examples(store: Store, spec: Spec) -> list[str]:
    """Return the keys of the molecules whose answers the prompt shows: who learns from the texts has seen them."""
    prompt = store.prompt(spec)
    return sorted(parse(shot.smiles.encode()).key.hex() for shot in all_examples(prompt.shots)) if prompt else []
