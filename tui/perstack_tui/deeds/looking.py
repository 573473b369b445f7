"""How things are shown: following, filtering, theme, help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack.domain.ids import RunId
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.screens.help import HelpSheet

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Looking:
    """What changes only the picture."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._before_filter: RunId | None = None

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "follow": Deed(self._follow),
            "filter": Deed(self._filter),
            "theme": Deed(self._host.next_theme),
            "help": Deed(lambda: self._host.open_sheet(HelpSheet(self._host))),
            "quit": Deed(self._host.ask_to_quit),
        }

    def _follow(self) -> None:
        pane = self._screen.panes["stream"]
        pane.following = not pane.following
        if pane.following:
            pane.scroll_lines(len(pane.lines))

    def _filter(self) -> None:
        if not self._screen.panes["agents"].display:
            self._screen.go_to("agents")
        self._before_filter = self._host.state.run_id
        self._screen.prompt.ask("filter", "filter agents", self._host.state.needle)

    def typed(self, text: str) -> None:
        """Filter at once."""
        self._host.state.filter_agents(text, self._before_filter)
        self._host.request_paint(now=True)

    def left(self) -> None:
        """Take the filter away; what was selected before it is selected again."""
        self._host.state.filter_agents("", self._before_filter)
