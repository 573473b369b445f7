"""What was on the screen: a text counts as read once each of its lines was."""

from __future__ import annotations

from collections.abc import Hashable


class Reading:
    """Lines of texts that were painted. At another width a text that was half read begins anew.

    So neither jumping to the end nor resizing makes a text read that nobody could have seen.
    """

    def __init__(self) -> None:
        self.read: set[Hashable] = set()
        self._shape: dict[Hashable, tuple[int, int]] = {}
        self._seen: dict[Hashable, set[int]] = {}

    def saw(self, key: Hashable, width: int, count: int, lines: range) -> None:
        """Note that `lines` of the `count` that a text takes at `width` were painted."""
        if key in self.read:
            return
        if self._shape.get(key) != (width, count):
            self._shape[key], self._seen[key] = (width, count), set()
        seen = self._seen[key]
        seen.update(at for at in lines if 0 <= at < count)
        if len(seen) == count:
            self.read.add(key)
            del self._seen[key], self._shape[key]

    def left(self, key: Hashable) -> int:
        """Return how many lines of a text that was begun are unseen."""
        shape = self._shape.get(key)
        return 0 if shape is None else shape[1] - len(self._seen[key])
