"""A line of a pane before it is painted: pieces of text with the role that gives their colour."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from perstack_tui.state.wording import Role

Span = tuple[str, Role]


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Without a `key` it cannot be selected; `right` is set flush with the edge."""

    left: tuple[Span, ...]
    right: tuple[Span, ...] = ()
    key: Hashable = None


def line(*left: Span, right: tuple[Span, ...] = (), key: Hashable = None) -> Line:
    """Return a line of `left` spans."""
    return Line(left, right, key)


def note(text: str) -> Line:
    """Return a quiet line that cannot be selected."""
    return Line(((text, "muted"),))


BLANK = Line(())
