"""Texts by a catalog of prompts: one or several of each molecule, none of another, and the same ones again."""

from __future__ import annotations

from distill.data.annotations import Annotations, catalog

MOLECULES = 40


def written(spec: str, missing: set[int]) -> Annotations:
    texts = tuple(None if place in missing else f"{spec} about {place}" for place in range(MOLECULES))
    return Annotations(texts, spec, f"sha of {spec}", (0.5,) * MOLECULES)


SPECS = [written("one", {0, 1}), written("two", {1, 2}), written("three", {1})]


def test_all_texts_of_a_molecule_stand_behind_one_another() -> None:
    together = catalog(SPECS, None, seed=0)
    assert together.texts[:3] == ("two about 0\n\nthree about 0", None, "one about 2\n\nthree about 2")
    assert together.texts[3] == "one about 3\n\ntwo about 3\n\nthree about 3"
    assert together.spec == "one+two+three" and together.agreement is None
    assert catalog(SPECS[:2], None, seed=0).sha256 != together.sha256


def test_one_text_each_is_drawn_of_all_specs_and_the_same_one_again() -> None:
    drawn = catalog(SPECS, 1, seed=0)
    assert drawn.texts == catalog(SPECS, 1, seed=0).texts != catalog(SPECS, 1, seed=1).texts
    assert drawn.texts[1] is None
    prompts = {text.split()[0] for text in drawn.texts if text}
    assert prompts == {"one", "two", "three"}
    assert all(text is None or text.endswith(f" about {place}") for place, text in enumerate(drawn.texts))
    assert all(text is None or "\n" not in text for text in drawn.texts)
    two = catalog(SPECS, 2, seed=0)
    assert all(text is None or text.count("\n\n") == 1 for text in two.texts)
