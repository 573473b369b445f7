"""Runs of workflows in the database, phase by phase."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import RowMapping

from perstack.domain.workflows import (
    PhaseResult,
    WorkflowConfig,
    WorkflowReport,
    WorkflowRun,
    WorkflowRunId,
)
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError
from perstack.ports.reviews import Lease
from perstack.storage.database.driven import DrivenRows
from perstack.storage.database.engine import Database
from perstack.storage.database.text import json_text, safe_text

_METADATA: Final = sa.MetaData()
RUNS: Final = sa.Table(
    "workflow_runs",
    _METADATA,
    sa.Column("number", sa.BigInteger),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("workflow", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("config", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("report", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("completed_at", sa.BigInteger),
    sa.Column("driver", sa.Text),
    sa.Column("beat_at", sa.BigInteger),
)
RESULTS: Final = sa.Table(
    "workflow_results",
    _METADATA,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("result", sa.Text),
)
_DRIVEN: Final = DrivenRows(RUNS, ("running",), reopens="failed")


class SqlWorkflowStore:
    """Implements `ports.reviews.WorkflowStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run: WorkflowRun) -> None:
        """Write a new run."""
        await self._database.write(partial(_add, run=run))

    async def get(self, run_id: WorkflowRunId) -> WorkflowRun:
        """Return a run with the results of its phases."""
        query = sa.select(RUNS).where(RUNS.c.id == safe_text(run_id))
        found = await self._database.read(partial(_all, query=query))
        if not found:
            raise NotFoundError("Workflow run not found")
        return found[0]

    async def list(self, *, limit: int = 100) -> Sequence[WorkflowRun]:
        """Return runs, newest first."""
        query = sa.select(RUNS).order_by(RUNS.c.number.desc()).limit(limit)
        return await self._database.read(partial(_all, query=query))

    async def claim(self, run_id: WorkflowRunId, lease: Lease) -> bool:
        """Take over a run that nobody living drives, a failed one as well."""
        return await self._database.write(partial(_DRIVEN.claim, key=run_id, lease=lease))

    async def beat(self, run_id: WorkflowRunId, lease: Lease) -> bool:
        """Say that the driver lives."""
        return await self._database.write(partial(_DRIVEN.beat, key=run_id, lease=lease))

    async def add_result(
        self, run_id: WorkflowRunId, number: int, result: PhaseResult, lease: Lease
    ) -> bool:
        """Write a phase's result."""

        def work(connection: sa.Connection) -> bool:
            held = _DRIVEN.beat(connection, run_id, lease)
            if held:
                stored = json_text(result.model_dump())
                connection.execute(
                    RESULTS.insert().values(run_id=run_id, number=number, result=stored)
                )
            return held

        return await self._database.write(work)

    async def finish(
        self,
        run_id: WorkflowRunId,
        lease: Lease,
        *,
        report: WorkflowReport | None,
        error: str | None,
    ) -> bool:
        """End a run."""
        # The phases stand in a table of their own.
        stored = None if report is None else json_text(report.model_dump(exclude={"phases"}))

        def work(connection: sa.Connection) -> bool:
            return _DRIVEN.change(
                connection,
                _DRIVEN.held(run_id, lease),
                {
                    "status": "failed" if report is None else "completed",
                    "report": stored,
                    "error": None if error is None else safe_text(error),
                    "completed_at": lease.now_ms,
                },
            )

        return await self._database.write(work)

    async def abort(self, run_id: WorkflowRunId, *, now_ms: int) -> bool:
        """End a run that has not ended."""
        return await self._database.write(partial(_DRIVEN.abort, key=run_id, now_ms=now_ms))

    async def release(self, run_id: WorkflowRunId, lease: Lease) -> None:
        """Forget the driver."""
        await self._database.write(partial(_DRIVEN.release, key=run_id, lease=lease))


def _add(connection: sa.Connection, *, run: WorkflowRun) -> None:
    if connection.scalar(sa.select(RUNS.c.id).where(RUNS.c.id == safe_text(run.id))):
        raise ConflictError(f"there is a workflow run {run.id[:40]!a} already")
    connection.execute(
        RUNS.insert().values(
            id=safe_text(run.id),
            workflow=safe_text(run.config.id),
            session_id=None if run.session_id is None else safe_text(run.session_id),
            config=json_text(run.config.model_dump()),
            status=run.status,
            started_at=run.started_at,
            beat_at=run.started_at,
        )
    )


def _all(
    connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]
) -> Sequence[WorkflowRun]:
    rows = connection.execute(query).mappings().all()
    results: defaultdict[str, list[PhaseResult]] = defaultdict(list)
    of_runs = sa.select(RESULTS).where(RESULTS.c.run_id.in_([str(row["id"]) for row in rows]))
    for row in connection.execute(of_runs.order_by(RESULTS.c.number)).mappings():
        results[str(row["run_id"])].append(_to_result(row))
    return [_to_run(row, tuple(results[str(row["id"])])) for row in rows]


def _to_result(row: RowMapping) -> PhaseResult:
    try:
        return PhaseResult.model_validate(json.loads(str(row["result"])))
    except ValueError as error:
        raise _damaged(row["run_id"]) from error


def _to_run(row: RowMapping, results: tuple[PhaseResult, ...]) -> WorkflowRun:
    names = ("id", "session_id", "status", "error", "started_at", "completed_at")
    try:
        report = None
        if row["report"] is not None:
            report = WorkflowReport.model_validate(
                {**json.loads(str(row["report"])), "phases": results}
            )
        return WorkflowRun.model_validate(
            {
                **{name: row[name] for name in names},
                "config": WorkflowConfig.model_validate(json.loads(str(row["config"]))),
                "results": results,
                "report": report,
            }
        )
    except ValueError as error:
        raise _damaged(row["id"]) from error


def _damaged(run_id: object) -> CorruptRecordError:
    return CorruptRecordError(f"the stored workflow run {str(run_id)[:40]!a} is damaged")
