"""What a key does on the main screen now: a label to jump by, a menu's letter, an action."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events

from perstack_tui.actions import is_deed
from perstack_tui.ports.host import Host
from perstack_tui.settings import Settings
from perstack_tui.state.bars import keys_line
from perstack_tui.state.grace import Grace
from perstack_tui.state.jump import Spot, labels_for, narrowed
from perstack_tui.state.keymap import keymap_of
from perstack_tui.state.layout import PANES, PaneName
from perstack_tui.state.lines import Line, Span
from perstack_tui.state.menu import Menu, menu_line
from perstack_tui.widgets.overlay import Overlay

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Keys:
    """Takes each key once. Nothing here remembers more than what is being typed."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._settings: Settings | None = None
        self._menu: Menu | None = None
        self._labels: dict[str, Spot] | None = None
        self._typed = ""
        self._land: Callable[[Spot], None] = lambda _: None
        self._grace: Grace | None = None

    # --- the map ----------------------------------------------------------------------------

    def take_settings(self) -> None:
        """Use the keys of the settings as they are now; tell what is wrong with them."""
        settings = self._host.settings
        if settings is self._settings:
            return
        known = self._settings
        self._settings = settings
        if known is not None and known.keys == settings.keys:
            return
        self._host.state.keymap = keymap_of(settings.keys)
        count, first = 0, ""
        for problem in self._host.state.keymap.problems:
            count, first = count + 1, first or problem
        if count:
            more = f" (and {count - 1} more: ?)" if count > 1 else ""
            self._host.tell(f"keys: {first}{more}", "bad")

    def hold(self) -> None:
        """A sheet closes: keys that do something count again once the keyboard was quiet."""
        self._grace = Grace(self._host.monotonic)

    def press(self, event: events.Key) -> None:
        """Do what the key does now; a key that does nothing is quiet."""
        self.take_settings()
        typed = event.character if event.is_printable else None
        if self._menu is not None:
            self._take_letter(self._menu, event.key, typed)
        elif self._labels is not None:
            self._take_label(self._labels, event.key, typed)
        elif (name := self._host.state.keymap.action(event.key)) is not None:
            self._press_action(name)
        elif (clash := self._host.state.keymap.clash(event.key)) is not None:
            self._host.tell(clash, "bad")
        elif (lost := self._host.state.keymap.lost(event.key)) is not None:
            self._host.tell(lost)
        else:
            return
        event.stop()
        event.prevent_default()

    def _press_action(self, name: str) -> None:
        if name == "new_run" and self._screen.filtering.searching:
            name = "next_match"
        if self._grace is not None and is_deed(name):
            if not self._grace.admits():
                return
            self._grace = None
        self._screen.action_do(name)

    # --- menus ------------------------------------------------------------------------------

    def ask(self, menu: Menu) -> None:
        """Wait for a letter of the menu; nothing that was typed ahead of it is one."""
        self._menu = menu
        self._host.request_paint(now=True)

    def _take_letter(self, menu: Menu, key: str, typed: str | None) -> None:
        self._menu = None
        letter = None if typed is None else menu.letter(typed)
        if letter is not None:
            letter.do()
        elif key != "escape":
            self._host.tell(f"{menu.title}: no such letter")
        self._host.request_paint(now=True)

    # --- jump labels ------------------------------------------------------------------------

    def label(self, land: Callable[[Spot], None]) -> None:
        """Put a label on every visible line and pane; `land` is told which one was typed."""
        self._land, self._typed = land, ""
        screen = self._screen
        shown: list[PaneName] = [name for name in PANES if screen.panes[name].display]
        shown.sort(key=lambda name: name != screen.active)
        spots = [
            Spot(name, key)
            for name in shown
            for key in screen.panes[name].keys_in_view(screen.panes[name].inner_height)
        ]
        spots[:0] = [Spot(name) for name in shown if name != screen.active]
        self._labels = labels_for(spots)
        self.paint_over()
        self._host.request_paint(now=True)

    def _take_label(self, labels: dict[str, Spot], key: str, typed: str | None) -> None:
        self._typed += typed or ""
        left: dict[str, Spot] = {} if typed is None else narrowed(labels, self._typed)
        spot = left.get(self._typed)
        if spot is not None or not left:
            self._labels = None
        if spot is not None:
            self._land(spot)
        elif not left and key != "escape":
            self._host.tell("no such label")
        self.paint_over()
        self._host.request_paint(now=True)

    # --- what is painted --------------------------------------------------------------------

    def line(self) -> Line | None:
        """Return what the flash line says while a key is awaited."""
        if self._menu is not None:
            return menu_line(self._menu)
        if self._labels is not None:
            typed = f" {self._typed}" if self._typed else ""
            spans: tuple[Span, ...] = ((f" jump{typed}  ", "strong"), ("type a label", "muted"))
            return Line(spans, (("esc ", "accent"), ("leave ", "muted")))
        return None

    def hints(self) -> Line | None:
        """Return what the keys do while one is awaited."""
        if self._menu is not None:
            return keys_line(("a letter", "chooses"), ("esc", "leave"))
        if self._labels is not None:
            return keys_line(("a label", "goes to its line"), ("esc", "leave"))
        return None

    def paint_over(self) -> None:
        """Lay labels and marks over the panes."""
        labels = narrowed(self._labels or {}, self._typed)
        marked = frozenset(self._host.state.marks)
        for name, pane in self._screen.panes.items():
            mine = {spot.key: label for label, spot in labels.items() if spot.pane == name}
            own = mine.pop(None, "")
            pane.lay_over(Overlay(marked if name != "stream" else frozenset(), mine, own))
