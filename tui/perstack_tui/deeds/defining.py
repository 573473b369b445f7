"""Definitions: what the last save changed, one in full, its line in the editor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.deeds.naming import Named
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.screens.definitions import ExpertSheet, open_definitions_file
from perstack_tui.state.definition_words import items_of
from perstack_tui.state.experts import selected_expert

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Defining:
    """What is done with the Experts pane and with `perstack.toml`."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._named = Named(screen, host)

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "definitions": Deed(self._host.show_definitions, self._why_not_changes),
            "edit": Deed(self._open, self._why_not_edit),
            "open_path": Deed(self._open, self._why_not_open),
        }

    def open(self) -> None:
        """Show the selected Expert's definition in full."""
        expert = selected_expert(self._host.state)
        if expert is not None:
            self._host.open_sheet(ExpertSheet(self._host, expert.key))

    def _why_not_changes(self) -> str | None:
        definitions = self._host.state.definitions
        if items_of(definitions) or definitions.error:
            return None
        return "perstack.toml has not changed since the cockpit was opened"

    def _open(self) -> None:
        if self._screen.active == "stream" and self._named.why_not_open() is None:
            self._named.open()
        else:
            open_definitions_file(self._host)

    def _why_not_edit(self) -> str | None:
        if self._screen.active == "stream":
            return self._named.why_not_edit()
        if self._screen.active != "experts":
            return "e edits a definition, or a file that an entry of the stream names: go there"
        return None

    def _why_not_open(self) -> str | None:
        if self._screen.active == "experts" or self._host.state.definitions.error:
            return None
        if self._screen.active == "stream":
            return self._named.why_not_open()
        return "nothing here can be opened in the editor"
