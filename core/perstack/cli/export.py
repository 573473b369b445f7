"""`perstack export`: a job as one file, or as OpenTelemetry spans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from perstack.ports.history import History
    from perstack.services.exporting import Export
    from perstack.services.looking import JobRuns, JobSeen

HERE = Path()


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the file goes; `path` None is standard output."""

    format: Literal["json", "md"]
    path: Path | None
    force: bool


def export(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job, or its first characters.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="json, or md to read.")
    ] = "json",
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="JOB.json or JOB.md; - is stdout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    otel: Annotated[
        bool, typer.Option("--otel", help="Send the job as OpenTelemetry spans instead.")
    ] = False,
    otel_endpoint: Annotated[
        str | None,
        typer.Option("--otel-endpoint", metavar="URL", help="The collector (OTLP over HTTP)."),
    ] = None,
    otel_content: Annotated[
        bool, typer.Option("--otel-content", help="With prompts, arguments and results.")
    ] = False,
    workspace: Annotated[
        Path, typer.Option("--workspace", metavar="DIR", help="The folder whose jobs are meant.")
    ] = HERE,
) -> None:
    """Write one self-contained file of a job, or send it to an OpenTelemetry collector."""
    import anyio

    if otel or otel_endpoint is not None or otel_content:
        from perstack.cli.listeners import say

        sent = anyio.run(_send, workspace, job, otel_endpoint, otel_content)
        say(f"Sent {sent} spans.")
        return
    anyio.run(_export, workspace, job, _format(format_), output, force)


def _format(word: str) -> Literal["json", "md"]:
    from perstack.errors import UsageError

    if word == "json":
        return "json"
    if word in ("md", "markdown"):
        return "md"
    raise UsageError(f"--format {word!a} is not usable", hint="json or md")


async def _export(
    workspace: Path, job: str, format_: Literal["json", "md"], output: str | None, force: bool
) -> None:
    from perstack.cli.listeners import say
    from perstack.services.exporting import Export

    seen, runs = await _find(workspace, job)
    path = None if output == "-" else Path(output or f"{seen.job.id}.{format_}")
    export = Export(_history(workspace), seen, runs, _redact(workspace))
    await _write(export, _Target(format_, path, force))
    for line in export.damage:
        say(f"Warning: {line}")
    if path is not None:
        say(f"Wrote {path}")


async def _write(export: Export, target: _Target) -> None:
    from contextlib import aclosing

    from perstack.cli.printing import to_stdout
    from perstack.storage.new_file import new_file

    pieces = export.json() if target.format == "json" else export.markdown()
    async with aclosing(pieces):
        if target.path is None:
            from perstack.cli.listeners import speak_utf8

            speak_utf8()
            opened = to_stdout()
        else:
            opened = new_file(target.path, replaces=target.force)
        with opened as file:
            async for piece in pieces:
                file.write(piece)


async def _send(workspace: Path, job: str, endpoint: str | None, content: bool) -> int:
    """Send the job's spans; return how many there were."""
    from functools import partial

    from anyio import to_thread

    from perstack.export.otlp import OtlpSender
    from perstack.services.exporting import span_batches

    seen, runs = await _find(workspace, job)
    redact = await to_thread.run_sync(_redact, workspace) if content else None
    sender = await to_thread.run_sync(partial(OtlpSender, seen.job.id, endpoint=endpoint))
    sent = 0
    try:
        async for spans in span_batches(_history(workspace), seen.job.id, runs, redact=redact):
            await to_thread.run_sync(sender.send, spans)
            sent += len(spans)
    finally:
        sender.close()
    return sent


async def _find(workspace: Path, job: str) -> tuple[JobSeen, JobRuns]:
    from perstack.services.looking import JobRuns, find_job, see_job

    history = _history(workspace)
    job_id = await find_job(history, job)
    seen = await see_job(history, await history.look_at_job(job_id))
    return seen, JobRuns(await history.list_runs(job_id))


def _history(workspace: Path) -> History:
    from perstack.errors import UsageError
    from perstack.runtime import open_history

    if not workspace.is_dir():
        raise UsageError(f"there is no folder {str(workspace)!a}", hint="check --workspace")
    return open_history(workspace)


def _redact(workspace: Path) -> Callable[[str], str]:
    """Return what takes the secrets of today's environment out of a text.

    What was recorded holds none of the job's own; a key set since then is no less secret.
    """
    import os
    from functools import partial

    from perstack.config.env import read_environment
    from perstack.config.secrets import redact, secret_values

    env = read_environment(workspace, (".env", ".env.local"), os.environ)
    return partial(redact, secrets=secret_values(env))
