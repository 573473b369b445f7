"""Approving and rejecting what waits at a gate."""

from __future__ import annotations

from typing import Final

from perstack_tui.deeds.items import open_item, why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.screens.bulk import BulkSheet
from perstack_tui.state.held import Choice, held_choice
from perstack_tui.state.inbox import Item, ItemKey, shows_all
from perstack_tui.state.review import Review, rejected_by_reviewer
from perstack_tui.widgets.pane import Pane

SETTLED_S: Final = 0.4
_LINES_OF_AN_ITEM: Final = 2


class Deciding:
    """What is done to the items of the inbox."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._shown: tuple[ItemKey | None, float] = (None, 0.0)
        self._pane: Pane | None = None

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "approve": Deed(self._approve, self._why_not),
            "reject": Deed(self._review, self._why_not),
            "undo": Deed(self._undo, self._why_not_undo),
        }

    def note_shown(self, pane: Pane | None) -> None:
        """Remember since when the cursor is seen on an item of the inbox, None while it is not."""
        self._pane = pane
        key = self._host.state.item_key if pane is not None else None
        if key != self._shown[0]:
            self._shown = (key, self._host.monotonic())

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

    def _marked(self) -> list[Item]:
        state = self._host.state
        return [
            item for item in state.pending if item.key.kind == "gate" and item.key in state.marks
        ]

    def _review(self) -> None:
        if marked := self._marked():
            self._host.open_sheet(BulkSheet(self._host, [item.key for item in marked]))
        elif (item := self._wanted()) is not None:
            self._host.state.select_item(item.key)
            open_item(self._host, item)

    def _approve(self) -> None:
        """Approve from the list what is harmless and whole on the screen; else open the review."""
        item = self._wanted()
        if self._marked() or item is None or not self._may_be_approved_here(item):
            self._review()
            return
        self._host.incoming.alone(lambda: self._approve_here(item), self._review)

    def _may_be_approved_here(self, item: Item) -> bool:
        host, gate = self._host, item.gate
        key, since = self._shown
        settled = item.key == key and host.monotonic() - since >= SETTLED_S
        if gate is None or not settled or not host.incoming.calm or not self._is_painted(item):
            return False
        review = host.state.reviews.get(gate.id)
        if review is not None and review.dropped:
            return False
        return gate.risk_level == "low" and not rejected_by_reviewer(gate)

    def _is_painted(self, item: Item) -> bool:
        """Tell whether both lines of the item are in view and leave nothing out."""
        pane, gate = self._pane, item.gate
        if pane is None or gate is None:
            return False
        rows = [pane.line_at(pane.line_in(row)).key for row in range(pane.inner_height)]
        whole = shows_all(gate, pane.inner_width, self._host.clock.now_ms())
        return whole and rows.count(item.key) >= _LINES_OF_AN_ITEM

    def _approve_here(self, item: Item) -> None:
        if item.gate is None or held_choice(self._host.state.held, item.gate.id) is not None:
            return
        decision = Review(item.gate).approval("", self._host.reviewer)
        self._host.holding.decide([Choice(item.gate, decision)])

    def _why_not_undo(self) -> str | None:
        return None if self._host.state.held else "nothing is held: what was decided stays decided"

    def _undo(self) -> None:
        self._host.holding.undo()
