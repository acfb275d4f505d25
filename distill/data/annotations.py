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
        sha256: digest of the texts, and of how far samples agree.
        agreement: of the samples of each molecule, 0 to 1 (0 without a text); None where there was one answer each.
    """

    texts: tuple[str | None, ...]
    spec: str
    sha256: str
    agreement: tuple[float, ...] | None = None

    @property
    def missing(self) -> int:
        """How many molecules have no text."""
        return sum(text is None for text in self.texts)

    def shuffled(self, seed: int) -> Annotations:
        """Give every text to some other molecule: the control that tells what texts say from what they weigh."""
        places = [place for place, text in enumerate(self.texts) if text is not None]
        order = places.copy()
        Random(seed).shuffle(order)
        moved = dict(zip(places, order, strict=True))
        sources = [moved.get(place, place) for place in range(len(self.texts))]
        agreement = None if self.agreement is None else [self.agreement[source] for source in sources]
        return _of([self.texts[source] for source in sources], agreement, self.spec)

    def only(self, kept: Sequence[bool]) -> Annotations:
        """Return the texts of some molecules, and none of the others."""
        agreement = None
        if self.agreement is not None:
            agreement = [value if keep else 0.0 for value, keep in zip(self.agreement, kept, strict=True)]
        texts = [text if keep else None for text, keep in zip(self.texts, kept, strict=True)]
        return _of(texts, agreement, self.spec)


def fetch(store: Store, spec: Spec, keys: Sequence[bytes]) -> Annotations:
    """Fetch the annotations of molecules under a spec.

    Args:
        store: where they are.
        spec: under which they were written.
        keys: of the molecules.
    """
    records = store.fetch(spec.id, keys)
    agreement = [record.agreement or 0.0 if record else 0.0 for record in records] if spec.samples else None
    return _of([record.text if record else None for record in records], agreement, spec.id)


def catalog(several: Sequence[Annotations], each: int | None, seed: int) -> Annotations:
    """Put texts by several prompts together, as E-LLaGNN (arXiv 2407.14996) draws prompts out of a catalog.

    Args:
        several: of the same molecules, each under a spec of its own.
        each: texts of a molecule, drawn out of those that it has; None: all of them.
        seed: of the draws, which depend on nothing else.

    Returns:
        The texts of each molecule behind one another, in the order of the specs. How far samples agree is not told.
    """
    chance = Random(seed)
    joined: list[str | None] = []
    for place in range(len(several[0].texts)):
        order = chance.sample(range(len(several)), len(several))
        known = [number for number in order if several[number].texts[place] is not None]
        drawn = sorted(known[: each or len(known)])
        joined.append("\n\n".join(several[number].texts[place] or "" for number in drawn) if drawn else None)
    return _of(joined, None, "+".join(annotations.spec for annotations in several))


def _of(texts: Sequence[str | None], agreement: Sequence[float] | None, spec: str) -> Annotations:
    said = "\0".join(text or "" for text in texts)
    if agreement is not None:
        said += f"\0{list(agreement)}"
    digest = hashlib.sha256(said.encode()).hexdigest()
    return Annotations(tuple(texts), spec, digest, None if agreement is None else tuple(agreement))
