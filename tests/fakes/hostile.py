"""Text that attacks terminals, toolkits and columns, and what to hold painted lines against."""

from __future__ import annotations

import unicodedata
from typing import Final

import pyte
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcwidth

from perstack.projection.inert import has_hidden

_FORBIDDEN: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Visible signs of numbers and years in Arabic script, which Unicode files under formats.
_SHOWN: Final = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
PIECES: Final = (
    "\x1b[31mred\x1b[0m",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]0;title\x07",
    "\x1bP+q544e\x1b\\",
    "\x9b2J",
    "\x9d0;t\x9c",
    "\x1b[6n\x1b[c\x05",
    "\x00\x07\x08\x0b\x0c\r\x7f",
    "\u202eevil\u202c",
    "\u2066\u2067\u2068\u2069",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad",
    "a" + "\u0301" * 1000,
    "\u0301\u0302leading",
    "\u1100\u1161\u11a8",
    "👩\u200d👩\u200d👧\u200d👦",
    "👍🏽🏿",
    "🇩🇪🇦🇹🇨",
    "1\ufe0f\u20e3",
    "漢字かなカナ한국어",
    "ﷺ𒐫",
    "\ud800\udfff",
    "\u2028\u2029\x85",
    "\ufdd0\uffff\U000e0041",
    "नमस्ते क्षि ไทยำ",
    "[bold]x[/] [/] [bold [@click=app.quit]x[/] [TODO] [red",
    "**bold** `code ``` | a | b |\n|---|---|\n| 1 | 2 |",
    "```\n[link](javascript:x)\n# head\n> quote\n- item",
    "\t\ttabs\t",
    "%s {0} $x \\ \\[ \\x1b",
    "",
    " ",
    "\n\n",
)
WORST: Final = " ".join(PIECES) + " " + "long" * 3_000

pieces: Final = st.one_of(
    st.sampled_from(PIECES),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=24),
)
texts: Final = st.lists(pieces, max_size=5).map("".join)


def assert_inert(text: str) -> None:
    """Nothing in a painted text acts on a terminal or hides from a reader."""
    found = {
        character
        for character in text
        if (unicodedata.category(character) in _FORBIDDEN and character not in _SHOWN)
        or has_hidden(character)
    }
    assert not found, ascii(found)


def assert_aligned(text: str, width: int) -> None:
    """A painted line takes exactly `width` cells, as the toolkit counts and as terminals do."""
    assert cell_len(text) == width, (cell_len(text), width, ascii(text))
    if not text.isascii():
        assert sum(map(wcwidth, text)) == width, ascii(text)


def assert_aligned_on_a_terminal(text: str, width: int) -> None:
    """What is written behind the line stands in the column behind it."""
    screen = pyte.Screen(width + 1, 2)
    stream = pyte.Stream(screen)
    # One at a time: of what comes in one piece pyte leaves out all behind a mark it cannot join.
    for character in f"{text}|":
        stream.feed(character)
    assert screen.buffer[0][width].data[0] == "|", ascii(screen.display)
