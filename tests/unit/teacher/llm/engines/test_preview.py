"""A prompt as a person reads it."""

from __future__ import annotations

import pytest

from teacher.llm.engines.preview import _written


@pytest.mark.parametrize("place", ["<image>", "<|image_pad|>", "[IMG]"])
def test_a_pictures_places_are_counted_and_a_molecule_stands_as_it_is(place: str) -> None:
    pieces = ["SMILES:", " ", *"CCCCCCCCc1ccccc1", "\n", *[place] * 64, "\n", *"=" * 8]
    ids = [sorted(set(pieces)).index(piece) for piece in pieces]
    assert _written(ids, lambda some: "".join(sorted(set(pieces))[token] for token in some)) == (
        f"SMILES: CCCCCCCCc1ccccc1\n{place} x 64\n========"
    )
