"""Going about: panes, lines, pages, opening and leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.deeds.items import open_item
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.state.layout import PANES
from perstack_tui.state.timeline import lane_along
from perstack_tui.state.tree import DoneKey

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen
    from perstack_tui.state.layout import PaneName

DETAIL_LINES = 3


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
            "detail_down": Deed(lambda: self._detail(DETAIL_LINES)),
            "detail_up": Deed(lambda: self._detail(-DETAIL_LINES)),
            "first": Deed(lambda: self._end(last=False)),
            "last": Deed(lambda: self._end(last=True)),
            "left": Deed(lambda: self._sideways(-1)),
            "right": Deed(lambda: self._sideways(1)),
            "lane_up": Deed(lambda: self._lane(-1), self._why_not_lane),
            "lane_down": Deed(lambda: self._lane(1), self._why_not_lane),
            "next_item": Deed(lambda: self._item(1), self._why_not_item),
            "previous_item": Deed(lambda: self._item(-1), self._why_not_item),
            "open": Deed(self.open),
            "back": Deed(self._back),
        }

    @property
    def _pane(self):
        return self._screen.panes[self._screen.active]

    def _to(self, name: PaneName):
        def go() -> None:
            if self._screen.active != name:
                self._screen.go_to(name)
                return
            state = self._host.state
            state.zoom = "normal" if state.zoom == "full" else "full"
            self._screen.go_to(name)

        return go

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

    def _detail(self, by: int) -> None:
        self._screen.panes["stream"].scroll_lines(by)

    def _sideways(self, by: int) -> None:
        if self._screen.active == "timeline":
            self._screen.move_point(by)
        elif self._screen.active == "tree":
            self._host.state.fold_tree(closed=by < 0)

    def _why_not_lane(self) -> str | None:
        if self._screen.active != "timeline":
            return "lanes are in the timeline"
        job = self._host.state.job
        return None if job is not None and len(job.runs) > 1 else "the job has one lane only"

    def _lane(self, by: int) -> None:
        """Go to the lane above or below, to its checkpoint nearest in time."""
        state = self._host.state
        found = lane_along(state.job, state.run_id, state.point, by)
        if found is not None:
            run_id, point = found
            self._screen.select(run_id)
            state.point = point

    def _why_not_item(self) -> str | None:
        return None if self._host.state.shown_items else "the inbox is empty"

    def _item(self, by: int) -> None:
        state = self._host.state
        keys = [item.key for item in state.shown_items]
        at = keys.index(state.item_key) if state.item_key in keys else -by
        state.select_item(keys[(at + by) % len(keys)])

    def open(self) -> None:
        """Open what is selected in the active pane."""
        state, active = self._host.state, self._screen.active
        if active == "inbox":
            if state.item is not None:
                open_item(self._host, state.item)
        elif active == "timeline" and self._screen.travelling.travel():
            return
        elif active == "experts":
            self._screen.defining.open()
        elif active == "tree" and state.job is not None and len(state.job.runs) > 1:
            key = state.tree_key()
            if key == state.job.coordinator_run_id or isinstance(key, DoneKey):
                state.fold_tree()
            else:
                self._screen.go_to("stream")
        elif active != "stream":
            self._screen.go_to("stream")
        else:
            self._screen.picture.stream.open()

    def _back(self) -> None:
        """Take away one thing at a time: marks, the filter, the zoom, the cursor in time."""
        state, screen = self._host.state, self._screen
        if screen.active == "stream" and screen.picture.stream.close():
            pass
        elif state.marks:
            state.marks.clear()
        elif screen.filtering.clear(screen.active) or screen.filtering.clear("agents"):
            pass
        elif state.zoom != "normal":
            state.zoom = "normal"
            screen.go_to(screen.active)
        elif state.point is not None:
            state.point = None
