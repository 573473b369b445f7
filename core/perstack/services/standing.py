"""What may be let pass for the rest of a job: exact tool calls, never of high risk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anyio import to_thread
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint, Decision, ProposedSubtask, call_digest
from perstack.domain.ids import JobId, StandingId
from perstack.domain.standing import StandingApproval, canonical
from perstack.errors import UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.projection.gates import is_tool_call
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.handle import Handle


class StandingApprovals:
    """What people let pass for the rest of a job: listed, and taken back."""

    def __init__(self, stores: Handle[Stores], *, clock: Clock, workspace: Path) -> None:
        self._stores = stores
        self._clock = clock
        self._workspace = workspace

    async def list_standing(self, job_id: JobId | None = None) -> Sequence[StandingApproval]:
        """Return a job's, or all, newest first; also those taken back."""
        return await self._stores.ask(lambda stores: stores.consensus.list_standing(job_id))

    async def revoke_standing(
        self, standing_id: StandingId, *, by: str, allow_self: bool = False
    ) -> StandingApproval:
        """Take one back, as `by`: such calls wait again from the next one on.

        `allow_self`: this process drives jobs, and a person pressed the key.

        Raises:
            DeniedError: this process is a run or was started by one.
            NotFoundError: there is no such one.
        """
        refuse = partial(refuse_if_inside_run, self._workspace, allow_self=allow_self)
        await to_thread.run_sync(refuse)
        now = self._clock.now_ms()
        return await self._stores.ask(
            lambda stores: stores.consensus.revoke_standing(standing_id, by=by, now_ms=now)
        )


def why_not_standing(task: ProposedSubtask) -> str | None:
    """Return why the subtask cannot be let pass for the rest of its job, None when it can."""
    if not is_tool_call(task):
        return "only a tool's call can be approved for the rest of a job"
    if task.estimated_risk_level == "high":
        return "what is of high risk is decided each time"
    if task.skill_digest is None:
        return "how its skill is defined is not on record, so it cannot be compared with later"
    if _arguments(task) is None:
        return "its arguments hold a secret, so they cannot be kept to compare with"
    return None


def standing_of(
    asked: ConsensusCheckpoint, decision: Decision, *, now_ms: int
) -> tuple[StandingApproval, ...]:
    """Return a standing approval for each subtask that `decision` keeps.

    Raises:
        UsageError: it approves nothing, no job waits, or a subtask cannot be let pass so.
    """
    out = decision.rejected_subtask_ids
    kept = [task for task in asked.proposed_subtasks if task.id not in out]
    if not decision.approved or not kept:
        raise UsageError("a rejection lets nothing pass for the rest of the job")
    if asked.job_id is None:
        raise UsageError("no job waits here that it could be approved for")
    return tuple(_given(asked.job_id, asked, task, decision, now_ms) for task in kept)


def _given(
    job_id: JobId,
    asked: ConsensusCheckpoint,
    task: ProposedSubtask,
    decision: Decision,
    now_ms: int,
) -> StandingApproval:
    args = _arguments(task)
    why, digest = why_not_standing(task), task.skill_digest
    if why is not None or args is None or digest is None:
        raise UsageError(f"subtask {task.id}: {why}")
    return StandingApproval(
        id=StandingId(f"{asked.id}-{task.id}"),
        job_id=job_id,
        expert_key=asked.expert_key,
        skill_name=task.agent_type,
        skill_digest=digest,
        tool_name=task.tool_name,
        arguments=canonical(args),
        consensus_id=asked.id,
        approved_by=decision.reviewed_by,
        approved_at=now_ms,
    )


def _arguments(task: ProposedSubtask) -> dict[str, JsonValue] | None:
    """Return the call's arguments, None where what is shown is not all: secrets are struck out."""
    try:
        args: JsonValue = json.loads(task.input)
    except (ValueError, RecursionError):
        return None
    if not isinstance(args, dict):
        return None
    exact = call_digest(task.agent_type, task.tool_name, args) == task.digest
    return args if exact else None
