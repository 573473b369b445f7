"""Making any text safe to paint or print: one choke point for every front end.

What a terminal would act on, and what a reader could not see, is shown by its code point. Text
from models, tools and files passes here just before it reaches a screen, and never earlier: what
is stored stays as it came.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
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
# What one terminal draws in one cell and another in two, or in none: no column would be straight.
_UNSURE: Final = (
    "\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff"  # letters that pair to flags, skin tones
    "\u05c8\u05c9\u0b53\u0b54\u1ade\u1adf\u1aec-\u1af0"  # not assigned, or only lately
    "\U00010ecb-\U00010ecf\U00010ef0-\U00010ef9\U00011df0\U00018cd6-\U00018cda"
    "\U00018d1f\U00018d20\U00018e00-\U00019191\U000191a0-\U000191d2"
    "\U0001b123-\U0001b128\U0001b168\U0001d127\U0001d128\U0001d250-\U0001d252"
    "\U0001d25b\U0001d25c\U0001d25f\U0001d280\U0001d281\U0001f1ae"
    "\U0001f6d9\U0001f7da\U0001fa8b-\U0001fa8d\U0001facc\U0001fadd\U0001faeb"
    "\U0001faf9\U0001fafa"
)
MARKS: Final = 6
"""How many combining marks one letter may carry; no script needs more."""
_FIND_HIDDEN: Final = re.compile(f"[{_HIDDEN}{_UNSURE}]")
_FIND_ANY: Final = re.compile(f"[{_HIDDEN}{_UNSURE}\t]")
_FIND_ANY_OR_NEWLINE: Final = re.compile(f"[{_HIDDEN}{_UNSURE}\t\n]")
_FIRST_PLANE: Final = "\uffff"
_ALL: Final = "\U0001ffff"
# Only a row of letters that are not Latin can be a heap of marks.
_MAY_BE_HEAPED: Final = re.compile(f"[^\x00-\u02ff]{{{MARKS + 1},}}")


def inert(text: str, *, newlines: bool = True) -> str:
    """Return `text` with everything that acts on a terminal, or hides from a reader, made visible.

    A control character, a bidirectional or zero-width one, a lone surrogate, a variation selector,
    or one whose width terminals disagree about, becomes `‹U+202E›`; a tab becomes four spaces;
    CR LF counts as a newline. Of combining marks heaped on one letter `MARKS` are left, the others
    counted: `‹994 marks›`. With `newlines` False a newline is shown as `⏎`, so that the result is
    one line.
    """
    if text.isascii() and text.isprintable():
        return text
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    text = (_FIND_ANY if newlines else _FIND_ANY_OR_NEWLINE).sub(_shown, text)
    if not _MAY_BE_HEAPED.search(text):
        return text
    # Marks beyond the first plane make the search ten times slower; hardly any text has them.
    return _heaps(_ALL if max(text) > _FIRST_PLANE else _FIRST_PLANE).sub(_counted, text)


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


@cache
def _heaps(last: str) -> re.Pattern[str]:
    """More than `MARKS` marks in a row, none beyond `last`. Made when first needed: it takes."""
    marks = "".join(
        character
        for character in map(chr, range(ord(last) + 1))
        if unicodedata.category(character) in ("Mn", "Me")
    )
    return re.compile(f"([{marks}]{{{MARKS}}})([{marks}]+)")


def _counted(found: re.Match[str]) -> str:
    more = len(found.group(2))
    return f"{found.group(1)}‹{more} mark{'' if more == 1 else 's'}›"
