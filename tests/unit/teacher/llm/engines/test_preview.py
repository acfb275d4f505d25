"""A prompt as a person reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import gallon
from teacher.llm.engines.preview import _written
from teacher.llm.engines.rendering import DATE
from teacher.llm.models import local_path


@pytest.mark.parametrize("place", ["<image>", "<|image_pad|>", "[IMG]"])
def test_a_pictures_places_are_counted_and_a_molecule_stands_as_it_is(place: str) -> None:
    pieces = ["SMILES:", " ", *"CCCCCCCCc1ccccc1", "\n", *[place] * 64, "\n", *"=" * 8]
    ids = [sorted(set(pieces)).index(piece) for piece in pieces]
    assert _written(ids, lambda some: "".join(sorted(set(pieces))[token] for token in some)) == (
        f"SMILES: CCCCCCCCc1ccccc1\n{place} x 64\n========"
    )


def test_a_template_that_writes_the_date_writes_the_same_one_every_day(tmp_path: Path) -> None:
    folder = tmp_path / "dated"
    shutil.copytree(local_path("tiny"), folder)
    (folder / "chat_template.jinja").write_text(
        "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
        "Today: {{ date_string }} {{ messages[0].role }}"
    )
    assert f"Today: {DATE} user" in gallon.show_prompt("CCO", model=str(folder), image=False).text


def test_a_template_that_knows_no_date_makes_the_prompt_that_it_made() -> None:
    assert DATE not in gallon.show_prompt("CCO", model="tiny").text
