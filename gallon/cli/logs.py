"""Every command keeps a log, and shows it with -v."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gallon.cli.options import OUTPUT_PANEL
from teacher.errors import GallonError

logger = logging.getLogger(__name__)

Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Show the log on the terminal, too; -vv with details. It is kept in ~/.gallon/logs.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def logged(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a log and the option that shows it; what ends the command is in the log as well."""
    name = command.__name__.rstrip("_")

    @functools.wraps(command)
    def with_log(*, verbose: int = 0, **options: Any) -> None:
        from cluster.runtime.chatter import chatter_off_screen
        from cluster.runtime.logs import log_folder, logging_to

        with logging_to(log_folder(), name, verbose=verbose), chatter_off_screen():
            try:
                command(**options)
            except GallonError as error:
                logger.error("%s ends: %s", name, error)
                raise
            except Exception as error:
                if not isinstance(error, typer.Exit):
                    logger.exception("%s ends with what nobody foresaw", name)
                raise

    hints = inspect.get_annotations(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        parameter.replace(kind=keyword, annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
    ]
    own.append(inspect.Parameter("verbose", keyword, default=0, annotation=Verbose))
    with_log.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    with_log.__annotations__ = {**hints, "verbose": Verbose}
    return with_log
