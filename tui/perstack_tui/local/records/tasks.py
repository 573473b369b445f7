"""Tasks: what is to be done, by whom, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from perstack.domain.drift import DriftEvent
from perstack.domain.ids import TaskId
from perstack.domain.tasks import Task
from perstack.ports.tasks import TaskFilter
from perstack.services.task_creation import NewTask
from perstack_tui.local.records.rows import (
    age,
    clock,
    many,
    moment,
    named,
    said,
    selected,
    state,
    stated,
    unknown,
    word,
)
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Column, Field, Row, Verb

_SEARCHED: Final = 5_000
_DRIFT_EVENTS: Final = 500
_COMPLETE: Final = Verb("complete", "c", "complete", asks="what came of it", optional=True)
_FAIL: Final = Verb("fail", "f", "fail", asks="why it failed")
_DELETE: Final = Verb("delete", "D", "delete", warns="The task and how it relates are gone.")
_NEW: Final = Verb("new", "n", "new", asks="the agent's type, a colon, what is to be done")


class Tasks:
    """All tasks, newest first. Filtering looks at the newest five thousand."""

    empty = (
        "No tasks yet.\n"
        "n makes one; every run has one as well, and each delegation a task below it."
    )
    columns = (
        Column("state", 11),
        Column("type", 14),
        Column("input", 0),
        Column("depth", 5, right=True),
        Column("prio", 4, right=True),
        Column("age", 5, right=True),
    )
    verbs = (_NEW,)

    def __init__(self, services: Services) -> None:
        self._own = services

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        row = partial(_row, now_ms=self._own.clock.now_ms())
        stores, every = self._own.stores, TaskFilter()
        if needle.strip():
            found = await stores.ask(lambda s: s.tasks.list(every, limit=_SEARCHED))
            return await selected(found, row, needle, limit, offset)
        shown = await stores.ask(lambda s: s.tasks.list(every, limit=limit, offset=offset))
        count = await stores.ask(lambda s: s.tasks.count(every))
        return [row(task) for task in shown], max(count.total, offset + len(shown))

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        at, stores = TaskId(record_id), self._own.stores
        task = await stores.ask(lambda s: s.tasks.get(at))
        related = await stores.ask(lambda s: s.tasks.relationships(at))
        events = await stores.ask(lambda s: s.drift.events(limit=_DRIFT_EVENTS))
        return [
            stated(task.status),
            *said("type", task.agent_type),
            *said("input", task.input),
            *said("output", task.output, "fail" if task.status == "failed" else "text"),
            *said("feedback", task.feedback),
            *said("risk", task.risk_level),
            *said("depth", str(task.depth)),
            *said("priority", task.priority),
            *said("attempts", task.attempts or None),
            *moment("made", task.created_at),
            *moment("begun", task.started_at),
            *moment("ended", task.completed_at),
            *many("drift", [_drift(event) for event in events if event.task_id == at]),
            *many(
                "relates to",
                [
                    f"{one.relationship_type}: {_other(one.from_task_id, one.to_task_id, at)}"
                    for one in related
                ],
            ),
            *said("below", task.parent_task_id),
            *said("agent", task.agent_id),
            *said("session", task.session_id),
            *said("checkpoint", task.consensus_checkpoint_id),
            *said("job", task.job_id),
            *said("run", task.run_id),
            *said("id", task.id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        if verb_id == "new":
            return await self._create(text)
        service, at = await self._own.tasks(), TaskId(record_id or "")
        given = None if text is None else await self._own.redacted(text)
        match verb_id:
            case "complete":
                await service.complete(at, given)
                return "the task is completed"
            case "fail":
                await service.complete(at, given, status="failed")
                return "the task has failed"
            case "delete":
                gone = await service.delete(at)
                return "the task is deleted" if gone else "somebody deleted it before"
            case _:
                raise unknown(verb_id)

    async def _create(self, text: str | None) -> str:
        agent_type, wanted = named(text)
        async with self._own.coordination() as made:
            created = await made.tasks.create(NewTask(agent_type=agent_type, input=wanted))
        if created.checkpoint_id is not None:
            return "it waits in the inbox to be approved"
        if created.task is None:
            return f"nothing was made: {created.error or created.reason}"
        return f"task {created.task.id} was made"


def _row(task: Task, *, now_ms: int) -> Row:
    open_ = task.status in ("pending", "running")
    return Row(
        task.id,
        (
            state(task.status),
            word(task.agent_type),
            word(task.input),
            word(str(task.depth or "")),
            word("" if task.priority is None else str(task.priority)),
            age(task.created_at, now_ms),
        ),
        (_COMPLETE, _FAIL, _DELETE) if open_ else (_DELETE,),
    )


def _drift(event: DriftEvent) -> str:
    score = "" if event.similarity_score is None else f" at {event.similarity_score:.0%}"
    what = f"{clock(event.created_at)}  {event.action_taken}{score} of {event.threshold:.0%}"
    near = f", like task {event.ancestor_task_id}" if event.ancestor_task_id else ""
    return what + near + (f": {event.reason}" if event.reason else "")


def _other(one: TaskId, other: TaskId, at: TaskId) -> str:
    return f"{other} (later)" if one == at else f"{one} (earlier)"
