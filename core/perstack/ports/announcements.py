"""Telling a channel what happens among agents, workflows, reviews, tasks and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

AnnouncementKind = Literal[
    "agent_spawned",
    "agent_stopped",
    "agent_error",
    "workflow_started",
    "workflow_completed",
    "workflow_error",
    "review_started",
    "review_approved",
    "review_completed",
    "task_completed",
    "task_failed",
    "resource_warning",
    "resource_intervention",
    "resource_termination",
    "info",
    "success",
    "warning",
    "error",
]


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something that happened. `subject` is whom or what it is about, in a few words.

    `details` are name and value of what else is worth saying, in order; `text` is prose, such as an
    error's message, without secrets. The last four kinds are for a program's own announcements.
    """

    kind: AnnouncementKind
    subject: str
    details: tuple[tuple[str, str], ...] = ()
    text: str | None = None


class Announcer(Protocol):
    """Tells whatever channel the user configured."""

    def announce(self, said: Announcement) -> None:
        """Tell; returns at once and never raises."""
        ...


class NoAnnouncer:
    """Tells nobody."""

    def announce(self, said: Announcement) -> None:
        """Nobody listens."""
