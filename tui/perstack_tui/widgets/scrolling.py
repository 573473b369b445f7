"""Which lines of many are in view, so that what was read stays where it was."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from perstack_tui.state.lines import BLANK, Anchored, Line, key_at, keys_of, places_of


@dataclass(frozen=True, slots=True)
class View:
    """What was shown last: the size, the lines in it, and by what to find them again.

    `key` is the first key in view with its row, `selected` whether the selection was in view.
    """

    size: tuple[int, int] = (0, 0)
    lines: tuple[Line, ...] = ()
    key: tuple[Hashable, int] | None = None
    anchor: Hashable = None
    count: int = 0
    selected: bool = False


class Scroller:
    """A window over lines. `tails` keeps the end in view while `following`."""

    def __init__(self, *, tails: bool = False, heads: int = 0) -> None:
        self.lines: Sequence[Line] = ()
        self.selected: Hashable = None
        self.top = 0
        self.following = tails
        self._tails = tails
        self._most_heads = heads
        self._window = (0, 0)
        self._seen = View()

    @property
    def heads(self) -> int:
        """How many of the first lines stay where they are while the others scroll."""
        return self._most_heads if self._window[1] > self._most_heads + 1 else 0

    def line_in(self, row: int) -> int:
        """Return the place of the line that row `row` of the window shows."""
        return row if row < self.heads else self.top + row

    def line_at(self, place: int) -> Line:
        """Return the line at `place`, a blank one where there is none."""
        return self.lines[place] if 0 <= place < len(self.lines) else BLANK

    def update_lines(
        self, lines: Sequence[Line], selected: Hashable, size: tuple[int, int]
    ) -> tuple[View, View]:
        """Take in what is to be shown in a window of `size`; return the views before and after.

        When lines come or go above what was read, or are wrapped anew, the window goes along.
        """
        before, moved = self._seen, selected != self.selected
        self.lines, self.selected, self._window = lines, selected, size
        last_top = max(0, len(lines) - size[1])
        if self._tails and self.following:
            self.top = last_top
        else:
            self.top = min(self._anchored_top(before), last_top)
            if moved or (before.size != size and before.selected):
                self.reveal(selected)
        self._seen = self._viewed()
        return before, self._seen

    def scroll_to_line(self, top: int) -> bool:
        """Put the line `top` first, as far as there are lines; say whether anything moved."""
        last_top = max(0, len(self.lines) - self._window[1])
        top = max(0, min(last_top, top))
        if self._tails:
            self.following = top >= last_top
        if top == self.top:
            return False
        self.top = top
        self._seen = self._viewed()
        return True

    def reveal(self, key: Hashable) -> None:
        """Scroll as little as needed to see all lines of `key`, the first of them before all."""
        at = places_of(self.lines, key) if key is not None else ()
        if not at:
            return
        if at[-1] >= self.top + self._window[1]:
            self.top = at[-1] - self._window[1] + 1
        if at[0] < self.top + self.heads:
            self.top = max(0, at[0] - self.heads)
        # A heading without a key is seen together with the first line below it.
        keyless = all(key_at(self.lines, place) is None for place in range(self.top))
        if self.top and keyless and at[0] < self._window[1]:
            self.top = 0

    @property
    def keys(self) -> list[Hashable]:
        """The keys that can be chosen, each once, from top to bottom."""
        return keys_of(self.lines)

    def first_key(self, row: int) -> Hashable:
        """Return the key whose first line is the visible row `row`, from 0; else None."""
        if not 0 <= row < self._window[1]:
            return None
        at = self.line_in(row)
        key = key_at(self.lines, at)
        return None if key == key_at(self.lines, at - 1) else key

    def _viewed(self) -> View:
        found = tuple(self.line_at(self.line_in(row)) for row in range(self._window[1]))
        keyed = (row for row in range(self.heads, len(found)) if found[row].key is not None)
        row = next(keyed, None)
        return View(
            self._window,
            found,
            None if row is None else (found[row].key, row),
            self.lines.anchor_at(self.top) if isinstance(self.lines, Anchored) else None,
            len(self.lines),
            any(line.key == self.selected for line in found if line.key is not None),
        )

    def _anchored_top(self, before: View) -> int:
        """Return the top at which what was read is where it was."""
        if self.top == 0:
            return 0
        if before.anchor is not None and isinstance(self.lines, Anchored):
            place = self.lines.place_of(before.anchor)
            return self.top if place is None else place
        if before.key is not None:
            key, row = before.key
            places = places_of(self.lines, key)
            if not places:
                return self.top
            return max(0, places[0] - row)
        if before.size[0] != self._window[0] and before.count:
            return self.top * len(self.lines) // before.count
        return self.top
