"""What is printed while a job is driven from the command line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from perstack.domain.events import Delta, Event, RequestApproval
from perstack.domain.ids import RunId
from perstack.domain.server_events import RequestInput
from perstack.domain.steering_events import PauseRun
from perstack.engine.plan import JobOutcome
from perstack.ports.system import SystemClock
from perstack.projection.inert import inert
from perstack.projection.money import cost_words, token_words
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
        self.text(text + "\n")

    def text(self, text: str) -> None:
        """Write what is no whole line, as `line` does."""
        if self.broken is not None:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            self.broken = error
            self.on_broken()


class JsonLines:
    """One compact JSON object per event."""

    def __init__(self, *, full: bool, waits_at_gates: bool = True) -> None:
        speak_utf8()
        self._waits_at_gates = waits_at_gates
        self.output = Output()
        # A run that is forked begins with the state that `on_taken_up` tells.
        now_ms = SystemClock().now_ms
        self._json = PerstackJson(full=full, points=frozenset(), now_ms=now_ms)

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Remember how the run stood."""
        self._json.seed(run_id, state)

    def on_event(self, event: Event) -> None:
        """Print it; what waits for a person is also said on stderr, with what to type."""
        self.output.line(self._json.event_line(event))
        say_what_waits(event, waits_at_gates=self._waits_at_gates)

    def on_delta(self, delta: Delta) -> None:
        """Print it."""
        self.output.line(self._json.delta_line(delta))

    def on_warning(self, text: str) -> None:
        """Print it on stderr: stdout is events."""
        say(f"Warning: {text}")

    def on_end(self, ended: JobOutcome) -> None:
        """Say nothing: the last events have it."""


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

    def on_warning(self, text: str) -> None:
        """Print it on stderr."""
        say(f"Warning: {text}")

    def on_end(self, ended: JobOutcome) -> None:
        """Print on stderr what the job has used: stdout ends with its result."""
        spent = ended.spent
        steps = f"{spent.steps} step" if spent.steps == 1 else f"{spent.steps} steps"
        used = f"{token_words(spent.usage)}, cost {cost_words(spent.cost)}"
        say(f"Job {ended.job_id}: {steps}, {used}")


def say_what_waits(event: Event, *, waits_at_gates: bool = True) -> None:
    """Say what to type when a run begins to wait for a person."""
    match event.body:
        case RequestApproval(consensus_id=waiting) if waits_at_gates:
            say(f"A decision is awaited: perstack consensus show {waiting}")
        case PauseRun(by=by, reason=reason) if waits_at_gates:
            why = f": {reason}" if reason else ""
            say(f"Paused by {by}{why}. To go on: perstack agent resume -i {event.run_id}")
        case RequestInput(consensus_id=waiting, skill_name=skill):
            say(f"The tool server of {skill} asks: perstack consensus show {waiting}")
        case _:
            pass


def speak_utf8() -> None:
    """Write standard output as UTF-8 whatever the locale: that is what JSON is read as."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def say(text: str) -> None:
    """Print a line on stderr, which may be closed; what models and servers said is made inert."""
    try:
        sys.stderr.write(inert(text) + "\n")
    except (OSError, ValueError):
        return


def _nothing() -> None:
    return None
