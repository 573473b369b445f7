"""Writing to a terminal that may stop reading, or be gone, without ever holding up the program.

Textual 8.2.8 writes from a thread that dies with the first failed write; the queue before it then
fills, and the event loop waits for a place in it for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Final

QUEUED: Final = 64
FULL_WAIT_S: Final = 0.5
CLOSE_WAIT_S: Final = 1.0


class TerminalWriter:
    """A text file onto `fileno`: `write` takes half a second at most, and never raises.

    What a terminal does not take is left out; once it takes text again, `resumed` is called, from
    the writing thread, so that everything can be painted anew. When the terminal is gone, all of
    it is left out.
    """

    def __init__(self, fileno: int, resumed: Callable[[], None]) -> None:
        self._fileno = fileno
        self._resumed = resumed
        self._queue: Queue[bytes | None] = Queue(QUEUED)
        self._behind = self._gone = False
        # A daemon: the program must be able to end while the terminal holds up a write.
        self._thread = threading.Thread(target=self._run, daemon=True, name="terminal-output")
        self._thread.start()

    def fileno(self) -> int:
        """Return the terminal's file descriptor."""
        return self._fileno

    def write(self, text: str) -> None:
        """Have `text` written, or leave it out if the terminal takes nothing."""
        self.put(text.encode(errors="replace"))

    def put(self, data: bytes) -> None:
        """Have `data` written whole, or not at all."""
        if self._gone:
            return
        try:
            self._queue.put(data, block=not self._behind, timeout=FULL_WAIT_S)
        except Full:
            self._behind = True

    def flush(self) -> None:
        """Do nothing: what is written is not buffered here."""

    def close(self) -> None:
        """Wait until all is written, for a second at most."""
        try:
            self._queue.put(None, timeout=CLOSE_WAIT_S)
        except Full:
            return
        self._thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            try:
                self._put(data)
            except OSError:
                self._gone = True
                self._drain()
                return
            if self._behind and self._queue.empty():
                self._behind = False
                self._resumed()

    def _put(self, data: bytes) -> None:
        # The descriptor itself: a file's lock, held by a write that hangs, would hang the exit too.
        while data:
            data = data[os.write(self._fileno, data) :]

    def _drain(self) -> None:
        """Make room for whoever waits for it."""
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return
