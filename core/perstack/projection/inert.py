"""Making any text safe to paint or print: one choke point for every front end.

What a terminal would act on, and what a reader could not see, is shown by its code point. Text
from models, tools and files passes here just before it reaches a screen, and never earlier: what
is stored stays as it came.
"""

from __future__ import annotations

import re
from typing import Final

TAB: Final = "    "
NEWLINE_SIGN: Final = "⏎"

# As escapes, so that this file shows what it means.
_HIDDEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (but tab, newline) with ESC and CR, DEL, C1
    "\xad"  # soft hyphen
    "\u034f\u061c\u115f\u1160\u17b4\u17b5"  # joiners and fillers that show nothing
    "\u180b-\u180f"  # Mongolian variation selectors and vowel separator
    "\u200b-\u200f"  # zero-width space and joiners, left-to-right and right-to-left marks
    "\u2028-\u202e"  # line and paragraph separators, bidirectional embeddings and overrides
    "\u2060-\u206f"  # word joiner, invisible operators, bidirectional isolates
    "\u3164\uffa0"  # Hangul fillers
    "\ud800-\udfff"  # lone surrogates
    "\ufdd0-\ufdef"  # noncharacters
    "\ufe00-\ufe0f"  # variation selectors
    "\ufeff\ufff0-\ufffb\ufffe\uffff"  # byte order mark, interlinear marks, noncharacters
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # shorthand and musical format controls
    "\U000e0000-\U000e0fff"  # tags and supplementary variation selectors
)
_FIND_HIDDEN: Final = re.compile(f"[{_HIDDEN}]")
_FIND_ANY: Final = re.compile(f"[{_HIDDEN}\t]")
_FIND_ANY_OR_NEWLINE: Final = re.compile(f"[{_HIDDEN}\t\n]")


def inert(text: str, *, newlines: bool = True) -> str:
    """Return `text` with everything that acts on a terminal, or hides from a reader, made visible.

    A control character, a bidirectional or zero-width one, a lone surrogate or a variation
    selector becomes `‹U+202E›`; a tab becomes four spaces; CR LF counts as a newline. With
    `newlines` False a newline is shown as `⏎`, so that the result is one line.
    """
    if text.isascii() and text.isprintable():
        return text
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    return (_FIND_ANY if newlines else _FIND_ANY_OR_NEWLINE).sub(_shown, text)


def has_hidden(text: str) -> bool:
    """Return whether `text` holds what `inert` shows by its code point (not tabs, newlines)."""
    if text.isascii() and text.isprintable():
        return False
    return _FIND_HIDDEN.search(text.replace("\r\n", "\n")) is not None


def _shown(found: re.Match[str]) -> str:
    character = found.group()
    if character == "\t":
        return TAB
    if character == "\n":
        return NEWLINE_SIGN
    return f"‹U+{ord(character):04X}›"
