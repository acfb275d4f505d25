"""Rules are asked of a server, imported from files, and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import gallon
from tests.support.server import KEY, MODEL, Behaviour, serving

ANSWER = {"rules": [{"why": "polar", "descriptor": "tpsa", "above": 90}, {"descriptor": "no such thing"}]}


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour(message={"content": json.dumps(ANSWER)})


@pytest.fixture
def url(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GALLON_ENDPOINT_KEY", KEY)
    with serving(behaviour) as served:
        yield served


def test_a_server_is_asked_once_for_each_sample_and_its_rules_are_written(
    url: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    out = tmp_path / "rules.json"
    rules = gallon.ask_rules("solubility", out=out, model=MODEL, endpoint=url, samples=3, temperature=0.5, seed=7)
    assert [rule.name for rule in rules.rules] == ["TPSA > 90"]
    assert {body["seed"] for body in behaviour.asked} == {7, 8, 9}
    assert all(body["response_format"]["type"] == "json_schema" for body in behaviour.asked)
    written = json.loads(out.read_text())
    assert (written["task"], written["digest"]) == ("solubility", rules.digest)
    assert written["sources"][0]["model"] == MODEL and len(written["refused"]) == 1
    with pytest.raises(gallon.UsageError, match="--overwrite"):
        gallon.ask_rules("solubility", out=out, model=MODEL, endpoint=url)
    again = gallon.import_rules(out, out=tmp_path / "again.json")
    assert (again.digest, again.task) == (rules.digest, "solubility")
    assert again.sources[0]["model"] == MODEL and again.sources[1]["file"] == "rules.json"


def test_an_answer_without_a_rule_writes_nothing(url: str, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.message = {"content": json.dumps({"rules": [{"descriptor": "no such thing"}]})}
    with pytest.raises(
        gallon.UsageError, match="None of 1 candidate is a rule; the first was refused because RDKit has"
    ):
        gallon.ask_rules("solubility", out=tmp_path / "rules.json", model=MODEL, endpoint=url, samples=1)
    assert not (tmp_path / "rules.json").exists()
