"""The travel screen: a job as it was at a checkpoint, read-only, while live work goes on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from perstack.domain.ids import CheckpointId
from perstack_tui.ports.host import Host
from perstack_tui.ports.travel import Moment
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.sheet import Sheet
from perstack_tui.screens.travel_copy import CopyChoice, choices_for
from perstack_tui.screens.travel_loading import Loading
from perstack_tui.screens.travel_plan import PlanSheet
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.state.travel import (
    TABS,
    Against,
    Travelling,
    detail_title,
    end_of,
    lane_from,
    point_of,
    selected_key,
    spoken,
    step_from,
)
from perstack_tui.state.travel_lines import hunk_from, list_badge, list_lines, tabs_of
from perstack_tui.state.travel_plan import Going
from perstack_tui.state.travel_strip import banner, strip_badge, strip_lines
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

WIDE_COLUMNS: Final = 100
LOW_ROWS: Final = 18
_STRIP_ROWS: Final = 6
_HINTS: Final = (
    ("left", "right", "step"),
    ("lane_up", "lane_down", "lane"),
    ("next_pane", "", "view"),
    ("diff", "", "diff"),
    ("mark_moment", "", "mark A"),
    ("compare", "", "compare"),
    ("resume_here", "", "resume"),
    ("fork_here", "", "fork"),
    ("restore_files", "", "restore"),
    ("copy", "", "copy"),
    ("help", "", "help"),
)
_SAME: Final = {"next_item": "down", "previous_item": "up", "zoom_in": "open"}
# What a narrow screen still names.
_SAID: Final = ("step", "lane", "diff", "compare", "help")


class TravelScreen(Sheet[None]):
    """Nothing is loaded until it is shown, and of what is stepped over only the last."""

    def __init__(self, host: Host, moment: Moment, against: Against = "nothing") -> None:
        super().__init__(host)
        self.at = Travelling(moment, against=against, mark=host.state.mark_a)
        self._loading = Loading(host, self.at, self.refresh_view)
        self._copying: tuple[CopyChoice, ...] = ()
        self._shown_detail: Hashable = None
        self._strip = Pane(id="travel-strip")
        self._list = Pane(id="travel-list")
        self._detail = Pane(id="travel-detail", measured=True)
        self._keys: dict[str, Callable[[], None]] = {
            "left": lambda: self._go(step_from(self._index, self.at.moment, -1)),
            "right": lambda: self._go(step_from(self._index, self.at.moment, 1)),
            "lane_up": lambda: self._go(lane_from(self._index, self.at.moment, -1)),
            "lane_down": lambda: self._go(lane_from(self._index, self.at.moment, 1)),
            "first": lambda: self._go(end_of(self._index, self.at.moment, last=False)),
            "last": lambda: self._go(end_of(self._index, self.at.moment, last=True)),
            "down": lambda: self._move(1),
            "up": lambda: self._move(-1),
            "page_down": lambda: self._scroll(self._page),
            "page_up": lambda: self._scroll(-self._page),
            "detail_down": lambda: self._scroll(max(1, self._page // 2)),
            "detail_up": lambda: self._scroll(-max(1, self._page // 2)),
            "new_run": lambda: self._hunk(1),
            "previous_match": lambda: self._hunk(-1),
            "next_pane": lambda: self._turn(1),
            "previous_pane": lambda: self._turn(-1),
            "open": self._open,
            "retry": self._loading.look,
            "diff": lambda: self._compare("previous"),
            "compare": self._compare_with_mark,
            "mark_moment": self._mark,
            "resume_here": lambda: self._plan("resume"),
            "fork_here": lambda: self._plan("fork"),
            "restore_files": lambda: self._plan("restore"),
            "copy": self._copy,
            "help": lambda: host.open_sheet(HelpSheet(host)),
            "back": self._back,
            "quit": self._leave,
        }

    @property
    def _index(self):
        return self.host.state.index

    @property
    def _page(self) -> int:
        return max(1, self._detail.inner_height - 1)

    def compose(self) -> ComposeResult:
        """The banner, the lane, a list and what is selected of it."""
        yield Bar(id="travel-banner")
        yield self._strip
        yield Bar(id="travel-tabs")
        yield Container(self._list, self._detail, id="travel-body")
        yield Bar(id="travel-notice")
        yield Bar(id="travel-keys")

    def on_mount(self) -> None:
        """Load the moment."""
        self._lay_out()
        self._list.focus()
        self._loading.look()

    def on_unmount(self) -> None:
        """Load nothing any more."""
        self._loading.drop()

    def on_resize(self, event: events.Resize) -> None:
        """Put the list beside what is selected, or above it."""
        self._lay_out()

    def _lay_out(self) -> None:
        size = self.size
        beside = size.width >= WIDE_COLUMNS
        body = self.query_one("#travel-body", Container)
        body.styles.layout = "horizontal" if beside else "vertical"
        self._strip.display = size.height >= LOW_ROWS
        self._list.display = not self.at.wide and size.height >= 9
        self._list.styles.width = "2fr" if beside else "1fr"
        self._detail.styles.width = "3fr" if beside else "1fr"
        self._list.styles.height = "1fr" if beside else "2fr"
        self._detail.styles.height = "1fr" if beside else "3fr"

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint what is known now; the lane grows while its run is at work."""
        if not self.is_mounted or not self.query("#travel-keys"):
            return
        at, index = self.at, self._index
        self.query_one("#travel-banner", Bar).show(banner(index, at.moment, self.size.width))
        self._strip.show(
            strip_lines(index, at.moment, at.mark, self._strip.inner_width),
            frame=Frame("Timeline", strip_badge(index, at.moment, at.mark)),
        )
        self.query_one("#travel-tabs", Bar).show(tabs_of(at, index))
        self._paint_list()
        self._paint_detail()
        self.query_one("#travel-notice", Bar).show(self._notice())
        self.query_one("#travel-keys", Bar).show(_hint_line(self.host, self.size.width))

    def _paint_list(self) -> None:
        at = self.at
        titles = {"messages": "Messages", "files": "Workspace", "cost": "Steps"}
        shown = at.view.moment if at.view is not None else at.moment
        title = f"{titles[at.tab]} · {spoken(self._index, shown)}"
        lines = list_lines(at, self._index, self._list.inner_width)
        self._list.show(lines, selected=selected_key(self.at), frame=Frame(title, list_badge(at)))

    def _paint_detail(self) -> None:
        at = self.at
        width = self._detail.inner_width
        if not width:
            return
        what = (at.tab, selected_key(self.at), at.against)
        if what != self._shown_detail:
            self._shown_detail = what
            self._detail.scroll_lines(-len(self._detail.lines))
        self._detail.show(self._loading.detail(width), frame=Frame(detail_title(at)))

    def _notice(self) -> Line:
        at = self.at
        if self._copying:
            return _keyed(" copy:", [(one.key, one.what) for one in self._copying])
        if at.problem:
            return line((f" ✗ {at.problem}", "fail"))
        if at.busy:
            return line((f" ● {at.busy}…", "run"))
        notice = self.host.state.notice
        return line((f" {flat(notice.text)}", "muted")) if notice is not None else Line(())

    # --- keys -------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """Pasting does nothing here."""
        event.stop()

    def on_key(self, event: events.Key) -> None:
        """Do what the key does on the main screen, for the moment shown."""
        event.stop()
        event.prevent_default()
        if self._copying:
            self._copy_chosen(event.character or "")
            return
        action = self.host.state.keymap.action(event.key) or ""
        done = self._keys.get(_SAME.get(action, action))
        if done is not None:
            self.host.state.notice = None
            done()
            if self.is_mounted:
                self.refresh_view()

    def _go(self, moment: Moment | None) -> None:
        """Look at another moment; where the lane ends nothing happens."""
        if moment is None or moment == self.at.moment:
            return
        if moment.run_id != self.at.moment.run_id:
            self.at.message = None
        self.at.moment = moment
        self._loading.look()

    def _move(self, by: int) -> None:
        self._choose(self._list.move(by))

    def _choose(self, key: Hashable) -> None:
        at = self.at
        if key is None:
            return
        if at.tab == "messages":
            at.message = str(key)
        elif at.tab == "files":
            at.path = str(key)
        else:
            here = at.moment
            self._go(Moment(here.job_id, here.run_id, CheckpointId(str(key))))

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take what was clicked."""
        event.stop()
        if event.pane is self._list:
            self._choose(event.key)
            self.refresh_view()

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Show what was double-clicked over the whole width."""
        event.stop()
        self._open()
        self.refresh_view()

    def _scroll(self, by: int) -> None:
        self._detail.scroll_lines(by)

    def _hunk(self, by: int) -> None:
        found = hunk_from(self._detail.lines, self._detail.top, by)
        if found is not None:
            self._detail.scroll_lines(found - self._detail.top)

    def _turn(self, by: int) -> None:
        at = self.at
        at.tab = TABS[(TABS.index(at.tab) + by) % len(TABS)]

    def _open(self) -> None:
        self.at.wide = not self.at.wide
        self._lay_out()

    def _back(self) -> None:
        at = self.at
        if at.wide:
            self._open()
        elif at.against != "nothing":
            self._against("nothing")
        else:
            self._leave()

    def _leave(self) -> None:
        self.dismiss(None)

    # --- comparing --------------------------------------------------------------------------

    def _against(self, wanted: Against) -> None:
        self.at.against = wanted
        self.at.message = None
        self._loading.look()

    def _compare(self, wanted: Against) -> None:
        if self.at.against == wanted:
            self._against("nothing")
            return
        self._against(wanted)
        point = point_of(self._index, self.at.moment)
        if wanted == "previous" and point is not None and point.files:
            # What a step did to files is what one looks for; it is why there is a diff.
            self.at.tab = "files"

    def _compare_with_mark(self) -> None:
        if self.at.mark is None:
            self.host.state.notice = None
            self.at.problem = "no checkpoint is marked as A yet: m marks the one shown"
        else:
            self._compare("mark")

    def _mark(self) -> None:
        self.at.mark = self.host.state.mark_a = self.at.moment

    # --- going on, copying ------------------------------------------------------------------

    def _plan(self, going: Going) -> None:
        def closed(done: bool | None) -> None:
            if done:
                self._leave()

        self.host.open_sheet(PlanSheet(self.host, going, self.at.moment), closed)

    def _copy(self) -> None:
        self._copying = choices_for(self.at)

    def _copy_chosen(self, key: str) -> None:
        chosen = next((one for one in self._copying if one.key == key), None)
        self._copying = ()
        if chosen is not None:
            self.host.copy(chosen.text, chosen.what)
        self.refresh_view()


def _hint_line(host: Host, width: int) -> Line:
    shown, wide = host.state.keymap.shown, width >= WIDE_COLUMNS
    hints: list[tuple[str, str]] = []
    for first, second, word in _HINTS:
        keys = "/".join(shown(name).split(" ")[0] for name in (first, second) if name)
        hints.append((keys, word if wide or word in _SAID else ""))
    return _keyed("", hints)


def _keyed(label: str, hints: list[tuple[str, str]]) -> Line:
    spans: list[Span] = [(label, "text")]
    for key, word in hints:
        spans.append((f" {key}", "accent"))
        spans.append((f" {word} " if word else " ", "muted"))
    return Line(tuple(spans))
