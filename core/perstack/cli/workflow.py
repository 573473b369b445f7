"""`perstack workflow`: phases in order, what they find repaired and judged again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s
from perstack.cli.workflow_run import resume, run

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.domain.hooks import WorkflowTrigger
    from perstack.domain.workflows import WorkflowRun, WorkflowRunId

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Listed = Annotated[bool, typer.Option("-l", "--list", help="List them; so it is without options.")]
Defaults = Annotated[
    bool, typer.Option("-r", "--register-defaults", help="Upstream's: says how that is done here.")
]
Clear = Annotated[
    bool, typer.Option("-c", "--clear", help="Upstream's: says how that is done here.")
]


def workflow_app() -> typer.Typer:
    """Return the `workflow` commands."""
    return s.noun(
        "workflow",
        "Workflows: phases in order, judged, repaired and judged again.",
        (run, list_, status, triggers, reset, abort, resume),
    )


def list_(
    limit: s.Limit = 20,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List the workflows that can be run, and the latest runs."""
    from perstack.domain.workflow_views import WorkflowKind, workflow_summary
    from perstack.projection.table_text import in_columns
    from perstack.projection.workflow_text import run_rows
    from perstack.services.bounds import check_number
    from perstack.services.workflows.service import built_ins

    check_number(limit, "limit", least=1, most=1_000)

    async def ask(made: Coordination) -> list[WorkflowRun]:
        return list(await made.workflows.list(limit=limit))

    place = a.Place(workspace, config, trust)
    runs = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    kinds = [
        WorkflowKind(id=one.id, name=one.name, needs_model=one.needs_model) for one in built_ins()
    ]
    rows = [(one.id, one.name) for one in kinds]
    s.show(
        as_json,
        lambda: {
            "workflows": [s.json_of_one(one) for one in kinds],
            "runs": [s.json_of_one(workflow_summary(one)) for one in runs],
        },
        lambda: [*in_columns([("WORKFLOW", "NAME"), *rows]), "", *run_rows(runs)],
    )


def status(
    run_id: RunId,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show how a run stands: the phases that were done, or its report."""

    async def ask(made: Coordination) -> WorkflowRun:
        return await made.workflows.get(_run_id(run_id))

    place = _there(a.Place(workspace, config, trust))
    _show(as_json, s.with_services(place, ask, writes=False))


def abort(
    run_id: RunId,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """End a run, whoever drives it; what it does now stops within a second."""

    async def ask(made: Coordination) -> WorkflowRun:
        return await made.workflows.abort(_run_id(run_id))

    place = _there(a.Place(workspace, config, trust))
    _show(as_json, s.with_services(place, ask, writes=False))


def reset(
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """End every run that is not at its end, whoever drives it."""
    from perstack.domain.workflow_views import workflow_summary

    async def ask(made: Coordination) -> list[WorkflowRun]:
        return list(await made.workflows.abort_all())

    place = a.Place(workspace, config, trust)
    ended = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    count = f"{len(ended)} run{'' if len(ended) == 1 else 's'}"
    s.show(
        as_json,
        lambda: s.json_of_many("aborted", [workflow_summary(one) for one in ended]),
        lambda: [f"{count} aborted."],
    )


def triggers(
    listed: Listed = False,
    register_defaults: Defaults = False,
    clear: Clear = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List what starts workflows by itself in every process that opens this workspace."""
    from perstack.errors import UsageError
    from perstack.projection.workflow_text import trigger_rows

    if register_defaults or clear:
        raise UsageError(
            "triggers belong to the process that registers them, so that none would be left",
            hint="a program or a plugin registers them: docs/python.md, docs/plugins.md",
        )

    async def ask(made: Coordination) -> list[WorkflowTrigger]:
        return list(made.hooks.workflow_triggers)

    place = a.Place(workspace, config, trust)
    found = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    s.show(
        as_json,
        lambda: {
            "count": len(found),
            "triggers": [
                {"id": one.id, "name": one.name, "workflowId": one.workflow_id} for one in found
            ],
        },
        lambda: trigger_rows(found),
    )


def _show(as_json: bool, found: WorkflowRun) -> None:
    from perstack.domain.workflow_views import workflow_detail
    from perstack.projection.workflow_text import run_lines

    s.show(as_json, lambda: s.json_of_one(workflow_detail(found)), lambda: run_lines(found))


def _there(place: a.Place) -> a.Place:
    s.refuse_empty(place, "Workflow run not found")
    return place


def _run_id(text: str) -> WorkflowRunId:
    from perstack.domain.workflows import WorkflowRunId

    return WorkflowRunId(text)
