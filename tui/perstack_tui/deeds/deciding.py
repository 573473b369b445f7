"""Approving and rejecting what waits at a gate."""

from __future__ import annotations

from typing import Final

from perstack.projection.inert import has_hidden
from perstack_tui.deeds.items import open_item, why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.screens.bulk import BulkSheet
from perstack_tui.state.held import Choice, held_choice
from perstack_tui.state.inbox import Item, ItemKey
from perstack_tui.state.review import Review, rejected_by_reviewer

SETTLED_S: Final = 0.4


class Deciding:
    """What is done to the items of the inbox."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._shown: tuple[ItemKey | None, float] = (None, 0.0)

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "approve": Deed(self._approve, self._why_not),
            "reject": Deed(self._review, self._why_not),
            "undo": Deed(self._undo, self._why_not_undo),
        }

    def note_shown(self, shown: bool) -> None:
        """Remember since when the cursor is seen on an item; the inbox is `shown`, or is not."""
        key = self._host.state.item_key if shown else None
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
        key, since = self._shown
        gate = item.gate
        if (
            not self._host.incoming.calm
            or gate is None
            or item.key != key
            or self._host.monotonic() - since < SETTLED_S
        ):
            return False
        tasks = gate.proposed_subtasks
        hidden = any(has_hidden(task.input + task.tool_name + task.agent_type) for task in tasks)
        harmless = gate.risk_level == "low" and not rejected_by_reviewer(gate)
        return harmless and len(tasks) == 1 and not hidden and "\n" not in tasks[0].input.strip()

    def _approve_here(self, item: Item) -> None:
        if item.gate is None or held_choice(self._host.state.held, item.gate.id) is not None:
            return
        decision = Review(item.gate).approval("", self._host.reviewer)
        self._host.holding.decide([Choice(item.gate, decision)])

    def _why_not_undo(self) -> str | None:
        return None if self._host.state.held else "nothing is held: what was decided stays decided"

    def _undo(self) -> None:
        self._host.holding.undo()
