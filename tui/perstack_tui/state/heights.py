"""How many lines each of many entries takes, and which entry a line belongs to."""

from __future__ import annotations

from typing import Final

_BLOCK: Final = 256


class Heights:
    """Numbers that are summed up: finding a place among 100,000 looks at some hundreds."""

    def __init__(self) -> None:
        self._heights: list[int] = []
        self._sums: list[int] = []
        self.total = 0

    def __len__(self) -> int:
        return len(self._heights)

    def __getitem__(self, at: int) -> int:
        return self._heights[at]

    def append(self, height: int) -> None:
        """Add an entry of `height` lines."""
        if len(self._heights) % _BLOCK == 0:
            self._sums.append(0)
        self._heights.append(height)
        self._sums[-1] += height
        self.total += height

    def extend(self, count: int, height: int) -> None:
        """Add `count` entries of `height` lines each."""
        while count and len(self._heights) % _BLOCK:
            self.append(height)
            count -= 1
        self._heights += [height] * count
        full, rest = divmod(count, _BLOCK)
        self._sums += [_BLOCK * height] * full + ([rest * height] if rest else [])
        self.total += count * height

    def set(self, at: int, height: int) -> None:
        """Change the height of an entry."""
        change = height - self._heights[at]
        if change:
            self._heights[at] = height
            self._sums[at // _BLOCK] += change
            self.total += change

    def offset(self, at: int) -> int:
        """Return how many lines stand before entry `at`."""
        block = at // _BLOCK
        return sum(self._sums[:block]) + sum(self._heights[block * _BLOCK : at])

    def find(self, place: int) -> tuple[int, int]:
        """Return the entry that line `place` is of, and which of its lines it is.

        Raises:
            IndexError: there is no such line.
        """
        if not 0 <= place < self.total:
            raise IndexError(place)
        block = 0
        while place >= self._sums[block]:
            place -= self._sums[block]
            block += 1
        at = block * _BLOCK
        while place >= self._heights[at]:
            place -= self._heights[at]
            at += 1
        return at, place
