"""Tasks, their queue and their drift as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.drift import DriftConfig, DriftReport, DriftResult
from perstack.domain.task_results import CreatedTask, TaskCreation
from perstack.domain.tasks import QueuedTask, QueueStatus, Task, TaskRelationship
from perstack.projection.cutting import one_line
from perstack.projection.log_header import moment
from perstack.projection.table_text import block, field, in_columns

NO_TASKS: Final = "No tasks."
NOT_RELATED: Final = "No relationships."
_INPUT_CHARACTERS: Final = 48
_HEAD: Final = ("ID", "TYPE", "STATUS", "CREATED", "INPUT")
_QUEUE_HEAD: Final = ("ID", "TYPE", "PRIORITY", "STATE", "SINCE", "TAKEN BY")
_RELATED_HEAD: Final = ("FROM", "RELATIONSHIP", "TO", "CREATED")
_DRIFT_HEAD: Final = ("TIME", "ACTION", "COSINE", "TYPE", "ANCESTOR")


def task_rows(tasks: Sequence[Task]) -> Iterator[str]:
    """Yield a heading and a line a task; a sentence where there are none."""
    if not tasks:
        yield NO_TASKS
        return
    yield from in_columns([_HEAD, *map(_row, tasks)])


def task_lines(task: Task) -> Iterator[str]:
    """Yield a task whole; what it lacks is left out."""
    yield from _about(task)
    for label, value in (
        ("Agent", task.agent_id),
        ("Job", task.job_id),
        ("Checkpoint", task.consensus_checkpoint_id),
    ):
        if value:
            yield field(label, value)
    if task.attempts:
        yield field("Attempts", str(task.attempts))
    for label, at in (("Started", task.started_at), ("Ended", task.completed_at)):
        if at is not None:
            yield field(label, moment(at))
    for label, text in (
        ("Input", task.input),
        ("Output", task.output),
        ("Feedback", task.feedback),
    ):
        if text:
            yield label
            yield from block(text)


def creation_lines(made: TaskCreation) -> Iterator[str]:
    """Yield what came of creating a task: the task, why there is none, or what it waits at."""
    if made.dispatch is not None:
        chosen = f"{made.dispatch.agent_type} ({made.dispatch.confidence:.0%})"
        yield field("Chosen", f"{chosen}: {made.dispatch.reasoning}")
    if made.task is not None:
        yield from _about(made.task)
    if made.checkpoint is not None:
        yield field("Checkpoint", made.checkpoint.id)
        yield field("Risk", made.checkpoint.risk_level)
        yield field("Reason", made.reason or "-")
        if made.checkpoint.expires_at is not None:
            yield field("Expires", moment(made.checkpoint.expires_at))
    if made.drift is not None and made.drift.action != "allowed":
        like = made.drift.most_similar_task_id or "no task"
        yield field(
            "Drift", f"{made.drift.action}: {made.drift.highest_similarity:.2f} like {like}"
        )


def queue_lines(
    status: QueueStatus, waiting: Sequence[QueuedTask], taken: Sequence[QueuedTask]
) -> Iterator[str]:
    """Yield how many tasks wait and are taken, and which, those that come next first."""
    yield f"{status.queued} waiting, {status.processing} being done"
    if waiting or taken:
        yield from in_columns([_QUEUE_HEAD, *map(_queued, (*taken, *waiting))])


def relationship_rows(found: Sequence[TaskRelationship]) -> Iterator[str]:
    """Yield a heading and a line a relationship; a sentence where there are none."""
    if not found:
        yield NOT_RELATED
        return
    rows = [
        (one.from_task_id, one.relationship_type, one.to_task_id, moment(one.created_at))
        for one in found
    ]
    yield from in_columns([_RELATED_HEAD, *rows])


def drift_lines(result: DriftResult, config: DriftConfig) -> Iterator[str]:
    """Yield what a check found."""
    yield field("Drift", "yes" if result.is_drift else "no")
    yield field("Action", result.action)
    yield field("Cosine", f"{result.highest_similarity:.3f} (threshold {config.threshold:g})")
    yield field("Ancestors", f"{result.checked_ancestors} compared")
    if result.reason:
        yield field("Reason", result.reason)
    if result.most_similar_task_id:
        yield field("Most similar", result.most_similar_task_id)
    if result.most_similar_task_input:
        yield from block(result.most_similar_task_input)


def metric_lines(report: DriftReport) -> Iterator[str]:
    """Yield figures over the checks that were made, and the latest of them."""
    figures, config = report.metrics, report.config
    state = "on" if config.active else ("on, without an embedder" if config.enabled else "off")
    yield field("Detection", f"{state}, {config.behavior} from {config.threshold:g}")
    yield field(
        "Checks",
        f"{figures.total_events} ({figures.allowed_count} allowed, {figures.warned_count} warned,"
        f" {figures.prevented_count} prevented, {figures.pending_count} pending)",
    )
    yield field("Mean cosine", f"{figures.average_similarity:.3f}")
    rows = [
        (
            moment(one.created_at),
            one.action_taken,
            "-" if one.similarity_score is None else f"{one.similarity_score:.3f}",
            one.task_type,
            one.ancestor_task_id or "-",
        )
        for one in report.recent_events
    ]
    if rows:
        yield from in_columns([_DRIFT_HEAD, *rows])


def _about(task: Task | CreatedTask) -> Iterator[str]:
    yield field("ID", task.id)
    yield field("Type", task.agent_type)
    yield field("Status", task.status)
    yield field("Created", moment(task.created_at))
    for label, value in (
        ("Session", task.session_id),
        ("Parent", task.parent_task_id),
        ("Risk", task.risk_level),
    ):
        if value:
            yield field(label, value)
    if task.priority is not None:
        yield field("Priority", str(task.priority))


def _row(task: Task) -> tuple[str, ...]:
    said = one_line(task.input, _INPUT_CHARACTERS) if task.input else "-"
    return task.id, task.agent_type, task.status, moment(task.created_at), said


def _queued(one: QueuedTask) -> tuple[str, ...]:
    since = one.enqueued_at if one.claimed_at is None else one.claimed_at
    taker = one.task.agent_id or one.claimed_by or "-"
    return one.task.id, one.task.agent_type, str(one.priority), one.state, moment(since), taker
