"""`perstack workflow run` and `resume`: driving a workflow to its report."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from pydantic import JsonValue

    from perstack.cli.service_driving import Driven
    from perstack.coordination import Coordination
    from perstack.domain.workflows import WorkflowRun, WorkflowRunId
    from perstack.services.bus import Message

Name = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="Which one: workflow list lists them.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Docs = Annotated[
    str | None, typer.Option("-d", "--docs", metavar="DIR", help="The documents (./docs).")
]
Source = Annotated[
    str | None,
    typer.Option("-s", "--source", "--src", metavar="DIR", help="The sources they are about (.)."),
]
Task = Annotated[
    str | None,
    typer.Option("-t", "--task", metavar="TEXT", help="What is to be done; @FILE reads it."),
]
NoModel = Annotated[
    bool, typer.Option("--no-model", help="doc-sync: only what can be checked without a model.")
]
Propose = Annotated[
    bool, typer.Option("--propose", help="doc-sync: change no file, hand in new texts.")
]
Iterations = Annotated[
    int | None, typer.Option("--max-iterations", metavar="N", help="Repairs it may take, to 10.")
]
More = Annotated[
    str | None,
    typer.Option("--options", metavar="JSON", help="More of its options, by name; @FILE reads it."),
]


def run(
    workflow: Name,
    docs: Docs = None,
    source: Source = None,
    task: Task = None,
    no_model: NoModel = False,
    propose: Propose = False,
    max_iterations: Iterations = None,
    model: o.Model = None,
    options: More = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="The session it belongs to.")
    ] = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Do a workflow to its report: doc-sync, full-stack-feature or adversarial-review.

    Exit codes: 0 PASS, 1 FAIL or no such workflow, 4 aborted, 5 storage, 6 a limit was reached,
    129/130/143 stopped by a signal; workflow resume goes on.
    """
    known = _known(workflow)
    given: dict[str, JsonValue] = {
        "docs": docs,
        "src": source,
        _TASK.get(known, "task"): _text(task),
        "noModel": no_model or None,
        "propose": propose or None,
        "maxIterations": max_iterations,
        "model": model,
    }
    asked = {name: one for name, one in given.items() if one is not None}
    asked |= s.json_object(options, "--options") or {}

    async def create(made: Coordination) -> WorkflowRunId:
        session_id = s.session_of(session)
        return (await made.workflows.create(known, asked, session_id=session_id)).id

    runs = asked.get("noModel") is not True
    _drive(a.Place(workspace, config, trust), as_json, create, runs=runs)


def resume(
    run_id: RunId,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Go on with a run that failed, or whose process died; a completed one is only shown.

    Exit codes: as workflow run.
    """
    from perstack.domain.workflows import WorkflowRunId

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Workflow run not found")

    async def ask(made: Coordination) -> WorkflowRun:
        return await made.workflows.get(WorkflowRunId(run_id))

    # Looked for first: a run that is not there is said before a key that is not there.
    found = s.with_services(place, ask, writes=False)

    async def wanted(_: Coordination) -> WorkflowRunId:
        return found.id

    runs = found.report is None and found.config.options.get("no_model") is not True
    _drive(place, as_json, wanted, runs=runs)


_TASK = {"full-stack-feature": "description"}


def _drive(
    place: a.Place,
    as_json: bool,
    begin: Callable[[Coordination], Awaitable[WorkflowRunId]],
    *,
    runs: bool,
) -> None:
    from perstack.cli.service_driving import drive, tell
    from perstack.domain.workflow_views import workflow_detail
    from perstack.projection.workflow_text import progress_line, run_lines

    async def work(made: Coordination, driven: Driven[WorkflowRun]) -> WorkflowRun:
        run_id = await begin(made)
        driven.what = run_id
        quiet = tell(made, f"workflow:{run_id}", line)
        try:
            await made.workflows.resume(run_id)
            return await made.workflows.get(run_id)
        finally:
            quiet()

    def line(message: Message) -> str | None:
        return progress_line(message.type, message.payload)

    def again(run_id: str) -> str:
        return f"{shlex.join(['perstack', 'workflow', 'resume', run_id])}{s.where(place)}"

    done = drive(place, work, runs=runs, again=again)
    if isinstance(done, int):
        raise typer.Exit(done)
    s.show(as_json, lambda: s.json_of_one(workflow_detail(done)), lambda: run_lines(done))
    passed = done.report is not None and done.report.verdict == "PASS"
    raise typer.Exit(0 if passed else 1)


def _known(workflow: str) -> str:
    """Return the id of a workflow.

    Raises:
        UsageError: there is no such one; it lists what there is.
    """
    from perstack.errors import NotFoundError, UsageError
    from perstack.services.workflows.service import built_in

    try:
        return built_in(workflow).id
    except NotFoundError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _text(given: str | None) -> str | None:
    from perstack.cli.agent_work import text_of

    return None if given is None else text_of(given, "File")
