"""Rules out of files: our own, those of LLM4SD's study, and lines of JSON that people write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.rules.rule_set import FORMAT, MOST_BYTES, RuleSet
from teacher.errors import UsageError

PARTS = ("rules", "sources")
STUDY = frozenset({"descriptors", "patterns", "thresholds"})  # fields of LLM4SD's (Apache-2.0) features


def rules_of(files: Sequence[Path], task: str | None = None, about: str | None = None) -> RuleSet:
    """Read rules out of files, and keep each once.

    A file is one that `gallon rules` wrote, or has a JSON object on each line: a rule, or one of LLM4SD's features
    (`task`, `model`, `descriptors`, `patterns`, `thresholds`), each of whose descriptors and patterns becomes a rule;
    where it has one of them and a threshold, a rule with that bound, too.

    Args:
        files: to be read.
        task: what the rules are about; by default what the first file of ours says, `about`, or that file's name.
        about: of lines that have a `task`, the one that is taken.

    Raises:
        UsageError: a file cannot be read, or is none of these.
    """
    found: RuleSet | None = None
    for file in files:
        lines, sources, named = _read(file)
        task = task or named or about or file.stem
        wanted = [line for line in lines if about is None or line.get("task", about) == about]
        if about is None and len(tasks := sorted({str(line["task"]) for line in lines if "task" in line})) > 1:
            raise UsageError(f"{file} has rules of {', '.join(tasks)}: choose those of one by --about.")
        if not wanted:
            raise UsageError(f"{file} has no rules about '{about}'.")
        given = [rule for line in wanted for rule in _as_rules(line)]
        source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "about": about}
        models = sorted({str(line["model"]) for line in wanted if "model" in line})
        rules = RuleSet.collected(task, given, {**source, "models": models})
        rules = replace(rules, sources=(*sources, *rules.sources))
        found = rules if found is None else found.merged(rules)
    assert found is not None
    return found


def _read(file: Path) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], str | None]:
    """Return what a file has for rules, and of one that we wrote also the sources and the task."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} is larger than any file of rules.")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8.") from None
    own = _own(text)
    lines = own["rules"] if own else []
    if not own:
        lines = [_object(file, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise UsageError(f"{file} holds no rules.")
    return lines, own["sources"] if own else [], own["task"] if own else None


def _own(text: str) -> dict[str, Any] | None:
    """Return the rules, sources and task of a file that we wrote, None of others."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        return None
    found: dict[str, Any] = {name: [each for each in _list(facts, name) if isinstance(each, dict)] for name in PARTS}
    return {**found, "task": str(facts.get("task", "")) or None}


def _object(file: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"Line {number} of {file} is no JSON object.")
    return found


def _as_rules(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if not line.keys() & STUDY:
        yield {name: value for name, value in line.items() if name not in ("task", "model", "name")}
        return
    why = str(line.get("rule", "")).replace("_", " ")
    values = [*(("descriptor", each) for each in _list(line, "descriptors"))]
    values += [("smarts", each) for each in _list(line, "patterns")]
    for kind, value in values:
        yield {kind: value, "why": why}
    thresholds = _list(line, "thresholds")
    if len(values) == 1:
        for bound in thresholds:
            yield {values[0][0]: values[0][1], "above": bound, "why": why}


def _list(line: Mapping[str, Any], name: str) -> list[Any]:
    found = line.get(name)
    return found if isinstance(found, list) else []
