"""`perstack install`: write down which tools there are, so that runs need not ask."""

from __future__ import annotations

from typing import Annotated

import typer

from perstack.cli import options as o


def install(
    config: o.Config = None,
    env_path: o.EnvPath = None,
    workspace: o.Workspace = o.HERE,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Follow the tags of the registry to where they are now."),
    ] = False,
) -> None:
    """Write perstack.lock beside the configuration: versions, and the tools of every skill.

    Experts of the registry are fetched and stay at the versions they have. Every skill is started
    once; runs then start without waiting for skills, until the configuration changes.
    """
    from dataclasses import replace
    from functools import partial

    import anyio

    from perstack.cli.driving import warn
    from perstack.cli.listeners import Output, speak_utf8
    from perstack.cli.registry_experts import complete, forget_unreached
    from perstack.config.typed import Overrides
    from perstack.engine.groups import unwrapped
    from perstack.errors import UsageError
    from perstack.project import install_lock, open_project
    from perstack.projection.inert import inert
    from perstack.runtime import log_to_file

    if not workspace.is_dir():
        raise UsageError(f"{workspace} is not a folder")
    typed = Overrides(env_paths=tuple(env_path or ()))
    project = open_project(workspace, config, typed, trust=trust)
    project.admit(project.config.experts)
    log_to_file(project.workspace, project.secrets)
    # That the lock is stale is no news: this is the remedy.
    warn(replace(project, lock_warning=None))
    every = partial(complete, project, [*project.config.experts], yes=yes, update=update)
    project = anyio.run(every)
    if update:
        forget_unreached(project)
    speak_utf8()
    output = Output()

    def say(line: str) -> None:
        output.line(inert(line))

    with unwrapped():
        anyio.run(install_lock, project, say)
