"""What an LLM wrote about the molecules of a dataset, out of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cluster.store.store import Store
from teacher.llm.spec import Spec


@dataclass(frozen=True, slots=True)
class Annotations:
    """One text for each molecule of a dataset, or None where the store has none.

    Attributes:
        texts: in the dataset's order.
        spec: id of the spec that they were written under.
        sha256: digest of the texts.
    """

    texts: tuple[str | None, ...]
    spec: str
    sha256: str

    @property
    def missing(self) -> int:
        """How many molecules have no text."""
        return sum(text is None for text in self.texts)

    def shuffled(self, seed: int) -> Annotations:
        """Give every text to some other molecule: the control that tells what texts say from what they weigh."""
        places = [place for place, text in enumerate(self.texts) if text is not None]
        order = places.copy()
        Random(seed).shuffle(order)
        texts = list(self.texts)
        for place, source in zip(places, order, strict=True):
            texts[place] = self.texts[source]
        return _of(texts, self.spec)


def fetch(store: Store, spec: Spec, keys: Sequence[bytes]) -> Annotations:
    """Fetch the annotations of molecules under a spec.

    Args:
        store: where they are.
        spec: under which they were written.
        keys: of the molecules.
    """
    return _of([record.text if record else None for record in store.fetch(spec.id, keys)], spec.id)


def _of(texts: Sequence[str | None], spec: str) -> Annotations:
    digest = hashlib.sha256("\0".join(text or "" for text in texts).encode()).hexdigest()
    return Annotations(tuple(texts), spec, digest)
