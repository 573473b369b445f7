"""`perstack demo`: the example team, played by the scripted model in a workspace of its own."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.config.typed import Overrides
    from perstack.domain.ids import JobId
    from perstack.engine.plan import JobOutcome
    from perstack.project import Project
    from perstack.providers.scenario import Scenario
    from perstack.runtime import Runtime

EXPERT: Final = "release-captain"
QUERY: Final = "Take the next release from commits to production."
REVIEWER: Final = "scripted-reviewer"


def demo(
    pace: Annotated[
        float, typer.Option("--pace", metavar="X", help="1 as written, 0 flat out.")
    ] = 1.0,
    plain: o.Plain = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Play in this empty folder and keep it."),
    ] = None,
    theme: o.Theme = None,
) -> None:
    """Watch the example team at work: no key, no network, the words are scripted."""
    if keep is not None:
        raise typer.Exit(_play(_furnished(keep), pace, plain=plain, theme=theme))
    folder = Path(tempfile.mkdtemp(prefix="perstack-demo-"))
    workspace = _furnished(folder / "workspace")
    try:
        code = _play(workspace, pace, plain=plain, theme=theme)
    finally:
        _tidy_up(folder, workspace)
    raise typer.Exit(code)


def _tidy_up(folder: Path, workspace: Path) -> None:
    """Remove the demonstration, unless a detached job still works in it."""
    if any((workspace / "perstack" / "live").glob("*")):
        typer.echo(
            f"The demonstration goes on in {workspace}\nWatch it: perstack --workspace {workspace}"
        )
        return
    shutil.rmtree(folder, ignore_errors=True)


def _furnished(workspace: Path) -> Path:
    """Fill a folder with the example team and the files it works on."""
    from perstack.errors import UsageError

    if workspace.exists() and not workspace.is_dir():
        raise UsageError(f"{workspace} is not a folder", hint="name a new folder")
    if workspace.exists() and any(workspace.iterdir()):
        raise UsageError(f"{workspace} is not empty", hint="name a new folder")
    here = Path(__file__).parent.parent / "demo"
    shutil.copytree(here / "workspace", workspace, dirs_exist_ok=True)
    shutil.copy(here / "demo.scenario.toml", workspace)
    packaged = here / "perstack.toml"
    # In a checkout the team's definition is the one at its top.
    shutil.copy(packaged if packaged.exists() else here.parents[2] / "perstack.toml", workspace)
    return workspace


def _play(workspace: Path, pace: float, *, plain: bool, theme: str | None) -> int:
    from perstack.cli.start import has_screen, session, wants_lines
    from perstack.config.typed import Overrides

    over = Overrides(provider="scripted", scenario="demo.scenario.toml", pace=pace)
    asked = o.Asked(workspace, workspace / "perstack.toml", EXPERT, QUERY)
    if not plain and (wants_lines() or has_screen()):
        return session(asked, over, plain=False, theme=theme)
    return _play_through(asked.workspace, over)


def _play_through(workspace: Path, over: Overrides) -> int:
    """Play to the end without a person: the scenario answers and decides, and says that it does."""
    import anyio

    from perstack.cli.listeners import say
    from perstack.project import open_project
    from perstack.runtime import log_to_file

    say("Scripted model, scripted answers and a scripted reviewer: nobody is asked.")
    project = open_project(workspace, workspace / "perstack.toml", over)
    log_to_file(workspace, project.secrets)
    return anyio.run(_perform, project, over)


async def _perform(project: Project, over: Overrides) -> int:
    import anyio

    from perstack.cli.again import go_on_command
    from perstack.cli.driving import StoppedBy, exit_code, start_or_go_on, watch_signals
    from perstack.cli.listeners import Plain
    from perstack.engine.control import StopControl
    from perstack.engine.groups import unwrapped
    from perstack.runtime import open_runtime

    control, stopped_by, listener = StopControl(), StoppedBy(), Plain()
    asked = o.Asked(project.workspace, project.workspace / "perstack.toml", EXPERT, QUERY)
    endings: list[JobOutcome] = []
    with unwrapped():
        async with open_runtime(project) as runtime, anyio.create_task_group() as group:
            group.start_soon(watch_signals, control, stopped_by)
            group.start_soon(_review, runtime)
            endings.append(
                await start_or_go_on(asked, runtime, listener, control, over=over, wait=True)
            )
            while endings[-1].outcome.ending == "asked":
                job_id = endings[-1].job_id
                answer = await _answer(runtime, job_id)
                asked = replace(asked, query=answer, continue_job=job_id, is_answer=True)
                endings.append(
                    await start_or_go_on(asked, runtime, listener, control, over=over, wait=True)
                )
            group.cancel_scope.cancel()
    listener.on_end(endings[-1])
    again = go_on_command(asked, over, endings[-1])
    return exit_code(endings[-1], stopped_by, listener.output, again)


async def _answer(runtime: Runtime, job_id: JobId) -> str:
    """Return the scenario's answer to the question that waits."""
    import json

    from perstack.engine.recall import recall
    from perstack.errors import ConfigError

    job = await runtime.history.get_job(job_id)
    recalled = await recall(runtime.history, job_id, job.coordinator_run_id)
    waiting = recalled.state.pending_interactive
    call = next(call for call in recalled.state.calls if call.tool_call_id in waiting)
    question = json.dumps(call.args, ensure_ascii=False)
    answer = _scenario(runtime.project).answer_for(EXPERT, call.tool_name, question)
    if answer is None:
        raise ConfigError(f"the scenario has no [[answers]] for {call.tool_name}")
    return answer


async def _review(runtime: Runtime) -> None:
    """Decide as the scenario says, in place of the person who is not there."""
    from perstack.errors import ConflictError

    scenario = _scenario(runtime.project)
    async for inbox in runtime.consensus.watch():
        for waiting in inbox.pending:
            said = scenario.decision_for(waiting)
            if said is None:
                continue
            with suppress(ConflictError):  # a person may have been first
                await runtime.consensus.decide(
                    waiting.id,
                    approved=said.decision == "approve",
                    feedback=said.feedback,
                    reviewed_by=REVIEWER,
                    allow_self=True,
                )


def _scenario(project: Project) -> Scenario:
    from perstack.runtime import open_scenario

    return open_scenario(project)
