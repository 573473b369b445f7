"""The main screen: five panes over one view, linked by the selected run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen

from perstack.domain.ids import ExpertKey, RunId
from perstack_tui.actions import ACTIONS, is_deed
from perstack_tui.deeds.deciding import Deciding
from perstack_tui.deeds.looking import Looking
from perstack_tui.deeds.moving import Moving
from perstack_tui.deeds.steering import SteeringDeeds
from perstack_tui.deeds.table import Deeds
from perstack_tui.deeds.working import Working
from perstack_tui.ports.host import Host
from perstack_tui.state.agents import agent_lines, agents_badge
from perstack_tui.state.bars import crumb_line, footer_line, header_line, notice_line, tabs_line
from perstack_tui.state.experts import expert_lines
from perstack_tui.state.grace import Grace
from perstack_tui.state.inbox import ItemKey, inbox_lines
from perstack_tui.state.layout import PANES, Arrangement, PaneName, arrange
from perstack_tui.state.stream import StreamLines, stream_badge, stream_title
from perstack_tui.state.timeline import checkpoints_in, point_detail, step_along, timeline_lines
from perstack_tui.state.tree import tree_lines
from perstack_tui.state.wording import count_of
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane
from perstack_tui.widgets.prompt import Prompt

_HEADS: Final[dict[PaneName, int]] = {"tree": 1, "agents": 1}


class MainScreen(Screen[None]):
    """Paints `CockpitState` and turns keys into selection and work."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.keys, f"press('{action.id}')", action.label, show=False)
        for action in ACTIONS
        if action.keys and action.id not in ("interrupt", "palette")
    ]
    AUTO_FOCUS = None

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.active: PaneName = "tree"
        self.panes: dict[PaneName, Pane] = {
            name: Pane(id=name, follows=name == "stream", heads=_HEADS.get(name, 0))
            for name in PANES
        }
        self.prompt = Prompt()
        self._bars = {
            name: Bar(id=name) for name in ("header", "tabs", "crumbs", "notice", "footer")
        }
        self._left = Vertical(
            self.panes["tree"], self.panes["inbox"], self.panes["experts"], id="left"
        )
        self._right = Vertical(
            self.panes["agents"], self.panes["stream"], self.panes["timeline"], id="right"
        )
        self._body = Container(self._left, self._right, id="body")
        self._arrangement: Arrangement | None = None
        self._stream = StreamLines()
        self._seen_lines = 0
        self._stream_run: RunId | None = None
        self._working, self._looking = Working(self, host), Looking(self, host)
        self._moving = Moving(self, host)
        self.deeds = Deeds(
            (
                self._moving.group(),
                self._working.group(),
                self._looking.group(),
                SteeringDeeds(host).group(),
                Deciding(host).group(),
            ),
            lambda reason: host.tell(reason, "bad"),
        )
        self._grace: Grace | None = None

    def compose(self) -> ComposeResult:
        """A fixed number of widgets, whatever the history."""
        yield self._bars["header"]
        yield self._bars["tabs"]
        yield self._bars["crumbs"]
        yield self._body
        yield self.prompt
        yield self._bars["notice"]
        yield self._bars["footer"]

    def on_mount(self) -> None:
        """Start in the tree."""
        self.go_to("tree")

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for the size; what is selected stays."""
        self._lay_out(event.size.width, event.size.height)

    def on_pane_resized(self, event: Pane.Resized) -> None:
        """Fill the pane to its new size."""
        self.host.request_paint(now=True)

    def on_screen_resume(self) -> None:
        """Paint what changed while a sheet was open."""
        self.refresh_view()

    # --- layout and focus -------------------------------------------------------------------

    def go_to(self, name: PaneName) -> None:
        """Show and focus a pane."""
        self.active = name
        self._lay_out(self.size.width, self.size.height)
        self.panes[name].focus()
        self.refresh_view()

    def step_pane(self, by: int) -> None:
        """Go to the next or previous pane."""
        self.go_to(PANES[(PANES.index(self.active) + by) % len(PANES)])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click focused a pane."""
        name = event.widget.id
        for pane in PANES:
            if pane == name and pane != self.active:
                self.active = pane
                self.host.request_paint(now=True)

    def _lay_out(self, width: int, height: int) -> None:
        wanted = arrange(width or 80, height or 24, self.active)
        if wanted == self._arrangement:
            return
        self._arrangement = wanted
        self._bars["tabs"].display = wanted.tabs
        self._body.styles.layout = "vertical" if wanted.tabs else "horizontal"
        for name, pane in self.panes.items():
            pane.display = name in wanted.visible
            pane.styles.height = wanted.heights.get(name, "1fr")
        for column in (self._left, self._right):
            column.display = any(child.display for child in column.children)
            column.styles.width = "1fr"
            column.styles.height = "1fr"
        if wanted.tabs:
            if self._left.display:
                self._right.styles.height = wanted.heights.get("stream", "1fr")
        else:
            self._left.styles.width = wanted.left_columns

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint what is known now; unchanged lines cost nothing."""
        if not self.is_mounted or self._arrangement is None:
            return
        now = self.host.clock.now_ms()
        painters: dict[PaneName, Callable[[int], None]] = {
            "tree": self._paint_tree,
            "timeline": self._paint_timeline,
            "agents": self._paint_agents,
            "inbox": self._paint_inbox,
            "stream": self._paint_stream,
            "experts": self._paint_experts,
        }
        for name in self._arrangement.visible:
            if self.panes[name].inner_width:
                painters[name](now)
        self._paint_bars(now)

    def _paint_bars(self, now: int) -> None:
        state, width = self.host.state, self.size.width
        shown = self._arrangement is not None and "inbox" in self._arrangement.visible
        self._bars["header"].show(
            header_line(state, self.host.workspace_name, width, observing=self.host.observing)
        )
        self._bars["tabs"].show(tabs_line(state, self.active))
        self._bars["crumbs"].show(crumb_line(state))
        self._bars["notice"].show(notice_line(state, now, inbox_shown=shown))
        self._bars["footer"].show(footer_line(state, width, observing=self.host.observing))

    def _paint_tree(self, now: int) -> None:
        state, pane = self.host.state, self.panes["tree"]
        lines = tree_lines(state.index, pane.inner_width, state.folded)
        jobs = len(state.index.view.jobs)
        badge = count_of(jobs, "job") if jobs else ""
        pane.show(lines, selected=state.tree_key(), frame=Frame("1 Delegation", badge))

    def _paint_timeline(self, now: int) -> None:
        state, pane = self.host.state, self.panes["timeline"]
        lines = timeline_lines(state.job, pane.inner_width, state.point, state.run_id)
        hints = "h/l checkpoint" if self.active == "timeline" else ""
        frame = Frame(
            "2 Timeline", checkpoints_in(state.job), hints, point_detail(state.run, state.point)
        )
        pane.show(lines, selected=state.run_id, frame=frame)

    def _paint_agents(self, now: int) -> None:
        state, pane = self.host.state, self.panes["agents"]
        order = state.agents(held=self.active == "agents")
        lines = agent_lines(
            state.index,
            order,
            pane.inner_width,
            now_ms=now,
            local=state.local_jobs,
            needle=state.needle,
        )
        frame = Frame("3 Agents", agents_badge(state.index, order, state.needle, state.run_id))
        pane.show(lines, selected=state.run_id, frame=frame)

    def _paint_inbox(self, now: int) -> None:
        state, pane = self.host.state, self.panes["inbox"]
        lines = inbox_lines(state.items, pane.inner_width, now)
        waiting = len(state.pending)
        hints = "⏎ review or answer" if self.active == "inbox" and waiting else ""
        frame = Frame("4 Inbox", f"▲ {waiting}" if waiting else "", hints, badge_role="need")
        pane.show(lines, selected=state.item_key, frame=frame)

    def _paint_stream(self, now: int) -> None:
        state, pane = self.host.state, self.panes["stream"]
        run = state.run
        if state.run_id != self._stream_run:
            self._stream_run, pane.following = state.run_id, True
        lines = self._stream.build(
            run, self.host.live_text(), pane.inner_width, whole=state.run_id in state.whole
        )
        if pane.following:
            self._seen_lines = len(lines)
        behind = len(lines) - self._seen_lines
        foot = (
            "follow"
            if pane.following
            else f"↓ {behind} new · G follows"
            if behind > 0
            else "G follows"
        )
        pane.show(lines, frame=Frame(stream_title(run), stream_badge(run), "", foot if run else ""))

    def _paint_experts(self, now: int) -> None:
        pane = self.panes["experts"]
        lines = expert_lines(self.host.state.definitions)
        pane.show(lines, frame=Frame("6 Experts"))

    def forget_paint(self) -> None:
        """Paint everything anew (the theme changed)."""
        for pane in self.panes.values():
            pane.forget_paint()
        for bar in self.query(Bar):
            bar.refresh()

    # --- keys and clicks --------------------------------------------------------------------

    def hold_keys(self) -> None:
        """A sheet closes: keys that do something count again once the keyboard was quiet."""
        self._grace = Grace(self.host.monotonic)

    def action_press(self, name: str) -> None:
        """Do the action `name`, whose key was pressed, unless it was meant for a sheet."""
        if self._grace is not None and is_deed(name):
            if not self._grace.admits():
                return
            self._grace = None
        self.action_do(name)

    def action_do(self, name: str) -> None:
        """Do the action `name` of the registry."""
        if self.prompt.display and name not in ("quit", "help"):
            return
        self.host.state.notice = None
        self.deeds.do(name)
        self.host.request_paint(now=True)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Select in every pane what was chosen in one."""
        self.select(event.key)
        self.host.request_paint(now=True)

    def select(self, key: Hashable) -> None:
        """Select a run or an item of the inbox; None selects nothing."""
        state = self.host.state
        if isinstance(key, ItemKey):
            state.select_item(key)
        elif isinstance(key, str):
            state.select(RunId(key))

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Open what was double-clicked."""
        self._moving.open()

    def start_run(self, expert: ExpertKey | None = None) -> None:
        """Open the sheet that starts a run."""
        self._working.new_run(expert)

    def move_point(self, by: int) -> None:
        """Move the cursor along the selected lane."""
        state = self.host.state
        state.point = step_along(state.run, state.point, by)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter at once; keep what is typed."""
        if event.purpose == "filter":
            self._looking.typed(event.text)
        else:
            self._working.typed(event.text)

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        """Send, or keep the filter."""
        if event.purpose == "filter":
            self._close_prompt("agents")
        elif self._working.entered(event.text):
            self._close_prompt(self.active)

    def on_prompt_left(self, event: Prompt.Left) -> None:
        """Close the prompt: a filter goes, a draft stays."""
        if event.purpose == "filter":
            self._looking.left()
        self._close_prompt(self.active)

    def _close_prompt(self, pane: PaneName) -> None:
        self.prompt.leave()
        self.go_to(pane)
