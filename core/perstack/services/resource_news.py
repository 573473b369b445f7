"""What a channel is told of resource limits."""

from __future__ import annotations

from typing import Final

from perstack.domain.coordination import ResourceThresholds
from perstack.domain.resources import ExhaustionEvent, ThresholdKey, Trigger
from perstack.ports.announcements import Announcement, AnnouncementKind

_KINDS: Final[dict[str, AnnouncementKind]] = {
    "warning": "resource_warning",
    "intervention": "resource_intervention",
    "termination": "resource_termination",
}
_NAMES: Final[dict[Trigger, str]] = {
    "maxFilesAccessed": "files accessed",
    "maxApiCalls": "model calls",
    "maxSubtasksSpawned": "subtasks",
    "maxTokensConsumed": "tokens",
    "maxTimeWithoutDeliverableMs": "time without a deliverable (ms)",
    "manual": "stopped by hand",
}


def news_of(event: ExhaustionEvent) -> Announcement | None:
    """Return what to tell of a change of phase, None for a return to normal."""
    kind = _KINDS.get(event.phase)
    if kind is None:
        return None
    details = [("Agent", event.agent_id), ("Limit", _NAMES[event.triggered_by])]
    if event.triggered_by != "manual":
        details.append(("Allowed", f"{_allowed(event.thresholds, event.triggered_by):,}"))
    details.append(("Action", event.action_taken))
    return Announcement(kind, event.agent_type, tuple(details))


def _allowed(thresholds: ResourceThresholds, key: ThresholdKey) -> int:
    match key:
        case "maxFilesAccessed":
            return thresholds.max_files_accessed
        case "maxApiCalls":
            return thresholds.max_api_calls
        case "maxSubtasksSpawned":
            return thresholds.max_subtasks_spawned
        case "maxTokensConsumed":
            return thresholds.max_tokens_consumed
        case "maxTimeWithoutDeliverableMs":
            return thresholds.max_time_without_deliverable_ms
