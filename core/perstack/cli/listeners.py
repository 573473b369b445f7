"""What is printed while a job is driven from the command line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from perstack.domain.events import Delta, Event
from perstack.domain.ids import RunId
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.plain import PlainLines
from perstack.projection.run_state import RunState


class Output:
    """Standard output that may go away (a closed pipe, a full disk) without a traceback."""

    def __init__(self) -> None:
        self.broken: OSError | None = None
        self.on_broken: Callable[[], None] = _nothing

    def line(self, text: str) -> None:
        """Write a line and flush it, unless writing has failed before."""
        if self.broken is not None:
            return
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except OSError as error:
            self.broken = error
            self.on_broken()


class JsonLines:
    """One compact JSON object per event."""

    def __init__(self, *, full: bool) -> None:
        speak_utf8()
        self.output = Output()
        self._json = PerstackJson(full=full)

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Remember how the run stood."""
        self._json.seed(run_id, state)

    def on_event(self, event: Event) -> None:
        """Print it."""
        self.output.line(self._json.event_line(event))

    def on_delta(self, delta: Delta) -> None:
        """Print it."""
        self.output.line(self._json.delta_line(delta))


class Plain:
    """Calm progress lines."""

    def __init__(self) -> None:
        self.output = Output()
        self._lines = PlainLines()

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Remember how the run stood."""
        self._lines.seed(run_id, state)

    def on_event(self, event: Event) -> None:
        """Print what there is to say."""
        for line in self._lines.event(event):
            self.output.line(line)

    def on_delta(self, delta: Delta) -> None:
        """Say nothing: plain output tells what was finished."""


def speak_utf8() -> None:
    """Write standard output as UTF-8 whatever the locale: that is what JSON is read as."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _nothing() -> None:
    return None
