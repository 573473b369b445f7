"""A run's message history: immutable to its holders, and growing at constant cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

from perstack.domain.messages import Message


class Messages(Sequence[Message]):
    """An immutable history of messages that grows at its end in constant time.

    Histories of one line of descent share a list and differ in how much of it they show; only
    when two of them grow from the same point does the second one copy.
    """

    __slots__ = ("_dropped", "_length", "_shared")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._shared: list[Message] = list(messages)
        self._length = len(self._shared)
        self._dropped = 0

    def plus(self, *messages: Message) -> Messages:
        """Return this history with `messages` after it."""
        if not messages:
            return self
        shared = self._shared
        held = self._length - self._dropped
        if len(shared) != held:
            shared = shared[:held]
        shared.extend(messages)
        grown = Messages()
        grown._shared = shared
        grown._length = self._length + len(messages)
        grown._dropped = self._dropped
        return grown

    def beginning(self, first: Message) -> Messages:
        """Return this history with `first` in place of its first message.

        Without messages, or where the first cannot be read any more, it stays as it is.
        """
        if self._dropped or not self._length:
            return self
        return Messages((first, *self.since(1)))

    def forgetting(self, before: int) -> Messages:
        """Return this history without the messages before number `before`.

        They count on, but cannot be read any more. The memory is free once nobody holds this one.
        """
        start = max(before, self._dropped)
        if start == self._dropped:
            return self
        shorter = Messages(self.since(start))
        shorter._length = self._length
        shorter._dropped = start
        return shorter

    def since(self, start: int) -> tuple[Message, ...]:
        """Return the messages from number `start` on, as far as they can be read."""
        first = max(0, start - self._dropped)
        return tuple(self._shared[first : self._length - self._dropped])

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Message]:
        return islice(self._shared, self._length - self._dropped)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...
    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(self._length)))
        at = index + self._length if index < 0 else index
        if not self._dropped <= at < self._length:
            raise IndexError(index)
        return self._shared[at - self._dropped]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Messages):
            return NotImplemented
        return self._length == other._length and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    def __hash__(self) -> int:
        return hash((self._length, self[-1].id if self._length else ""))

    def __repr__(self) -> str:
        return f"Messages({list(self)!r})"


def derived_id(*parts: str | int) -> str:
    """Return a cuid2-shaped id that is the same for the same `parts`."""
    joined = ":".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return "p" + hashlib.blake2b(joined, digest_size=12).hexdigest()[:23]
