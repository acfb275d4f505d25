"""Digests by which records, fits and searches are found again: they must never come out otherwise."""

from __future__ import annotations

from importlib.metadata import version

from cluster.annotation.job import software_id
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from teacher.provenance import digest, installed


def test_the_id_of_a_spec_stays_what_it_is() -> None:
    spec = Spec(
        model=Model(name="Qwen/Qwen2.5-VL-7B-Instruct", revision="cc59489"),
        prompt=PromptRef(name="describe", version=3, digest="ab" * 32),
        task="µ-opioid",
        image_size=224,
        sampling=Sampling(max_tokens=100),
    )
    assert spec.id == "9afa003d2b26bb20"


def test_the_id_of_software_stays_what_it_is() -> None:
    assert software_id({"rdkit": "2026.9.1", "gallon": "0.1.0"}) == "3eb77919a2b9"


def test_the_digest_of_facts_stays_what_it_is_in_any_order() -> None:
    assert digest({"b": [1, 2.5, None], "a": "µ"}) == "f546a1b073f7c77b407d585c427d13fa"
    assert digest({"a": "µ", "b": [1, 2.5, None]}, 12) == "f546a1b073f7"


def test_packages_that_are_not_installed_have_no_version() -> None:
    assert installed(("rdkit", "no-such-package")) == {"rdkit": version("rdkit")}
