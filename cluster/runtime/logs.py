"""Where logs go: what gallon does, and what Ray warns of, in files that only their user can read.

The loggers are those of our own packages; the root logger belongs to whoever imports them and is left alone. What is
logged, by whomever, is written without control characters and without the user names and passwords of URLs.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from cluster.runtime.private import private_folder
from teacher.wording import plain

logger = logging.getLogger(__name__)

PACKAGES = ("gallon", "cluster", "distill", "teacher")
RAY = "ray"
KEPT = 20  # log files of each command
LARGEST_BYTES = 1 << 26  # of a file; then it is set aside, once, and a new one begins
LOGIN = re.compile(r"(?<=://).*@")  # a password may hold anything, so rather too much of a line is hidden
CLEAR_LINE = "\r\x1b[2K"  # a display of progress, which is drawn again at once


def log_folder() -> Path:
    """Return the folder of this user's logs: in the home folder, or in the private one where that cannot be."""
    try:
        folder = Path("~/.gallon/logs").expanduser()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return private_folder() / "logs"
    return folder


@contextmanager
def logging_to(
    folder: Path, command: str, *, verbose: int = 0, terminal: logging.Handler | None = None
) -> Iterator[Path]:
    """Log what this process does while the body runs.

    A file is made with the first line that goes into it, and is never the reason why a command fails: what a full disk
    does not take is lost.

    Args:
        folder: for the log; it is made where it is missing.
        command: what the file is named by. The last `KEPT` files of this name stay.
        verbose: 0 shows nothing to the user, 1 what goes into the file anyway, 2 more of it in both.
        terminal: shows it, as above a display of progress; None writes lines to standard error.

    Yields:
        The path of the log.
    """
    _drop_old(folder, command)
    path = folder / f"{command}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.log"
    level = logging.DEBUG if verbose > 1 else logging.INFO
    handlers: list[logging.Handler] = [LogFile(path)]
    if verbose:
        handlers.append(terminal or Terminal())
    before = {name: logging.getLogger(name).level for name in PACKAGES}
    _attach(handlers, level)
    try:
        yield path
    finally:
        for name, was in before.items():
            ours = logging.getLogger(name)
            ours.setLevel(was)
            for handler in handlers:
                ours.removeHandler(handler)
        for handler in handlers:
            if handler is not terminal:
                handler.close()


def log_in_worker(folder: Path, role: str, level: int = logging.INFO) -> Path:
    """Log what this process of Ray's does from now on, and return the path of the file.

    Args:
        folder: of Ray's logs on this machine.
        role: what the file is named by, beside host and process.
        level: what `worker_level` returned in the driver.
    """
    path = folder / f"{role}-{socket.gethostname()}-{os.getpid()}.log"
    known = {handler.path for handler in logging.getLogger(PACKAGES[0]).handlers if isinstance(handler, LogFile)}
    _attach([] if path in known else [LogFile(path)], level)  # a process may be used again
    return path


def worker_level() -> int:
    """Return the level that the workers of this process should log at: its own, and information at the least."""
    return min(logging.INFO, logging.getLogger(__package__).getEffectiveLevel())


def ray_log_folder() -> Path:
    """Return where Ray keeps its logs on this machine; to be called in a driver or a worker of Ray's."""
    import ray

    return Path(ray._private.worker._global_node.get_logs_dir_path())


@contextmanager
def ray_warnings_logged() -> Iterator[None]:
    """Let what Ray warns of in this process reach our log, too, while the body runs.

    Ray's libraries keep warnings (a pool that cannot grow, say) for its console and its own files. Its console is the
    user's, and is silent meanwhile; handlers that others have put on its loggers are left as they are. What its daemons
    say of the cluster (a worker that died), Ray prints to standard output, where results go: that reaches the log only.
    """
    import ray.data  # which makes its logger anew when it is first imported

    printed = ray._private.worker.print_to_stdstream
    ray._private.worker.print_to_stdstream = _log_lines
    forward = _Forward(logging.WARNING)
    loggers = [logging.getLogger(name) for name in (RAY, *_apart_from(RAY))]
    level = loggers[0].level
    consoles = {handler: handler.level for each in loggers for handler in each.handlers if _is_console(handler)}
    loggers[0].setLevel(logging.WARNING)
    for console in consoles:
        console.setLevel(logging.CRITICAL + 1)
    for each in loggers:
        each.addHandler(forward)
    try:
        yield
    finally:
        ray._private.worker.print_to_stdstream = printed
        loggers[0].setLevel(level)
        for console, was in consoles.items():
            console.setLevel(was)
        for each in loggers:
            each.removeHandler(forward)


class LogFile(RotatingFileHandler):
    """A log that only its owner can read; it begins with its first line, and a line that does not fit is dropped."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=LARGEST_BYTES, backupCount=1, encoding="utf-8", errors="replace", delay=True)
        self.path = path
        self.setFormatter(_Lines())

    def _open(self) -> TextIOWrapper:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on: the log of a run is not the run."""


class Terminal(logging.StreamHandler[TextIOWrapper]):
    """What the user asked to see on standard error, on a descriptor of its own: the usual one is Ray's for a while."""

    def __init__(self) -> None:
        sys.stderr.flush()
        super().__init__(os.fdopen(os.dup(2), "w", errors="backslashreplace"))
        self.setFormatter(_Lines(CLEAR_LINE if self.stream.isatty() else ""))

    def close(self) -> None:
        """Give the descriptor back."""
        super().close()
        with suppress(OSError):
            self.stream.close()


class _Lines(logging.Formatter):
    """A line a record, in which nothing of others' text steers a terminal, begins a line, or is a password."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, before: str = "") -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime
        self._before = before

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on lines of its own."""
        return self._before + LOGIN.sub("***@", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return plain(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        return "\n".join(map(plain, super().formatException(ei).splitlines()))  # type: ignore[arg-type]


class _Forward(logging.Handler):
    """Hands records of others on to our loggers."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.handle(record)


def _is_console(handler: logging.Handler) -> bool:
    """Tell whether a handler is the one by which Ray writes to the terminal; a stream may be anybody's."""
    from ray._private.log import PlainRayHandler

    return isinstance(handler, PlainRayHandler)


def _log_lines(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Log what one of Ray's daemons says of the cluster, in the place of Ray's own function."""
    del ignore_prefix
    for line in data["lines"]:
        logger.warning("%s: %s", data["pid"], line)


def _attach(handlers: Sequence[logging.Handler], level: int) -> None:
    for name in PACKAGES:
        ours = logging.getLogger(name)
        ours.setLevel(level)
        for handler in handlers:
            ours.addHandler(handler)


def _apart_from(parent: str) -> list[str]:
    """Return the loggers below another that do not hand on to it what they are given."""
    known = logging.root.manager.loggerDict.items()
    return [
        name
        for name, each in known
        if name.startswith(f"{parent}.") and isinstance(each, logging.Logger) and not each.propagate
    ]


def _drop_old(folder: Path, command: str) -> None:
    """Make room for one more log of a command."""
    with suppress(OSError):
        logs = sorted(folder.glob(f"{command}-*.log*"), key=lambda path: path.stat().st_mtime)
        for path in logs[: max(0, len(logs) - KEPT + 1)]:
            path.unlink(missing_ok=True)
