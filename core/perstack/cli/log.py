"""`perstack log`: what happened in a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perstack.cli.printing import Spool
    from perstack.domain.ids import CheckpointId, JobId, RunId
    from perstack.ports.history import History
    from perstack.projection.log_page import LogPage
    from perstack.projection.log_scan import LogRequest, LogScan
    from perstack.services.looking import JobRuns, JobSeen

HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(name="log")(log)


@dataclass(frozen=True, slots=True)
class _Where:
    """What was named to look at."""

    workspace: Path
    job: str | None
    run: str | None
    checkpoint: str | None


def log(
    job: Annotated[
        str | None,
        typer.Option(
            "--job",
            metavar="ID",
            help="The job to show, or its first characters.",
            autocompletion=c.jobs,
        ),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="ID", help="This checkpoint and what led to it."),
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
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show ids, usage and costs; cut nothing off.")
    ] = False,
    messages: Annotated[
        bool, typer.Option("--messages", help="Show the message history, too.")
    ] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Only the summary.")] = False,
    take: Annotated[
        int, typer.Option("--take", metavar="N", min=0, help="At most N events (100; 0: all).")
    ] = 100,
    offset: Annotated[
        int, typer.Option("--offset", metavar="N", min=0, help="Leave the first N out.")
    ] = 0,
    context: Annotated[
        int, typer.Option("--context", metavar="N", min=0, help="Show N events around each, too.")
    ] = 0,
    workspace: Annotated[
        Path, typer.Option("--workspace", metavar="DIR", help="The folder whose runs are meant.")
    ] = HERE,
) -> None:
    """View execution history: the events of the latest job, or of the one you name."""
    import anyio

    from perstack.cli.printing import print_lines, print_pieces, spooled
    from perstack.projection.log_filter import LogFilter, parse_condition, parse_steps
    from perstack.projection.log_page import NOTHING, json_page, text_page
    from perstack.projection.log_scan import LogRequest

    types = _types(type_, errors=errors, tools=tools, delegations=delegations)
    request = LogRequest(
        only=LogFilter(types, parse_steps(step) if step else None),
        condition=parse_condition(filter_) if filter_ else None,
        take=take,
        offset=offset,
        context=context,
        as_json=as_json or pretty,
        summary_only=summary,
        verbose=verbose,
        messages=messages,
    )
    with spooled() as spool:
        found = anyio.run(_read, _Where(workspace, job, run, checkpoint), request, spool)
        if found is None:
            print_lines([NOTHING])
            return
        if request.as_json:
            from perstack.cli.listeners import speak_utf8

            speak_utf8()
            page = json_page(found.page, found.scan, spool, pretty=pretty, summary_only=summary)
        else:
            page = text_page(found.page, found.scan, spool, verbose=verbose, summary_only=summary)
        print_pieces(page)
    for line in found.damage:
        typer.echo(f"Warning: {line}", err=True)


def _types(type_: str | None, *, errors: bool, tools: bool, delegations: bool) -> frozenset[str]:
    from perstack.projection.log_filter import DELEGATIONS, ERRORS, TOOLS

    chosen: frozenset[str] = frozenset()
    for wanted, group in ((errors, ERRORS), (tools, TOOLS), (delegations, DELEGATIONS)):
        chosen |= group if wanted else frozenset()
    if type_ is None:
        return chosen
    # A type outside the chosen groups matches nothing, and so does "".
    return frozenset({type_ if not chosen or type_ in chosen else ""})


@dataclass(frozen=True, slots=True)
class _Found:
    page: LogPage
    scan: LogScan
    damage: Sequence[str]


async def _read(where: _Where, request: LogRequest, spool: Spool) -> _Found | None:
    """Read what was asked for, None when there is no such job, run, checkpoint or event."""
    from perstack.cli.looking import history_of, storage_of
    from perstack.errors import NotFoundError
    from perstack.projection.log_page import LogPage
    from perstack.services.looking import JobRuns, see_job

    history = history_of(where.workspace)
    try:
        job_id = await _job(history, where)
        if job_id is None:
            return None
        seen = await see_job(history, await history.look_at_job(job_id))
        runs = JobRuns(await history.list_runs(job_id))
        scan, damage = await _scan(history, where, seen, runs, request, spool)
    except NotFoundError:
        return None
    if not scan.matched or (where.checkpoint is not None and scan.checkpoint is None):
        return None
    is_latest = where.job is None and where.run is None
    storage = str(storage_of(where.workspace))
    return _Found(LogPage(seen.job, seen.state, is_latest, storage), scan, damage)


async def _job(history: History, where: _Where) -> JobId | None:
    from perstack.domain.ids import RunId, check_path_id
    from perstack.services.looking import find_job

    if where.checkpoint is not None:
        check_path_id("checkpoint id", where.checkpoint)
    if where.job is not None:
        return await find_job(history, where.job)
    if where.run is not None:
        return await history.find_run(RunId(check_path_id("run id", where.run)))
    latest = await history.find_latest_job()
    return latest.id if latest is not None else None


async def _scan(
    history: History,
    where: _Where,
    seen: JobSeen,
    runs: JobRuns,
    request: LogRequest,
    spool: Spool,
) -> tuple[LogScan, list[str]]:
    from perstack.projection.log_scan import LogScan

    run_ids, wanted = await _runs(history, where, seen.job.id, runs)
    shown = frozenset(run_ids[-1:]) if wanted else None
    request = replace(request, runs=shown, points=runs.points, until=_until(where))
    scan = LogScan(request, spool.add)
    damage: list[str] = []
    batches = history.read_records(seen.job.id, run_ids)
    try:
        async for batch in batches:
            for record in batch.records:
                scan.take(record)
            damage += _told(batch.damaged)
            if scan.is_over:
                break
    finally:
        await batches.aclose()
    return scan, damage


async def _runs(
    history: History, where: _Where, job_id: JobId, runs: JobRuns
) -> tuple[list[RunId], bool]:
    """Return the runs to read, and whether only the last of them was asked for.

    Raises:
        NotFoundError: the job has no such run or checkpoint.
    """
    from perstack.domain.ids import RunId
    from perstack.errors import NotFoundError
    from perstack.services.looking import find_checkpoint

    chosen = RunId(where.run) if where.run is not None else None
    until = _until(where)
    if until is not None:
        among = runs.ids if chosen is None else [chosen]
        chosen = await find_checkpoint(history, job_id, among, until)
        if chosen is None:
            raise NotFoundError(f"checkpoint not found: {until}")
    if chosen is None:
        return runs.ids, False
    return runs.leading_to(chosen), True


def _until(where: _Where) -> CheckpointId | None:
    from perstack.domain.ids import CheckpointId

    return CheckpointId(where.checkpoint) if where.checkpoint is not None else None


def _told(damaged: Sequence[tuple[RunId, str]]) -> Iterator[str]:
    return (f"run {run_id}: {damage}" for run_id, damage in damaged)
