"""The main screen: five panes over one view, linked by the selected run."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen

from perstack.domain.ids import ExpertKey, RunId
from perstack_tui.deeds.changing import Changing
from perstack_tui.deeds.copying import Copying
from perstack_tui.deeds.deciding import Deciding
from perstack_tui.deeds.defining import Defining
from perstack_tui.deeds.dressing import Dressing
from perstack_tui.deeds.filtering import Filtering
from perstack_tui.deeds.going import GoingAbout
from perstack_tui.deeds.looking import Looking
from perstack_tui.deeds.marking import Marking
from perstack_tui.deeds.moving import Moving
from perstack_tui.deeds.steering import SteeringDeeds
from perstack_tui.deeds.table import Deeds
from perstack_tui.deeds.travelling import Travelling
from perstack_tui.deeds.working import Working
from perstack_tui.ports.host import Host
from perstack_tui.screens.keys import Keys
from perstack_tui.screens.picture import Picture
from perstack_tui.state.bars import keys_line
from perstack_tui.state.cockpit import Notice, notice_seconds
from perstack_tui.state.experts import ExpertRow
from perstack_tui.state.inbox import ItemKey
from perstack_tui.state.layout import PANES, PaneName
from perstack_tui.state.lines import Line
from perstack_tui.state.roster import AgentKey
from perstack_tui.state.timeline import step_along
from perstack_tui.state.tree import DoneKey
from perstack_tui.widgets.pane import Pane
from perstack_tui.widgets.prompt import Asker, Prompt, Purpose


class MainScreen(Screen[None], inherit_bindings=False):
    """Paints `CockpitState` and turns keys into selection and work."""

    AUTO_FOCUS = None
    ALLOW_SELECT = False
    _aging: Notice | None = None

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.active: PaneName = "tree"
        self.prompt = Prompt()
        self.picture = Picture(
            host,
            lambda name: self.deeds.why_not(name) is None,
            lambda: self.prompt.line or self.keys.line(),
            self._keys_elsewhere,
        )
        self.panes = self.picture.panes
        self._laid_out = False
        self.keys = Keys(self, host)
        self.filtering, self.going = Filtering(self, host), GoingAbout(self, host)
        self.travelling, self.defining = Travelling(host), Defining(self, host)
        self._working, self._moving = Working(self, host), Moving(self, host)
        self._deciding = Deciding(host)
        self._askers: dict[Purpose, Asker] = {
            "filter": self.filtering,
            "goto": self.going,
            "follow_up": self._working,
        }
        self.deeds = Deeds(
            (
                self._moving.group(),
                self._working.group(),
                Looking(self, host).group(),
                self.filtering.group(),
                self.going.group(),
                Marking(self, host).group(),
                Copying(self, host).group(),
                SteeringDeeds(host).group(),
                Changing(host).group(),
                self._deciding.group(),
                self.travelling.group(),
                self.defining.group(),
                Dressing(host).group(),
            ),
            lambda reason: host.tell(reason, "bad"),
        )

    def compose(self) -> ComposeResult:
        """A fixed number of widgets, whatever the history."""
        bars = self.picture.bars
        yield bars["header"]
        yield bars["tabs"]
        yield bars["crumbs"]
        yield self.picture.desk
        yield self.prompt
        yield bars["notice"]
        yield bars["footer"]

    def on_mount(self) -> None:
        """Start in the tree."""
        self.go_to("tree")

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for the size; what is selected stays."""
        self._lay_out(event.size.width, event.size.height)

    def on_pane_resized(self, event: Pane.Resized) -> None:
        """Fill the pane to its new size."""
        self.host.request_paint(now=True)

    def on_screen_suspend(self) -> None:
        """A sheet opened over it: its keys are not those of the panes, and it tells messages."""
        self.picture.below = True
        self.refresh_view()

    def _keys_elsewhere(self) -> Line | None:
        if self.picture.below:
            return keys_line(("esc", "closes what is open; its keys are named in it"))
        return self.prompt.keys if self.prompt.display else self.keys.hints()

    def on_screen_resume(self) -> None:
        """Paint what changed while a sheet was open."""
        self.picture.below = False
        self.refresh_view()

    # --- layout and focus -------------------------------------------------------------------

    def go_to(self, name: PaneName) -> None:
        """Show and focus a pane."""
        if name == "inbox" != self.active:
            self.host.state.show_item()
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
        if self.focused is not event.widget or name not in self.panes:
            return
        for pane in PANES:
            if pane == name and pane != self.active:
                self.active = pane
                self.host.request_paint(now=True)
        self.prompt.leave()

    def _lay_out(self, width: int, height: int) -> None:
        below = self.picture.crumbs_below
        self.picture.lay_out(width or 80, height or 24, self.active)
        self._laid_out = True
        if self.picture.crumbs_below != below:
            bars = self.picture.bars
            after = bars["notice"] if self.picture.crumbs_below else bars["tabs"]
            self.move_child(bars["crumbs"], after=after)

    def refresh_view(self) -> None:
        """Paint what is known now; unchanged lines cost nothing."""
        if self.is_mounted and self._laid_out:
            self.keys.take_settings()
            self.keys.paint_over()
            self._age_notice()
            self.picture.paint(self.size.width)
            looked_at = self.active == "inbox" and self.is_current
            self._deciding.note_shown(self.panes["inbox"] if looked_at else None)

    def _age_notice(self) -> None:
        """Take a message away once it could be read; an error with a line of its own stays."""
        state = self.host.state
        if state.notice is self._aging:
            return
        self._aging = state.notice
        if state.notice is not None:
            roomy = state.size_class in ("tabs", "desk", "wall")
            seconds = notice_seconds(state.notice.tone, roomy=roomy)
            if seconds:
                self.set_timer(seconds, partial(self._end_notice, state.notice))

    def _end_notice(self, notice: Notice) -> None:
        if self.host.state.notice is notice:
            self.host.state.notice = None
            self.host.request_paint()

    def forget_paint(self) -> None:
        """Paint everything anew (the theme changed)."""
        self.picture.forget()

    # --- keys and clicks --------------------------------------------------------------------

    def hold_keys(self) -> None:
        """A sheet closes: keys that do something count again once the keyboard was quiet."""
        self.keys.hold()

    def on_key(self, event: events.Key) -> None:
        """Do what the key does now."""
        if not self.prompt.display:
            self.keys.press(event)

    def action_do(self, name: str) -> None:
        """Do the action `name` of the registry."""
        if self.prompt.display and name not in ("quit", "help"):
            return
        self.host.state.notice = None
        self.deeds.do(name)
        self.going.note(moved=name in ("up", "down", "page_up", "page_down", "first", "last"))
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
        elif isinstance(key, ExpertRow):
            state.expert_key = key.key
        elif isinstance(key, (AgentKey, DoneKey)):
            state.select_row(key)
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
        """Tell whoever asked."""
        self._askers[event.purpose].typed(event.text)

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        """Give the text to whoever asked; the prompt closes when they have what they need."""
        if self._askers[event.purpose].entered(event.text):
            self.close_prompt()

    def on_prompt_left(self, event: Prompt.Left) -> None:
        """Close the prompt; a draft stays."""
        self._askers[event.purpose].left()
        self.close_prompt()

    def on_dragging_dragged(self, event: Pane.Dragged) -> None:
        """Copy what was selected with the mouse."""
        self.host.copy(event.text, "what you selected")

    def close_prompt(self) -> None:
        """Close the prompt; the active pane has the keyboard again."""
        self.prompt.leave()
        self.go_to(self.active)
