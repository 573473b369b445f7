"""What an announcement says in Slack, and whether the user wants to hear it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from perstack.domain.coordination import SlackSettings
from perstack.ports.announcements import Announcement, AnnouncementKind

# A section takes 3,000 characters; escaping makes of one up to five.
MOST: Final = 3_000
_LONGEST_WORDS: Final = 200
_LONGEST_TEXT: Final = 400
_DETAILS: Final = 10
_CONTROL: Final = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]"
)

_HEADS: Final[dict[AnnouncementKind, str]] = {
    "agent_spawned": ":seedling: *Agent spawned*",
    "agent_stopped": ":octagonal_sign: *Agent stopped*",
    "agent_error": ":x: *Agent failed*",
    "workflow_started": ":arrow_forward: *Workflow started*",
    "workflow_completed": ":checkered_flag: *Workflow completed*",
    "workflow_error": ":x: *Workflow failed*",
    "review_started": ":mag: *Review loop started*",
    "review_approved": ":white_check_mark: *Review loop approved*",
    "review_completed": ":checkered_flag: *Review loop completed*",
    "task_completed": ":white_check_mark: *Task completed*",
    "task_failed": ":x: *Task failed*",
    "resource_warning": ":warning: *Resource warning*",
    "resource_intervention": ":raised_hand: *Resource intervention*",
    "resource_termination": ":no_entry: *Resource termination*",
    "info": ":information_source:",
    "success": ":white_check_mark:",
    "warning": ":warning:",
    "error": ":x:",
}


def is_wanted(kind: AnnouncementKind, settings: SlackSettings) -> bool:
    """Tell whether the settings ask for this kind; a program's own are always wanted."""
    if not settings.enabled:
        return False
    match kind:
        case "agent_spawned" | "agent_stopped":
            return settings.notify_on_agent_spawn
        case "agent_error" | "workflow_error" | "task_failed":
            return settings.notify_on_errors
        case "workflow_started" | "workflow_completed" | "task_completed":
            return settings.notify_on_workflow_complete
        case "review_started" | "review_approved" | "review_completed":
            return settings.notify_on_review_loop
        case "resource_warning":
            return settings.notify_on_resource_warning
        case "resource_intervention" | "resource_termination":
            return settings.notify_on_resource_intervention
        case "info" | "success" | "warning" | "error":
            return True


def mrkdwn_of(said: Announcement, redact: Callable[[str], str]) -> str:
    """Return the message: a head, details a line each, and the text as a quotation."""
    lines = [f"{_HEADS[said.kind]} {_words(said.subject, redact)}"]
    lines += [
        f"*{_words(name, redact)}:* {_words(value, redact)}"
        for name, value in said.details[:_DETAILS]
    ]
    if said.text:
        quoted = _escaped(redact(said.text), _LONGEST_TEXT)
        lines += [f"> {line}" for line in quoted.splitlines()]
    return "\n".join(lines)[:MOST]


def _words(text: str, redact: Callable[[str], str]) -> str:
    return " ".join(_escaped(redact(text), _LONGEST_WORDS).split())


def _escaped(text: str, longest: int) -> str:
    """Return text that mentions nobody and links nowhere, cut before it is escaped."""
    clean = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    cut = clean if len(clean) <= longest else clean[: longest - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
