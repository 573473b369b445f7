"""Keeping pasted text text: what is between the paste markers can never become a key.

Textual 8.2.8 reads escape sequences inside a bracketed paste: after an ESC in it, what follows
arrives as keys that could approve, stop or quit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

START: Final = "\x1b[200~"
END: Final = "\x1b[201~"
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def clean_paste(text: str) -> str:
    """Return `text` without control characters other than tab, newline and CR."""
    return _CONTROLS.sub("", text)


class PasteGuard:
    """Stands between the decoded input and Textual's parser; takes any chunking, in linear time.

    Outside a paste everything passes at once, so that Escape is not delayed; inside one, a trailing
    piece of the end marker is held back until it is known to be one.
    """

    def __init__(self) -> None:
        self._pasting = False
        self._seen = 0  # how much of the start marker the text so far ends with
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what the parser may see of `text`."""
        return "".join(self._pieces(text))

    def _pieces(self, text: str) -> Iterator[str]:
        while text:
            if self._pasting:
                before, ended, text = (self._held + text).partition(END)
                kept = 0 if ended else _overlap(before, END)
                self._held = before[len(before) - kept :]
                yield clean_paste(before[: len(before) - kept])
                self._pasting = not ended
                yield ended
            else:
                piece, text = self._outside(text)
                yield piece

    def _outside(self, text: str) -> tuple[str, str]:
        """Return what passes, up to and with a start marker, and what is left in the paste."""
        split = START[: self._seen]
        before, began, rest = (split + text).partition(START)
        self._seen = 0 if began else _overlap(before, START)
        passed = (before + began)[len(split) :]
        if began:
            self._pasting = True
            if split and not before:
                # Perhaps the parser gave up waiting for the rest of the marker. Ending and
                # beginning the paste brings it in step; the empty paste does nothing.
                passed += END + START
        return passed, rest


def _overlap(text: str, marker: str) -> int:
    """Return how long a beginning of `marker` the text ends with."""
    return next((size for size in range(len(marker) - 1, 0, -1) if text.endswith(marker[:size])), 0)
