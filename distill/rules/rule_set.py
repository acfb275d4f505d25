"""The rules of one task, as a file: checked, each once, and known by a digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from distill.rules.rule import Rule, RuleError, checked, descriptor_functions
from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import write_text
from teacher.provenance import compact_digest
from teacher.wording import counted

FORMAT = "gallon rules 1"
MOST_BYTES = 10_000_000
REFUSED_SHOWN = 100  # characters of what was refused


@dataclass(frozen=True)
class RuleSet:
    """The rules of one task.

    Attributes:
        task: what they are about.
        rules: each once, in the order in which they were given.
        sources: where they come from: files, or models with their prompt and sampling.
        refused: what was given and is no rule, each with the reason.
    """

    task: str
    rules: tuple[Rule, ...]
    sources: tuple[Mapping[str, Any], ...] = ()
    refused: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def collected(cls, task: str, given: Iterable[Mapping[str, Any]], source: Mapping[str, Any]) -> RuleSet:
        """Check what was given: repair, refuse with a reason, and keep each rule once."""
        rules: dict[str, Rule] = {}
        refused = []
        for each in given:
            try:
                rule = checked(each)
            except RuleError as error:
                shown = json.dumps(each, default=str, ensure_ascii=False)[:REFUSED_SHOWN]
                refused.append({"given": shown, "reason": str(error)})
            else:
                rules.setdefault(rule.name, rule)
        return cls(task, tuple(rules.values()), (source,), tuple(refused))

    def merged(self, other: RuleSet) -> RuleSet:
        """Return the rules of both, each once."""
        mine = {rule.name for rule in self.rules}
        rules = (*self.rules, *(rule for rule in other.rules if rule.name not in mine))
        refused = {(each["given"], each["reason"]): each for each in (*self.refused, *other.refused)}
        return RuleSet(self.task, rules, (*self.sources, *other.sources), tuple(refused.values()))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of what is computed, whatever the words beside it."""
        return compact_digest([FORMAT, sorted(rule.name for rule in self.rules)], 16)

    @cached_property
    def columns_digest(self) -> str:
        """The same of their values as columns of a matrix: other rules, or the same in another order, have another."""
        return compact_digest([FORMAT, [rule.name for rule in self.rules]], 16)

    def at_random(self) -> RuleSet:
        """Return as many of RDKit's descriptors, drawn at random: a control."""
        names = sorted(descriptor_functions())
        drawn = Random(self.digest).sample(names, min(len(self.rules), len(names)))
        return replace(self, rules=tuple(Rule(descriptor=name) for name in drawn))

    def all_descriptors(self) -> RuleSet:
        """Return all of RDKit's descriptors in the rules' place: a control."""
        return replace(self, rules=tuple(Rule(descriptor=name) for name in descriptor_functions()))

    def facts(self) -> dict[str, Any]:
        """Return what a card or a report says of them."""
        return {"task": self.task, "digest": self.digest, "rules": len(self.rules), "sources": list(self.sources)}

    def written(self) -> str:
        """Return the text of their file."""
        facts = {
            "format": FORMAT,
            "task": self.task,
            "digest": self.digest,
            "sources": list(self.sources),
            "rules": [{"name": rule.name, **rule.facts()} for rule in self.rules],
            "refused": list(self.refused),
        }
        return strict_json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def write(rules: RuleSet, file: Path) -> None:
    """Write rules to a file.

    Raises:
        UsageError: there are none.
        OutputError: the file cannot be written.
    """
    if not rules.rules:
        reason = f"; the first was refused because {rules.refused[0]['reason']}" if rules.refused else ""
        raise UsageError(f"None of {counted(len(rules.refused), 'candidate')} is a rule{reason}.")
    write_text(file, rules.written())


def read(file: Path) -> RuleSet:
    """Read the file of rules; each is checked again.

    Raises:
        UsageError: it holds no rules, or others than its digest says.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} is larger than any file of rules.")
        facts = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{file} holds no rules: write it by 'gallon rules import' or 'gallon rules ask'.") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UsageError(f"{file} holds no rules: write it by 'gallon rules import' or 'gallon rules ask'.")
    try:
        given = [{name: value for name, value in rule.items() if name != "name"} for rule in facts["rules"]]
        rules = replace(
            RuleSet(str(facts["task"]), tuple(checked(rule, as_written=True) for rule in given)),
            sources=tuple(facts["sources"]),
            refused=tuple(facts["refused"]),
        )
    except (RuleError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"The rules in {file} are damaged ({error}): write it again.") from None
    if rules.digest != facts.get("digest"):
        raise UsageError(
            f"The rules in {file} were changed after it was written: 'gallon rules import' checks them and gives them "
            "a digest of their own."
        )
    return rules
