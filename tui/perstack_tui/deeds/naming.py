"""What an entry of the stream names: a file is opened in the editor, a link copied."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from perstack.projection.views import EntryView
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.state.links import links_in, site_of
from perstack_tui.state.menu import Letter, Menu

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Named:
    """What the selected entry of the stream names."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host

    @property
    def _entry(self) -> EntryView | None:
        return self._screen.picture.stream.chosen

    def why_not_edit(self) -> str | None:
        """Return why there is no file to be opened, None when there is one."""
        if (entry := self._entry) is None:
            return "select an entry of the stream first"
        return None if entry.call is not None and entry.call.path else "it names no file"

    def why_not_open(self) -> str | None:
        """Return why there is nothing to be opened, None when there is something."""
        reason, entry = self.why_not_edit(), self._entry
        if reason is None or entry is None:
            return reason
        return None if links_in(entry) else "it names no file and has no link"

    def open(self) -> None:
        """Open the file at its place; copy the link, or ask which of several."""
        entry = self._entry
        if entry is None:
            return
        if entry.call is not None and entry.call.path:
            self._host.command(partial(self._open_file, entry))
            return
        links = links_in(entry)
        if len(links) == 1:
            self._copy(links[0])
        elif links:
            letters = (
                Letter(str(number), site_of(link), partial(self._copy, link))
                for number, link in enumerate(links, 1)
            )
            self._screen.keys.ask(Menu("copy the link to", tuple(letters)))

    def _copy(self, link: str) -> None:
        # Not opened: a model wrote it, and what it asks for may hold what nobody should send.
        self._host.copy(link, f"the link to {site_of(link)}")

    async def _open_file(self, entry: EntryView, gateway: Gateway) -> None:
        from perstack_tui.locating import locate

        if entry.call is not None:
            path, line = await anyio.to_thread.run_sync(locate, gateway.workspace, entry.call)
            self._host.edit_file(path, line)
