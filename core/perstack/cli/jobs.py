"""`perstack jobs`: which jobs there are and how they stand; removing some."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from perstack.domain.ids import JobId
    from perstack.services.looking import JobSeen
    from perstack.services.pruning import Pruned, Pruner

HERE = Path()
STATES = ("running", "waiting", "paused", "asks", "stopped", "lost", "completed", "failed", "limit")


Workspace = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="The folder whose jobs are meant.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def jobs_app() -> typer.Typer:
    """Return the `jobs` commands; without one, the jobs are listed."""
    app = typer.Typer(name="jobs", rich_markup_mode=None, invoke_without_command=True)
    app.callback()(jobs)
    app.command(name="delete")(delete)
    app.command(name="prune")(prune)
    return app


def jobs(
    context: typer.Context,
    workspace: Workspace = HERE,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="At most N jobs (20; 0: all).")
    ] = 20,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help=f"Only {', '.join(STATES)}; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the jobs of this folder, last driven first."""
    if context.invoked_subcommand is not None:
        return
    import anyio

    from perstack.cli.printing import print_lines
    from perstack.projection.job_list import NO_JOBS, job_rows, jobs_line

    _check(status or [])
    found = anyio.run(_see, workspace, limit, frozenset(status or []))
    if as_json:
        from perstack.cli.listeners import speak_utf8

        speak_utf8()
        print_lines([jobs_line(found)])
    else:
        print_lines(job_rows(found) if found else [NO_JOBS])


def _check(status: Sequence[str]) -> None:
    from perstack.errors import UsageError

    for word in status:
        if word not in STATES:
            raise UsageError(f"--status {word!a} is not usable", hint=f"one of {', '.join(STATES)}")


async def _see(workspace: Path, limit: int, states: frozenset[str]) -> list[JobSeen]:
    from perstack.cli.looking import history_of
    from perstack.services.looking import see_jobs

    return await see_jobs(history_of(workspace), limit=limit, states=states)


def delete(
    job: Annotated[
        list[str],
        typer.Argument(metavar="JOB...", help="Ids, or their beginnings.", autocompletion=c.jobs),
    ],
    workspace: Workspace = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove jobs, with the stored files that only they refer to. A job at work stays."""
    import anyio

    from perstack.services.looking import find_job

    async def work() -> None:
        from perstack.cli.looking import history_of

        history = history_of(workspace)
        found = [await find_job(history, one) for one in job]
        if dry_run:
            _say(found, None, as_json=as_json)
            return
        _ask(len(found), yes=yes)
        async with _pruner(workspace) as pruner:
            _say(found, await pruner.delete(found), as_json=as_json)

    anyio.run(work)


def prune(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="90m, 12h, 30d, 8w: not driven since."),
    ],
    workspace: Workspace = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove the jobs that nobody drove for so long, and stored files that nothing refers to.

    Jobs that wait for a decision or an answer of yours stay.
    """
    import anyio

    from perstack.ports.system import SystemClock

    before = SystemClock().now_ms() - _age_ms(older_than)

    async def work() -> None:
        async with _pruner(workspace) as pruner:
            found = await pruner.older_than(before)
            if dry_run:
                _say(found, None, as_json=as_json)
                return
            if found:
                _ask(len(found), yes=yes)
            pruned = await pruner.prune(before)
            _say(list(pruned.job_ids), pruned, as_json=as_json)

    anyio.run(work)


@asynccontextmanager
async def _pruner(workspace: Path) -> AsyncGenerator[Pruner]:
    from perstack.cli.looking import history_of, snapshots_of
    from perstack.ports.system import SystemClock
    from perstack.services.job_gates import JobGates
    from perstack.services.pruning import Pruner
    from perstack.wiring import consensus_over, has_database, open_tables

    history, snapshots = history_of(workspace), snapshots_of(workspace)
    if not has_database(workspace.absolute()):
        yield Pruner(history, snapshots)
        return
    tables = open_tables(workspace.absolute())
    inbox = consensus_over(tables)
    try:
        gates = JobGates(inbox, tables.stores, clock=SystemClock())
        yield Pruner(history, snapshots, gates)
    finally:
        await inbox.aclose()


def _age_ms(text: str) -> int:
    from perstack.errors import UsageError

    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or len(number) > 6 or unit not in _UNITS:
        raise UsageError(f"--older-than {text!a} is not usable", hint="such as 90m, 12h, 30d or 8w")
    return int(number) * _UNITS[unit]


def _ask(count: int, *, yes: bool) -> None:
    """Ask a person whether so many jobs shall go.

    Raises:
        UsageError: nobody can be asked, or the answer is no.
    """
    import sys

    from perstack.errors import UsageError

    if yes:
        return
    jobs_ = "1 job" if count == 1 else f"{count} jobs"
    if not sys.stdin.isatty():
        raise UsageError(f"{jobs_} would be removed for good", hint="say so with --yes")
    if not typer.confirm(f"Remove {jobs_} for good?", err=True):
        raise UsageError("nothing was removed")


def _say(found: Sequence[JobId], pruned: Pruned | None, *, as_json: bool) -> None:
    import json

    from perstack.cli.printing import print_lines

    if as_json:
        said: dict[str, object] = {"jobs": list(found), "dryRun": pruned is None}
        if pruned is not None:
            said |= {
                "bytes": pruned.size + pruned.swept.size,
                "blobs": pruned.swept.blobs,
                "kept": list(pruned.kept),
            }
        print_lines([json.dumps(said)])
        return
    verb = "would be removed" if pruned is None else "removed"
    lines = [f"{verb}: {job_id}" for job_id in found] or ["No jobs."]
    if pruned is not None:
        freed = pruned.size + pruned.swept.size
        lines.append(f"{freed:,} bytes freed, {pruned.swept.blobs:,} stored files among them")
        lines += [f"kept, it is at work: {job_id}" for job_id in pruned.kept]
    print_lines(lines)
