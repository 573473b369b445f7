"""Every glyph that is drawn, and what stands for it where a terminal has only ASCII.

Glyphs are written as they are all over `state`, each of one cell; `paint` exchanges them by this
table, the last thing before the terminal, so that no line can be forgotten and none gets wider.
Text that must be read character by character is a `Line` marked `exact`, and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SPARKS: Final = "▁▂▃▄▅▆▇"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """A set: borders (corners, edges) light and heavy, and what else is exchanged."""

    light: str
    heavy: str
    table: Mapping[int, str] = field(default_factory=dict[int, str])

    def drawn(self, text: str) -> str:
        """Return `text` in this set."""
        return text if not self.table or text.isascii() else text.translate(self.table)


_PAIRS: Final = {
    # states, checkpoints, marks
    "●": "*",
    "▲": "^",
    "○": "o",
    "✓": "+",
    "◩": "%",
    "✗": "x",
    "■": "#",
    "◆": "@",
    "◇": "&",
    "◉": "O",
    # trees, lanes, rules
    "─": "-",
    "│": "|",
    "├": "|",
    "└": "`",
    "╰": "`",
    "╭": ".",
    "╮": ".",
    "╯": "'",
    "┬": "+",
    "┼": "+",
    "┴": "+",
    "┤": "|",
    "┄": "-",
    "┃": "|",
    "━": "=",
    "┏": "+",
    "┓": "+",
    "┗": "+",
    "┛": "+",
    "▌": "_",
    "█": "#",
    # pointers and words
    "›": ">",
    "‹": "<",
    "▾": "v",
    "▸": ">",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "⏎": "E",
    "⇧": "S",
    "·": ".",
    "•": "*",
    "…": "~",
    "≥": ">",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "“": '"',
    "”": '"',
    "’": "'",
    "Σ": "S",
    **dict(zip(SPARKS, "_.:-=+#", strict=True)),
}

ROUND: Final = Glyphs("╭─╮│╰╯", "┏━┓┃┗┛")
ASCII: Final = Glyphs("+-+|++", "#=####", {ord(glyph): to for glyph, to in _PAIRS.items()})
SETS: Final[Mapping[str, Glyphs]] = {"round": ROUND, "ascii": ASCII}
