"""What `perstack log` prints around the events: the job, the checkpoint, the counts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perstack.domain.jobs import Job
from perstack.projection.inert import inert
from perstack.projection.log_header import JobState, header_lines, spent_lines
from perstack.projection.log_scan import LogScan
from perstack.projection.perstack_parts import Json, plain, to_line

NOTHING = "No data found"


@dataclass(frozen=True, slots=True)
class LogPage:
    """What stands around the events: the job, how it stands, where its files are."""

    job: Job
    state: JobState
    is_latest: bool
    storage: str


def text_page(
    page: LogPage, scan: LogScan, lines: Iterable[str], *, verbose: bool, summary_only: bool
) -> Iterator[str]:
    """Return header, summary and the scan's `lines`, in pieces that follow one another."""
    job = page.job
    yield from _ended(header_lines(job, page.state, storage=page.storage, is_latest=page.is_latest))
    if verbose or summary_only:
        yield from _ended(spent_lines(job.usage, job.cost))
    if scan.checkpoint is not None:
        yield from _ended(checkpoint_lines(scan.checkpoint))
    yield scan.summary.line() + "\n"
    if summary_only:
        return
    yield "\n"
    yield from lines
    if scan.shown < scan.matched:
        shown = f"{scan.shown} of {scan.matched} events shown"
        yield f"\n{shown}; --offset and --take choose (--take 0: all)\n"


def json_page(
    page: LogPage, scan: LogScan, lines: Iterable[str], *, pretty: bool, summary_only: bool
) -> Iterator[str]:
    """Return one JSON object around the scan's `lines`, in pieces that follow one another."""
    record: Json = {"job": plain(page.job) | {"state": page.state}}
    if scan.checkpoint is not None:
        record["checkpoint"] = scan.checkpoint
    counts: Json = {
        "summary": scan.summary.json(),
        "totalEventsBeforeLimit": scan.matched,
        "matchedAfterPagination": scan.shown,
        "isLatestJob": page.is_latest,
        "storagePath": page.storage,
    }
    newline = "\n" if pretty else ""
    yield _object(record, pretty=pretty).removesuffix("}").removesuffix("\n")
    if not summary_only:
        yield f',{newline}{"  " if pretty else ""}"events":{" " if pretty else ""}['
        comma = newline
        for line in lines:
            yield comma + (_indented(line) if pretty else line.rstrip("\n"))
            comma = "," + newline
        yield f"{newline}{'  ' if pretty else ''}]"
    yield "," + newline + _object(counts, pretty=pretty).removeprefix("{").removeprefix("\n") + "\n"


def checkpoint_lines(checkpoint: Json) -> Iterator[str]:
    """Return a checkpoint's header."""
    yield inert(f"Checkpoint: {checkpoint['id']}", newlines=False)
    yield f"  Status: {checkpoint['status']}"
    yield inert(f"  Run: {checkpoint['runId']}", newlines=False)
    yield f"  Step: {checkpoint['stepNumber']}"


def _ended(lines: Iterable[str]) -> Iterator[str]:
    return (line + "\n" for line in lines)


def _object(record: Json, *, pretty: bool) -> str:
    line = to_line(record)
    return json.dumps(json.loads(line), indent=2) if pretty else line


def _indented(line: str) -> str:
    return textwrap.indent(json.dumps(json.loads(line), indent=2), "    ")
