"""Lines on the terminal, each added below the others by a thread of its own.

A terminal that stops reading holds up nothing: what it does not take waits, then is left out.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Final

from perstack.projection.inert import inert

MOST_WAITING: Final = 5_000
"""How many lines wait for a terminal that does not read before more are left out."""
_BELL: Final = "\a"

Write = Callable[[str], None]


def write_to_terminal(text: str) -> None:
    """Write all of `text` to standard output.

    Raises:
        OSError: the terminal is gone.
    """
    data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    while data:
        data = data[os.write(1, data) :]


class Paper:
    """Only ever adds lines. A prompt that stands is said again below what came in between."""

    def __init__(self, write: Write = write_to_terminal) -> None:
        self.on_broken: Callable[[], None] = _nothing
        self._write = write
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._held: list[str] | None = None
        self._left_out = 0
        self._prompt: Callable[[], str] | None = None
        threading.Thread(target=self._serve, name="linear:paper", daemon=True).start()

    def say(self, *lines: str) -> None:
        """Add lines at once. What in them acts on a terminal, or hides, is made visible."""
        if self._waiting.qsize() > MOST_WAITING:
            self._left_out += len(lines)
            return
        told = list(lines)
        if self._left_out:
            told.insert(0, f"{self._left_out} lines were left out: the terminal did not read.")
            self._left_out = 0
        if told:
            self._waiting.put("".join(f"{inert(line, newlines=False)}\n" for line in told))

    def announce(self, lines: Iterable[str]) -> None:
        """Add lines of what happens by itself; while somebody is being asked they wait."""
        if self._held is None:
            self.say(*lines)
        elif len(self._held) < MOST_WAITING:
            self._held.extend(lines)
        else:
            self._left_out += len(list(lines))

    def ring(self) -> None:
        """Ring the terminal's bell."""
        self._waiting.put(_BELL)

    def hold(self) -> None:
        """Let what happens by itself wait."""
        self._held = self._held or []

    def release(self) -> None:
        """Add what waited."""
        held, self._held = self._held, None
        self.say(*(held or ()))

    def stand(self, prompt: Callable[[], str] | None) -> None:
        """Say which prompt stands on the last line, with what was typed; None: none does."""
        self._prompt = prompt

    def settle(self, within_s: float) -> bool:
        """Wait until all was written, in a thread; say whether it was."""
        written = threading.Event()
        self._waiting.put(written)
        return written.wait(within_s)

    def _serve(self) -> None:
        while True:
            wanted = self._waiting.get()
            if isinstance(wanted, threading.Event):
                wanted.set()
                continue
            prompt = self._prompt
            if prompt is not None and wanted != _BELL:
                wanted = f"\n{wanted}{inert(prompt(), newlines=False)}"
            try:
                self._write(wanted)
            except OSError:
                self.on_broken()
                return


def _nothing() -> None:
    return None
