"""Filtering the lists, and searching the stream."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.state.layout import PaneName

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen

_WORDS: dict[PaneName, str] = {
    "tree": "filter tree",
    "agents": "filter agents",
    "inbox": "filter inbox",
    "experts": "filter Experts",
    "stream": "search",
}


class Filtering:
    """A filter a pane: `/` opens it, escape takes it away."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._pane: PaneName = "agents"
        self._before: Hashable = None
        self._at: int | None = None

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "filter": Deed(self._ask),
            "next_match": Deed(lambda: self._step(1), self._why_not_step),
            "previous_match": Deed(lambda: self._step(-1), self._why_not_step),
        }

    @property
    def searching(self) -> bool:
        """Whether `n` means the next match: the stream is active, and searched."""
        return self._screen.active == "stream" and bool(self._host.state.filters.get("stream"))

    def _ask(self) -> None:
        active = self._screen.active
        pane: PaneName = "agents" if active == "timeline" else active
        if active == "timeline" and not self._screen.panes["agents"].display:
            self._screen.go_to("agents")
        self._pane = pane
        state = self._host.state
        self._before = state.item_key if pane == "inbox" else state.run_id
        self._screen.prompt.ask("filter", _WORDS[pane], state.filters.get(pane, ""))

    def typed(self, text: str) -> None:
        """Filter at once."""
        self.set(self._pane, text)

    def entered(self, text: str) -> bool:
        """Keep the filter."""
        self.set(self._pane, text)
        self._screen.active = self._pane
        return True

    def left(self) -> None:
        """Take the filter away; what was selected before it is selected again."""
        self.set(self._pane, "")

    def set(self, pane: PaneName, text: str) -> None:
        """Filter `pane`; if that hides what is selected, select the first that is left."""
        state = self._host.state
        if pane == "agents":
            wanted = next((run for run in state.index.runs if run == self._before), None)
            state.filter_agents(text, wanted)
            state.agents(held=False)
        else:
            if pane == "tree":
                state.filter_tree(text, self._before)
            elif pane == "inbox":
                state.filter_inbox(text, self._before)
            else:
                state.filters[pane] = text
            if pane == "stream":
                self._tell_matches(text)
        self._host.request_paint(now=True)

    def clear(self, pane: PaneName) -> bool:
        """Take the pane's filter away; say whether there was one."""
        if not self._host.state.filters.get(pane):
            return False
        self._before = None
        self._host.state.filters[pane] = ""
        if pane == "agents":
            # What matched does not stay above the rest.
            self._host.state.agents(held=False)
        return True

    # --- matches ----------------------------------------------------------------------------

    def _why_not_step(self) -> str | None:
        if not self._host.state.filters.get("stream"):
            return "nothing is searched; / in the stream searches"
        return None

    def _step(self, by: int) -> None:
        if not self._show_match(by):
            self._host.tell("nothing is found")

    def _tell_matches(self, text: str) -> None:
        """Go to the first match from here on, and say how many there are."""
        found = self._show_match(0)
        if not text:
            self._host.state.notice = None
        elif not found:
            self._host.tell("no match in what is in memory")

    def _show_match(self, by: int) -> bool:
        """Scroll to the match `by` matches from the one in view; 0: to the first from here on."""
        pane = self._screen.panes["stream"]
        found = self._screen.picture.stream.find(self._host.state.filters.get("stream", ""))
        if not found:
            self._at = None
            return False
        from_here = next((n for n, at in enumerate(found) if at >= pane.top), 0)
        if by and self._at in found:
            place = (found.index(self._at) + by) % len(found)
        else:
            place = from_here if by >= 0 else (from_here - 1) % len(found)
        self._at = found[place]
        pane.following = False
        pane.scroll_lines(max(0, self._at - pane.inner_height // 3) - pane.top)
        self._host.tell(f"match {place + 1} of {len(found)}")
        return True
