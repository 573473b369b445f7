"""Sessions as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.sessions import Session, SessionReport
from perstack.projection.cutting import one_line
from perstack.projection.log_header import moment
from perstack.projection.table_text import field, in_columns

NO_SESSIONS: Final = "No sessions."
NO_ACTIVE: Final = "No active session."
_METADATA_CHARACTERS: Final = 48
_HEAD: Final = ("ID", "STATUS", "STARTED", "ENDED", "METADATA")


def session_rows(sessions: Sequence[Session]) -> Iterator[str]:
    """Yield a heading and a line a session; a sentence where there are none."""
    if not sessions:
        yield NO_SESSIONS
        return
    yield from in_columns([_HEAD, *map(_row, sessions)])


def session_lines(session: Session) -> Iterator[str]:
    """Yield what a session is."""
    yield field("ID", session.id)
    yield field("Status", session.status)
    yield field("Started", moment(session.started_at))
    if session.ended_at is not None:
        yield field("Ended", moment(session.ended_at))
    if session.metadata:
        yield field("Metadata", _metadata(session))


def report_lines(report: SessionReport) -> Iterator[str]:
    """Yield what a session is, and how many tasks it has."""
    yield from session_lines(report)
    tasks = report.tasks
    yield field(
        "Tasks",
        f"{tasks.total} ({tasks.pending} pending, {tasks.running} running,"
        f" {tasks.completed} completed, {tasks.failed} failed)",
    )


def _row(session: Session) -> tuple[str, ...]:
    ended = "-" if session.ended_at is None else moment(session.ended_at)
    kept = one_line(_metadata(session), _METADATA_CHARACTERS) if session.metadata else "-"
    return session.id, session.status, moment(session.started_at), ended, kept


def _metadata(session: Session) -> str:
    return json.dumps(session.metadata, ensure_ascii=False)
