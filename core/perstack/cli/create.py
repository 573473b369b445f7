"""`perstack create`: a wizard, and an Expert that drafts, tries and improves Experts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perstack.cli import options as o

Workspace = Annotated[
    Path, typer.Option("--workspace", "--cwd", metavar="DIR", help="The project's folder.")
]


def create(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The Expert; one that is there is improved."),
    ] = None,
    wish: Annotated[
        str | None,
        typer.Argument(metavar="[WISH]", help="What it is to do, or to do better."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Ask nothing, write what would be shown.")
    ] = False,
    try_all: Annotated[
        bool,
        typer.Option("--try-all", help="Try drafts whatever they start or connect to, exec too."),
    ] = False,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=0, max=10, help="Trials at most (3).")
    ] = 3,
    workspace: Workspace = o.HERE,
    config: o.Config = None,
    provider: o.Provider = None,
    model: o.Model = None,
    runtime: o.RuntimeName = None,
    reasoning_budget: o.Reasoning = None,
    max_steps: o.MaxSteps = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    max_tokens: o.MaxTokens = None,
    max_cost: o.MaxCost = None,
    max_duration: o.MaxDuration = None,
    env_path: o.EnvPath = None,
    continue_: Annotated[
        bool, typer.Option("--continue", help="Go on with the latest creation.")
    ] = False,
    continue_job: Annotated[
        str | None, typer.Option("--continue-job", metavar="ID", help="Go on with that one.")
    ] = None,
    scenario: o.Scenario = None,
    pace: o.Pace = None,
    trust: o.TrustOption = False,
) -> None:
    """Create an Expert: draft it, try it on a small case, improve it, write it after your word.

    Exit codes: 0 written, 1 not created or not wanted, 4 nothing to go on with, 5 storage, 6 a
    limit was reached, 129/130/143 stopped by a signal.
    """
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
        env=None,
        scenario=scenario,
        pace=pace,
    )
    from perstack.cli.create_flow import Wanted, run_create

    wanted = Wanted(
        workspace=workspace,
        config=config,
        name=name,
        wish=wish,
        over=over,
        yes=yes,
        try_all=try_all,
        trials=trials,
        trust=trust,
        goes_on=continue_ or continue_job is not None,
        job=continue_job,
    )
    raise typer.Exit(run_create(wanted))
