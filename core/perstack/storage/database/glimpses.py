"""What changed in any table since a moment, in one transaction and by indexes alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa

from perstack.domain.reviews import ACTIVE
from perstack.ports.glimpses import Cell, Glimpse, GlimpseKind, Marks, Numbers
from perstack.storage.database.agent_rows import AGENTS
from perstack.storage.database.engine import Database
from perstack.storage.database.project_rows import PROJECTS, SPECIFICATIONS
from perstack.storage.database.project_rows import TASKS as PROJECT_TASKS
from perstack.storage.database.reviews import LOOPS, REVIEWS
from perstack.storage.database.sessions import SESSIONS
from perstack.storage.database.tables import AUDIT, CHECKPOINTS
from perstack.storage.database.task_tables import TASKS
from perstack.storage.database.workflows import RESULTS, RUNS

MOST: Final = 5_000
SHOWN_CHARS: Final = 500

_Condition = sa.ColumnElement[bool]
_Columns = tuple[sa.ColumnElement[object], ...]
_NUMBERED: Final[dict[GlimpseKind, sa.Column[int]]] = {
    "agent": AGENTS.c.number,
    "task": TASKS.c.number,
    "session": SESSIONS.c.number,
    "workflow": RUNS.c.number,
    "reviewLoop": LOOPS.c.number,
    "review": REVIEWS.c.number,
    "consensus": AUDIT.c.id,
}


def _of(table: sa.Table, *names: str) -> _Columns:
    return tuple(table.c[name] for name in names)


def _cut(column: sa.Column[str]) -> sa.ColumnElement[object]:
    return sa.func.substr(column, 1, SHOWN_CHARS).label(column.name)


_AGENT: Final = (
    *_of(AGENTS, "number", "id", "type", "name", "status", "origin", "session_id", "parent_id"),
    *_of(AGENTS, "job_id", "run_id", "process_id", "lost", "paused_at", "step_number"),
    *_of(AGENTS, "input_tokens", "output_tokens", "cost_usd", "cost_partial"),
    *_of(AGENTS, "created_at", "updated_at"),
    *map(_cut, (AGENTS.c.current_task, AGENTS.c.last_error, AGENTS.c.pause_reason)),
)
_TASK: Final = (
    *_of(TASKS, "number", "id", "agent_type", "status", "session_id", "parent_task_id"),
    *_of(TASKS, "risk_level", "consensus_checkpoint_id", "job_id", "run_id", "agent_id", "depth"),
    *_of(TASKS, "priority", "attempts", "created_at", "started_at", "completed_at"),
    *map(_cut, (TASKS.c.input, TASKS.c.output)),
)
_SESSION: Final = _of(SESSIONS, "number", "id", "status", "started_at", "ended_at")
_PROJECT: Final = _of(PROJECTS, "id", "name", "path", "status", "created_at", "updated_at")
_PROJECT_TASK: Final = (
    *_of(PROJECT_TASKS, "id", "project_id", "session_id", "title", "phase", "priority"),
    *_of(PROJECT_TASKS, "created_at", "updated_at", "completed_at"),
)
_SPEC: Final = (
    *_of(SPECIFICATIONS, "id", "project_task_id", "type", "title", "version", "status"),
    *_of(SPECIFICATIONS, "created_by", "reviewed_by", "created_at", "updated_at"),
)
_WORKFLOW: Final = (
    *_of(RUNS, "number", "id", "workflow", "session_id", "status", "started_at", "completed_at"),
    _cut(RUNS.c.error),
)
_PHASE: Final = (RESULTS.c.run_id.label("id"), RESULTS.c.number, RESULTS.c.result)
_LOOP: Final = (
    *_of(LOOPS, "number", "id", "session_id", "coder", "adversarial", "coder_id"),
    *_of(LOOPS, "adversarial_id", "status", "iteration", "max_iterations", "final_verdict"),
    *_of(LOOPS, "started_at", "completed_at"),
    _cut(LOOPS.c.error),
)
_REVIEW: Final = (REVIEWS.c.loop_id.label("id"), REVIEWS.c.number, REVIEWS.c.review)
_DECIDED: Final = ("created", "approved", "rejected", "expired")
_CONSENSUS: Final = (
    AUDIT.c.id.label("number"),
    AUDIT.c.checkpoint_id.label("id"),
    *_of(AUDIT, "event", "actor", "actor_type", "created_at"),
    *_of(CHECKPOINTS, "job_id", "run_id", "session_id", "expert_key", "task_id", "parent_task_id"),
    *_of(CHECKPOINTS, "depth", "risk_level", "expires_at"),
    _cut(CHECKPOINTS.c.reason),
)


class SqlGlimpseStore:
    """Implements `ports.glimpses.GlimpseStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def numbers(self) -> Numbers:
        """Return the last number of each kind."""
        return await self._database.read(_numbers)

    async def since(self, marks: Marks) -> Sequence[Glimpse]:
        """Return what changed."""
        return await self._database.read(partial(_since, marks=marks))

    async def next_expiry(self) -> int | None:
        """Return when the first pending checkpoint expires."""
        pending = CHECKPOINTS.c.status == "pending"
        query = sa.select(sa.func.min(CHECKPOINTS.c.expires_at)).where(pending)
        return await self._database.read(lambda connection: connection.scalar(query))


def _numbers(connection: sa.Connection) -> Numbers:
    found: dict[GlimpseKind, int] = {}
    for kind, column in _NUMBERED.items():
        last = connection.scalar(sa.select(sa.func.max(column)))
        if last is not None:
            found[kind] = last
    return found


def _since(connection: sa.Connection, *, marks: Marks) -> list[Glimpse]:
    at, projects_at, number = marks.since_ms, marks.projects_ms, marks.numbers
    read = partial(_read, connection)
    runs = _RunsAndLoops(marks)
    return [
        *read("session", _SESSION, SESSIONS, "number", _after(SESSIONS, number.get("session", 0))),
        *read("session", _SESSION, SESSIONS, "ended_at", SESSIONS.c.ended_at >= at),
        *_agents(connection, at, number.get("agent", 0)),
        *_tasks(connection, at, number.get("task", 0)),
        *read("project", _PROJECT, PROJECTS, "updated_at", *_at(PROJECTS, projects_at)),
        *read(
            "projectTask",
            _PROJECT_TASK,
            PROJECT_TASKS,
            "updated_at",
            *_at(PROJECT_TASKS, projects_at),
        ),
        *read("spec", _SPEC, SPECIFICATIONS, "updated_at", *_at(SPECIFICATIONS, projects_at)),
        *(workflows := read("workflow", _WORKFLOW, RUNS, "number", runs.workflows)),
        *_phases(connection, {one.id: marks.workflows.get(one.id, 0) for one in workflows}),
        *read("reviewLoop", _LOOP, LOOPS, "number", runs.loops),
        *read("review", _REVIEW, REVIEWS, "number", _after(REVIEWS, number.get("review", 0))),
        *_consensus(connection, number.get("consensus", 0)),
    ]


class _RunsAndLoops:
    """Which workflows and review loops: new ones, and those that had not ended or have not."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    @property
    def workflows(self) -> _Condition:
        new = _after(RUNS, self._marks.numbers.get("workflow", 0))
        known = RUNS.c.id.in_(tuple(self._marks.workflows))
        return sa.or_(new, RUNS.c.status == "running", known)

    @property
    def loops(self) -> _Condition:
        new = _after(LOOPS, self._marks.numbers.get("reviewLoop", 0))
        known = LOOPS.c.id.in_(tuple(self._marks.review_loops))
        return sa.or_(new, LOOPS.c.status.in_(ACTIVE), known)


def _after(table: sa.Table, number: int) -> _Condition:
    return table.c.number > number


def _at(table: sa.Table, at: int) -> tuple[_Condition]:
    return (table.c.updated_at >= at,)


def _read(
    connection: sa.Connection,
    kind: GlimpseKind,
    columns: _Columns,
    table: sa.Table,
    order: str,
    condition: _Condition,
) -> list[Glimpse]:
    query = sa.select(*columns).where(condition).order_by(table.c[order].desc()).limit(MOST)
    return _glimpses(connection, kind, query)


def _agents(connection: sa.Connection, at: int, number: int) -> list[Glimpse]:
    changed = _either(AGENTS, AGENTS.c.updated_at >= at, AGENTS.c.number > number)
    return _read(connection, "agent", _AGENT, AGENTS, "number", changed)


def _tasks(connection: sa.Connection, at: int, number: int) -> list[Glimpse]:
    started, completed = TASKS.c.started_at >= at, TASKS.c.completed_at >= at
    changed = _either(TASKS, TASKS.c.number > number, started, completed)
    return _read(connection, "task", _TASK, TASKS, "number", changed)


def _either(table: sa.Table, *parts: _Condition) -> _Condition:
    """Return a condition each part of which is answered by an index of its own."""
    return table.c.number.in_(sa.union(*(sa.select(table.c.number).where(one) for one in parts)))


def _phases(connection: sa.Connection, seen: dict[str, int]) -> list[Glimpse]:
    if not seen:
        return []
    new = [sa.and_(RESULTS.c.run_id == key, RESULTS.c.number >= n) for key, n in seen.items()]
    return _read(connection, "phase", _PHASE, RESULTS, "number", sa.or_(*new))


def _consensus(connection: sa.Connection, number: int) -> list[Glimpse]:
    query = (
        sa.select(*_CONSENSUS)
        .join_from(AUDIT, CHECKPOINTS, CHECKPOINTS.c.id == AUDIT.c.checkpoint_id)
        .where(AUDIT.c.id > number, AUDIT.c.event.in_(_DECIDED))
        .order_by(AUDIT.c.id.desc())
        .limit(MOST)
    )
    return _glimpses(connection, "consensus", query)


def _glimpses(connection: sa.Connection, kind: GlimpseKind, query: sa.Executable) -> list[Glimpse]:
    found: list[Glimpse] = []
    for row in connection.execute(query).mappings():
        cells: dict[str, Cell] = {str(name): cell for name, cell in row.items()}
        key, number = cells.pop("id"), cells.pop("number", 0)
        found.append(Glimpse(kind, str(key), number if isinstance(number, int) else 0, cells))
    found.reverse()
    return found
