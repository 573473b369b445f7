"""A menu in the flash line: letters, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perstack_tui.state.lines import Line, Span


@dataclass(frozen=True, slots=True)
class Letter:
    """A key of the menu, as it is typed; `now` marks what is chosen already."""

    key: str
    label: str
    do: Callable[[], None]
    now: bool = False


@dataclass(frozen=True, slots=True)
class Menu:
    """What is asked, and the letters that answer it. Any other key closes it."""

    title: str
    letters: tuple[Letter, ...]

    def letter(self, key: str) -> Letter | None:
        """Return the letter that was typed."""
        return next((letter for letter in self.letters if letter.key == key), None)


def menu_line(menu: Menu) -> Line:
    """Return the menu in one line."""
    spans: list[Span] = [(f" {menu.title}  ", "strong")]
    for letter in menu.letters:
        spans.append((letter.key, "accent"))
        spans.append((f" {letter.label}  ", "strong" if letter.now else "muted"))
    return Line(tuple(spans), (("esc ", "accent"), ("leave ", "muted")))
