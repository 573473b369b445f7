"""`perstack run`: one job, JSON events on stdout, errors on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c
from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.config.typed import Overrides


def run(
    expert: Annotated[
        str,
        typer.Argument(metavar="EXPERT", help="The Expert to run.", autocompletion=c.experts),
    ],
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="What to do; needed for a new job.")
    ] = None,
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
    env: o.PassEnv = None,
    continue_: o.Continue = False,
    continue_job: o.ContinueJob = None,
    resume_from: o.ResumeFrom = None,
    interactive_tool_call_result: o.Answer = False,
    scenario: o.Scenario = None,
    pace: o.Pace = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    full_events: Annotated[
        bool, typer.Option("--full-events", help="Embed whole checkpoints in events.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Stop (exit 3) where a decision is awaited.")
    ] = False,
    own_definitions: Annotated[
        bool,
        typer.Option("--own-definitions", help="Go on with the definitions the job began with."),
    ] = False,
    verbose: o.Verbose = False,
) -> None:
    """Run an Expert without a screen; prints one JSON event a line.

    Exit codes: 0 completed or a question waits, 1 failed, 3 a decision is awaited, 4 not found or
    refused, 5 storage, 6 a limit was reached, 129/130/143 stopped by a signal.
    """
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
        yes=yes,
        own_definitions=own_definitions,
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
        env=env,
        scenario=scenario,
        pace=pace,
    )
    code = run_headless(asked, over, full_events=full_events, no_wait=no_wait, verbose=verbose)
    raise typer.Exit(code)


def run_headless(
    asked: o.Asked, over: Overrides, *, full_events: bool, no_wait: bool, verbose: bool = False
) -> int:
    """Drive the job with JSON lines on stdout; return the exit code."""
    from perstack.cli.driving import drive_to_end
    from perstack.cli.listeners import JsonLines

    lines = JsonLines(full=full_events, waits_at_gates=not no_wait)
    if verbose:
        from perstack.cli.verbose import show_containers

        show_containers(lines.output.line)
    return drive_to_end(asked, over, lines, wait_at_gates=not no_wait)
