"""N-grams of texts: the same run of characters is the same column, wherever it stands, and none crosses two texts."""

from __future__ import annotations

import numpy as np
import pytest

from distill.features.ngrams import COLUMNS, LONGEST, NOTHING, Texts


def columns_of(texts: list[bytes]) -> list[list[list[int]]]:
    """Return of each text, for each length, the columns of its runs."""
    joined = Texts.of(texts)
    ends = np.cumsum(joined.lengths)
    return [
        [found[first:end].tolist() for found in joined.columns()]
        for first, end in zip(joined.firsts, ends, strict=True)
    ]


def test_a_text_has_the_same_columns_whatever_stands_beside_it() -> None:
    texts = [b"CCO", b"", b"c1ccccc1", b"C", b"CC(=O)O"]
    assert columns_of(texts) == [columns_of([text])[0] for text in texts]


def test_a_text_of_n_characters_has_as_many_runs_as_fit_between_its_marks() -> None:
    (found,) = columns_of([b"CCO"])  # with its marks five characters, and one place for each but the last
    assert [sum(column != NOTHING for column in of_length) for of_length in found] == [4, 4, 3, 2, 1, 0]
    assert LONGEST == 6


def test_runs_are_known_by_their_characters_and_by_the_ends_of_the_text() -> None:
    (found,) = columns_of([b"CNCNC"])
    pairs = found[1]
    assert pairs[1] == pairs[3] and pairs[2] == pairs[4]  # CN, NC
    assert len({pairs[0], pairs[1], pairs[2], pairs[5]}) == 4  # and ^C, C$
    assert all(0 <= column <= COLUMNS for of_length in found for column in of_length)


@pytest.mark.parametrize("texts", [[], [b""]])
def test_nothing_has_no_columns(texts: list[bytes]) -> None:
    joined = Texts.of(texts)
    assert len(joined.lengths) == len(texts)
    assert all(len(found) == len(texts) for found in joined.columns())
