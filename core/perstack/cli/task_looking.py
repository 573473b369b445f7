"""`perstack task list`, `get`, `queue`, `relationships` and `drift`: looking at tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.domain.drift import DriftCheck, DriftReport
    from perstack.domain.tasks import QueuedTask, QueueStatus, Task, TaskRelationship

Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
Status = Annotated[
    str | None,
    typer.Option("--status", metavar="STATUS", help="Only pending, running, completed or failed."),
]
Session = Annotated[
    str | None, typer.Option("-s", "--session", metavar="ID", help="Only those of a session.")
]
Way = Annotated[str, typer.Option("--direction", metavar="WAY", help="outgoing, incoming or both.")]
TaskType = Annotated[str, typer.Option("-t", "--type", metavar="TYPE", help="Who would do it.")]
Input = Annotated[
    str, typer.Option("-i", "--input", metavar="TEXT", help="What would be asked; @FILE reads it.")
]
Parent = Annotated[
    str | None, typer.Option("--parent", metavar="ID", help="The task that it would descend from.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only checks from then on; ISO 8601."),
]


def drift_app() -> typer.Typer:
    """Return the `task drift` commands."""
    return s.noun("drift", "Whether tasks repeat those that they descend from.", (check, metrics))


def list_(
    session: Session = None,
    status: Status = None,
    limit: s.Limit = 100,
    offset: s.Offset = 0,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List tasks, newest first."""
    from typing import get_args

    from perstack.domain.task_results import list_of
    from perstack.domain.tasks import TaskStatus
    from perstack.projection.task_text import task_rows
    from perstack.services.bounds import check_word

    wanted = None if status is None else check_word(status, "status", get_args(TaskStatus))

    async def ask(made: Coordination) -> list[Task]:
        found = await made.tasks.list(s.session_of(session), wanted, limit=limit, offset=offset)
        return list(found)

    place = a.Place(workspace, config, trust)
    found = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(list_of(found)), lambda: task_rows(found))


def get(
    task_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show a task whole, with its input and output."""
    from perstack.domain.ids import TaskId
    from perstack.projection.task_text import task_lines

    async def ask(made: Coordination) -> Task:
        return await made.tasks.get(TaskId(task_id))

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Task not found")
    found = s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(found), lambda: task_lines(found))


def queue(
    limit: s.Limit = 10,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show how many tasks wait, which come next, and which were taken and are not done."""
    from perstack.domain.tasks import QueueStatus
    from perstack.projection.task_text import queue_lines

    async def ask(
        made: Coordination,
    ) -> tuple[QueueStatus, list[QueuedTask], list[QueuedTask]]:
        waiting = list(await made.queue.peek(limit))
        return await made.queue.status(), waiting, list(await made.queue.processing(limit))

    place = a.Place(workspace, config, trust)
    nothing: tuple[QueueStatus, list[QueuedTask], list[QueuedTask]] = (
        QueueStatus(queued=0, processing=0, total=0),
        [],
        [],
    )
    empty = s.nothing_there(place)
    status, waiting, taken = nothing if empty else s.with_services(place, ask, writes=False)
    s.show(
        as_json,
        lambda: {
            "status": s.json_of_one(status),
            "queued": [s.json_of_one(one) for one in waiting],
            "processing": [s.json_of_one(one) for one in taken],
        },
        lambda: queue_lines(status, waiting, taken),
    )


def relationships(
    task_id: Id,
    direction: Way = "both",
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List how a task stands to others, newest first."""
    from typing import get_args

    from perstack.domain.ids import TaskId
    from perstack.domain.task_results import relationships_of
    from perstack.domain.tasks import Direction
    from perstack.projection.task_text import relationship_rows
    from perstack.services.bounds import check_word

    way = check_word(direction, "direction", get_args(Direction))

    async def ask(made: Coordination) -> list[TaskRelationship]:
        return list(await made.tasks.relationships(TaskId(task_id), way))

    place = a.Place(workspace, config, trust)
    found = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    s.show(
        as_json, lambda: s.json_of_one(relationships_of(found)), lambda: relationship_rows(found)
    )


def check(
    task_input: Input,
    type_: TaskType,
    parent: Parent = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Say whether a task would repeat one that it descends from; the check is written down."""
    from perstack.cli.agent_work import text_of
    from perstack.domain.ids import TaskId
    from perstack.projection.task_text import drift_lines

    said = text_of(task_input, "File")

    async def ask(made: Coordination) -> DriftCheck:
        return await made.drift.preview(said, type_, TaskId(parent) if parent else None)

    found = s.with_services(a.Place(workspace, config, trust), ask, writes=True)
    s.show(as_json, lambda: s.json_of_one(found), lambda: drift_lines(found.result, found.config))


def metrics(
    since: Since = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show figures over the checks that were made, and the latest ten."""
    from perstack.projection.task_text import metric_lines
    from perstack.services.bounds import moment_of

    since_ms = 0 if since is None else moment_of(since, "since")

    async def ask(made: Coordination) -> DriftReport:
        return await made.drift.report(since_ms=since_ms)

    found = s.with_services(a.Place(workspace, config, trust), ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(found), lambda: metric_lines(found))
