"""What the shared tables hold: a list of one kind, the selected record in full, and its verbs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from perstack_tui.deeds.items import why_not_act
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.host import Host
from perstack_tui.ports.records import RecordKind, Verb
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.records_loading import RecordsLoading
from perstack_tui.screens.records_verbs import Doing, ask_for_kind
from perstack_tui.screens.searching import SearchedSheet
from perstack_tui.state.lines import Line, Span
from perstack_tui.state.records import (
    Browsing,
    kinds_line,
    next_kind,
    notice_line,
    page_lines,
    records_badge,
    verbs_line,
)
from perstack_tui.timers import after
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

WIDE_COLUMNS: Final = 100
LOW_ROWS: Final = 18
RETRY_S: Final = 0.5
_HINTS: Final = (
    ("down", "up", "move"),
    ("open", "", "details"),
    ("filter", "", "filter"),
    ("next_pane", "previous_pane", "kind"),
    ("goto", "", "go to"),
    ("help", "", "help"),
    ("back", "", "close"),
)


class RecordsScreen(SearchedSheet):
    """Keys of the cockpit move about; keys in the line of verbs do what they say."""

    DEFAULT_CSS = """
    #records-body { height: 1fr; }
    """

    def __init__(self, host: Host, kind: RecordKind, needle: str = "") -> None:
        listed = Pane(id="records-list", heads=1)
        super().__init__(host, "records", label="filter", listed=listed)
        self.at = Browsing(kind, needle)
        self.loader = RecordsLoading(host, self.at, self._changed)
        self._doing = Doing(host, self.at, self.loader)
        self._deliberate = Deliberate(host, lambda why: host.tell(why, "bad"))
        self._detail = Pane(id="records-detail", measured=True)
        self._shown: Hashable = None
        self._keys: dict[str, Callable[[], None]] = {
            "down": partial(self._move, 1),
            "up": partial(self._move, -1),
            "page_down": lambda: self._move(self._page),
            "page_up": lambda: self._move(-self._page),
            "first": lambda: self._choose(self._list.move_to_end(last=False)),
            "last": self._to_last,
            "detail_down": lambda: self._scroll(self._half),
            "detail_up": lambda: self._scroll(-self._half),
            "next_pane": partial(self._turn, 1),
            "previous_pane": partial(self._turn, -1),
            "open": self._open,
            "filter": self._search,
            "goto": lambda: ask_for_kind(host, self._show),
            "retry": self.loader.reload,
            "copy": self._copy,
            "help": lambda: host.open_sheet(HelpSheet(host)),
            "back": self._back,
            "quit": self._leave,
        }

    @property
    def _page(self) -> int:
        return max(1, (self._detail if self.at.wide else self._list).inner_height - 2)

    @property
    def _half(self) -> int:
        return max(1, self._detail.inner_height // 2)

    def compose(self) -> ComposeResult:
        """The kinds, the list and what is selected, what may be typed, what was said, the keys."""
        yield Bar(id="records-kinds")
        yield Container(self._list, self._detail, id="records-body")
        yield self._search_line
        yield Bar(id="records-notice")
        yield Bar(id="records-verbs")
        yield Bar(id="records-keys")

    def on_mount(self) -> None:
        """Load the list."""
        self._lay_out()
        self._list.focus()
        self._begin()

    def _begin(self) -> None:
        """Follow the tables; try again while the runtime is still being opened."""
        if not self.loader.following:
            self.loader.open()
            after(self, RETRY_S, self._begin)

    def on_unmount(self) -> None:
        """Load nothing any more."""
        self.loader.close()

    def on_resize(self, event: events.Resize) -> None:
        """Put the details beside the list, or below it."""
        self._lay_out()

    def _lay_out(self) -> None:
        size, wide = self.size, self.at.wide
        beside = size.width >= WIDE_COLUMNS
        low = size.height < LOW_ROWS and not beside
        body = self.query_one("#records-body", Container)
        body.styles.layout = "horizontal" if beside else "vertical"
        self._list.display = not wide
        self._detail.display = wide or not low
        self._list.styles.width = "3fr" if beside else "1fr"
        self._detail.styles.width = "2fr" if beside else "1fr"
        self._list.styles.height = "1fr" if beside else "3fr"
        self._detail.styles.height = "1fr" if beside else "2fr"

    # --- painting ---------------------------------------------------------------------------

    def _changed(self) -> None:
        if self.is_mounted:
            self.loader.load_more()
            self.refresh_view()

    def refresh_view(self) -> None:
        """Paint what is known now."""
        if not self.is_mounted or not self.query("#records-keys"):
            return
        at = self.at
        self.query_one("#records-kinds", Bar).show(kinds_line(at.kind, self.size.width))
        self._list.show(
            page_lines(at, self._list.inner_width),
            selected=at.row_id,
            frame=Frame(at.kind.capitalize(), records_badge(at)),
        )
        self._paint_detail()
        self.query_one("#records-notice", Bar).show(notice_line(at))
        refused = why_not_act(self.host)
        self.query_one("#records-verbs", Bar).show(verbs_line(at, refused=refused))
        self.query_one("#records-keys", Bar).show(_hint_line(self.host))

    def _paint_detail(self) -> None:
        at, pane = self.at, self._detail
        what = (at.kind, at.row_id)
        if what != self._shown:
            self._shown = what
            pane.scroll_lines(-len(pane.lines))
        pane.show(at.detail_lines(pane.inner_width), frame=Frame("Details"))

    # --- keys -------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """Pasting does nothing, nor do verbs' keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Move about, or do what the line of verbs says; in the filter, type it."""
        if self._search_takes(event):
            return
        event.stop()
        event.prevent_default()
        calm = self._deliberate.admits()
        action = self.host.state.keymap.action(event.key) or ""
        done = self._keys.get({"next_item": "down", "previous_item": "up"}.get(action, action))
        verb = next((verb for verb in self.at.verbs if verb.key == event.character), None)
        if verb is not None:
            if calm:
                self._do(verb)
        elif done is not None:
            self.at.said = ""
            done()
        if self.is_mounted:
            self.refresh_view()

    def _do(self, verb: Verb) -> None:
        """Do what asks first at once; what acts by its key alone only when it was meant."""
        if verb.asks is not None or verb.warns is not None:
            self._doing.do(verb)
        else:
            row = self.at.row_id
            self._deliberate.decide(lambda: self._do_to(row, verb))

    def _do_to(self, row: str | None, verb: Verb) -> None:
        if self.at.row_id == row and not self._is_left:
            self._doing.do(verb)
            self.refresh_view()

    def _move(self, by: int) -> None:
        if self.at.wide:
            self._scroll(by)
        else:
            self._choose(self._list.move(by))

    def _choose(self, key: Hashable) -> None:
        if isinstance(key, str):
            self.at.choose(key)
            self.loader.look_at_details()
            self.loader.load_more()

    def _to_last(self) -> None:
        self._choose(self._list.move_to_end(last=True))
        self.loader.load_all_to_end()

    def _scroll(self, by: int) -> None:
        self._detail.scroll_lines(by)

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

    def _open(self) -> None:
        if self.at.row is not None or self.at.wide:
            self.at.wide = not self.at.wide
            self._lay_out()

    def _copy(self) -> None:
        if self.at.row_id is not None:
            self.host.copy(self.at.row_id, "the id")

    def _back(self) -> None:
        at = self.at
        if at.wide:
            self._open()
        elif at.needle:
            self._seek("")
        else:
            self._leave()

    def _leave(self) -> None:
        self.dismiss(None)

    # --- another list -----------------------------------------------------------------------

    def _turn(self, by: int) -> None:
        self._show(next_kind(self.at.kind, by))

    def _show(self, kind: RecordKind, needle: str = "") -> None:
        self.at.turn(kind, needle)
        self._lay_out()
        self.loader.reload()
        self.refresh_view()

    # --- filter -----------------------------------------------------------------------------

    @property
    def _words(self) -> str:
        return self.at.needle

    def _seek(self, words: str, *, typing: bool = False) -> None:
        self.at.needle = words
        self.loader.reload(typing=typing)
        self.refresh_view()


def _hint_line(host: Host) -> Line:
    spans: list[Span] = []
    for first, second, word in _HINTS:
        shown = host.state.keymap.shown
        keys = "/".join(shown(name).split(" ")[0] for name in (first, second) if name)
        spans.append((f" {keys}", "accent"))
        spans.append((f" {word} ", "muted"))
    return Line(tuple(spans))
