"""Lines from the keyboard, read by a thread of its own, one whenever one is asked for."""

from __future__ import annotations

import sys
import termios
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

from perstack.projection.inert import inert
from perstack_tui.linear.paper import Paper

TOO_SOON_S: Final = 0.4
"""What arrives earlier than this after a question was typed before it was read."""
_SETTLE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Typed:
    """A line. `text` is None at the end of input; `after_s` is how long it took, in seconds."""

    text: str | None
    after_s: float

    @property
    def too_soon(self) -> bool:
        """Whether it was on its way before anybody could have read what was asked."""
        return self.after_s < TOO_SOON_S


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where lines come from. `pending` is what stands on the line so far, as far as is known."""

    read: Callable[[str], str | None]
    drop_typed: Callable[[], None]
    pending: Callable[[], str]
    monotonic: Callable[[], float]


class Keyboard:
    """Asks for lines. Made in the event loop that takes them."""

    def __init__(self, paper: Paper, source: Terminal) -> None:
        self._paper = paper
        self._source = source
        self._wanted: SimpleQueue[tuple[str, bool]] = SimpleQueue()
        self._send, self._receive = anyio.create_memory_object_stream[Typed](1)
        self._token = current_token()
        threading.Thread(target=self._serve, name="linear:keyboard", daemon=True).start()

    async def line(self, prompt: str, *, afresh: bool = False) -> Typed:
        """Return the next line; `afresh`: what was typed before the prompt is dropped."""
        self._wanted.put((inert(prompt, newlines=False), afresh))
        return await self._receive.receive()

    def close(self) -> None:
        """Take no more lines. A thread that still reads ends with the process."""
        self._send.close()
        self._receive.close()

    def _serve(self) -> None:
        source = self._source
        while True:
            prompt, afresh = self._wanted.get()
            self._paper.settle(_SETTLE_S)
            if afresh:
                source.drop_typed()
            asked_at = source.monotonic()
            self._paper.stand(lambda standing=prompt: standing + source.pending())
            text = source.read(prompt)
            self._paper.stand(None)
            typed = Typed(text, source.monotonic() - asked_at)
            try:
                from_thread.run_sync(self._send.send_nowait, typed, token=self._token)
            except (RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                return  # Nobody listens any more.


def terminal_input(environ: Mapping[str, str], monotonic: Callable[[], float]) -> Terminal:
    """Return the terminal, with line editing where the terminal and this Python have it."""
    pending = _editing() if environ.get("TERM", "") not in ("", "dumb") else None
    return Terminal(_read, _drop_typed, pending or _unknown, monotonic)


def _editing() -> Callable[[], str] | None:
    try:
        import readline
    except ImportError:
        return None
    # Nothing but what is typed may reach the terminal; answers are nobody's history.
    readline.parse_and_bind("set enable-bracketed-paste off")
    readline.parse_and_bind("set enable-meta-key off")
    readline.parse_and_bind("tab: self-insert")
    readline.set_auto_history(False)
    return readline.get_line_buffer


def remember(line: str) -> None:
    """Let the arrow keys find a command again, where lines can be edited."""
    editing = sys.modules.get("readline")
    if editing is not None and line:
        editing.add_history(line)


def _unknown() -> str:
    return ""


def _read(prompt: str) -> str | None:
    try:
        return input(prompt)
    except (EOFError, OSError, KeyboardInterrupt):
        return None
    except ValueError:
        return ""  # A line that cannot be text is as if nothing was typed.


def _drop_typed() -> None:
    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


@contextmanager
def terminal_as_it_was() -> Generator[None]:
    """Give the terminal back with the modes it had: a thread may be left in the line's editor."""
    try:
        modes = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with suppress(termios.error, OSError, ValueError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, modes)
