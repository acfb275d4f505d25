"""Collect the rules of a task."""

from __future__ import annotations

from collections.abc import Sequence

from distill.rules import rule_set
from distill.rules.asking import asked
from distill.rules.imported import rules_of
from distill.rules.rule_set import RuleSet
from gallon.api.annotation import start_engine
from gallon.api.library import StrPath, listed
from gallon.api.spec import resolve_spec
from gallon.config import EngineConfig, RulesConfig, SpecConfig
from teacher.errors import UsageError
from teacher.files import check_output, placed
from teacher.llm.spec import Sampling

SUFFIXES = [".json"]


def import_rules(
    files: StrPath | Sequence[StrPath],
    *,
    out: StrPath,
    task: str | None = None,
    about: str | None = None,
    overwrite: bool = False,
) -> RuleSet:
    """Read rules out of files, check them, keep each once, and write them.

    Args:
        files: as `distill.rules.imported.rules_of` takes them.
        out: a .json file.
        task: what the rules are about, in words; by default what the file says, `about`, or the name of the first file.
        about: of lines that have a `task`, the one that is taken.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: a file holds no rules, or none of them can be used.
        OutputError: the file cannot be written.
    """
    paths, place = [placed(file) for file in listed(files)], placed(out)
    check_output(place, suffixes=SUFFIXES, inputs=paths, overwrite=overwrite)
    rules = rules_of(paths, task, about)
    rule_set.write(rules, place)
    return rules


def ask_rules(task: str, *, out: StrPath, asking: RulesConfig, overwrite: bool = False) -> RuleSet:
    """Ask an LLM which features of a molecule bear on a task, check what it names, and write it.

    Args:
        task: the property, in words.
        out: a .json file.
        asking: the model, and how it samples.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: the settings contradict one another, or no answer can be used.
        EngineStartError: the model cannot be served.
        OutputError: the file cannot be written.
    """
    if asking.model == "tiny" and asking.endpoint is None:
        raise UsageError("The model 'tiny' describes molecules and knows no chemistry: name another by --model.")
    place = placed(out)
    check_output(place, suffixes=SUFFIXES, overwrite=overwrite)
    spec = SpecConfig(model=asking.model, revision=asking.revision, endpoint=asking.endpoint, image=False)
    serving = EngineConfig(tensor_parallel=asking.tensor_parallel, max_model_len=asking.max_model_len)
    resolved = resolve_spec(spec, engine=serving)
    sampling = Sampling(temperature=asking.temperature, max_tokens=asking.max_tokens, seed=asking.seed)
    engine = start_engine(resolved, serving)
    try:
        model = {"model": resolved.spec.model.name, "revision": resolved.spec.model.revision}
        rules = asked(engine, task, model=model, samples=asking.samples, sampling=sampling)
    finally:
        engine.close()
    rule_set.write(rules, place)
    return rules
