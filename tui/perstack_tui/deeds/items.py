"""Opening an item of the inbox in its sheet."""

from __future__ import annotations

from perstack_tui.ports.host import Host
from perstack_tui.screens.answer import AnswerSheet
from perstack_tui.screens.form import FormSheet
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.state.inbox import Item


def open_item(host: Host, item: Item) -> None:
    """Open the sheet that answers or decides `item`."""
    if item.question is not None:
        host.open_sheet(AnswerSheet(host, item.question))
    elif item.gate is not None and item.key.kind == "input":
        host.open_sheet(FormSheet(host, item.gate))
    elif item.gate is not None:
        host.open_sheet(ReviewSheet(host, item.gate))
    elif item.pause is not None:
        host.tell("a limit paused it: z resumes it, b raises the budget, x stops it")


def why_not_act(host: Host) -> str | None:
    """Return why nothing can be done in this cockpit, None when something can."""
    if host.observing:
        return "this cockpit only observes; open it without --observe to act"
    return None
