"""`perstack log`: what happened in a job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perstack.domain.events import Event
    from perstack.domain.jobs import Job
    from perstack.ports.history import History
    from perstack.projection.log_page import LogPage

HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(name="log")(log)


def log(
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="The job to show.")] = None,
    jobs: Annotated[bool, typer.Option("--jobs", help="List the jobs, newest first.")] = False,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="ID", help="This checkpoint, whole with --json."),
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="N", help="N, >N, >=N, <N, <=N or A-B.")
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only events of this type.")
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only errors and retries.")] = False,
    tools: Annotated[bool, typer.Option("--tools", help="Only tool calls and results.")] = False,
    delegations: Annotated[bool, typer.Option("--delegations", help="Only delegations.")] = False,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", metavar="EXPR", help="Only events like '.stepNumber > 1'."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    pretty: Annotated[bool, typer.Option("--pretty", help="Indent the JSON.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Only the summary.")] = False,
    take: Annotated[
        int, typer.Option("--take", metavar="N", min=0, help="At most N events (100; 0: all).")
    ] = 100,
    offset: Annotated[
        int, typer.Option("--offset", metavar="N", min=0, help="Leave the first N out.")
    ] = 0,
    workspace: Annotated[
        Path, typer.Option("--workspace", metavar="DIR", help="The folder whose runs are meant.")
    ] = HERE,
) -> None:
    """View execution history: the events of the latest job, or of the one you name."""
    import anyio

    from perstack.projection.log_filter import LogFilter, parse_condition, parse_steps
    from perstack.projection.log_page import NOTHING, LogRequest, json_lines, text_lines

    if jobs:
        _print(anyio.run(_jobs, workspace, take))
        return
    types = _types(type_, errors=errors, tools=tools, delegations=delegations)
    request = LogRequest(
        storage=str(workspace.absolute() / "perstack"),
        only=LogFilter(types, parse_steps(step) if step else None),
        condition=parse_condition(filter_) if filter_ else None,
        take=take,
        offset=offset,
        pretty=pretty,
        summary_only=summary,
        checkpoint=checkpoint is not None,
    )
    page = anyio.run(_read, workspace, job, run, checkpoint)
    if page is None:
        _print([NOTHING])
        return
    if as_json or pretty:
        from perstack.cli.listeners import speak_utf8

        speak_utf8()
    _print(json_lines(page, request) if as_json or pretty else text_lines(page, request))
    for line in page.damage:
        typer.echo(line, err=True)


async def _jobs(workspace: Path, take: int) -> list[str]:
    from perstack.projection.log_page import NOTHING
    from perstack.projection.log_text import job_lines
    from perstack.runtime import open_history

    return list(job_lines(await open_history(workspace).list_jobs(limit=take))) or [NOTHING]


def _types(type_: str | None, *, errors: bool, tools: bool, delegations: bool) -> frozenset[str]:
    from perstack.projection.log_filter import DELEGATIONS, ERRORS, TOOLS

    chosen: frozenset[str] = frozenset()
    for wanted, group in ((errors, ERRORS), (tools, TOOLS), (delegations, DELEGATIONS)):
        chosen |= group if wanted else frozenset()
    if type_ is None:
        return chosen
    # A type outside the chosen groups matches nothing, and so does "".
    return frozenset({type_ if not chosen or type_ in chosen else ""})


async def _read(
    workspace: Path, job_id: str | None, run_id: str | None, checkpoint: str | None
) -> LogPage | None:
    """Return the events to choose from, None when there is no such job, run or checkpoint."""
    from perstack.errors import NotFoundError
    from perstack.projection.log_page import LogPage, merged, up_to
    from perstack.runtime import open_history

    history = open_history(workspace)
    try:
        job = await _job(history, job_id, run_id)
        if job is None:
            return None
        events, damage = await _events(history, job, run_id)
    except NotFoundError:
        return None
    page = LogPage(job, job_id is None and run_id is None, merged(events), damage)
    return page if checkpoint is None else up_to(page, checkpoint)


async def _job(history: History, job_id: str | None, run_id: str | None) -> Job | None:
    from perstack.domain.ids import JobId, check_path_id

    if job_id is not None:
        return await history.get_job(JobId(check_path_id("job id", job_id)))
    if run_id is None:
        return await history.find_latest_job()
    for job in await history.list_jobs():
        if any(run.run_id == run_id for run in await history.list_runs(job.id)):
            return job
    return None


async def _events(history: History, job: Job, run_id: str | None) -> tuple[list[Event], list[str]]:
    """The events of a job, run by run, and what was wrong with their records."""
    events: list[Event] = []
    damage: list[str] = []
    for setting in await history.list_runs(job.id):
        if run_id is not None and setting.run_id != run_id:
            continue
        stored = await history.read_run(job.id, setting.run_id)
        events += stored.events
        if stored.damage:
            damage.append(f"Warning: run {setting.run_id}: {stored.damage}")
    return events, damage


def _print(lines: Iterable[str]) -> None:
    """Write to standard output; a reader that went away (`| head`) is no error."""
    from perstack.errors import StorageError

    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds back would fail again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise StorageError(f"standard output cannot be written: {error.strerror}") from error
