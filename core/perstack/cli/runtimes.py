"""`perstack runtimes`: what can execute Experts here, and how to get what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perstack.cli import agent_options as a
from perstack.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perstack.domain.settings import Settings
    from perstack.project import Project


def runtimes(
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show what can execute Experts: version, what is missing, how to get it.

    The one that --runtime or perstack.toml choose by default is marked with *. Programs are asked
    for their version, nothing else. Exit code: 0, whatever is missing.
    """
    import anyio

    from perstack.cli.looking import say_what_is_logged
    from perstack.cli.printing import print_lines
    from perstack.projection.runtimes_text import runtimes_json, runtimes_lines
    from perstack.runtime import look_for_runtimes

    # A command that nobody accepted is not started, not even for its version.
    project = a.Place(workspace, config, trust).usable_project()
    say_what_is_logged()
    settings, env = _asked_of(project)
    found = anyio.run(look_for_runtimes, settings, env, workspace.absolute())
    chosen = settings.runtime.name
    if as_json:
        print_lines([json.dumps(runtimes_json(found, chosen), indent=2)])
        return
    print_lines(list(runtimes_lines(found, chosen)))


def _asked_of(project: Project | None) -> tuple[Settings, Mapping[str, str]]:
    from perstack.config.process_env import process_environment
    from perstack.domain.settings import Settings

    if project is None:
        return Settings(), process_environment()
    return project.config.settings, project.env
