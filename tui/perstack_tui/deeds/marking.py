"""Marking lines, so that several are stopped or decided at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.state.inbox import ItemKey
from perstack_tui.state.wording import count_of

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Marking:
    """Marks runs and what waits in the inbox, by the keys of their lines."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._anchor: Hashable = None

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "mark": Deed(self._mark, self._why_not),
            "mark_range": Deed(self._range, self._why_not),
            "mark_all": Deed(self._all, self._why_not),
        }

    @property
    def _keys(self) -> Sequence[Hashable]:
        """What can be marked in the active pane, from top to bottom."""
        if self._screen.active not in ("tree", "agents", "inbox"):
            return ()
        keys = self._screen.panes[self._screen.active].keys
        return [key for key in keys if not (isinstance(key, ItemKey) and key.kind == "decided")]

    @property
    def _here(self) -> Hashable:
        return self._screen.panes[self._screen.active].selected

    def _why_not(self) -> str | None:
        if self._screen.active not in ("tree", "agents", "inbox"):
            return "lines are marked in the tree, the agents and the inbox"
        return None if self._here in self._keys else "nothing that can be marked is selected"

    def _mark(self) -> None:
        self._host.state.marks ^= {self._here}
        self._screen.action_do("down")
        self._tell()

    def _range(self) -> None:
        keys, marks = self._keys, self._host.state.marks
        if self._anchor not in keys:
            self._anchor = self._here
            marks.add(self._here)
            again = self._host.state.keymap.shown("mark_range")
            self._host.tell(f"a range begins here: go to its other end and press {again} again")
            return
        ends = sorted((keys.index(self._anchor), keys.index(self._here)))
        marks.update(keys[ends[0] : ends[1] + 1])
        self._anchor = None
        self._tell()

    def _all(self) -> None:
        keys, marks = set(self._keys), self._host.state.marks
        if keys <= marks:
            marks -= keys
        else:
            marks |= keys
        self._tell()

    def _tell(self) -> None:
        count, shown = len(self._host.state.marks), self._host.state.keymap.shown
        if count:
            self._host.tell(
                f"{count_of(count, 'line')} marked; {shown('stop')} stops runs, "
                f"{shown('approve')} decides gates, {shown('back')} clears"
            )
