"""Progress: told phase by phase, drawn on a terminal and in a notebook, said in plain lines in a pipe."""

from __future__ import annotations

import io
import logging
import sys
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from gallon import texts
from gallon.cli.progress import bars, plain_lines, shown
from gallon.progress import Progress, bar_html, duration, phase, worded

HALFWAY = Progress(phase="teachers", unit="fits", done=1, total=2, rate=0.5, seconds=2.0, seconds_left=2.0)


def test_a_callback_hears_of_beginning_updates_and_end() -> None:
    heard: list[Progress] = []
    with phase(heard.append, "teachers", "fits") as running:
        running.update(1, 4, "dmpnn")
    begin, middle, end = heard
    assert (begin.done, begin.total, begin.ended) == (0, None, False)
    assert (middle.done, middle.total, middle.detail, middle.ended) == (1, 4, "dmpnn", False)
    assert middle.seconds_left == pytest.approx(3 * middle.seconds)
    assert (end.done, end.total, end.ended) == (1, 4, True)


def test_a_phase_that_fails_is_not_said_to_be_over() -> None:
    pipe = io.StringIO()
    with pytest.raises(ZeroDivisionError), plain_lines(Console(file=pipe)) as show, phase(show, "teachers", "fits"):
        raise ZeroDivisionError
    assert pipe.getvalue() == "teachers: started\n"


def test_in_a_pipe_a_phase_has_a_line_at_its_beginning_and_one_at_its_end() -> None:
    pipe = io.StringIO()
    with plain_lines(Console(file=pipe, soft_wrap=True)) as show, phase(show, "screening", "rows") as running:
        running.update(10)
        running.update(20)
    first, last = pipe.getvalue().splitlines()
    assert first == "screening: started"
    assert last.startswith("screening: 20 rows, ") and last.endswith(", done in 0 min 00 s")


class Pipe(io.StringIO):
    """Notices when some words are written into it."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words, self.said = words, threading.Event()

    def write(self, text: str) -> int:
        if self._words in text:
            self.said.set()
        return super().write(text)


def test_in_a_pipe_a_phase_that_says_nothing_is_not_silent() -> None:
    pipe = Pipe("still going on")
    with plain_lines(Console(file=pipe, soft_wrap=True), period=0.01) as show, phase(show, "starting Ray", ""):
        assert pipe.said.wait(timeout=30)


def test_in_a_pipe_what_is_not_done_yet_is_told_out_of_how_many() -> None:
    pipe = Pipe("teachers: 0 of 6 fits, 12% trained, 1 min 00 s left")
    with (
        plain_lines(Console(file=pipe, soft_wrap=True), period=0.01) as show,
        phase(show, "teachers", "fits") as running,
    ):
        running.update(0, 6, "12% trained", seconds_left=60.0)
        assert pipe.said.wait(timeout=30)


def test_what_libraries_write_to_standard_error_does_not_get_onto_the_display() -> None:
    terminal = io.StringIO()
    with bars(Console(file=terminal, force_terminal=True)) as show:
        show(HALFWAY)
        sys.stderr.write("chatter\n")
        sys.stdout.write("chatter\n")
    assert "teachers" in terminal.getvalue()
    assert "chatter" not in terminal.getvalue()


@pytest.mark.parametrize("name", ["gallon.api.anything", texts.__name__])
def test_notices_of_a_call_are_for_people_and_stop_with_it(name: str) -> None:
    pipe, notices = io.StringIO(), logging.getLogger(name)
    with shown(Console(file=pipe, soft_wrap=True)):
        notices.info("Ray dashboard: %s", "http://127.0.0.1\x1b[2J")
        notices.debug("not this")
    notices.warning("nor this")
    assert pipe.getvalue() == "Ray dashboard: http://127.0.0.1\\x1b[2J\n"


def test_a_notebook_shows_a_bar_that_escapes_what_it_says() -> None:
    drawn = bar_html(Progress(phase="<b>", unit="fits", done=1, total=2, detail="<script>"))
    assert '<progress max="2" value="1">' in drawn
    assert "&lt;b&gt;" in drawn and "<script>" not in drawn


def test_progress_is_worded_with_rate_and_time_left() -> None:
    assert worded(HALFWAY) == "teachers: 1 of 2 fits, 0.5/s, 0 min 02 s left"
    slow = Progress(phase="teachers", unit="fits", total=2, detail="10% trained", rate=0.01, seconds_left=60.0)
    assert worded(slow) == "teachers: 0 of 2 fits, 10% trained, 1 min 00 s left"
    assert worded(replace(slow, done=1)) == "teachers: 1 of 2 fits, 10% trained, 1 min 00 s left"
    assert worded(Progress(phase="starting Ray", unit="")) == "starting Ray"
    assert [duration(seconds) for seconds in (None, 61, 7_260)] == ["unknown time", "1 min 01 s", "2 h 01 min"]
