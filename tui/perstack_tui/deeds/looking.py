"""How things are shown: following, wrapping, times, sorting, zoom, palette, help."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.palette import PaletteSheet
from perstack_tui.state.layout import ZOOMS, zoomed
from perstack_tui.state.menu import Letter, Menu
from perstack_tui.state.palette import Entry
from perstack_tui.state.sorting import SORTS, SortColumn

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Looking:
    """What changes only the picture."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "follow": Deed(self._screen.picture.stream.follow),
            "peek": Deed(self._peek),
            "wrap": Deed(self._wrap),
            "times": Deed(self._times),
            "cost": Deed(self._cost),
            "sort": Deed(self._sort),
            "zoom_in": Deed(lambda: self._zoom(1), lambda: self._why_not_zoom(1)),
            "zoom_out": Deed(lambda: self._zoom(-1), lambda: self._why_not_zoom(-1)),
            "theme": Deed(self._host.choose_theme),
            "repaint": Deed(self._host.repaint),
            "palette": Deed(self._palette),
            "help": Deed(self._help),
            "quit": Deed(self._host.ask_to_quit),
        }

    def _peek(self) -> None:
        state = self._host.state
        state.peek = not state.peek
        self._screen.go_to(self._screen.active)
        self._host.tell("the stream shows below lists" if state.peek else "lists have the room")

    def _wrap(self) -> None:
        state = self._host.state
        state.wrap = not state.wrap
        self._host.tell("long lines are wrapped" if state.wrap else "long lines are cut")

    def _times(self) -> None:
        state = self._host.state
        if self._screen.active == "timeline":
            state.time_axis = not state.time_axis
            self._host.tell("the axis is time" if state.time_axis else "the axis is steps")
            return
        state.show_times = not state.show_times
        self._host.tell(f"times in the stream: {'on' if state.show_times else 'off'}")

    def _cost(self) -> None:
        state = self._host.state
        state.cost_of_subtree = not state.cost_of_subtree
        whose = "with what it delegated" if state.cost_of_subtree else "alone"
        self._host.tell(f"cost: each run {whose}")

    def _sort(self) -> None:
        now = self._host.state.sort
        letters = [
            Letter(sort.letter, sort.label, partial(self._sort_by, sort.column), sort.column == now)
            for sort in SORTS
        ]
        self._screen.keys.ask(Menu("sort by", tuple(letters)))

    def _sort_by(self, column: SortColumn) -> None:
        self._host.state.sort = column
        self._host.state.agents(held=False)
        self._screen.go_to("agents")

    def _why_not_zoom(self, by: int) -> str | None:
        zoom = self._host.state.zoom
        if zoomed(zoom, by) != zoom:
            return None
        return "the pane is as large as can be" if zoom == ZOOMS[-1] else "nothing is zoomed"

    def _zoom(self, by: int) -> None:
        self._host.state.zoom = zoomed(self._host.state.zoom, by)
        self._screen.go_to(self._screen.active)

    def _help(self) -> None:
        self._host.open_sheet(HelpSheet(self._host, self._screen.active))

    def _palette(self) -> None:
        sheet = PaletteSheet(self._host, self._screen.deeds.why_not)
        self._host.open_sheet(sheet, self._chosen)

    def _chosen(self, entry: Entry | None) -> None:
        if entry is None:
            return
        recents = self._host.state.recents
        if entry.id in recents:
            recents.remove(entry.id)
        recents.insert(0, entry.id)
        del recents[8:]
        if entry.action is not None:
            self._screen.action_do(entry.action)
        else:
            self._screen.going.go_to(entry.goes_to)
