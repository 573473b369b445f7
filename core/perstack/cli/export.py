"""`perstack export`: a job as one file, or as OpenTelemetry spans."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from perstack.cli import completing as c

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from perstack.ports.history import History
    from perstack.services.exporting import Export
    from perstack.services.looking import JobRuns, JobSeen

HERE = Path()


def export(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="The job, or its first characters.", autocompletion=c.jobs
        ),
    ],
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
    if otel or otel_endpoint is not None or otel_content:
        import anyio

        from perstack.cli.listeners import say

        sent = anyio.run(_send, workspace, job, otel_endpoint, otel_content)
        say(f"Sent {sent} spans.")
        return
    _export(workspace, job, _format(format_), output, force=force)


def _format(word: str) -> Literal["json", "md"]:
    from perstack.errors import UsageError

    if word == "json":
        return "json"
    if word in ("md", "markdown"):
        return "md"
    raise UsageError(f"--format {word!a} is not usable", hint="json or md")


def _export(
    workspace: Path, job: str, format_: Literal["json", "md"], output: str | None, *, force: bool
) -> None:
    import anyio

    from perstack.cli.listeners import say
    from perstack.cli.looking import history_of
    from perstack.services.exporting import Export

    history = history_of(workspace)
    seen, runs = anyio.run(_find, history, job)
    path = None if output == "-" else Path(output or f"{seen.job.id}.{format_}")
    export = Export(history, seen, runs, _redact(workspace))
    # The file is opened and made durable where no event loop waits for it.
    with _opened(path, force=force) as file:
        anyio.run(_write, export, format_, file)
    for line in export.damage:
        say(f"Warning: {line}")
    if path is not None:
        say(f"Wrote {path}")


def _opened(path: Path | None, *, force: bool) -> AbstractContextManager[IO[str]]:
    """Open the file that is written, standard output for None."""
    from perstack.cli.listeners import speak_utf8
    from perstack.cli.printing import to_stdout
    from perstack.storage.new_file import new_file

    if path is not None:
        return new_file(path, replaces=force)
    speak_utf8()
    return to_stdout()


async def _write(export: Export, format_: Literal["json", "md"], file: IO[str]) -> None:
    from contextlib import aclosing

    pieces = export.json() if format_ == "json" else export.markdown()
    async with aclosing(pieces):
        async for piece in pieces:
            file.write(piece)


async def _send(workspace: Path, job: str, endpoint: str | None, content: bool) -> int:
    """Send the job's spans; return how many there were."""
    from contextlib import aclosing
    from functools import partial

    from anyio import to_thread

    from perstack.cli.looking import history_of
    from perstack.export.otlp import OtlpSender
    from perstack.services.exporting import span_batches

    history = history_of(workspace)
    seen, runs = await _find(history, job)
    redact = await to_thread.run_sync(_redact, workspace) if content else None
    sender = await to_thread.run_sync(partial(OtlpSender, seen.job.id, endpoint=endpoint))
    sent = 0
    try:
        async with aclosing(span_batches(history, seen.job.id, runs, redact=redact)) as batches:
            async for spans in batches:
                await to_thread.run_sync(sender.send, spans)
                sent += len(spans)
    finally:
        sender.close()
    return sent


async def _find(history: History, job: str) -> tuple[JobSeen, JobRuns]:
    from perstack.services.looking import JobRuns, find_job, see_job

    job_id = await find_job(history, job)
    seen = await see_job(history, await history.look_at_job(job_id))
    return seen, JobRuns(await history.list_runs(job_id))


def _redact(workspace: Path) -> Callable[[str], str]:
    """Return what takes the secrets of today's environment out of a text.

    What was recorded holds none of the job's own; a key set since then is no less secret.
    """
    from functools import partial

    from perstack.config.env import read_environment
    from perstack.config.process_env import process_environment
    from perstack.config.secrets import redact, secret_values

    env = read_environment(workspace, (".env", ".env.local"), process_environment())
    return partial(redact, secrets=secret_values(env))
