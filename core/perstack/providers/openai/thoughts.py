"""Telling reasoning from text where a vendor sends both as text, reasoning in tags."""

from __future__ import annotations

from typing import Final

from perstack.ports.model import Spoken

OPEN: Final = "<thought>"
CLOSE: Final = "</thought>"


class Thoughts:
    """Splits an answer that may begin with `<thought>…</thought>`, wherever its pieces end.

    Pieces that the vendor marks as thoughts are reasoning with or without tags. Tags that begin
    further on are text: a model may well write them.
    """

    def __init__(self) -> None:
        self._held = ""
        self._begun = False
        self._thinking = False

    def read(self, piece: str, *, thought: bool) -> Spoken | None:
        """Return what of the pieces until now is certain and new, None when nothing is."""
        said = self._held + piece
        self._held = ""
        if thought:
            return self._marked(said)
        if not self._begun:
            if said and OPEN.startswith(said):  # It may yet become the tag.
                self._held = said
                return None
            self._begun = bool(said)
            self._thinking = said.startswith(OPEN)
            said = said.removeprefix(OPEN)
        return self._after(said) if self._thinking else _spoken("text", said)

    def rest(self) -> Spoken | None:
        """Return what was held back; the answer is over."""
        held, self._held = self._held, ""
        return _spoken("reasoning" if self._thinking else "text", held)

    def _marked(self, said: str) -> Spoken | None:
        """Return a piece that is reasoning; within tags, what follows it is as well."""
        self._begun = True
        if said.startswith(OPEN):
            self._thinking = True
        if said.endswith(CLOSE):
            self._thinking = False
        return _spoken("reasoning", said.removeprefix(OPEN).removesuffix(CLOSE))

    def _after(self, said: str) -> Spoken | None:
        thought, tag, text = said.partition(CLOSE)
        if tag:
            self._thinking = False
            # One piece is of one kind; the text waits for the next.
            if thought:
                self._held = text
                return _spoken("reasoning", thought)
            return _spoken("text", text)
        kept = _beginning_of(CLOSE, said)
        self._held = said[len(said) - kept :]
        return _spoken("reasoning", said[: len(said) - kept])


def _beginning_of(tag: str, said: str) -> int:
    """Return how many of the last characters of `said` may be the beginning of `tag`."""
    sizes = range(min(len(tag) - 1, len(said)), 0, -1)
    return next((size for size in sizes if said.endswith(tag[:size])), 0)


def _spoken(stream: str, said: str) -> Spoken | None:
    if not said:
        return None
    return Spoken("reasoning" if stream == "reasoning" else "text", said)
