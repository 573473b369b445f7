"""Approving and rejecting what waits at a gate."""

from __future__ import annotations

from perstack_tui.deeds.items import open_item, why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.state.inbox import Item


class Deciding:
    """What is done to the items of the inbox."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "approve": Deed(self._review, self._why_not),
            "reject": Deed(self._review, self._why_not),
        }

    def _why_not(self) -> str | None:
        refused = why_not_act(self._host)
        return refused or (None if self._wanted() is not None else "nothing waits for approval")

    def _wanted(self) -> Item | None:
        state = self._host.state
        if state.item is not None and state.item.key.kind == "gate":
            return state.item
        gates = [waiting for waiting in state.pending if waiting.key.kind == "gate"]
        mine = [waiting for waiting in gates if waiting.run_id == state.run_id]
        return next(iter(mine or gates), None)

    def _review(self) -> None:
        item = self._wanted()
        if item is not None:
            self._host.state.select_item(item.key)
            open_item(self._host, item)
