"""gallon: describe molecule libraries by a multimodal LLM, and distill what it knows into a fast student.

    import gallon

    gallon.annotate("molecules.csv", model="Qwen/Qwen2.5-VL-7B-Instruct")
    gallon.teach("solubility.csv", target="logS")
    gallon.distill("solubility.csv", target="logS")
    gallon.load("gallon-models/solubility/student").predict(["CCO"])

Options have the names of the command line's, with underscores. What a name needs is imported when it is first used, so
that `import gallon` is light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cluster.library.errors import LibraryError
    from cluster.records.batch_reader import BatchReading
    from cluster.records.batch_writer import WrittenBatch
    from cluster.store.connection import StoreError
    from cluster.store.open import open_store
    from distill.learn.teach import Trained
    from distill.library.beside.embedding import Embedded
    from distill.library.prepare import Prepared
    from distill.library.pretrain import Pretrained
    from distill.rules.rule_set import RuleSet
    from distill.screen.screening import Screened
    from gallon.api.annotation import AnnotationResult, VerificationResult, session
    from gallon.api.batch import read_batch
    from gallon.api.evaluation import Comparison
    from gallon.api.planning import RunPlan
    from gallon.api.records import ExportResult
    from gallon.api.records import read_annotations as annotations
    from gallon.api.report import report
    from gallon.api.selection import Selection
    from gallon.api.service import Service
    from gallon.pipeline import Learned
    from gallon.predictor import Predictor, load, pack
    from gallon.progress import Progress
    from gallon.rules.collecting import import_rules
    from teacher.errors import GallonError, UsageError
    from teacher.files import OutputError
    from teacher.llm.describer import Describer, Description
    from teacher.llm.engines.preview import Preview

    # Their options are those of the command line (`gallon.config`), which no type checker sees.
    annotate: Callable[..., AnnotationResult]
    ask_rules: Callable[..., RuleSet]
    choose: Callable[..., Selection]
    describe: Callable[..., list[Description]]
    describer: Callable[..., Describer]
    distill: Callable[..., Trained]
    embed: Callable[..., Embedded]
    evaluate: Callable[..., Comparison]
    export: Callable[..., ExportResult]
    few_shot_prompt: Callable[..., Path]
    learn: Callable[..., Learned]
    plan_run: Callable[..., RunPlan]
    prepare: Callable[..., Prepared]
    pretrain: Callable[..., Pretrained]
    ranking_prompt: Callable[..., tuple[Path, Path]]
    screen: Callable[..., Screened]
    serve: Callable[..., AbstractContextManager[Service]]
    show_prompt: Callable[..., Preview]
    teach: Callable[..., list[Trained]]
    verify: Callable[..., VerificationResult]
    write_batch: Callable[..., WrittenBatch]

__all__ = [
    "AnnotationResult",
    "BatchReading",
    "Comparison",
    "Describer",
    "Description",
    "Embedded",
    "ExportResult",
    "GallonError",
    "Learned",
    "LibraryError",
    "OutputError",
    "Predictor",
    "Prepared",
    "Pretrained",
    "Preview",
    "Progress",
    "RuleSet",
    "RunPlan",
    "Selection",
    "Service",
    "StoreError",
    "UsageError",
    "VerificationResult",
    "WrittenBatch",
    "__version__",
    "annotate",
    "annotations",
    "ask_rules",
    "choose",
    "describe",
    "describer",
    "distill",
    "embed",
    "evaluate",
    "export",
    "few_shot_prompt",
    "import_rules",
    "learn",
    "load",
    "open_store",
    "pack",
    "plan_run",
    "prepare",
    "pretrain",
    "ranking_prompt",
    "read_batch",
    "report",
    "screen",
    "serve",
    "session",
    "show_prompt",
    "teach",
    "verify",
    "write_batch",
]

_API = "gallon.api"
_HOMES = {
    "AnnotationResult": f"{_API}.annotation",
    "VerificationResult": f"{_API}.annotation",
    "annotate": f"{_API}.annotation",
    "describe": f"{_API}.annotation",
    "describer": f"{_API}.annotation",
    "session": f"{_API}.annotation",
    "verify": f"{_API}.annotation",
    "read_batch": f"{_API}.batch",
    "write_batch": f"{_API}.batch",
    "Comparison": f"{_API}.evaluation",
    "evaluate": f"{_API}.evaluation",
    "distill": f"{_API}.learning",
    "teach": f"{_API}.learning",
    "Embedded": "distill.library.beside.embedding",
    "embed": f"{_API}.selection",
    "Prepared": "distill.library.prepare",
    "prepare": f"{_API}.selection",
    "Pretrained": "distill.library.pretrain",
    "pretrain": f"{_API}.selection",
    "Learned": "gallon.pipeline",
    "learn": "gallon.pipeline",
    "Predictor": "gallon.predictor",
    "load": "gallon.predictor",
    "pack": "gallon.predictor",
    "screen": f"{_API}.prediction",
    "Progress": "gallon.progress",
    "ExportResult": f"{_API}.records",
    "annotations": f"{_API}.records",
    "export": f"{_API}.records",
    "Preview": "teacher.llm.engines.preview",
    "RunPlan": f"{_API}.planning",
    "plan_run": f"{_API}.planning",
    "few_shot_prompt": f"{_API}.prompts",
    "ranking_prompt": f"{_API}.prompts",
    "show_prompt": f"{_API}.prompts",
    "report": f"{_API}.report",
    "RuleSet": "distill.rules.rule_set",
    "ask_rules": "gallon.rules.collecting",
    "import_rules": "gallon.rules.collecting",
    "Selection": f"{_API}.selection",
    "choose": f"{_API}.selection",
    "BatchReading": "cluster.records.batch_reader",
    "WrittenBatch": "cluster.records.batch_writer",
    "Service": f"{_API}.service",
    "serve": f"{_API}.service",
    "LibraryError": "cluster.library.errors",
    "StoreError": "cluster.store.connection",
    "open_store": "cluster.store.open",
    "GallonError": "teacher.errors",
    "UsageError": "teacher.errors",
    "OutputError": "teacher.files",
    "Describer": "teacher.llm.describer",
    "Description": "teacher.llm.describer",
}
_FLAT = {
    "annotate",
    "ask_rules",
    "choose",
    "describe",
    "describer",
    "distill",
    "evaluate",
    "export",
    "few_shot_prompt",
    "learn",
    "screen",
    "serve",
    "plan_run",
    "prepare",
    "pretrain",
    "ranking_prompt",
    "show_prompt",
    "teach",
    "verify",
    "write_batch",
}
_OTHERWISE = {"annotations": "read_annotations"}  # what `from __future__ import annotations` would hide


def __getattr__(name: str) -> Any:
    """Import a name of the front door when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("gallon")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), _OTHERWISE.get(name, name))
    else:
        raise AttributeError(f"module 'gallon' has no attribute '{name}'")
    if name in _FLAT:
        from gallon.flat import flat

        value = flat(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
