"""The command: its parts, and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from gallon.cli import annotation, batch, demo, inspection, learning, prompts, selection, service
from gallon.cli.annotation import INTERRUPTED
from gallon.cli.logs import logged
from teacher.errors import GallonError
from teacher.wording import plain

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Annotate": (
        annotation.annotate,
        selection.choose,
        annotation.verify,
        annotation.dead,
        annotation.export,
        annotation.import_,
    ),
    "Learn": (
        demo.learn,
        selection.prepare,
        selection.embed,
        selection.pretrain,
        learning.teach,
        learning.distill,
        learning.evaluate,
        selection.nodes,
        learning.screen,
        learning.pack,
    ),
    "Serve": (service.serve,),
    "Look": (inspection.status, inspection.report),
    "Try": (demo.demo,),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(logged(command))


prompt = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
prompt.command("show")(logged(prompts.show))
prompt.command("list")(logged(prompts.names))
prompt.command("few-shot")(logged(prompts.few_shot))
prompt.command("rank")(logged(prompts.rank))
app.add_typer(prompt, name="prompt", help="See what the model is asked.", rich_help_panel="Annotate")

batches = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
batches.command("write")(logged(batch.write))
batches.command("read")(logged(batch.read))
app.add_typer(batches, name="batch", help="Annotate by a provider's batch API.", rich_help_panel="Annotate")


rules = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
rules.command("ask")(logged(prompts.ask_rules))
rules.command("import")(logged(prompts.import_rules))
app.add_typer(rules, name="rules", help="Features that bear on a property.", rich_help_panel="Learn")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gallon {version('gallon')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Describe molecule libraries with an open multimodal LLM, and distill what it knows into a fast student."""


def interrupt(signal_number: int, frame: object) -> None:
    """End on SIGTERM as on Ctrl-C: in good order."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence, never in a traceback."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        app()
    except GallonError as error:
        sys.stderr.write(f"gallon: {plain(str(error))}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(INTERRUPTED)
