"""Asking at a terminal, in lines: it works over ssh, without colour, and with screen readers.

The kernel edits the line; Esc ends one at once, since it stands for cancelling.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
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
_OUT: Final = "q: cancel"

# As `tcgetattr` gives it.
_Mode = list[int | list[bytes | int]]


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
    usual: str = "",
) -> str:
    """Ask for one of `rows`, each of which begins with its name, and return that name.

    It is chosen by its number or by itself; with `others` any other text is returned, too, but for
    a number that none of the `rows` has: that is a slip. Enter alone takes the `usual`, if there is
    one.

    Raises:
        CancelledError: none is chosen.
    """
    names = {str(number): row[0] for number, row in enumerate(rows, 1)}
    _tell(title)
    _tell_rows(rows, heading)
    asked = f"Number or {what}" if rows else what.capitalize()
    while True:
        answer = ask(asked, enter=usual) or usual
        if answer in names:
            return names[answer]
        if answer in names.values() or (others and answer and not (rows and answer.isdecimal())):
            return answer
        named = what if others else f"{what} of the list"
        _tell(f"Type a number from 1 to {len(names)}, or a {named}." if rows else f"Type a {what}.")


def confirm(question: str) -> bool:
    """Ask something to which only `y` or `yes` is a yes; no is what Enter alone means.

    Raises:
        CancelledError: neither.
    """
    _forget(sys.stdin.fileno())
    while True:
        said = _yes_or_no(_asked(f"{question} [y/N] "))
        if said is not None:
            return said
        _tell("Type y or n.")


async def confirm_meanwhile(question: str) -> bool:
    """Ask as `confirm` does while other things go on; can be cancelled. To cancel means no."""
    _forget(sys.stdin.fileno())
    while True:
        try:
            said = _yes_or_no(await _asked_meanwhile(f"{question} [y/N] "))
        except CancelledError:
            return False
        if said is not None:
            return said
        _tell("Type y or n.")


def ask(question: str, *, enter: str = "") -> str:
    """Ask for a line and return it without the spaces around it.

    `enter` says what Enter alone stands for; nothing is returned for it all the same.

    Raises:
        CancelledError: it is `q`, Esc was pressed, or there is no more input.
    """
    return _asked(f"{question} ({f'Enter: {enter}; ' if enter else ''}{_OUT}): ")


def ask_hidden(question: str, *, note: str = "") -> str:
    """Ask for a line that is not shown while it is typed. What was typed before it is dropped.

    The `note` says what becomes of it.

    Raises:
        CancelledError: it is `q`, Esc was pressed, or there is no more input.
    """
    return _asked(f"{question} (not shown{f', {note}' if note else ''}; {_OUT}): ", hidden=True)


def _asked(prompt: str, *, hidden: bool = False) -> str:
    line, fd = b"", sys.stdin.fileno()
    with _line_mode(fd, hidden=hidden):
        _write(prompt)
        while not line.endswith(b"\n"):
            line += _piece(fd)
    if hidden:
        _tell("")
    return _answer(line)


async def _asked_meanwhile(prompt: str) -> str:
    import anyio

    line, fd = b"", sys.stdin.fileno()
    with _line_mode(fd):
        _write(prompt)
        while not line.endswith(b"\n"):
            await anyio.wait_readable(fd)
            line += _piece(fd)
    return _answer(line)


def _answer(line: bytes) -> str:
    answer = line.decode(errors="replace").strip()
    if answer.lower() in CANCEL or answer == _ESCAPE.decode():
        raise CancelledError
    return answer


def _yes_or_no(answer: str) -> bool | None:
    """Return what an answer says, None if neither; nothing typed is no."""
    lowered = answer.lower()
    if lowered in _NO:
        return False
    return True if lowered in _YES else None


def _forget(fd: int) -> None:
    """Drop what was typed before the question could be read: it is no consent to anything."""
    with suppress(termios.error):
        termios.tcflush(fd, termios.TCIFLUSH)


def _piece(fd: int) -> bytes:
    """Read a line, or some of it; keys that send an escape sequence, as arrows do, are nothing.

    Raises:
        CancelledError: Esc was pressed, or there is no more input.
    """
    with suppress(OSError, termios.error):  # the terminal is gone
        piece = os.read(fd, _LINE_BYTES)
        if piece and not (piece.endswith(_ESCAPE) and not _rest_of_key(fd)):
            return piece.removesuffix(_ESCAPE)
    _tell("")
    raise CancelledError


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
def _line_mode(fd: int, *, hidden: bool = False) -> Generator[None]:
    """Have Esc end a line, and with `hidden` nothing shown of what is typed."""
    try:
        before = termios.tcgetattr(fd)
    except termios.error:  # no terminal of that kind: a line ends with Enter alone
        yield
        return
    changed = [*before]
    changed[_CONTROLS] = [*before[_CONTROLS]]
    changed[_CONTROLS][termios.VEOL] = _ESCAPE
    if hidden:
        changed[_FLAGS] &= ~termios.ECHO
    when = termios.TCSAFLUSH if hidden else termios.TCSADRAIN
    try:
        termios.tcsetattr(fd, when, changed)
        with _kept_over_a_stop(fd, changed):
            yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, when, before)


@contextmanager
def _kept_over_a_stop(fd: int, mode: _Mode) -> Generator[None]:
    """Keep the terminal's mode: after Ctrl-Z and `fg`, a shell has it show what is typed."""

    def restore(*_: object) -> None:
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)

    try:
        before = signal.signal(signal.SIGCONT, restore)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)


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


def _write(prompt: str) -> None:
    from perstack.projection.inert import inert

    sys.stderr.write(inert(prompt, newlines=False))
    sys.stderr.flush()
