"""Going about: panes, lines, pages, opening and leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.deeds.items import open_item
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.state.layout import PANES

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen
    from perstack_tui.state.layout import PaneName


class Moving:
    """Moves the cursor of the active pane."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        screen = self._screen
        return {
            **{f"pane_{name}": Deed(self._to(name)) for name in PANES},
            "next_pane": Deed(lambda: screen.step_pane(1)),
            "previous_pane": Deed(lambda: screen.step_pane(-1)),
            "down": Deed(lambda: self._move(1)),
            "up": Deed(lambda: self._move(-1)),
            "page_down": Deed(lambda: self._page(1)),
            "page_up": Deed(lambda: self._page(-1)),
            "first": Deed(lambda: self._end(last=False)),
            "last": Deed(lambda: self._end(last=True)),
            "left": Deed(lambda: self._sideways(-1)),
            "right": Deed(lambda: self._sideways(1)),
            "open": Deed(self.open),
            "back": Deed(self._back),
        }

    @property
    def _pane(self):
        return self._screen.panes[self._screen.active]

    def _to(self, name: PaneName):
        return lambda: self._screen.go_to(name)

    def _move(self, by: int) -> None:
        self._screen.select(self._pane.move(by))

    def _end(self, *, last: bool) -> None:
        self._screen.select(self._pane.move_to_end(last=last))

    def _page(self, direction: int) -> None:
        pane = self._pane
        step = max(1, pane.inner_height - 1)
        if pane.keys:
            self._move(direction * step)
        else:
            pane.scroll_lines(direction * step)

    def _sideways(self, by: int) -> None:
        if self._screen.active == "timeline":
            self._screen.move_point(by)
        elif self._screen.active == "tree":
            self._host.state.fold_tree(closed=by < 0)

    def open(self) -> None:
        """Open what is selected in the active pane."""
        state, active = self._host.state, self._screen.active
        if active == "inbox":
            if state.item is not None:
                open_item(self._host, state.item)
        elif active == "tree" and state.job is not None and len(state.job.runs) > 1:
            if state.tree_key() == state.job.coordinator_run_id:
                state.fold_tree()
            else:
                self._screen.go_to("stream")
        elif active != "stream":
            self._screen.go_to("stream")
        elif state.run_id is not None:
            state.whole ^= {state.run_id}

    def _back(self) -> None:
        state = self._host.state
        if state.needle:
            state.needle = ""
        elif state.point is not None:
            state.point = None
