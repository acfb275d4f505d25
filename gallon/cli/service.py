"""The command that answers requests until it is stopped."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import asdict

import typer

from gallon.cli.options import AsJson, ConfigFile, StoreOption, flatten_options
from gallon.cli.output import print_json
from gallon.cli.progress import shown, stderr
from gallon.config import DEFAULT_STORE, ServiceConfig, ServingConfig, SpecConfig


@flatten_options
def serve(
    *,
    service: ServiceConfig,
    spec: SpecConfig,
    engine: ServingConfig,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Describe and predict molecules over HTTP, on demand, until Ctrl-C.

    A molecule that has a record under the same spec is answered from the store; another one is described, checked and
    stored as by `gallon annotate`. Stopping takes no more requests and finishes those that it has.

    Example: `gallon serve --model Qwen/Qwen2.5-VL-7B-Instruct --student gallon-models/esol/student`
    """
    from gallon.api import service as services

    with (
        shown(stderr()) as progress,
        services.serve(service=service, spec=spec, engine=engine, store=store, progress=progress) as running,
        suppress(KeyboardInterrupt),
    ):
        if as_json:
            print_json(asdict(running))
        else:
            typer.echo(f"The service listens at {running.url}; its paths are explained at {running.url}/docs.")
            typer.echo("Ctrl-C stops it.")
        while True:
            signal.pause()
