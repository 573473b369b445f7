"""What the main screen paints: six panes and the single lines around them, from the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from perstack_tui.ports.host import Host
from perstack_tui.screens.stream_view import StreamView
from perstack_tui.state.agents import AgentTable, agents_badge
from perstack_tui.state.bars import (
    crumb_line,
    footer_line,
    header_line,
    notice_line,
    summary_line,
    tabs_line,
)
from perstack_tui.state.experts import ExpertRow, expert_lines, experts_badge
from perstack_tui.state.inbox import ItemKey, inbox_lines
from perstack_tui.state.layout import PANES, BarName, PaneName, arrange, size_class
from perstack_tui.state.lines import Line
from perstack_tui.state.timeline import READING, Timeline, checkpoints_in, point_detail
from perstack_tui.state.tree import Tree, tree_badge
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.desk import Desk
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_BARS: Final[tuple[BarName, ...]] = ("header", "tabs", "crumbs", "notice", "footer")
_HEADS: Final[dict[PaneName, int]] = {"tree": 1, "agents": 1, "timeline": 1}


class Picture:
    """The widgets of the main screen, and how each is painted. It knows no keys.

    `possible` says whether an action can be done now, by its id; `asked` is the line of whoever
    asks for keys just now, if anybody does, and `elsewhere` names the keys while something else
    than the panes has the keyboard.
    """

    def __init__(
        self,
        host: Host,
        possible: Callable[[str], bool],
        asked: Callable[[], Line | None],
        elsewhere: Callable[[], Line | None],
    ) -> None:
        self.host = host
        self.stream = StreamView(host)
        self.panes: dict[PaneName, Pane] = {
            name: Pane(id=name, heads=_HEADS.get(name, 0)) for name in PANES if name != "stream"
        }
        self.panes["stream"] = self.stream.pane
        self.bars = {name: Bar(id=name) for name in _BARS}
        self.desk = Desk(self.panes)
        self.crumbs_below = False
        self.below = False
        self._possible, self._asked, self._elsewhere = possible, asked, elsewhere
        self._agents, self._tree, self._timeline = AgentTable(), Tree(), Timeline()
        self._active: PaneName = "tree"

    def lay_out(self, columns: int, rows: int, active: PaneName) -> None:
        """Choose what is shown at this size while `active` has the focus."""
        state = self.host.state
        self._active = active
        state.size_class = size_class(columns, rows)
        wanted = arrange(columns, rows, active, zoom=state.zoom, peek=state.peek)
        for name, bar in self.bars.items():
            bar.display = name in wanted.bars
        self.crumbs_below = wanted.size == "tabs"
        self.desk.show(wanted)

    def paint(self, width: int) -> None:
        """Paint what is known now, in a terminal of `width` cells; unchanged lines cost nothing."""
        now = self.host.clock.now_ms()
        painters: dict[PaneName, Callable[[int], None]] = {
            "tree": self._paint_tree,
            "timeline": self._paint_timeline,
            "agents": self._paint_agents,
            "inbox": self._paint_inbox,
            "stream": self._paint_stream,
            "experts": self._paint_experts,
        }
        for name in self.desk.arrangement.visible:
            if self.panes[name].inner_width:
                painters[name](now)
        self._paint_bars(now, width)

    def forget(self) -> None:
        """Paint everything anew (the theme changed)."""
        for pane in self.panes.values():
            pane.forget_paint()
        for bar in self.bars.values():
            bar.refresh()

    def _paint_bars(self, now: int, width: int) -> None:
        host, state, bars = self.host, self.host.state, self.bars
        arrangement = self.desk.arrangement
        asked = self._asked()
        elsewhere = self._elsewhere()
        inbox_shown = "inbox" in arrangement.visible
        notice = asked or notice_line(state, now, inbox_shown=inbox_shown, quiet=self.below)
        told = asked is not None or (state.notice is not None and not self.below)
        footer = elsewhere or footer_line(state, width, self._possible, now)
        if arrangement.size == "line":
            bars["header"].show(notice if told else summary_line(state))
            return
        header = header_line(
            state, host.workspace_name, width, now, self.host.settings, observing=host.observing
        )
        bars["header"].show(header)
        bars["tabs"].show(tabs_line(state, self._active))
        bars["crumbs"].show(crumb_line(state, now, width))
        bars["notice"].show(notice)
        bars["footer"].show(notice if told and arrangement.size == "list" else footer)

    def _paint_tree(self, now: int) -> None:
        state, pane = self.host.state, self.panes["tree"]
        lines = self._tree.lines(state, pane.inner_width, now, self.host.settings)
        frame = Frame("1 Delegation", tree_badge(state))
        pane.show(lines, selected=state.tree_key(), frame=frame)

    def _paint_timeline(self, now: int) -> None:
        state, pane = self.host.state, self.panes["timeline"]
        lines = self._timeline.lines(state, pane.inner_width, now)
        hints = "h/l step  H/L lane" if self._active == "timeline" else ""
        foot = point_detail(state.run, state.point)
        frame = Frame("2 Timeline", checkpoints_in(state.job), hints, foot)
        pane.show(lines, selected=state.run_id, frame=frame)

    def _paint_agents(self, now: int) -> None:
        state, pane = self.host.state, self.panes["agents"]
        order = state.agents(held=self._active == "agents")
        lines = self._agents.lines(state, order, pane.inner_width, now, self.host.settings)
        pane.show(
            lines, selected=state.agent_key, frame=Frame("3 Agents", agents_badge(state, order))
        )

    def _paint_inbox(self, now: int) -> None:
        state, pane = self.host.state, self.panes["inbox"]
        opened = state.item_key if pane.inner_width >= 52 and pane.inner_height >= 16 else None
        lines: Sequence[Line] = self._inbox_lines(now, opened)
        waiting = len(state.pending)
        hints = "⏎ review or answer" if self._active == "inbox" and waiting else ""
        needle = state.filters.get("inbox", "")
        count = f"▲ {waiting}" if waiting else ""
        if needle:
            found = f"/{flat(needle)} · {len(state.shown_items)} of {len(state.items)}"
            count = f"{found} · {count}" if count else found
        frame = Frame("4 Inbox", count, hints, badge_role="need")
        pane.show(lines, selected=state.item_key, frame=frame)

    def _inbox_lines(self, now: int, opened: ItemKey | None) -> Sequence[Line]:
        state = self.host.state
        if not state.items and not state.index.view.caught_up:
            return READING
        return inbox_lines(state.shown_items, self.panes["inbox"].inner_width, now, opened=opened)

    def _paint_stream(self, now: int) -> None:
        self.stream.paint()

    def _paint_experts(self, now: int) -> None:
        state, pane = self.host.state, self.panes["experts"]
        lines = expert_lines(state, pane.inner_width)
        frame = Frame("6 Experts", experts_badge(state.definitions))
        pane.show(lines, selected=ExpertRow.of(state), frame=frame)
