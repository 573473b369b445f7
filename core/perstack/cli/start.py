"""`perstack start`: a session on the screen, or plain progress lines without a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c
from perstack.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perstack.config.typed import Overrides
    from perstack.ports.frontend import CockpitRequest


def start(
    expert: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERT]", help="The Expert to talk to.", autocompletion=c.experts),
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
    env: o.PassEnv = None,
    continue_: o.Continue = False,
    continue_job: o.ContinueJob = None,
    resume_from: o.ResumeFrom = None,
    interactive_tool_call_result: o.Answer = False,
    scenario: o.Scenario = None,
    pace: o.Pace = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    plain: o.Plain = False,
    theme: o.Theme = None,
    web: Annotated[bool, typer.Option("--web", help="In a browser on this machine.")] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="With --web (0: any).")
    ] = 0,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="With --web: only print the address.")
    ] = False,
    screen_reader: Annotated[
        bool, typer.Option("--screen-reader", help="A conversation in lines, no screen.")
    ] = False,
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
        yes=yes,
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
    if screen_reader:
        _refuse_beside_lines(plain=plain, web=web)
    if web:
        raise typer.Exit(_serve(asked, port=port, open_browser=not no_open))
    raise typer.Exit(session(asked, over, plain=plain, theme=theme, linear=screen_reader))


def _refuse_beside_lines(*, plain: bool, web: bool) -> None:
    """Refuse what `--screen-reader` cannot be combined with, and where nobody could type."""
    from perstack.errors import UsageError

    for given, option in ((plain, "--plain"), (web, "--web")):
        if given:
            raise UsageError(f"--screen-reader and {option} cannot both be given")
    if not _has_keyboard():
        raise UsageError("--screen-reader needs a terminal", hint="--plain prints progress lines")


def _serve(asked: o.Asked, *, port: int, open_browser: bool) -> int:
    """Show the session in a browser; each one is this very command without what serves it."""
    from perstack.ports.frontend import CockpitRequest, WebRequest

    asked.check()
    workspace = asked.workspace.absolute()
    program = (sys.executable, "-m", "perstack")
    config = ("--config", str(asked.config)) if asked.config else ()
    return open_frontend(
        CockpitRequest(
            workspace=workspace,
            web=WebRequest(
                title=f"perstack {workspace.name}",
                first_argv=(*program, *without_serving(sys.argv[1:])),
                later_argv=(*program, "--workspace", str(workspace), *config),
                port=port,
                open_browser=open_browser,
            ),
        )
    )


def without_serving(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments without `--web`, `--no-open` and `--port N`."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return (*kept, argument, *rest)
        if argument == "--port":
            next(rest, None)
        elif argument not in ("--web", "--no-open") and not argument.startswith("--port="):
            kept.append(argument)
    return tuple(kept)


def session(
    asked: o.Asked, over: Overrides, *, plain: bool, theme: str | None, linear: bool = False
) -> int:
    """Open the cockpit, or without a terminal print plain lines; return the exit code.

    With `linear`, or when the environment says so, it is a conversation in lines.
    """
    linear = linear or wants_lines()
    if plain or not (linear or has_screen()):
        from perstack.cli.driving import drive_to_end
        from perstack.cli.listeners import Plain

        return drive_to_end(asked, over, Plain())
    from perstack.config.find import find, locate
    from perstack.domain.ids import ExpertKey, JobId
    from perstack.ports.frontend import CockpitRequest, Setup

    asked.check()
    named = asked.expert is not None or asked.goes_on
    path = (find if named else locate)(asked.workspace, asked.config)
    continuation = asked.continuation(over) if asked.goes_on else None
    return open_frontend(
        CockpitRequest(
            workspace=asked.workspace.absolute(),
            expert_key=ExpertKey(asked.expert) if asked.expert and not continuation else None,
            query=asked.query,
            job_id=continuation.job_id if continuation else None,
            goes_on=continuation is not None,
            answers=continuation is not None and asked.is_answer,
            theme=theme,
            linear=linear,
            runtime=Setup(
                path,
                over,
                continuation,
                JobId(asked.job_id) if asked.job_id else None,
                named=asked.config is not None,
                trust=asked.trust,
                yes=asked.yes,
            ),
        )
    )


def open_watching(workspace: Path, config: str | None, *, observe: bool) -> int:
    """Open the cockpit on the workspace and start nothing; return the exit code.

    With `observe` nothing can be started or decided in it either.
    """
    from perstack.config.find import find
    from perstack.config.typed import Overrides
    from perstack.errors import UsageError
    from perstack.ports.frontend import CockpitRequest, Setup

    if not workspace.is_dir():
        raise UsageError(f"{workspace} is not a folder")
    linear = wants_lines()
    if not (linear or has_screen()):
        raise UsageError(
            "the cockpit needs a terminal",
            hint="perstack watch --plain prints what happens; perstack --help lists the commands",
        )
    setup = Setup(find(workspace, config), Overrides(), None, named=config is not None)
    request = CockpitRequest(
        workspace=workspace.absolute(), observe=observe, linear=linear, runtime=setup
    )
    return open_frontend(request)


def wants_lines() -> bool:
    """Tell whether the environment asks for lines instead of a screen, and somebody can type."""
    from perstack.ports.frontend import IN_BROWSER, SCREEN_READER

    asked = os.environ.get(SCREEN_READER, "").strip().lower() in ("1", "true", "yes", "on")
    return asked and IN_BROWSER not in os.environ and _has_keyboard()


def has_screen() -> bool:
    """Tell whether there is a terminal that a full screen can be drawn on."""
    from perstack.ports.frontend import IN_BROWSER

    if IN_BROWSER in os.environ:
        return True
    if os.environ.get("TERM", "") in ("", "dumb"):
        return False
    return _has_keyboard()


def _has_keyboard() -> bool:
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
