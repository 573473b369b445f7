"""Drift: a task that repeats one of those it descends from. Pure rules over cosines."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.coordination import DriftSettings
from perstack.domain.ids import TaskId
from perstack.domain.moments import Moment

DriftAction = Literal["allowed", "warned", "prevented"]
DriftVerdict = Literal["inactive", "judged", "pending"]


class DriftResult(Model):
    """What was found. `highest_similarity` is a cosine, 0 when nothing was compared.

    `verdict`: "judged" compared all ancestors, "inactive" had nothing to judge by or with,
    "pending" could not compare all of them; `reason` says why not. What is not "judged" and still
    "allowed" was let through unseen.
    """

    is_drift: bool = False
    highest_similarity: float = 0.0
    most_similar_task_id: TaskId | None = None
    most_similar_task_input: str | None = None
    action: DriftAction = "allowed"
    checked_ancestors: int = 0
    verdict: DriftVerdict = "judged"
    reason: str | None = None


class DriftEvent(Model):
    """A check that was made. `task_id` None: no task came of it.

    `similarity_score` is None when nothing could be compared.
    """

    id: str
    task_id: TaskId | None = None
    task_type: str
    ancestor_task_id: TaskId | None = None
    similarity_score: float | None = None
    threshold: float
    action_taken: DriftAction
    verdict: DriftVerdict = "judged"
    reason: str | None = None
    task_input: str | None = None
    created_at: Moment


class DriftMetrics(Model):
    """Figures over the checks that were made."""

    total_events: int = 0
    allowed_count: int = 0
    warned_count: int = 0
    prevented_count: int = 0
    pending_count: int = 0
    average_similarity: float = 0.0


class DriftConfig(Model):
    """The settings as front doors show them. `active` is false without an embedder, too."""

    enabled: bool
    active: bool
    threshold: float
    warning_threshold: float | None = None
    ancestor_depth: int
    behavior: Literal["warn", "prevent"]
    async_embedding: bool
    embedder: str | None = None


class DriftCheck(Model):
    """A check that is asked for beforehand, in the seed's shape."""

    success: bool = True
    result: DriftResult
    config: DriftConfig


class DriftReport(Model):
    """Metrics, the latest checks and the settings, in the seed's shape."""

    success: bool = True
    metrics: DriftMetrics
    recent_events: tuple[DriftEvent, ...]
    config: DriftConfig


def action_for(similarity: float, settings: DriftSettings) -> DriftAction:
    """Return what becomes of a task whose highest cosine with an ancestor is `similarity`."""
    if similarity >= settings.threshold:
        return "prevented" if settings.behavior == "prevent" else "warned"
    if settings.warning_threshold is not None and similarity >= settings.warning_threshold:
        return "warned"
    return "allowed"


def unjudged(reason: str, ancestors: int, settings: DriftSettings) -> DriftResult:
    """Return the result when ancestors could not be compared: open only where warning is enough."""
    return DriftResult(
        action="prevented" if settings.behavior == "prevent" else "allowed",
        checked_ancestors=ancestors,
        verdict="pending",
        reason=reason,
    )
