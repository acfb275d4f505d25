"""Look at what a model would be asked."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.runtime.chatter import chatter_to
from cluster.runtime.private import private_folder
from gallon.api.spec import ResolvedSpec, engine_settings, resolve_spec
from gallon.config import EngineConfig, SpecConfig
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.errors import UsageError
from teacher.llm.engine import Request
from teacher.llm.preview import Preview, previews
from teacher.llm.request import build_request


def show_prompt(molecule: str, *, spec: SpecConfig, engine: EngineConfig) -> Preview:
    """Render the prompt of a molecule exactly as the model would see it; no weights are loaded.

    Args:
        molecule: its SMILES.
        spec: what decides an annotation.
        engine: how an engine would run.

    Raises:
        UsageError: the SMILES is no molecule, or the settings contradict one another.
    """
    resolved = resolve_spec(spec)
    if resolved.endpoint is not None:
        raise UsageError("What a server makes of a prompt is not known here: leave out --endpoint.")
    try:
        parsed = parse(molecule.encode())
    except InvalidMoleculeError as error:
        raise UsageError(f"'{molecule}' {error}: give another SMILES.") from None
    request, _ = build_request(parsed.smiles, parsed.key, resolved.spec, resolved.prompt)
    (shown,) = rendered([request], resolved, engine)
    return shown


def rendered(requests: Sequence[Request], resolved: ResolvedSpec, engine: EngineConfig) -> list[Preview]:
    """Render requests as an engine would, and keep to a file what vLLM says meanwhile."""
    settings = engine_settings(engine, resolved, cpu_threads=None, concurrency=1)
    with chatter_to(private_folder() / "prompts-vllm.log"):
        return previews(requests, resolved.spec.model, resolved.weights, settings)
