"""Rules: what is taken for one, what is repaired, what is refused, and what it says of molecules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles
from rdkit.Chem.Descriptors import MolWt, descList

from distill.rules import rule_set
from distill.rules.imported import rules_of
from distill.rules.rule import Rule, RuleError, checked
from distill.rules.rule_set import RuleSet
from distill.rules.values import rule_values
from teacher.errors import UsageError

ETHANOL, BENZENE = MolFromSmiles("CCO"), MolFromSmiles("c1ccccc1")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"descriptor": "MolLogP"}, "MolLogP"),
        ({"descriptor": "rdMolDescriptors.CalcNumHBD", "above": "5"}, "NumHDonors > 5"),
        ({"descriptor": "logP", "smarts": None, "above": 0, "below": 3}, "MolLogP > 0 < 3"),
        ({"descriptor": "tpsa", "per_descriptor": "molecular weight"}, "TPSA per MolWt"),
        ({"smarts": "Fe"}, "count [#26]"),
        ({"smarts": "Na"}, "count [#11]"),
        ({"smarts": "Ca"}, "count [#20]"),
        ({"smarts": "Sn"}, "count [#50]"),
        ({"smarts": "Cl"}, "count Cl"),
        ({"smarts": "[S]c", "per_smarts": "S-c"}, "count S-,:c per count S-c"),
        ({"smarts": "[C(=O)O]"}, "count C(=O)O"),
        ({"smarts": "[OX2H]", "per_smarts": "[#6]", "why": " it\nbinds "}, "count [O&X2&H1] per count [#6]"),
    ],
)
def test_what_was_plainly_meant_is_a_rule(given: dict[str, Any], name: str) -> None:
    rule = checked(given)
    assert rule.name == name
    assert checked(rule.facts()) == rule
    assert "\n" not in rule.why


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("MolLogP", "no JSON object"),
        ({}, "needs a descriptor or a SMARTS"),
        ({"descriptor": "MolLogP", "smarts": "O"}, "one of them"),
        ({"descriptor": "__import__('os').system('ls')"}, "no descriptor"),
        ({"descriptor": "MolLogP", "code": "lambda mol: 1"}, "a field 'code'"),
        ({"smarts": "not a pattern ("}, "reads no SMARTS"),
        ({"smarts": "C" * 301}, "too long"),
        ({"smarts": "[$(" * 9 + "C" + ")]" * 9}, "too deep"),
        ({"descriptor": "MolLogP", "above": True}, "is no number"),
        ({"descriptor": "MolLogP", "above": "inf"}, "is no number"),
        ({"descriptor": "MolLogP", "above": 3, "below": 2}, "nothing lies above 3 and below 2"),
        ({"descriptor": "TPSA", "per_descriptor": "MolWt", "per_smarts": "C"}, "name one of them"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(given: Any, reason: str) -> None:
    with pytest.raises(RuleError, match=reason.replace("(", r"\(")):
        checked(given)


def test_rules_say_numbers_of_molecules() -> None:
    rules = [
        Rule(descriptor="MolWt"),
        Rule(smarts="[#6]", per_descriptor="HeavyAtomCount"),
        Rule(smarts="[OX2H]", above=0.5),
        Rule(descriptor="NumAromaticRings", above=0, below=2),
        Rule(descriptor="MolWt", per_smarts="[#8]"),
    ]
    values = rule_values([ETHANOL, BENZENE], rules)
    assert values[0] == pytest.approx([MolWt(ETHANOL), 2 / 3, 1, 0, MolWt(ETHANOL)], rel=1e-6)
    assert values[1, :4] == pytest.approx([MolWt(BENZENE), 1, 0, 1], rel=1e-6)
    assert np.isnan(values[1, 4])  # divided by nothing


def test_the_symbol_of_an_element_counts_its_atoms() -> None:
    salt, tolyl = MolFromSmiles("[Ca+2].[O-]C(=O)c1ccccc1.[O-]C(=O)c1ccccc1"), MolFromSmiles("Cc1ccccc1")
    assert rule_values([salt, tolyl], [checked({"smarts": "Ca"}), checked({"smarts": "[C]c"})])[:, 0].tolist() == [1, 0]


def test_a_file_that_took_a_symbol_for_two_atoms_is_read_as_it_was_trained_on(tmp_path: Path) -> None:
    old = RuleSet("permeation", (Rule(smarts="Ca"), Rule(descriptor="MolWt")))
    rule_set.write(old, tmp_path / "rules.json")
    assert rule_set.read(tmp_path / "rules.json").rules == old.rules


def test_each_rule_is_kept_once_and_what_is_refused_is_told(tmp_path: Path) -> None:
    given: list[Any] = [{"descriptor": "logP"}, {"descriptor": "MolLogP", "why": "again"}, {"smarts": "("}, 7]
    rules = RuleSet.collected("solubility", given, {"model": "some"})
    assert [rule.name for rule in rules.rules] == ["MolLogP"]
    assert [each["reason"] for each in rules.refused] == ["RDKit reads no SMARTS in '('", "it is no JSON object"]
    rule_set.write(rules, tmp_path / "rules.json")
    again = rule_set.read(tmp_path / "rules.json")
    assert (again.rules, again.task, again.digest) == (rules.rules, "solubility", rules.digest)


def test_the_digest_is_of_what_is_computed() -> None:
    one = RuleSet.collected("a", [{"descriptor": "MolWt", "why": "size"}, {"smarts": "O"}], {})
    other = RuleSet.collected("b", [{"smarts": "O", "why": "polar"}, {"descriptor": "mw"}], {})
    assert one.digest == other.digest
    assert one.digest != RuleSet.collected("a", [{"descriptor": "MolWt"}, {"smarts": "O", "above": 0}], {}).digest


def test_a_file_that_was_changed_is_refused_until_it_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    rule_set.write(RuleSet.collected("a", [{"descriptor": "MolWt"}], {}), file)
    facts = json.loads(file.read_text())
    facts["rules"].append({"descriptor": "TPSA"})
    file.write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="were changed after it was written"):
        rule_set.read(file)
    assert [rule.name for rule in rules_of([file], "a").rules] == ["MolWt", "TPSA"]
    for text in ("nothing", "[]", '{"format": "gallon rules 1"}'):
        file.write_text(text)
        with pytest.raises(UsageError, match="rules"):
            rule_set.read(file)


def test_a_study_s_features_become_rules_of_one_task(tmp_path: Path) -> None:
    lines = [
        {"task": "esol", "model": "m", "rule": "log_P", "descriptors": ["Crippen.MolLogP"], "thresholds": [2]},
        {
            "task": "esol",
            "model": "n",
            "rule": "acids",
            "descriptors": ["QED.qed"],
            "patterns": ["[OH]"],
            "thresholds": [1],
        },
        {"task": "bbbp", "model": "m", "rule": "size", "descriptors": ["Descriptors.MolWt"]},
    ]
    file = tmp_path / "features.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UsageError, match="has rules of bbbp, esol: choose those of one by --about"):
        rules_of([file], "solubility")
    rules = rules_of([file], "solubility", "esol")
    assert [rule.name for rule in rules.rules] == ["MolLogP", "MolLogP > 2", "qed", "count [O&H1]"]
    assert rules.sources[0]["models"] == ["m", "n"]
    assert rules_of([file, file], "solubility", "esol").rules == rules.rules
    with pytest.raises(UsageError, match="no rules about 'hiv'"):
        rules_of([file], "solubility", "hiv")


def test_controls_are_as_many_descriptors_at_random_and_all_of_them() -> None:
    rules = RuleSet.collected("a", [{"descriptor": "MolWt"}, {"smarts": "O"}, {"smarts": "N"}], {})
    drawn = rules.at_random()
    assert len(drawn.rules) == 3 and drawn.rules == rules.at_random().rules
    assert {rule.descriptor for rule in rules.all_descriptors().rules} == {name for name, _ in descList}
    assert len({rules.digest, drawn.digest, rules.all_descriptors().digest}) == 3
