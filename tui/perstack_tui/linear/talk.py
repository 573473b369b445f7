"""Saying something and asking: what is read to its end, and what may count as an answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, Protocol

from perstack_tui.linear.commands import cleaned
from perstack_tui.linear.keyboard import Typed
from perstack_tui.linear.paper import Paper
from perstack_tui.text import wrap

MORE: Final = "Enter for more, q to leave it: "
_TRIES: Final = 3
_TOO_SOON: Final = "That was typed before this could be read; it does not count."
_LEAST_ROWS: Final = 5


class Lines(Protocol):
    """Where lines come from."""

    async def line(self, prompt: str, *, afresh: bool = False) -> Typed:
        """Return the next line; `afresh`: what was typed before the prompt is dropped."""
        ...


def terminal_size() -> tuple[int, int]:
    """Return columns and rows, 80 and 24 where the terminal says nothing."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        columns, rows = 80, 24
    return columns or 80, rows or 24


class Talk:
    """A conversation on paper. `size` is columns and rows of the terminal."""

    def __init__(self, paper: Paper, lines: Lines) -> None:
        self.paper = paper
        self.ended = False
        """Whether the input has ended: nobody will answer any more."""
        self._lines = lines
        self.size = terminal_size

    def say(self, *lines: str) -> None:
        """Add lines."""
        self.paper.say(*lines)

    async def command(self, prompt: str) -> str | None:
        """Return what is typed at the prompt, None at the end of input."""
        return self._noted(await self._lines.line(prompt)).text

    async def ask(self, prompt: str) -> str | None:
        """Return what is answered; what was typed before it could be read does not count.

        None when nothing counted three times, or when the input has `ended`.
        """
        for _ in range(_TRIES):
            typed = self._noted(await self._lines.line(prompt, afresh=True))
            if typed.text is None:
                self.say("")
                return None
            if not typed.too_soon:
                return cleaned(typed.text).strip()
            self.say(_TOO_SOON)
        return None

    def _noted(self, typed: Typed) -> Typed:
        self.ended = typed.text is None
        return typed

    async def read_out(self, text: str) -> bool:
        """Say all of `text`, a page at a time; say whether it was heard to its end."""
        return await self.read_lines(wrap(text, max(20, self.size()[0] - 1)))

    async def read_lines(self, lines: Sequence[str]) -> bool:
        """Say all lines, a page at a time; say whether they were heard to their end."""
        page = max(_LEAST_ROWS, self.size()[1] - 2)
        for at in range(0, len(lines), page):
            self.say(*lines[at : at + page])
            left = len(lines) - at - page
            if left > 0:
                self.say(f"{left} more lines.")
                if await self.ask(MORE) != "":
                    return False
        return True
