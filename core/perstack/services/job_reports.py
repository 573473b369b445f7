"""How a job stands, in one answer for programs: its result, its question, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from perstack.domain.consensus import ConsensusCheckpoint, ConsensusStatus
from perstack.domain.ids import ConsensusId, JobId
from perstack.domain.job_views import JobReport, Question, ending_of
from perstack.engine.recall import recall
from perstack.errors import NotFoundError, StorageError
from perstack.ports.history import History
from perstack.projection.phrases import question_of
from perstack.projection.run_state import RunState
from perstack.services.looking import JobSeen, see_job

_SAID: Final = ("completed", "asks", "failed", "limit", "stopped")
_LOOKED_THROUGH: Final = 1_000


class Decisions(Protocol):
    """Where decisions wait."""

    async def list(
        self, *, statuses: Sequence[ConsensusStatus], limit: int
    ) -> Sequence[ConsensusCheckpoint]:
        """Return checkpoints, newest first."""
        ...


async def report_job(history: History, decisions: Decisions, job_id: JobId) -> JobReport:
    """Return how a job of any process stands. A job at work is not read to the end.

    Raises:
        NotFoundError: no such job.
        StorageError: its record, or the table of decisions, cannot be read.
    """
    seen = await see_job(history, await history.look_at_job(job_id))
    state = await _state(history, seen) if seen.state in _SAID else None
    waits = seen.state == "waiting"
    return _report(seen, state, await _awaited(decisions, job_id) if waits else None)


async def _state(history: History, seen: JobSeen) -> RunState | None:
    """Return the coordinator's run, None when its records cannot be read."""
    try:
        job = seen.job
        return (await recall(history, job.id, job.coordinator_run_id)).state
    except (NotFoundError, StorageError):
        return None


async def _awaited(decisions: Decisions, job_id: JobId) -> ConsensusId | None:
    found = await decisions.list(statuses=("pending",), limit=_LOOKED_THROUGH)
    return next((one.id for one in found if one.job_id == job_id), None)


def _report(seen: JobSeen, state: RunState | None, awaited: ConsensusId | None) -> JobReport:
    job = seen.job
    return JobReport(
        job_id=job.id,
        run_id=job.coordinator_run_id,
        expert=job.coordinator_expert_key,
        state=seen.state,
        ending=ending_of(seen.state),
        text=state.last_text or None if state is not None else None,
        steps=job.total_steps,
        max_steps=job.max_steps,
        tokens=job.usage.total_tokens,
        cost=job.cost.usd,
        partial=job.cost.partial or job.usage.partial,
        question=_question(state) if state is not None and seen.state == "asks" else None,
        consensus_id=awaited,
        error=state.error.message if state is not None and state.error is not None else None,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _question(state: RunState) -> Question | None:
    asked = next(iter(state.pending_interactive), None)
    call = next((one for one in state.calls if one.tool_call_id == asked), None)
    if call is None:
        return None
    text, choices = question_of(call)
    return Question(tool_call_id=call.tool_call_id, text=text, choices=choices)
