"""A line of a pane before it is painted: pieces of text with the role that gives their colour."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload, runtime_checkable

from perstack_tui.state.wording import Role

Span = tuple[str, Role]


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Without a `key` it cannot be selected; `right` is set flush with the edge.

    `exact`: it is read character by character, so no glyph of it is exchanged for another.
    """

    left: tuple[Span, ...]
    right: tuple[Span, ...] = ()
    key: Hashable = None
    exact: bool = False


def line(*left: Span, right: tuple[Span, ...] = (), key: Hashable = None) -> Line:
    """Return a line of `left` spans."""
    return Line(left, right, key)


def note(text: str) -> Line:
    """Return a quiet line that cannot be selected."""
    return Line(((text, "muted"),))


BLANK = Line(())


@runtime_checkable
class Keyed(Protocol):
    """Lines that know where their keys are without being made."""

    def key_at(self, place: int) -> Hashable:
        """Return the key of the line at `place`, None when it cannot be selected."""
        ...

    def places_of(self, key: Hashable) -> Sequence[int]:
        """Return where the lines of `key` are, from top to bottom."""
        ...


@runtime_checkable
class Anchored(Protocol):
    """Lines that find the same text again after they were wrapped to another width."""

    def anchor_at(self, place: int) -> Hashable:
        """Return what the line at `place` is of, in terms that outlive wrapping."""
        ...

    def place_of(self, anchor: Hashable) -> int | None:
        """Return the line of `anchor` now, None when it is gone."""
        ...


class Rows(Sequence[Line]):
    """Lines that are made when they are looked at, so that their cost is that of what is visible.

    `make` is given a place among `keys`; `heads` stand before them.
    """

    def __init__(
        self, keys: Sequence[Hashable], make: Callable[[int], Line], heads: Sequence[Line] = ()
    ) -> None:
        self._keys = keys
        self._make = make
        self._heads = heads
        self._made: dict[int, Line] = {}
        self._found: dict[Hashable, int] | None = None

    def __len__(self) -> int:
        return len(self._heads) + len(self._keys)

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Line]: ...
    def __getitem__(self, at: int | slice) -> Line | Sequence[Line]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        place = at + len(self) if at < 0 else at
        if not 0 <= place < len(self):
            raise IndexError(at)
        if place < len(self._heads):
            return self._heads[place]
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._make(place - len(self._heads))
        return made

    def __iter__(self) -> Iterator[Line]:
        return (self[place] for place in range(len(self)))

    def key_at(self, place: int) -> Hashable:
        """Return the key of the line at `place`."""
        at = place - len(self._heads)
        return self._keys[at] if 0 <= at < len(self._keys) else None

    def places_of(self, key: Hashable) -> Sequence[int]:
        """Return where `key` is; each key has one line."""
        if self._found is None:
            self._found = {known: at for at, known in enumerate(self._keys)}
        at = self._found.get(key) if key is not None else None
        return () if at is None else (at + len(self._heads),)


def key_at(lines: Sequence[Line], place: int) -> Hashable:
    """Return the key of the line at `place`, None where there is none."""
    if not 0 <= place < len(lines):
        return None
    return lines.key_at(place) if isinstance(lines, Keyed) else lines[place].key


def places_of(lines: Sequence[Line], key: Hashable) -> Sequence[int]:
    """Return where the lines of `key` are."""
    if isinstance(lines, Keyed):
        return lines.places_of(key)
    return [place for place, line in enumerate(lines) if line.key == key]


def keys_of(lines: Sequence[Line]) -> list[Hashable]:
    """Return the keys that can be chosen, each once, from top to bottom."""
    found = (key_at(lines, place) for place in range(len(lines)))
    return list(dict.fromkeys(key for key in found if key is not None))
