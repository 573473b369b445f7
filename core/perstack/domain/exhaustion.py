"""What becomes of an agent that uses much: from one phase into another, paused, let go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perstack.domain.coordination import ResourceSettings
from perstack.domain.resources import (
    ActionTaken,
    Evaluation,
    Phase,
    ResourceMetrics,
    Trigger,
    Verdict,
    allowed_again,
    evaluate,
)

TERMINATED: Final = "the agent was terminated"


@dataclass(frozen=True, slots=True)
class Transition:
    """Another phase, and what was done about it."""

    phase: Phase
    action: ActionTaken
    triggered_by: Trigger


@dataclass(frozen=True, slots=True)
class Judgement:
    """The metrics as they are from now on, what changed (None: nothing), and what to do."""

    metrics: ResourceMetrics
    transition: Transition | None
    verdict: Verdict


def judge(metrics: ResourceMetrics, settings: ResourceSettings, now_ms: int) -> Judgement:
    """Return what becomes of an agent at `now_ms` (Unix ms). A terminated one stays so."""
    seen = evaluate(metrics, settings, now_ms)
    if metrics.phase == "termination":
        return Judgement(metrics, None, verdict_of(metrics, seen))
    if seen.phase != "intervention" or seen.triggered_by is None:
        return _moved(metrics, seen, "warned" if seen.phase == "warning" else "allowed")
    key = seen.triggered_by
    if settings.auto_terminate:
        return terminate(metrics, seen, key)
    if not settings.pause_on_intervention:
        return _moved(metrics, seen, "warned")
    if metrics.paused_at is not None:
        return _moved(metrics, seen, "paused")
    if not settings.require_confirmation_on_intervention and not metrics.raised:
        raised = allowed_again(metrics, now_ms).model_copy(
            update={"raised": True, "phase": "warning", "triggered_by": key}
        )
        changed = Transition("intervention", "allowed", key)
        return Judgement(raised, changed, verdict_of(raised, seen))
    held = pause(metrics, exceeded(key), now_ms).model_copy(
        update={"phase": "intervention", "triggered_by": key}
    )
    return Judgement(held, Transition("intervention", "paused", key), verdict_of(held, seen))


def terminate(metrics: ResourceMetrics, seen: Evaluation, trigger: Trigger) -> Judgement:
    """Return an agent that is to stop for good; again, it changes nothing."""
    ended = metrics.model_copy(update={"phase": "termination", "triggered_by": trigger})
    changed = (
        None if ended.phase == metrics.phase else Transition(ended.phase, "terminated", trigger)
    )
    return Judgement(ended, changed, verdict_of(ended, seen))


def pause(metrics: ResourceMetrics, reason: str, now_ms: int) -> ResourceMetrics:
    """Return a paused agent; one that was paused keeps its first reason."""
    if metrics.paused_at is not None:
        return metrics
    return metrics.model_copy(update={"paused_at": now_ms, "pause_reason": reason})


def deliver(metrics: ResourceMetrics, now_ms: int) -> tuple[ResourceMetrics, Transition | None]:
    """Return an agent that delivered something: its clock begins anew and a warning ends.

    It does not lift a pause, nor an intervention: the next look at it does the latter, if it may.
    """
    delivered = metrics.model_copy(
        update={
            "last_deliverable_at": now_ms,
            "last_activity_at": max(metrics.last_activity_at, now_ms),
            "idle_since": None if metrics.idle_since is None else now_ms,
        }
    )
    if metrics.phase != "warning":
        return delivered, None
    calm = delivered.model_copy(update={"phase": "normal", "triggered_by": None})
    return calm, Transition("normal", "allowed", metrics.triggered_by or "manual")


def exceeded(key: Trigger) -> str:
    """Return the reason of a pause."""
    return f"Resource threshold exceeded: {key}"


def verdict_of(metrics: ResourceMetrics, seen: Evaluation) -> Verdict:
    """Return what a run has to do at its next boundary, by the metrics as they stand."""
    known = {"phase": metrics.phase, "triggered_by": seen.triggered_by, "ratios": seen.ratios}
    if metrics.phase == "termination":
        key = metrics.triggered_by
        why = TERMINATED if key in (None, "manual") else exceeded(key)
        return Verdict.model_validate({**known, "action": "stop", "reason": why})
    if metrics.paused_at is not None:
        return Verdict.model_validate({**known, "action": "pause", "reason": metrics.pause_reason})
    return Verdict.model_validate(known)


def _moved(metrics: ResourceMetrics, seen: Evaluation, action: ActionTaken) -> Judgement:
    """Return the agent in the phase that was seen; `triggered_by` outlives the phase by one."""
    if seen.phase == metrics.phase:
        return Judgement(metrics, None, verdict_of(metrics, seen))
    moved = metrics.model_copy(update={"phase": seen.phase, "triggered_by": seen.triggered_by})
    key = seen.triggered_by or metrics.triggered_by or "manual"
    return Judgement(moved, Transition(seen.phase, action, key), verdict_of(moved, seen))
