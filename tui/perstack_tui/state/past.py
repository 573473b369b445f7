"""Entries of a run that are no more in memory: which are wanted, and those that were read back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from perstack.projection.views import EntryView

CHUNK: Final = 256
_KEPT: Final = 6


class Past:
    """The last chunks of one run that were read back. `wanted` is the one to be read next.

    One that could not be read is not asked for again until the run is selected anew.
    """

    def __init__(self) -> None:
        self.wanted: int | None = None
        self._chunks: OrderedDict[int, Sequence[EntryView]] = OrderedDict()
        self._asked: set[int] = set()

    def entry(self, number: int) -> EntryView | None:
        """Return entry `number`; None when it has to be read back first, which is then wanted."""
        chunk = number // CHUNK
        found = self._chunks.get(chunk)
        if found is None:
            if chunk not in self._asked:
                self.wanted = chunk
            return None
        self._chunks.move_to_end(chunk)
        at = number - chunk * CHUNK
        return found[at] if at < len(found) else None

    def ask(self) -> int | None:
        """Return the number of the first entry to be read back, once; None when none is wanted."""
        wanted, self.wanted = self.wanted, None
        if wanted is None:
            return None
        self._asked.add(wanted)
        return wanted * CHUNK

    def take(self, first: int, entries: Sequence[EntryView]) -> None:
        """Take in what was read back, beginning with entry `first`."""
        self._asked.discard(first // CHUNK)
        self._chunks[first // CHUNK] = entries
        while len(self._chunks) > _KEPT:
            self._chunks.popitem(last=False)
