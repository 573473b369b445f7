"""Tasks, relationships, places of the queue and drift events as rows and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import ValidationError
from sqlalchemy import RowMapping

from perstack.domain.base import Model
from perstack.domain.drift import DriftEvent
from perstack.domain.ids import TaskId
from perstack.domain.tasks import QueuedTask, Task, TaskRelationship
from perstack.errors import CorruptRecordError
from perstack.ports.tasks import Mark
from perstack.storage.database.text import json_text, safe_text

Row = dict[str, str | int | float | None]
M = TypeVar("M", bound=Model)

_FLOAT_BYTES: Final = 4


def task_row(task: Task) -> Row:
    """Return the column values of a task."""
    return _row(task)


def task_from(row: RowMapping) -> Task:
    """Return the task that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    return _model(Task, {name: row[name] for name in Task.model_fields}, "task")


def place_row(task: Task, priority: int, at: int) -> Row:
    """Return the column values of a new place in the queue."""
    return {
        "task_id": task.id,
        "agent_type": safe_text(task.agent_type),
        "priority": priority,
        "state": "queued",
        "enqueued_at": at,
    }


def mark_row(task: Task, mark: Mark) -> dict[str, str | int | bytes | None]:
    """Return the column values of a new task's vector."""
    return vector_row(task.id, mark.model, mark.vector, task.created_at)


def vector_row(
    task_id: TaskId, model: str, vector: bytes | None, at: int
) -> dict[str, str | int | bytes | None]:
    """Return the column values of a vector, None for one that is on its way since `at`."""
    return {
        "task_id": task_id,
        "state": "pending" if vector is None else "ready",
        "model": model,
        "embedding": vector,
        "dimensions": None if vector is None else len(vector) // _FLOAT_BYTES,
        "created_at": at,
    }


def relationship_row(relationship: TaskRelationship) -> Row:
    """Return the column values of a relationship."""
    row = _row(relationship, "metadata")
    metadata = relationship.metadata
    row["metadata"] = None if metadata is None else json_text(metadata)
    return row


def relationship_from(row: RowMapping) -> TaskRelationship:
    """Return the relationship that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    values = {name: row[name] for name in TaskRelationship.model_fields}
    try:
        values["metadata"] = json.loads(str(row["metadata"])) if row["metadata"] else None
    except ValueError as error:
        raise CorruptRecordError("a relationship of the database is damaged") from error
    return _model(TaskRelationship, values, "relationship")


def event_row(event: DriftEvent) -> Row:
    """Return the column values of a drift event."""
    return _row(event)


def event_from(row: RowMapping) -> DriftEvent:
    """Return the drift event that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    return _model(DriftEvent, {name: row[name] for name in DriftEvent.model_fields}, "drift event")


def place_from(row: RowMapping) -> QueuedTask:
    """Return the place that a row of the queue, joined with its task, holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    values: dict[str, object] = {
        "number": row["queue_number"],
        "priority": row["queue_priority"],
        "state": row["state"],
        "enqueued_at": row["enqueued_at"],
        "claimed_at": row["claimed_at"],
        "claimed_by": row["claimed_by"],
        "task": task_from(row),
    }
    return _model(QueuedTask, values, "place in the queue")


def _row(model: Model, *without: str) -> Row:
    values = model.model_dump(exclude=set(without), by_alias=False)
    return {
        name: safe_text(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _model(kind: type[M], values: Mapping[str, object], what: str) -> M:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        name = str(values.get("id", ""))[:40]
        raise CorruptRecordError(f"the stored {what} {name!a} is damaged") from error
