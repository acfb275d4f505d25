"""The command: its parts, and how it ends."""

from __future__ import annotations

import atexit
import functools
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from gallon.cli import annotation, batch, demo, inspection, learning, prompts, selection, service
from gallon.cli.annotation import INTERRUPTED
from gallon.cli.logs import logged
from teacher.errors import GallonError
from teacher.garbage import leave_out_what_is_loaded
from teacher.wording import plain

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Command(TyperCommand):
    """A command whose usage line names what it takes in capitals, without Typer's braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words behind the command's name."""
        return [piece.translate(BRACES) for piece in super().collect_usage_pieces(ctx)]


BRACES = str.maketrans("", "", "{}")
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
KEPT = {  # by which commands go on where an interrupt stopped them
    "teach": "finished fits are kept",
    "distill": "finished fits are kept",
    "evaluate": "finished fits are kept",
    "learn": "finished steps, annotations and fits are kept",
    "prepare": "finished shards are kept",
    "embed": "finished shards are kept",
    "pretrain": "checkpoints are kept",
    "screen": "finished parts are kept",
}


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Tell whoever interrupts a command what is kept of its work, and how it goes on."""
    kept = KEPT.get(command.__name__)
    if kept is None:
        return command

    @functools.wraps(command)
    def until_stopped(**options: Any) -> None:
        try:
            command(**options)
        except KeyboardInterrupt:
            sys.stderr.write(f"Stopped: {kept}, and the same command goes on from there.\n")
            raise typer.Exit(INTERRUPTED) from None

    return until_stopped


for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), cls=Command, rich_help_panel=panel)(stoppable(logged(command)))


prompt = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
prompt.command("show", cls=Command)(logged(prompts.show))
prompt.command("list", cls=Command)(logged(prompts.names))
prompt.command("few-shot", cls=Command)(logged(prompts.few_shot))
prompt.command("rank", cls=Command)(logged(prompts.rank))
app.add_typer(prompt, name="prompt", help="See what the model is asked.", rich_help_panel="Annotate")

batches = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
batches.command("write", cls=Command)(logged(batch.write))
batches.command("read", cls=Command)(logged(batch.read))
app.add_typer(batches, name="batch", help="Annotate by a provider's batch API.", rich_help_panel="Annotate")


rules = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
rules.command("ask", cls=Command)(logged(prompts.ask_rules))
rules.command("import", cls=Command)(logged(prompts.import_rules))
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
    atexit.register(leave_out_what_is_loaded)  # the last search takes a second among the modules of torch and Ray
    try:
        app()
    except GallonError as error:
        sys.stderr.write(f"gallon: {plain(str(error))}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(INTERRUPTED)
