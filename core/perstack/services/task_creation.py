"""Creating a task: dispatch, drift, consensus, and only then the task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from perstack.domain.dispatch import DispatchDecision
from perstack.domain.drift import DriftResult
from perstack.domain.ids import AgentId, SessionId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.task_results import (
    CheckpointNote,
    TaskCreation,
    created_of,
    dispatch_note,
    drift_note,
)
from perstack.domain.tasks import MAX_INPUT_CHARS, MAX_TYPE_CHARS, Task
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.ports.tasks import ConsensusCheck, TaskConsensus, TaskProposal
from perstack.services.bounds import check_text
from perstack.services.dispatch import SmartDispatcher
from perstack.services.drift import DriftDetector
from perstack.services.handle import Handle
from perstack.services.task_queue import TaskQueue, check_priority

PREVENTED: Final = "Task creation prevented due to semantic drift"


@dataclass(frozen=True, slots=True)
class NewTask:
    """What is asked for. Without an `agent_type` the dispatcher chooses, or the fallback is taken.

    A task with a `priority` (1 to 10) is queued, unless it waits for consensus. `risk_level` can
    raise the estimate, never lower it.
    """

    agent_type: str | None = None
    input: str | None = None
    session_id: SessionId | None = None
    parent_task_id: TaskId | None = None
    risk_level: RiskLevel | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Whether somebody else's things exist: a session, an agent."""

    session: Callable[[SessionId], Awaitable[bool]]
    agent: Callable[[AgentId], Awaitable[bool]]


class TaskCreator:
    """Makes tasks of what is wanted, without secrets. `consensus` None: nothing ever waits."""

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        clock: Clock,
        ids: Ids,
        queue: TaskQueue,
        drift: DriftDetector,
        dispatcher: SmartDispatcher,
        known: Known,
        consensus: TaskConsensus | None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids
        self._queue = queue
        self._drift = drift
        self._dispatcher = dispatcher
        self._known = known
        self._consensus = consensus
        self._redact = redact

    async def create(self, wanted: NewTask) -> TaskCreation:
        """Create a task: choose its type, look for drift, ask for consensus, write it.

        Drift that is to be prevented and consensus that is required are results, not errors:
        nothing is written then but what was found, and the checkpoint.

        Raises:
            UsageError: something is out of bounds.
            NotFoundError: no such session or parent.
        """
        await self._check(wanted)
        wanted = self._redacted(wanted)
        agent_type, decision = await self._typed(wanted)
        dispatch = None if decision is None else dispatch_note(decision)
        drift = await self._drift.check(wanted.input, wanted.parent_task_id)
        note = drift_note(drift, whole=drift.action == "prevented")
        shown = note if wanted.input and wanted.parent_task_id else None
        if drift.action == "prevented":
            await self._drift.log(drift, agent_type, wanted.input, None)
            why = PREVENTED if drift.is_drift else f"Task creation prevented: {drift.reason}"
            return TaskCreation(
                success=False, error=why, code=ConflictError.code, dispatch=dispatch, drift=note
            )
        check = await self._judged(wanted, agent_type)
        if check is not None and check.requires_consensus:
            gated = await self._gated(wanted, agent_type, check, drift)
            return gated.model_copy(update={"dispatch": dispatch, "drift": shown})
        task = await self._write(wanted, agent_type, check, drift)
        return TaskCreation(success=True, task=created_of(task), dispatch=dispatch, drift=shown)

    async def _check(self, wanted: NewTask) -> None:
        if wanted.agent_type is not None:
            check_text(wanted.agent_type, "agentType", shortest=1, longest=MAX_TYPE_CHARS)
        if wanted.input is not None:
            check_text(wanted.input, "input", longest=MAX_INPUT_CHARS)
        if wanted.priority is not None:
            check_priority(wanted.priority)
        if wanted.session_id is not None and not await self._known.session(wanted.session_id):
            raise NotFoundError(
                "Session not found", hint=f"no session has the id {wanted.session_id[:40]!a}"
            )
        parent = wanted.parent_task_id
        if parent is not None and await self._find(parent) is None:
            raise NotFoundError("Parent task not found", hint=f"no task has the id {parent[:40]!a}")

    def _redacted(self, wanted: NewTask) -> NewTask:
        agent_type, text = (
            None if one is None else self._redact(one) for one in (wanted.agent_type, wanted.input)
        )
        return replace(wanted, agent_type=agent_type, input=text)

    async def _typed(self, wanted: NewTask) -> tuple[str, DispatchDecision | None]:
        if wanted.agent_type is not None:
            return wanted.agent_type, None
        if not (wanted.input or "").strip() or not self._dispatcher.operational:
            return self._dispatcher.fallback, None
        decision = (await self._dispatcher.dispatch(wanted.input or "")).decision
        return (self._dispatcher.fallback if decision is None else decision.agent_type), decision

    async def _judged(self, wanted: NewTask, agent_type: str) -> ConsensusCheck | None:
        if self._consensus is None:
            return None
        return await self._consensus.check(
            agent_type, wanted.input, wanted.parent_task_id, wanted.risk_level
        )

    async def _gated(
        self, wanted: NewTask, agent_type: str, check: ConsensusCheck, drift: DriftResult
    ) -> TaskCreation:
        if self._consensus is None:
            raise UsageError("Consensus service not available")
        proposal = TaskProposal(
            agent_type=agent_type,
            input=wanted.input,
            session_id=wanted.session_id,
            parent_task_id=wanted.parent_task_id,
            risk_level=check.risk_level,
            depth=check.depth,
            reason=check.reason,
        )
        checkpoint = await self._consensus.propose_task(proposal)
        await self._drift.log(drift, agent_type, wanted.input, TaskId(checkpoint.task_id))
        return TaskCreation(
            success=False,
            consensus_required=True,
            checkpoint_id=checkpoint.id,
            status=checkpoint.status,
            reason=check.reason,
            checkpoint=CheckpointNote(
                id=checkpoint.id,
                task_id=checkpoint.task_id,
                risk_level=checkpoint.risk_level,
                status=checkpoint.status,
                expires_at=checkpoint.expires_at,
            ),
        )

    async def _write(
        self, wanted: NewTask, agent_type: str, check: ConsensusCheck | None, drift: DriftResult
    ) -> Task:
        task = Task(
            id=TaskId(self._ids.new()),
            agent_type=agent_type,
            input=wanted.input,
            session_id=wanted.session_id,
            parent_task_id=wanted.parent_task_id,
            risk_level=wanted.risk_level if check is None else check.risk_level,
            priority=wanted.priority,
            created_at=self._clock.now_ms(),
        )
        mark = self._drift.mark(wanted.input)
        event = self._drift.event(drift, agent_type, wanted.input, task.id)
        written = await self._stores.ask(
            lambda stores: stores.tasks.add(task, mark=mark, event=event)
        )
        await self._drift.index(task.id, wanted.input, mark)
        await self._queue.tell("task:created", written)
        if wanted.priority is not None:
            await self._queue.tell("task:added", written, priority=wanted.priority)
        return written

    async def _find(self, task_id: TaskId) -> Task | None:
        return await self._stores.ask(lambda stores: stores.tasks.find(task_id))
