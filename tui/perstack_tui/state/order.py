"""An order that does not move under the cursor."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class StickyOrder(Generic[Key]):
    """Keeps keys where they were while `held`; new ones then go to the end."""

    def __init__(self) -> None:
        self._keys: list[Key] = []

    def arrange(self, wanted: Sequence[Key], *, held: bool) -> list[Key]:
        """Return `wanted` in its own order, or, while `held`, in the order shown before."""
        if not held:
            self._keys = list(wanted)
            return list(self._keys)
        there = set(wanted)
        kept = [key for key in self._keys if key in there]
        known = set(kept)
        self._keys = kept + [key for key in wanted if key not in known]
        return list(self._keys)
