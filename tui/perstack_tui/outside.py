"""What the cockpit says to the terminal besides its picture: title, progress, notices, clipboard.

Everything is sent only where it is known to be understood, or to be ignored without a trace. Text
in it passes `flat`, so that nothing can end the sequence it stands in and begin another.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol, runtime_checkable

from perstack_tui.paste import clean_paste
from perstack_tui.text import crop, flat

ESC: Final = "\x1b"
BEL: Final = "\x07"
ST: Final = "\x1b\\"
# Terminals take a hundred thousand characters of base64 at least; more is dropped without a word.
LARGEST_COPY: Final = 74_994
TITLE_CELLS: Final = 80
NOTICE_CELLS: Final = 120
PROGRESS_EVERY_S: Final = 5.0
# GNU screen drops strings longer than 768 bytes.
_SCREEN_PIECE: Final = 500
_UNTITLED: Final = re.compile(r"linux|dumb|vt\d|ansi|cons")
_ITERM_PROGRESS: Final = (3, 6, 6)
_VTE_PROGRESS: Final = 8000


@runtime_checkable
class HasMouse(Protocol):
    """A terminal whose mouse can be given back."""

    def set_mouse(self, *, on: bool) -> None:
        """Have the terminal report the mouse, or keep it."""
        ...


class Outside:
    """Writes with `write`; `environ` tells which terminal there is.

    What was said is remembered: a title goes out only when it changed.
    """

    def __init__(self, write: Callable[[str], None], environ: Mapping[str, str]) -> None:
        self._write = write
        self._in_tmux = bool(environ.get("TMUX"))
        self._in_screen = bool(environ.get("STY"))
        term = environ.get("TERM", "")
        self._has_title = bool(term) and _UNTITLED.match(term) is None
        self._has_progress = not (self._in_tmux or self._in_screen) and has_progress(environ)
        self._notice = _notice_code(environ, inside=self._in_tmux or self._in_screen)
        self._title = ""
        self._progress_at: float | None = None

    def greeting(self) -> str:
        """Return what is written as the screen is taken; what was said before is forgotten."""
        self._title, self._progress_at = "", None
        return f"{ESC}[22;2t" if self._has_title else ""

    def farewell(self) -> str:
        """Return what undoes all of it, to be written before the screen is given back."""
        progress = f"{ESC}]9;4;0{BEL}" if self._has_progress else ""
        # An empty title first: terminals without a stack of titles keep no stale counts.
        return progress + (f"{ESC}]2;{BEL}{ESC}[23;2t" if self._has_title else "")

    def title(self, text: str) -> None:
        """Set the title of the terminal's window, if it is another one."""
        shown = crop(flat(text), TITLE_CELLS)
        if self._has_title and shown != self._title:
            self._title = shown
            self._write(f"{ESC}]2;{shown}{BEL}")

    def progress(self, *, working: bool, now: float) -> None:
        """Show in the task bar whether runs are at work; repeated, since terminals let it lapse."""
        if not self._has_progress:
            return
        if not working:
            if self._progress_at is not None:
                self._progress_at = None
                self._write(f"{ESC}]9;4;0{BEL}")
        elif self._progress_at is None or now - self._progress_at >= PROGRESS_EVERY_S:
            self._progress_at = now
            self._write(f"{ESC}]9;4;3{BEL}")

    def notify(self, title: str, text: str) -> None:
        """Ring the bell, and have the desktop say `text` where the terminal passes that on."""
        self._write(BEL)
        head, body = (crop(flat(each), NOTICE_CELLS).replace(";", ",") for each in (title, text))
        if self._notice == 777:
            self._pass_on(f"{ESC}]777;notify;{head};{body}{BEL}")
        elif self._notice == 9:
            self._pass_on(f"{ESC}]9;{head}: {body}{BEL}")

    def copy(self, text: str) -> bool:
        """Put `text` on the clipboard of the terminal; False when it is too long for that.

        Control characters are left out: pasted into a shell they would act there.
        """
        data = clean_paste(text).encode(errors="replace")
        if len(data) > LARGEST_COPY:
            return False
        sequence = f"{ESC}]52;c;{base64.b64encode(data).decode()}{BEL}"
        if self._in_tmux:
            # tmux takes it itself with set-clipboard, else hands it on with allow-passthrough.
            self._write(sequence)
        self._pass_on(sequence)
        return True

    def _pass_on(self, sequence: str) -> None:
        """Write `sequence` for the terminal itself, through the multiplexer that is before it."""
        if self._in_tmux:
            self._write(f"{ESC}Ptmux;{sequence.replace(ESC, ESC + ESC)}{ST}")
        elif self._in_screen:
            pieces = range(0, len(sequence), _SCREEN_PIECE)
            self._write("".join(f"{ESC}P{sequence[at : at + _SCREEN_PIECE]}{ST}" for at in pieces))
        else:
            self._write(sequence)


def has_progress(environ: Mapping[str, str]) -> bool:
    """Say whether the terminal shows OSC 9;4 as progress; others make a notification of it."""
    program = environ.get("TERM_PROGRAM", "")
    if environ.get("WT_SESSION") or environ.get("ConEmuANSI") == "ON":
        return True
    if program == "iTerm.app":
        return _version(environ.get("TERM_PROGRAM_VERSION", "")) >= _ITERM_PROGRESS
    if program in ("ghostty", "WezTerm") or environ.get("TERM") == "xterm-ghostty":
        return True
    vte = environ.get("VTE_VERSION", "")
    return vte.isdecimal() and int(vte) >= _VTE_PROGRESS


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,6}", text)[:3])


def _notice_code(environ: Mapping[str, str], *, inside: bool) -> int | None:
    """Return which sequence makes a notification: 9, 777, or None for a bell only."""
    if inside:
        return 9
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term.startswith(("foot", "rxvt")) or environ.get("VTE_VERSION"):
        return 777
    if program in ("iTerm.app", "ghostty", "WezTerm") or term in ("xterm-kitty", "xterm-ghostty"):
        return 9
    return 9 if environ.get("ConEmuANSI") == "ON" else None
