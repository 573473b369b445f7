"""What happens on the message bus, told to whatever channel the user configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from perstack.ports.announcements import Announcement, AnnouncementKind, Announcer
from perstack.services.bus import Message, MessageBus, Unsubscribe

_KINDS: Final[dict[str, AnnouncementKind]] = {
    "workflow:start": "workflow_started",
    "workflow:complete": "workflow_completed",
    "workflow:error": "workflow_error",
    "loop:start": "review_started",
    "loop:approved": "review_approved",
    "loop:complete": "review_completed",
    "loop:error": "error",
    "task:completed": "task_completed",
    "task:failed": "task_failed",
}
_DETAILS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Workflow", ("report", "workflow")),
    ("Workflow", ("config", "id")),
    ("Verdict", ("report", "verdict")),
    ("Findings", ("report", "summary", "findingsTotal")),
    ("Status", ("state", "status")),
    ("Iteration", ("state", "iteration")),
    ("Agent type", ("agentType",)),
)


def announce_bus(bus: MessageBus, announcer: Announcer) -> Unsubscribe:
    """Announce workflows, review loops and tasks of this process from now on.

    An approved loop is announced once, as approved, and not as completed again. What a worker tells
    its coordinator is not announced: the queue says the same.
    """

    def heard(message: Message) -> None:
        kind = _KINDS.get(message.type)
        if kind is None or message.to is not None:
            return
        approved = _find(message.payload, ("state", "status")) == "approved"
        if message.type == "loop:complete" and approved:
            return
        announcer.announce(_announcement(kind, message))

    return bus.subscribe_all(heard)


def _announcement(kind: AnnouncementKind, message: Message) -> Announcement:
    details = tuple(
        (name, str(found))
        for name, path in _DETAILS
        if (found := _find(message.payload, path)) is not None
    )
    task = message.payload.get("taskId")
    subject = f"task:{task}" if isinstance(task, str) else message.sender
    error = message.payload.get("error")
    # Nothing is cut here: half a secret is none that could be taken out later.
    return Announcement(kind, subject, details, text=error if isinstance(error, str) else None)


def _find(payload: Mapping[str, JsonValue], path: tuple[str, ...]) -> JsonValue:
    found: JsonValue = dict(payload)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found
