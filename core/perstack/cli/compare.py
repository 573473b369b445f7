"""`perstack compare`: one task on several runtimes and models, side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c
from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.cli.compare_looking import Wanted
    from perstack.cli.driving import StoppedBy
    from perstack.config.typed import Overrides
    from perstack.domain.comparisons import Contest
    from perstack.project import Project
    from perstack.services.comparing import ContestWish

AT_ONCE = 4


def compare(
    expert: Annotated[
        str | None,
        typer.Argument(metavar="EXPERT", help="The Expert to run.", autocompletion=c.experts),
    ] = None,
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="What each of them is to do.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", metavar="RUNTIME[:MODEL]", help="A contestant; 2 to 8 of them. See docs."
        ),
    ] = None,
    config: o.Config = None,
    workspace: o.Workspace = o.HERE,
    provider: o.Provider = None,
    reasoning_budget: o.Reasoning = None,
    max_steps: o.MaxSteps = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    max_tokens: o.MaxTokens = None,
    max_cost: o.MaxCost = None,
    max_duration: o.MaxDuration = None,
    env_path: o.EnvPath = None,
    env: o.PassEnv = None,
    scenario: o.Scenario = None,
    pace: o.Pace = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    sequential: Annotated[
        bool,
        typer.Option("--sequential", help=f"One after another, not {AT_ONCE} at a time."),
    ] = False,
    comparison_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The id of a new comparison.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the comparisons of this folder.")
    ] = False,
    show: Annotated[
        str | None, typer.Option("--show", metavar="ID", help="Show one; `latest` is the newest.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--stop", metavar="ID", help="Stop one at checkpoints.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="ID", help="Remove one with its folders.")
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Also show what each changed in its files.")
    ] = False,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option("--between", metavar="A B", help="Also how the files of two differ."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run an Expert on several runtimes and models, each in a copy of this folder, and compare.

    Limits hold for each of them. Exit codes: 0 all completed or a question waits, else the highest
    of what the jobs would have ended with; 129/130/143 stopped by a signal.
    """
    from perstack.cli.compare_looking import Wanted, look

    wanted = Wanted(
        workspace,
        listed=list_,
        show=show,
        stop=stop,
        remove=remove,
        diff=diff,
        between=between,
        as_json=as_json,
    )
    wanted.check(expert, query, on or ())
    if wanted.looks:
        look(wanted)
        return
    over = o.overrides(
        provider=provider,
        model=None,
        reasoning_budget=reasoning_budget,
        max_steps=max_steps,
        max_retries=max_retries,
        timeout=timeout,
        max_tokens=max_tokens,
        max_cost=max_cost,
        max_duration=max_duration,
        env_path=env_path,
        runtime=None,
        env=env,
        scenario=scenario,
        pace=pace,
    )
    asked = (expert or "", query or "", on or [], comparison_id)
    at_once = 1 if sequential else AT_ONCE
    project, wish = _prepare(wanted, config, over, asked, trust=trust, yes=yes, at_once=at_once)
    raise typer.Exit(_run(wanted, over, project, wish, named=config is not None))


def _prepare(
    wanted: Wanted,
    config: str | None,
    over: Overrides,
    asked: tuple[str, str, list[str], str | None],
    *,
    trust: bool,
    yes: bool,
    at_once: int,
) -> tuple[Project, ContestWish]:
    import anyio

    from perstack.cli.driving import warn
    from perstack.cli.registry_experts import complete
    from perstack.comparing import wish_of
    from perstack.domain.comparisons import ComparisonId, contestants_of
    from perstack.domain.ids import ExpertKey, check_path_id
    from perstack.errors import UsageError
    from perstack.fetching import check_startable
    from perstack.project import open_project
    from perstack.runtime import log_to_file

    expert, query, on, comparison_id = asked
    contestants = contestants_of(on)
    if wanted.between is not None:
        wanted.check_between([one.label for one in contestants])
    if not wanted.workspace.is_dir():
        raise UsageError(f"{wanted.workspace} is not a folder")
    project = open_project(wanted.workspace, config, over, trust=trust, or_empty=True)
    check_startable(project, ExpertKey(expert), query)
    project.admit(project.config.experts)
    project = anyio.run(partial(complete, project, [ExpertKey(expert)], yes=yes))
    named = config is not None
    wish = wish_of(project, over, expert, query, contestants, at_once=at_once, named=named)
    log_to_file(project.workspace, project.secrets)
    warn(project)
    if comparison_id is not None:
        wish = replace(wish, id=ComparisonId(check_path_id("comparison id", comparison_id)))
    return project, wish


def _run(
    wanted: Wanted, over: Overrides, project: Project, wish: ContestWish, *, named: bool
) -> int:
    import anyio

    from perstack.cli.compare_looking import Progress, show_contest
    from perstack.cli.driving import StoppedBy
    from perstack.engine.groups import unwrapped

    stopped_by = StoppedBy()
    progress = Progress(wanted.workspace)

    ended: list[Contest] = []

    async def work() -> None:
        from perstack.cli.driving import watch_signals
        from perstack.comparing import comparing_of
        from perstack.engine.control import StopControl

        control = StopControl()
        comparing = comparing_of(project, over, named=named)
        async with anyio.create_task_group() as group:
            group.start_soon(watch_signals, control, stopped_by)
            ended.append(await comparing.run(wish, control=control, on_change=progress.take))
            group.cancel_scope.cancel()

    with unwrapped():
        anyio.run(work)
    show_contest(wanted, ended[0])
    return exit_code(ended[0], stopped_by)


def exit_code(contest: Contest, stopped_by: StoppedBy) -> int:
    """Return what the program ends with."""
    codes = [1 if row.exit_code is None else row.exit_code for row in contest.rows]
    if stopped_by.number is not None and any(codes):
        return 128 + stopped_by.number
    return max(codes)
