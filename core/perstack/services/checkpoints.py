"""Consensus on tasks, in the words of seed 003: what must wait, proposing it, deciding it.

Where a run waits at its checkpoint, approving releases it; where none does, approving makes the
proposed tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from perstack.domain.consensus import (
    LONGEST_PAGE,
    ConsensusCheck,
    ConsensusCheckpoint,
    ProposedSubtask,
    check_required,
    estimate_risk,
    highest,
)
from perstack.domain.ids import ConsensusId, ExpertKey, SubtaskId, TaskId
from perstack.domain.settings import ConsensusSettings, RiskLevel
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.consensus import AuditEntry, CheckpointPage, Gate
from perstack.ports.notices import Notice, Notifier
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.ports.tasks import TaskProposal
from perstack.projection.gates import subtask_phrase
from perstack.services.bounds import check_number, check_text
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.services.whoami import whoami

_FARTHEST: Final = 1_000_000_000
_REVIEWER_CHARS: Final = 200
_FEEDBACK_CHARS: Final = 20_000
_TITLE_CHARS: Final = 200


class CheckpointService:
    """Implements `ports.tasks.TaskConsensus`, and the seed's `consensus_*` verbs.

    `gate` is where proposals go: the `services.reviewing.Reviewer`, or else the consensus service.
    `within` is the task of the run that this process belongs to: what is asked for from inside a
    run never counts as a root task, whatever parent it names. `ids` gives UUIDs.
    """

    def __init__(
        self,
        consensus: ConsensusService,
        stores: Handle[Stores],
        *,
        rules: ConsensusSettings,
        clock: Clock,
        ids: Ids,
        gate: Gate | None = None,
        notifier: Notifier | None = None,
        within: TaskId | None = None,
    ) -> None:
        self._consensus = consensus
        self._stores = stores
        self._rules = rules
        self._clock = clock
        self._ids = ids
        self._gate: Gate = gate or consensus
        self._notifier = notifier
        self._within = within

    def config(self) -> ConsensusSettings:
        """Return the rules."""
        return self._rules

    # -------------------------------------------------------------- proposing

    async def check(
        self,
        agent_type: str,
        task_input: str | None = None,
        parent_task_id: TaskId | None = None,
        risk_level: RiskLevel | None = None,
        /,
    ) -> ConsensusCheck:
        """Say whether a task would have to wait. Changes nothing.

        `risk_level` can raise the risk that names and words give, never lower it.
        """
        risk = highest(
            [estimate_risk(agent_type, task_input or "", self._rules), risk_level or "low"]
        )
        above = parent_task_id or self._within
        depth = 0
        if above is not None:
            depth = await self._stores.ask(lambda stores: stores.tasks.depth_below(above))
        return check_required(risk, depth, self._rules, is_root=above is None)

    async def propose_task(self, proposal: TaskProposal, /) -> ConsensusCheckpoint:
        """Leave a task for people to decide. It exists once it is approved, with its task id.

        Raises:
            StorageError: the checkpoint cannot be written.
        """
        text = proposal.input or ""
        least = estimate_risk(proposal.agent_type, text, self._rules)
        subtask = ProposedSubtask(
            id=SubtaskId(self._ids.new()),
            agent_type=proposal.agent_type,
            input=text,
            estimated_risk_level=highest([least, proposal.risk_level]),
            parent_task_id=proposal.parent_task_id,
        )
        now = self._clock.now_ms()
        checkpoint = ConsensusCheckpoint(
            id=ConsensusId(self._ids.new()),
            session_id=proposal.session_id,
            expert_key=await self._asker(proposal.parent_task_id or self._within),
            task_id=subtask.id,
            parent_task_id=proposal.parent_task_id,
            depth=proposal.depth,
            reason=proposal.reason,
            proposed_subtasks=(subtask,),
            risk_level=subtask.estimated_risk_level,
            reviewer_strategy=self._rules.reviewer_strategy,
            created_at=now,
            expires_at=now + self._rules.timeout,
        )
        await self._gate.propose(checkpoint)
        await self._tell(checkpoint)
        return checkpoint

    async def _asker(self, above: TaskId | None) -> ExpertKey:
        """Return whose task the proposed one would be below, or who this process is."""
        if above is not None:
            parent = await self._stores.ask(lambda stores: stores.tasks.find(above))
            if parent is not None:
                return ExpertKey(parent.agent_type)
        return ExpertKey(await anyio.to_thread.run_sync(whoami))

    async def _tell(self, checkpoint: ConsensusCheckpoint) -> None:
        if self._notifier is None:
            return
        await self._notifier.notify(
            Notice(
                kind="consensus",
                job_id=None,
                run_id=None,
                expert_key=checkpoint.expert_key,
                title=subtask_phrase(checkpoint.proposed_subtasks[0], _TITLE_CHARS),
                risk=checkpoint.risk_level,
                consensus_id=checkpoint.id,
                expires_at=checkpoint.expires_at,
            )
        )

    # ---------------------------------------------------------------- looking

    async def get(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return a checkpoint as it stands now; an overdue one has expired by then.

        Raises:
            NotFoundError: `Checkpoint not found`.
        """
        try:
            found = await self._consensus.show(consensus_id)
            if found.status == "pending" and await self._consensus.sweep():
                found = await self._consensus.show(consensus_id)
        except NotFoundError as error:
            raise _not_found(error) from error
        return found

    async def list_pending(self, *, limit: int = 50, offset: int = 0) -> CheckpointPage:
        """Return what waits, oldest first, and how much waits in all.

        Raises:
            UsageError: `limit` is not 1 to 1,000, or `offset` is negative or beyond all bounds.
        """
        check_number(limit, "limit", least=1, most=LONGEST_PAGE)
        check_number(offset, "offset", least=0, most=_FARTHEST)
        await self._consensus.sweep()
        return await self._stores.ask(
            lambda stores: stores.consensus.page(statuses=("pending",), limit=limit, offset=offset)
        )

    async def events(self, consensus_id: ConsensusId) -> Sequence[AuditEntry]:
        """Return what happened to a checkpoint, in order.

        Raises:
            NotFoundError: `Checkpoint not found`.
        """
        await self.get(consensus_id)
        return await self._consensus.audit(consensus_id)

    async def expire(self) -> Sequence[ConsensusCheckpoint]:
        """Expire, or with `autoReject` reject, what is pending and overdue; return those."""
        return await self._consensus.sweep()

    # --------------------------------------------------------------- deciding

    async def approve(
        self,
        consensus_id: ConsensusId,
        *,
        reviewed_by: str,
        feedback: str | None = None,
        allow_self: bool = False,
    ) -> ConsensusCheckpoint:
        """Approve all of it: the run that waits goes on, or the tasks are made.

        `allow_self`: this process drives jobs, and a person asked for it.

        Raises:
            NotFoundError: `Checkpoint not found`.
            ConflictError: `Checkpoint is already …`, or `Checkpoint has expired`.
            DeniedError: this process is a run or was started by one.
            UsageError: `reviewed_by` is empty, or that or `feedback` is too long.
        """
        return await self._decide(
            consensus_id, (), True, reviewed_by, feedback, allow_self=allow_self
        )

    async def reject(
        self,
        consensus_id: ConsensusId,
        *,
        reviewed_by: str,
        feedback: str | None = None,
        rejected_subtask_ids: Sequence[SubtaskId] = (),
        allow_self: bool = False,
    ) -> ConsensusCheckpoint:
        """Reject all of it; or, with some of its subtasks' ids, those, and approve the others.

        Raises:
            UsageError: as `approve`; or there is no such subtask.
            NotFoundError, ConflictError, DeniedError: as `approve`.
        """
        named = tuple(dict.fromkeys(rejected_subtask_ids))
        partial = False
        if named:
            every = {task.id for task in (await self.get(consensus_id)).proposed_subtasks}
            partial = not every <= set(named)
        return await self._decide(
            consensus_id, named, partial, reviewed_by, feedback, allow_self=allow_self
        )

    async def _decide(
        self,
        consensus_id: ConsensusId,
        rejected: tuple[SubtaskId, ...],
        approved: bool,
        reviewed_by: str,
        feedback: str | None,
        *,
        allow_self: bool,
    ) -> ConsensusCheckpoint:
        check_text(reviewed_by, "reviewedBy", shortest=1, longest=_REVIEWER_CHARS)
        check_text(feedback or "", "feedback", longest=_FEEDBACK_CHARS)
        try:
            return await self._consensus.decide(
                consensus_id,
                approved=approved,
                rejected_subtask_ids=rejected,
                feedback=feedback,
                reviewed_by=reviewed_by.strip(),
                allow_self=allow_self,
            )
        except NotFoundError as error:
            raise _not_found(error) from error
        except ConflictError as error:
            raise await self._too_late(consensus_id, error) from error

    async def _too_late(self, consensus_id: ConsensusId, error: ConflictError) -> ConflictError:
        status = (await self._consensus.show(consensus_id)).status
        if status == "expired":
            return ConflictError("Checkpoint has expired", hint=error.message)
        if status == "pending":
            return ConflictError("Failed to update checkpoint status", hint=error.message)
        return ConflictError(f"Checkpoint is already {status}", hint=error.message)


def _not_found(error: NotFoundError) -> NotFoundError:
    return NotFoundError("Checkpoint not found", hint=error.hint)
