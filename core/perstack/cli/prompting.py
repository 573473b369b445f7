"""Asking at a terminal, in lines: it works over ssh, without colour, and with screen readers.

The kernel edits the line; Esc ends one at once, since it stands for cancelling.
"""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

import typer

_ESCAPE: Final = b"\x1b"
_LINE_BYTES: Final = 4096
_REST_S: Final = 0.05
_CONTROLS: Final = 6  # of what `tcgetattr` gives: the list of control characters
_FLAGS: Final = 3
_SHOWN: Final = 25
_YES: Final = ("y", "yes")
_NO: Final = ("", "n", "no")
CANCEL: Final = ("q", "quit")


class CancelledError(Exception):
    """Whoever was asked wants nothing of it."""


def is_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def cancellable(*, asks: bool = True) -> Generator[None]:
    """End the program with 0 where whoever is asked cancels: with q, Esc, Ctrl-C or Ctrl-D.

    Where nobody is asked, or `asks` is False, Ctrl-C interrupts as it does anywhere else.
    """
    try:
        yield
    except (CancelledError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and not (asks and is_terminal()):
            raise
        _tell("\nCancelled" if isinstance(error, KeyboardInterrupt) else "Cancelled")
        raise typer.Exit(0) from None


def choose(
    title: str,
    rows: Sequence[Sequence[str]],
    *,
    heading: Sequence[str] = (),
    what: str = "name",
    others: bool = False,
) -> str:
    """Ask for one of `rows`, each of which begins with its name, and return that name.

    It is chosen by its number or by itself; with `others` any other text is returned, too.

    Raises:
        CancelledError: none is chosen.
    """
    names = [row[0] for row in rows]
    _tell(title)
    _tell_rows(rows, heading)
    asked = f"Number or {what}" if rows else what.capitalize()
    while True:
        answer = ask(f"{asked} (q: cancel): ")
        if answer.isdecimal() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]
        if answer in names or (others and answer):
            return answer
        _tell(f"Type a number from 1 to {len(names)}, or a {what}." if rows else f"Type a {what}.")


def confirm(question: str) -> bool:
    """Ask something to which only `y` or `yes` is a yes; no is what Enter alone means.

    Raises:
        CancelledError: neither.
    """
    while True:
        said = yes_or_no(ask(f"{question} [y/N] "))
        if said is not None:
            return said
        _tell("Type y or n.")


def yes_or_no(answer: str) -> bool | None:
    """Return what an answer says, None if neither; nothing typed is no."""
    lowered = answer.lower()
    if lowered in _NO:
        return False
    return True if lowered in _YES else None


def ask(question: str) -> str:
    """Ask for a line and return it without the spaces around it.

    Raises:
        CancelledError: it is `q`, Esc was pressed, or there is no more input.
    """
    sys.stderr.write(_inert(question))
    sys.stderr.flush()
    with _escape_ends_a_line(sys.stdin.fileno()) as fd:
        line = _line(fd)
    answer = line.decode(errors="replace").strip()
    if answer.lower() in CANCEL or answer == _ESCAPE.decode():
        raise CancelledError
    return answer


def ask_hidden(question: str) -> str:
    """Ask for a line that is not shown as it is typed.

    Raises:
        CancelledError: Esc was pressed before Enter, or there is no more input.
    """
    import getpass

    try:
        answer = getpass.getpass(_inert(question), stream=sys.stderr)
    except EOFError:
        raise CancelledError from None
    if _ESCAPE.decode() in answer:
        raise CancelledError
    return answer


def _line(fd: int) -> bytes:
    """Read a line; keys that send an escape sequence, such as the arrows, count for nothing."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(fd, _LINE_BYTES)
        if not piece:
            _tell("")
            raise CancelledError
        if piece.endswith(_ESCAPE):
            if not _rest_of_key(fd):
                _tell("")
                raise CancelledError
            piece = piece[:-1]
        line += piece
    return line


def _rest_of_key(fd: int) -> bytes:
    """Take what came together with an Esc, and return what of it is no Enter."""
    before = termios.tcgetattr(fd)
    unedited = [*before]
    unedited[_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    # As lines it could only be read at the next Enter.
    termios.tcsetattr(fd, termios.TCSANOW, unedited)
    try:
        came, _, _ = select.select([fd], [], [], _REST_S)
        return os.read(fd, _LINE_BYTES).strip(b"\r\n") if came else b""
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


@contextmanager
def _escape_ends_a_line(fd: int) -> Generator[int]:
    try:
        before = termios.tcgetattr(fd)
    except termios.error:  # no terminal of that kind: a line ends with Enter alone
        yield fd
        return
    changed = [*before]
    changed[_CONTROLS] = [*before[_CONTROLS]]
    changed[_CONTROLS][termios.VEOL] = _ESCAPE
    termios.tcsetattr(fd, termios.TCSADRAIN, changed)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _tell_rows(rows: Sequence[Sequence[str]], heading: Sequence[str]) -> None:
    from perstack.projection.table_text import in_columns
    from perstack.projection.wrapping import wrapped

    if not rows:
        return
    shown = [(str(number), *row) for number, row in enumerate(rows[:_SHOWN], 1)]
    head = ("", *(heading or ("",) * len(rows[0])))
    lines = list(in_columns([head, *shown]))
    for line in wrapped(f"  {line}" for line in (lines if heading else lines[1:])):
        _tell(line)
    if (more := len(rows) - len(shown)) > 0:
        _tell(f"  and {more} more")


def _tell(line: str) -> None:
    from perstack.cli.listeners import say

    say(line)


def _inert(text: str) -> str:
    from perstack.projection.inert import inert

    return inert(text, newlines=False)
