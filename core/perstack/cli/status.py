"""`perstack status`: what this folder holds, or the status of an Expert in the registry."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import completing as c
from perstack.cli import options as o
from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.domain.system import SystemHealth, SystemStatus
    from perstack.project import Project

Value = Annotated[
    str | None,
    typer.Argument(
        metavar="[STATUS]",
        help="available, deprecated or disabled.",
        autocompletion=c.one_of("available", "deprecated", "disabled"),
    ),
]
OfRegistry = Annotated[
    bool, typer.Option("--registry", help="Choose an Expert of the registry, and its status.")
]


def status(
    key: r.VersionedKey = None,
    value: Value = None,
    registry: OfRegistry = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show what this folder holds: session, agents, tasks, memory, provider, and its health.

    With KEY or --registry: change the status of a version of an Expert in the registry.

    Exit codes: 0, also where something is degraded; 1 it is unhealthy, or the registry refuses.
    """
    import anyio

    from perstack.cli.looking import say_what_is_logged
    from perstack.cli.printing import print_lines

    if key is not None or registry:
        from perstack.cli.registry_status import change_status

        change_status(key, value, workspace, config, trust=trust, as_json=as_json)
        return
    project = a.Place(workspace, config, trust).usable_project()
    say_what_is_logged()
    told, health = anyio.run(_look, workspace.absolute(), project)
    print_lines([_json(told, health)] if as_json else _lines(told, health, project))
    if health.status == "unhealthy":
        raise typer.Exit(1)


async def _look(workspace: Path, project: Project | None) -> tuple[SystemStatus, SystemHealth]:
    from perstack.agent_wiring import open_system
    from perstack.domain.memory import Caller
    from perstack.services.whoami import whoami
    from perstack.wiring import has_database

    with ExitStack() as stack:
        place = workspace
        if not has_database(workspace):
            # Looking makes no database here: what is told is what an empty one would say.
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perstack-")))
        async with open_system(place, project) as system:
            caller = Caller(name=whoami())
            return await system.status(caller), await system.health(caller)


def _json(told: SystemStatus, health: SystemHealth) -> str:
    shown = {**_dumped(told), "health": _dumped(health)}
    return json.dumps(shown, ensure_ascii=True, indent=2)


def _dumped(view: SystemStatus | SystemHealth) -> dict[str, object]:
    return view.model_dump(mode="json", by_alias=True)


def _lines(told: SystemStatus, health: SystemHealth, project: Project | None) -> list[str]:
    from perstack.projection.system_text import status_lines

    return list(status_lines(told, health, None if project is None else project.config))
