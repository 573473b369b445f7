"""Textual's terminal driver, made to survive bad bytes, pastes, a closed terminal and SIGSTOP.

Textual 8.2.8 dies on a byte that is not UTF-8, spins when its input ends, waits for ever when
nobody takes its output, and after SIGCONT takes its own raw mode for the one to restore at exit.
While the terminal is lent (an editor, the shell) it would go on painting until its queue is full.
"""

from __future__ import annotations

import os
import selectors
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterable
from typing import Final, Protocol, TextIO, cast, runtime_checkable

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from perstack_tui.paste import PasteGuard
from perstack_tui.terminal_writer import TerminalWriter

_CHUNK: Final = 4096
_PIXELS_OFF: Final = "\x1b[?1016l"


class SturdyParser(XTermParser):
    """A paste is one event, whatever is in it; Escape and a quick key never make a `£`."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._guard = PasteGuard()

    def take(self, text: str) -> Iterable[Message]:
        """Return the events that `text`, decoded from the terminal, completes."""
        guarded = self._guard.feed(text)
        if not guarded:
            return ()
        return (event for event in self.feed(guarded) if not _is_empty_paste(event))

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        """Name ESC and any character alt+character, a key without text, so that no field takes it.

        Textual makes macOS's option signs of digits, and forgets the alt of `-`, `/` and the like.
        """
        if len(sequence) == 2 and isinstance(ANSI_SEQUENCES_KEYS.get(sequence), str):
            sequence, alt = sequence[1], True
        for key in super()._sequence_to_key_events(sequence, alt):
            name = key.key.removeprefix("alt+")
            yield events.Key(f"alt+{name}", None) if alt and key.is_printable else key


def _is_empty_paste(event: Message) -> bool:
    return isinstance(event, events.Paste) and not event.text


@runtime_checkable
class OnTerminal(Protocol):
    """An app that can be told what happens to its terminal, from any thread."""

    def hang_up(self) -> None:
        """Leave: the terminal is gone."""
        ...

    def repaint(self) -> None:
        """Paint everything: the terminal did not take all of what was painted."""
        ...

    def greeting(self) -> str:
        """Return what is written as the screen is taken."""
        ...

    def farewell(self) -> str:
        """Return what is written before the screen is given back."""
        ...


class SturdyDriver(LinuxDriver):
    """Reads replacement characters for bytes that are not UTF-8, and leaves when input ends."""

    _terminal: TerminalWriter | None = None
    _is_away = False

    def start_application_mode(self) -> None:
        """Enter raw mode; what is restored at exit is what was found the first time."""
        found = getattr(self, "attrs_before", None)
        self._is_away = False
        if sys.__stderr__ is not None:
            self._terminal = TerminalWriter(sys.__stderr__.fileno(), self._resumed)
            self._file = cast("TextIO", self._terminal)  # Textual only writes to it
        super().start_application_mode()
        if found is not None:
            self.attrs_before = found
        if isinstance(self._app, OnTerminal):
            self.write(self._app.greeting())

    def stop_application_mode(self) -> None:
        """Leave the terminal as it was found: its title, the mouse, the task bar, its modes."""
        if isinstance(self._app, OnTerminal):
            self.write(self._app.farewell())
        # Textual turns reports in pixels on, and never off.
        self.write(_PIXELS_OFF)
        super().stop_application_mode()

    def suspend_application_mode(self) -> None:
        """Give the terminal away; until it is taken back nothing is written to it."""
        if not self._is_away:
            super().suspend_application_mode()
            self._is_away = True

    def resume_application_mode(self) -> None:
        """Take the terminal back, whatever was done to it, and paint everything."""
        self.suspend_application_mode()
        super().resume_application_mode()
        self._resumed()

    def write(self, data: str) -> None:
        """Write `data`, unless the terminal is somebody else's at the moment."""
        if not self._is_away and data:
            super().write(data)

    def set_mouse(self, *, on: bool) -> None:
        """Have the terminal report the mouse, or keep it."""
        if not on:
            self.write(_PIXELS_OFF)
            self._disable_mouse_support()
        self._mouse = on
        self._enable_mouse_support()
        if self._mouse_pixels:
            self._enable_mouse_pixels()

    def close(self) -> None:
        """Have all that was written reach the terminal, if it takes it within a second."""
        super().close()
        if self._terminal is not None:
            self._terminal.close()

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events until told to stop or until the input ends."""
        parser = SturdyParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(0.1):
                    data = self._read()
                    if not data:
                        self._hang_up()
                        break
                    for event in parser.take(decode(data)):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
        try:
            for _ in parser.feed(""):
                pass
        except (EOFError, ParseError):
            return

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, _CHUNK)
        except OSError:
            return b""

    def _hang_up(self) -> None:
        app = self._app
        if isinstance(app, OnTerminal):
            app.hang_up()

    def _resumed(self) -> None:
        app = self._app
        if isinstance(app, OnTerminal):
            app.repaint()
