"""The registry of Experts: a list that is searched as one types."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from perstack_tui.deeds.items import why_not_act
from perstack_tui.ports.host import Host
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.registry_deeds import key_line, run_it
from perstack_tui.screens.registry_expert import RegistryExpertSheet
from perstack_tui.screens.registry_loading import ShelfLoading
from perstack_tui.screens.searching import SearchedSheet
from perstack_tui.state.lines import Line, line
from perstack_tui.state.registry import Shelf, about_lines, badge, list_lines
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

LOW_ROWS: Final = 18
_HINTS: Final = (
    ("down up", "move"),
    ("open", "read"),
    ("filter", "search"),
    ("new_run", "run"),
    ("copy", "copy"),
)


class RegistryScreen(SearchedSheet):
    """Keys of the cockpit move about; `/` searches, enter reads."""

    def __init__(self, host: Host, words: str = "") -> None:
        listed = Pane(id="registry-list", heads=1)
        super().__init__(host, "registry", label="search", listed=listed)
        self.shelf = Shelf(words=words)
        self.loader = ShelfLoading(host, self.shelf, self._changed)
        self._about = Pane(id="registry-about")
        self._keys: dict[str, Callable[[], None]] = {
            "down": partial(self._move, 1),
            "up": partial(self._move, -1),
            "page_down": lambda: self._move(self._page),
            "page_up": lambda: self._move(-self._page),
            "first": lambda: self._choose(self._list.move_to_end(last=False)),
            "last": lambda: self._choose(self._list.move_to_end(last=True)),
            "detail_down": lambda: self._about.scroll_lines(1),
            "detail_up": lambda: self._about.scroll_lines(-1),
            "open": self._open,
            "filter": self._search,
            "new_run": self._run,
            "copy": self._copy,
            "help": lambda: host.open_sheet(HelpSheet(host)),
            "back": self._back,
            "quit": lambda: self._leave(),
        }

    @property
    def _page(self) -> int:
        return max(1, self._list.inner_height - 2)

    def compose(self) -> ComposeResult:
        """The list, the selected Expert in short, what is searched for, what was said, the keys."""
        yield Bar(id="registry-place")
        yield Container(self._list, self._about, id="registry-body")
        yield self._search_line
        yield Bar(id="registry-notice")
        yield Bar(id="registry-keys")

    def on_mount(self) -> None:
        """Ask."""
        self._list.focus()
        self.loader.ask()

    def on_unmount(self) -> None:
        """Ask nothing any more."""
        self.loader.close()

    def on_resize(self, event: events.Resize) -> None:
        """Leave the list the room on a small screen."""
        self.refresh_view()

    # --- painting ---------------------------------------------------------------------------

    def _changed(self) -> None:
        if self.is_mounted:
            self.refresh_view()

    def refresh_view(self) -> None:
        """Paint what is known now."""
        if not self.is_mounted or not self.query("#registry-keys"):
            return
        shelf, width = self.shelf, self._list.inner_width
        where = f" Registry  {flat(shelf.url)}" if shelf.url else " Registry"
        self.query_one("#registry-place", Bar).show(line((where, "muted")))
        self._list.show(
            list_lines(shelf, width),
            selected=shelf.key,
            frame=Frame("Experts of the registry", badge(shelf)),
        )
        chosen = flat(shelf.key) if shelf.key else ""
        self._about.display = self.size.height >= LOW_ROWS and shelf.expert is not None
        about = about_lines(shelf, self._about.inner_width)
        self._about.show(about, frame=Frame(chosen))
        self.query_one("#registry-notice", Bar).show(self._notice())
        shown = self.host.state.keymap.shown
        usable = [
            ("/".join(shown(name).split(" ")[0] for name in names.split()), word)
            for names, word in _HINTS
            if names != "new_run" or why_not_act(self.host) is None
        ]
        self.query_one("#registry-keys", Bar).show(
            key_line(*usable, ("r", "again"), ("esc", "close"))
        )

    def _notice(self) -> Line:
        shelf = self.shelf
        if shelf.problem and shelf.experts:
            hint = f" - {shelf.hint}" if shelf.hint else ""
            return line((f" ✗ {flat(shelf.problem + hint)}", "fail"))
        return line((" ● asking the registry…", "run")) if shelf.asking else line()

    # --- keys -------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Move about; in the search only enter and escape, and the arrows in the list."""
        if self._search_takes(event):
            return
        event.stop()
        event.prevent_default()
        if event.character == "r":
            self.loader.ask()
        else:
            action = self.host.state.keymap.action(event.key) or ""
            known = {"next_item": "down", "previous_item": "up"}
            if (done := self._keys.get(known.get(action, action))) is not None:
                done()
        if self.is_mounted:
            self.refresh_view()

    def _move(self, by: int) -> None:
        self._choose(self._list.move(by))

    def _choose(self, key: object) -> None:
        if isinstance(key, str):
            self.shelf.choose(key)
            self.loader.load_more()

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take what was clicked."""
        event.stop()
        if event.pane is self._list:
            self._choose(event.key)
            self.refresh_view()

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Read what was double-clicked."""
        event.stop()
        self._open()

    def _open(self) -> None:
        if self.shelf.key is not None:
            self.host.open_sheet(RegistryExpertSheet(self.host, self.shelf.key), self._read)

    def _read(self, started: bool | None) -> None:
        """Go, too, once a run was started from the card: it is shown on the main screen."""
        if started:
            self._leave()

    def _run(self) -> None:
        if (expert := self.shelf.expert) is not None:
            run_it(self.host, expert, self._leave)

    def _copy(self) -> None:
        if self.shelf.key is not None:
            self.host.copy(self.shelf.key, "the key")

    def _back(self) -> None:
        if self.shelf.words:
            self._seek("")
        else:
            self._leave()

    def _leave(self) -> None:
        self.dismiss(None)

    # --- searching --------------------------------------------------------------------------

    @property
    def _words(self) -> str:
        return self.shelf.words

    def _seek(self, words: str, *, typing: bool = False) -> None:
        self.shelf.words = words
        self.loader.ask(typing=typing)
        self.refresh_view()
