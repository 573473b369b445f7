"""`perstack start`: a session on the screen, or plain progress lines without a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.config.typed import Overrides
    from perstack.ports.frontend import CockpitRequest


def start(
    expert: Annotated[
        str | None, typer.Argument(metavar="[EXPERT]", help="The Expert to talk to.")
    ] = None,
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="What to do.")] = None,
    config: o.Config = None,
    workspace: o.Workspace = o.HERE,
    provider: o.Provider = None,
    model: o.Model = None,
    reasoning_budget: o.Reasoning = None,
    max_steps: o.MaxSteps = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    max_tokens: o.MaxTokens = None,
    max_cost: o.MaxCost = None,
    max_duration: o.MaxDuration = None,
    job_id: o.JobIdOption = None,
    env_path: o.EnvPath = None,
    runtime: o.RuntimeName = None,
    continue_: o.Continue = False,
    continue_job: o.ContinueJob = None,
    resume_from: o.ResumeFrom = None,
    interactive_tool_call_result: o.Answer = False,
    scenario: o.Scenario = None,
    pace: o.Pace = None,
    trust: o.TrustOption = False,
    plain: Annotated[bool, typer.Option("--plain", help="Progress lines, no screen.")] = False,
    theme: Annotated[
        str | None, typer.Option("--theme", metavar="NAME", help="A theme of the cockpit.")
    ] = None,
) -> None:
    """Start an interactive session with an Expert."""
    asked = o.Asked(
        workspace=workspace,
        config=config,
        expert=expert,
        query=query,
        job_id=job_id,
        continue_=continue_,
        continue_job=continue_job,
        resume_from=resume_from,
        is_answer=interactive_tool_call_result,
        trust=trust,
    )
    over = o.overrides(
        provider=provider,
        model=model,
        reasoning_budget=reasoning_budget,
        max_steps=max_steps,
        max_retries=max_retries,
        timeout=timeout,
        max_tokens=max_tokens,
        max_cost=max_cost,
        max_duration=max_duration,
        env_path=env_path,
        runtime=runtime,
        scenario=scenario,
        pace=pace,
    )
    raise typer.Exit(session(asked, over, plain=plain, theme=theme))


def session(asked: o.Asked, over: Overrides, *, plain: bool, theme: str | None) -> int:
    """Open the cockpit, or without a terminal print plain lines; return the exit code."""
    if plain or not has_screen():
        from perstack.cli.driving import drive_to_end
        from perstack.cli.listeners import Plain

        return drive_to_end(asked, over, Plain())
    from perstack.config.find import locate
    from perstack.domain.ids import ExpertKey, JobId
    from perstack.ports.frontend import CockpitRequest, Setup

    asked.check()
    path = locate(asked.workspace, asked.config)
    continuation = asked.continuation() if asked.goes_on else None
    return open_frontend(
        CockpitRequest(
            workspace=asked.workspace.absolute(),
            expert_key=ExpertKey(asked.expert) if asked.expert and not continuation else None,
            query=None if continuation else asked.query,
            job_id=continuation.job_id if continuation else None,
            goes_on=continuation is not None,
            theme=theme,
            runtime=Setup(
                path,
                over,
                continuation,
                JobId(asked.job_id) if asked.job_id else None,
                named=asked.config is not None,
                trust=asked.trust,
            ),
        )
    )


def watch(workspace: Path, config: str | None, *, observe: bool) -> int:
    """Open the cockpit on the workspace and start nothing; return the exit code.

    With `observe` nothing can be started or decided in it either.
    """
    from perstack.config.find import find
    from perstack.config.typed import Overrides
    from perstack.errors import UsageError
    from perstack.ports.frontend import CockpitRequest, Setup

    if not workspace.is_dir():
        raise UsageError(f"{workspace} is not a folder")
    if not has_screen():
        raise UsageError(
            "the cockpit needs a terminal",
            hint="perstack log shows what happened; perstack --help lists the commands",
        )
    setup = Setup(find(workspace, config), Overrides(), None, named=config is not None)
    request = CockpitRequest(workspace=workspace.absolute(), observe=observe, runtime=setup)
    return open_frontend(request)


def has_screen() -> bool:
    """Tell whether there is a terminal that a full screen can be drawn on."""
    if os.environ.get("TERM", "") in ("", "dumb"):
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()


def open_frontend(request: CockpitRequest) -> int:
    """Open the installed front end.

    Raises:
        UsageError: none is installed.
    """
    from importlib.metadata import entry_points

    from perstack.errors import UsageError

    for found in entry_points(group="perstack.frontends"):
        exit_code: int = found.load()(request)
        return exit_code
    raise UsageError("no cockpit is installed", hint="add --plain for progress lines")
