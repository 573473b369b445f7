"""Review loops and workflow reports."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

# `driver` is who drives it, NULL for nobody; `beat_at` when that one last said that it lives.
_STATEMENTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE review_loops (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        session_id TEXT,
        coder TEXT NOT NULL,
        adversarial TEXT NOT NULL,
        coder_id TEXT,
        adversarial_id TEXT,
        model TEXT,
        status TEXT NOT NULL CHECK (status IN ('pending', 'coding', 'reviewing', 'fixing',
            'approved', 'max_iterations_reached', 'failed', 'aborted')),
        iteration INTEGER NOT NULL,
        max_iterations INTEGER NOT NULL,
        code_input TEXT NOT NULL,
        current_code TEXT,
        coder_job_id TEXT,
        final_verdict TEXT CHECK (final_verdict IN ('APPROVE', 'REJECT')),
        error TEXT,
        started_at BIGINT NOT NULL,
        completed_at BIGINT,
        driver TEXT,
        beat_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX review_loops_status ON review_loops (status, number)",
    "CREATE INDEX review_loops_session ON review_loops (session_id, number)",
    """
    CREATE TABLE review_results (
        number %NUMBER%,
        loop_id TEXT NOT NULL REFERENCES review_loops (id) ON DELETE CASCADE,
        review TEXT NOT NULL
    )
    """,
    "CREATE INDEX review_results_loop ON review_results (loop_id, number)",
    """
    CREATE TABLE workflow_runs (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        workflow TEXT NOT NULL,
        session_id TEXT,
        config TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'aborted')),
        report TEXT,
        error TEXT,
        started_at BIGINT NOT NULL,
        completed_at BIGINT,
        driver TEXT,
        beat_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX workflow_runs_status ON workflow_runs (status, number)",
    """
    CREATE TABLE workflow_results (
        run_id TEXT NOT NULL REFERENCES workflow_runs (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        result TEXT NOT NULL,
        PRIMARY KEY (run_id, number)
    )
    """,
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
