"""The pane of the stream: it scrolls like a text, and goes from one thing to open to the next."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from perstack_tui.widgets.pane import Pane


class StreamPane(Pane):
    """A line up or down goes to the next thing in view that can be opened; else it scrolls."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, follows=True)

    @property
    def keys(self) -> list[Hashable]:
        """The keys of the lines in view."""
        return [key for _, key in self._keys_in_view()]

    def move(self, by: int) -> Hashable:
        """Choose the next thing in view, or scroll; return what is chosen then."""
        if abs(by) == 1:
            found = self._next(by)
            if found is not None:
                self.following = False
                return self._select(found)
        self.scroll_lines(by)
        return self._let_go()

    def move_to_end(self, *, last: bool) -> Hashable:
        """Scroll to the first line, or follow the last one."""
        self.scroll_lines(len(self.lines) if last else -len(self.lines))
        self.following = last
        return self._select(None)

    def reveal(self, key: Hashable) -> None:
        """Leave the window where it is: only what is in view can be chosen."""

    def scrolled(self) -> None:
        """What has gone out of view is not chosen any more."""
        self._let_go()

    def _let_go(self) -> Hashable:
        return self._select(self.selected if self.selected in self.keys else None)

    def _next(self, by: int) -> Hashable:
        found = list(self._keys_in_view())
        at = next((row for row, key in found if key == self.selected), None)
        if at is None:
            # Nothing is chosen: upwards from the last line, downwards from the first.
            return None if not found else found[0 if by > 0 else -1][1]
        beyond = [key for row, key in found if (row - at) * by > 0]
        return None if not beyond else beyond[0 if by > 0 else -1]

    def _keys_in_view(self) -> Iterator[tuple[int, Hashable]]:
        for row in range(self.inner_height):
            key = self.line_at(self.top + row).key
            if key is not None:
                yield row, key
