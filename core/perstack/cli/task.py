"""`perstack task`: make tasks past dispatch, drift and consensus, and move them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s
from perstack.cli.task_looking import drift_app, get, list_, queue, relationships

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.domain.settings import RiskLevel
    from perstack.domain.task_results import TaskCreation
    from perstack.domain.tasks import Task, TaskEnding

AWAITED = 3
REFUSED = 4

Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
Type = Annotated[
    str | None,
    typer.Option("-t", "--type", metavar="TYPE", help="Who is to do it; else it is chosen."),
]
Input = Annotated[
    str | None,
    typer.Option("-i", "--input", metavar="TEXT", help="What is to be done; @FILE reads it."),
]
Parent = Annotated[
    str | None, typer.Option("--parent", metavar="ID", help="The task that it descends from.")
]
Risk = Annotated[
    str | None,
    typer.Option("--risk", metavar="LEVEL", help="low, medium or high: raises the estimate."),
]
Priority = Annotated[
    int | None,
    typer.Option("--priority", metavar="N", help="Queue it: 1 to 10, the highest comes first."),
]
Agent = Annotated[
    str, typer.Option("-a", "--agent", metavar="ID", help="The id of the agent that gets it.")
]
Output = Annotated[
    str | None,
    typer.Option("--output", metavar="TEXT", help="What came of it; @FILE reads it."),
]


def task_app() -> typer.Typer:
    """Return the `task` commands."""
    verbs = (create, list_, get, assign, complete, fail, delete, queue, relationships)
    app = s.noun("task", "Tasks: what agents are asked to do.", verbs)
    app.add_typer(drift_app())
    return app


def create(
    type_: Type = None,
    task_input: Input = None,
    parent: Parent = None,
    risk: Risk = None,
    priority: Priority = None,
    session: a.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Make a task. A risky one waits for consensus: its checkpoint is printed instead.

    Exit codes: 0 made, 3 a decision is awaited, 4 refused since it repeats a task it descends
    from, or there is no such parent or session.
    """
    from perstack.cli.listeners import say
    from perstack.domain.ids import TaskId
    from perstack.projection.task_text import creation_lines
    from perstack.services.task_creation import NewTask

    wanted = NewTask(
        agent_type=type_,
        input=_text(task_input),
        session_id=s.session_of(session),
        parent_task_id=TaskId(parent) if parent else None,
        risk_level=_risk(risk),
        priority=priority,
    )

    async def ask(made: Coordination) -> TaskCreation:
        return await made.tasks.create(wanted)

    place = a.Place(workspace, config, trust)
    made = s.with_services(place, ask, writes=True)
    s.show(as_json, lambda: s.json_of_one(made), lambda: creation_lines(made))
    if made.consensus_required:
        say(f"A decision is awaited: perstack consensus show {made.checkpoint_id}{s.where(place)}")
        raise typer.Exit(AWAITED)
    if not made.success:
        say(f"Error: {made.error or 'the task was refused'}")
        raise typer.Exit(REFUSED)


def assign(
    task_id: Id,
    agent_id: Agent,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Give a pending task to an agent; it counts as running then."""
    from perstack.domain.ids import AgentId, TaskId

    async def ask(made: Coordination) -> Task:
        return await made.tasks.assign(TaskId(task_id), AgentId(agent_id))

    place = _there(a.Place(workspace, config, trust))
    _show(as_json, s.with_services(place, ask, writes=False), "Task assigned and running.")


def complete(
    task_id: Id,
    output: Output = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """End a task as completed."""
    place = a.Place(workspace, config, trust)
    _show(as_json, _end(place, task_id, output, "completed"), "Task completed.")


def fail(
    task_id: Id,
    output: Output = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """End a task as failed."""
    place = a.Place(workspace, config, trust)
    _show(as_json, _end(place, task_id, output, "failed"), "Task failed.")


def delete(
    task_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Remove a task and its relationships; one that is not there is no error."""
    from perstack.domain.ids import TaskId

    async def ask(made: Coordination) -> bool:
        return await made.tasks.delete(TaskId(task_id))

    place = a.Place(workspace, config, trust)
    gone = not s.nothing_there(place) and s.with_services(place, ask, writes=False)
    said = "Task deleted" if gone else "Task not found"
    s.show(as_json, lambda: {"success": gone, "message": said}, lambda: [f"{said}."])


def _end(place: a.Place, task_id: str, output: str | None, status: TaskEnding) -> Task:
    from perstack.domain.ids import TaskId

    said = _text(output)

    async def ask(made: Coordination) -> Task:
        return await made.tasks.complete(TaskId(task_id), said, status=status)

    return s.with_services(_there(place), ask, writes=False)


def _show(as_json: bool, task: Task, said: str) -> None:
    s.show(as_json, lambda: s.json_of_one(task), lambda: [said])


def _there(place: a.Place) -> a.Place:
    s.refuse_empty(place, "Task not found")
    return place


def _text(given: str | None) -> str | None:
    from perstack.cli.agent_work import text_of

    return None if given is None else text_of(given, "File")


def _risk(level: str | None) -> RiskLevel | None:
    from typing import get_args

    from perstack.domain.settings import RiskLevel
    from perstack.services.bounds import check_word

    return None if level is None else check_word(level, "risk level", get_args(RiskLevel))
