"""Where one has been: a view is a pane with its selection and filter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from perstack.domain.ids import RunId
from perstack_tui.state.inbox import ItemKey
from perstack_tui.state.layout import PaneName

MOST: Final = 100


@dataclass(frozen=True, slots=True)
class View:
    """What one looked at."""

    pane: PaneName
    run_id: RunId | None = None
    item_key: ItemKey | None = None
    needle: str = ""

    def is_near(self, other: View) -> bool:
        """Say whether only the selection differs: one moved about in a list."""
        return replace(self, run_id=other.run_id, item_key=other.item_key) == other


@dataclass(slots=True)
class Views:
    """The last hundred views, and which of them is shown."""

    _seen: list[View] = field(default_factory=list[View])
    _at: int = -1
    _before: View | None = None

    @property
    def current(self) -> View | None:
        """The view that is shown."""
        return self._seen[self._at] if self._seen else None

    def visit(self, view: View, *, moved: bool = False) -> None:
        """Note what is looked at now; with `moved` a step within a list replaces the last one.

        What lay ahead is forgotten, as in a browser.
        """
        current = self.current
        if view == current:
            return
        if current is not None and moved and view.is_near(current):
            self._seen[self._at] = view
            return
        self._before = current
        del self._seen[self._at + 1 :]
        self._seen.append(view)
        del self._seen[:-MOST]
        self._at = len(self._seen) - 1

    def step(self, by: int) -> View | None:
        """Return the view `by` visits back (negative) or forward; None where there is none."""
        wanted = self._at + by
        if not self.can_step(by):
            return None
        self._before, self._at = self.current, wanted
        return self._seen[wanted]

    @property
    def has_last(self) -> bool:
        """Whether there was a view before this one."""
        return self._before is not None

    def can_step(self, by: int) -> bool:
        """Say whether there is a view `by` visits away."""
        return 0 <= self._at + by < len(self._seen)

    def last(self) -> View | None:
        """Return the view before this one, however it was reached; again: this one."""
        before = self._before
        if before is None:
            return None
        self.visit(before)
        return before
