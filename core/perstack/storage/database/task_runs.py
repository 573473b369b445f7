"""What becomes of the tasks of runs that are let go, go on, or die with their process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from perstack.domain.ids import TaskId
from perstack.storage.database.agent_rows import AGENTS
from perstack.storage.database.task_tables import QUEUE, TASKS
from perstack.storage.database.text import safe_text

DIED: Final = "the process that worked at it died"


def release(connection: sa.Connection, *, task_id: TaskId) -> bool:
    """Let a running task wait that is not in the queue; say whether it was one."""
    mine = TASKS.update().where(TASKS.c.id == safe_text(task_id), TASKS.c.status == "running")
    waits = mine.where(~_is_queued()).values(status="pending", completed_at=None)
    return connection.execute(waits).rowcount == 1


def take_up(connection: sa.Connection, *, task_id: TaskId) -> bool:
    """Have a task run again that waits or failed, and is not in the queue; say whether it was."""
    mine = TASKS.update().where(
        TASKS.c.id == safe_text(task_id), TASKS.c.status.in_(("pending", "failed"))
    )
    runs = mine.where(~_is_queued()).values(
        status="running", completed_at=None, attempts=TASKS.c.attempts + 1
    )
    return connection.execute(runs).rowcount == 1


def fail_those_of(connection: sa.Connection, agent_ids: Sequence[str], *, now: int) -> None:
    """Fail the running tasks whose runs those agents were: runs themselves, or of their jobs.

    A run that another process has taken up since is not among them: it has an agent there.
    """
    jobs = sa.select(AGENTS.c.job_id).where(
        AGENTS.c.id.in_(agent_ids), AGENTS.c.origin == "spawned", AGENTS.c.job_id.is_not(None)
    )
    elsewhere = sa.exists().where(
        AGENTS.c.id == TASKS.c.run_id,
        AGENTS.c.process_id.is_not(None),
        AGENTS.c.id.not_in(agent_ids),
    )
    of_jobs = sa.and_(TASKS.c.run_id.is_not(None), TASKS.c.job_id.in_(jobs), ~elsewhere)
    lost = TASKS.update().where(
        TASKS.c.status == "running", sa.or_(TASKS.c.run_id.in_(agent_ids), of_jobs), ~_is_queued()
    )
    connection.execute(lost.values(status="failed", output=DIED, completed_at=now))


def _is_queued() -> sa.Exists:
    return sa.exists().where(QUEUE.c.task_id == TASKS.c.id)
