"""`perstack jobs`: which jobs there are and how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perstack.services.looking import JobSeen

HERE = Path()
STATES = ("running", "waiting", "asks", "stopped", "lost", "completed", "failed", "limit")


def jobs(
    workspace: Annotated[
        Path, typer.Option("--workspace", metavar="DIR", help="The folder whose jobs are meant.")
    ] = HERE,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="At most N jobs (20; 0: all).")
    ] = 20,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help=f"Only {', '.join(STATES)}; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the jobs of this folder, last driven first."""
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
