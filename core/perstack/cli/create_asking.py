"""Questions in the terminal, a line each: over ssh, without colour, for screen readers.

Lines are read from the descriptor itself, so that a question can be asked beside a job at work and
be given up when that is stopped.
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

import anyio

from perstack.cli.listeners import say
from perstack.cli.prompting import yes_or_no
from perstack.errors import UsageError
from perstack.projection.inert import inert

_PIECE: Final = 4096
_MOST: Final = 64 * 1024


class Terminal:
    """A user at a keyboard; what is said goes to standard error."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._rest = b""

    def choose(self, question: str, choices: Sequence[str], *, usual: int = 0) -> int:
        """Return the place of what was chosen by its number; nothing typed takes the `usual`."""
        say(question)
        for number, choice in enumerate(choices, start=1):
            say(f"  {number}  {choice}")
        while True:
            said = self._asked(f"1-{len(choices)} [{usual + 1}]: ")
            if not said:
                return usual
            if said.isascii() and said.isdigit() and 1 <= int(said[:4]) <= len(choices):
                return int(said) - 1
            say(f"Type a number from 1 to {len(choices)}.")

    def text(self, question: str, *, usual: str = "") -> str:
        """Return what was typed, or the `usual`."""
        return self._asked(f"{question} [{usual}]: " if usual else f"{question}: ") or usual

    def hidden(self, question: str) -> str:
        """Return what was typed and not shown."""
        with self._silent():
            said = self._asked(f"{question}: ")
        _write("\n")
        return said

    def agrees(self, question: str) -> bool:
        """Tell whether the user types y; nothing typed is no."""
        self._forget()
        while True:
            said = yes_or_no(self._asked(f"{question} [y/N] "))
            if said is not None:
                return said
            say("Type y or n.")

    async def agrees_meanwhile(self, question: str) -> bool:
        """Tell whether the user types y, while other things go on; can be cancelled."""
        self._forget()
        while True:
            _write(inert(f"{question} [y/N] "))
            while b"\n" not in self._rest:
                await anyio.wait_readable(self._fd)
                if not self._read():
                    return False
            said = yes_or_no(self._line())
            if said is not None:
                return said
            say("Type y or n.")

    def _forget(self) -> None:
        """Drop what was typed before the question could be read: it is no consent to anything."""
        termios.tcflush(self._fd, termios.TCIFLUSH)
        self._rest = b""

    def _asked(self, prompt: str) -> str:
        _write(inert(prompt))
        while b"\n" not in self._rest:
            if not self._read_or_stop():
                _write("\n")
                raise UsageError("the questions were not answered", hint="nothing was written")
        return self._line()

    def _read(self) -> bool:
        """Take in what was typed; False once nothing can follow."""
        piece = os.read(self._fd, _PIECE)
        self._rest += piece
        return bool(piece) and len(self._rest) <= _MOST

    def _read_or_stop(self) -> bool:
        """Take in what was typed; Ctrl-C leaves the line that the question stands on."""
        try:
            return self._read()
        except KeyboardInterrupt:
            _write("\n")
            raise

    def _line(self) -> str:
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").strip()

    @contextmanager
    def _silent(self) -> Generator[None]:
        before = termios.tcgetattr(self._fd)
        silent = [*before]
        silent[3] = before[3] & ~termios.ECHO
        # What was typed ahead was shown; it is no answer to this.
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, silent)
        self._rest = b""
        try:
            yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSAFLUSH, before)


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
