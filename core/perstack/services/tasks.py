"""Tasks: creating them past dispatch, drift and consensus, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import JsonValue

from perstack.domain.dispatch import DispatchOutcome
from perstack.domain.drift import DriftResult
from perstack.domain.ids import AgentId, ExpertKey, JobId, RunId, SessionId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.task_results import (
    TaskCreation,
)
from perstack.domain.tasks import (
    MAX_INPUT_CHARS,
    MOST_LISTED,
    Direction,
    RelationshipType,
    Task,
    TaskCounts,
    TaskEnding,
    TaskRelationship,
    TaskStatus,
)
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.ports.tasks import TaskConsensus, TaskFilter
from perstack.services.bounds import check_number, check_text
from perstack.services.dispatch import SmartDispatcher
from perstack.services.drift import DriftDetector
from perstack.services.handle import Handle
from perstack.services.task_creation import Known, NewTask, TaskCreator
from perstack.services.task_queue import TaskQueue


class TaskService:
    """The verbs of tasks. `consensus` None: nothing ever waits.

    `redact` takes secrets out of what `create` and `complete` are given; runs' texts come without.
    """

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
        consensus: TaskConsensus | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._queue = queue
        self._drift = drift
        self._known = known
        self._redact = redact
        self._dispatcher = dispatcher
        self._creator = TaskCreator(
            stores,
            clock=clock,
            ids=ids,
            queue=queue,
            drift=drift,
            dispatcher=dispatcher,
            known=known,
            consensus=consensus,
            redact=redact,
        )

    async def create(self, wanted: NewTask) -> TaskCreation:
        """Create a task: choose its type, look for drift, ask for consensus, write it.

        Drift that is to be prevented and consensus that is required are results, not errors:
        nothing is written then but what was found, and the checkpoint.

        Raises:
            UsageError: something is out of bounds.
            NotFoundError: no such session or parent.
        """
        return await self._creator.create(wanted)

    async def dispatch(self, task_input: str) -> DispatchOutcome:
        """Say which type would do a task, and make none.

        Raises:
            UsageError: the input is empty or too long.
        """
        check_text(task_input, "input", shortest=1, longest=MAX_INPUT_CHARS)
        return await self._dispatcher.dispatch(task_input)

    # ---------------------------------------------------------- delegations

    async def judge(self, parent_task_id: TaskId, agent_type: str, task_input: str) -> DriftResult:
        """Judge a delegation before it begins. "prevented" must not begin. Never raises."""
        return await self._drift.judge(parent_task_id, agent_type, task_input)

    async def delegated(
        self,
        run_id: RunId,
        expert_key: ExpertKey,
        task_input: str,
        *,
        parent_run_id: RunId | None,
        job_id: JobId,
        session_id: SessionId | None = None,
        risk_level: RiskLevel | None = None,
        depth: int = 0,
    ) -> Task:
        """Write the task of a run that begins, or goes on; again: nothing, or a failed one runs.

        A job's first run has a task, too, with no parent: its delegates are compared with it.
        """
        now = self._clock.now_ms()
        task = Task(
            id=TaskId(run_id),
            agent_type=expert_key,
            status="running",
            input=task_input,
            session_id=session_id,
            parent_task_id=None if parent_run_id is None else TaskId(parent_run_id),
            risk_level=risk_level,
            depth=depth,
            job_id=job_id,
            run_id=run_id,
            agent_id=AgentId(run_id),
            attempts=1,
            created_at=now,
            started_at=now,
        )
        mark = self._drift.mark(task_input)
        recorded = await self._stores.ask(lambda stores: stores.tasks.record(task, mark=mark))
        if recorded.new:
            # The records of all runs wait for this call: they must not wait for an embedder, too.
            await self._drift.index(task.id, task_input, mark, later=True)
        return recorded.task

    async def settle(self, run_id: RunId, status: TaskEnding, output: str | None) -> Task | None:
        """End the task of a run, None when it has none.

        A run that failed may go on and complete; what is completed stays so.
        """
        task_id = TaskId(run_id)
        try:
            return await self._queue.complete(task_id, output, status=status)
        except NotFoundError:
            return None
        except ConflictError:
            ended = await self.get(task_id)
        if ended.status != "failed" or status == "failed":
            return ended
        await self._stores.ask(lambda stores: stores.tasks.record(ended))
        return await self._queue.complete(task_id, output, status=status)

    async def let_go(self, run_id: RunId) -> bool:
        """Let the task of a run wait that nobody drives and that did not end; again: nothing.

        Says whether it was running. What is in the queue is left alone.
        """
        return await self._stores.ask(lambda stores: stores.tasks.release(TaskId(run_id)))

    async def taken_up(self, run_id: RunId) -> bool:
        """Have the task of a run that goes on run again; say whether it waited or had failed."""
        return await self._stores.ask(lambda stores: stores.tasks.take_up(TaskId(run_id)))

    # -------------------------------------------------------------- looking

    async def get(self, task_id: TaskId) -> Task:
        """Return a task.

        Raises:
            NotFoundError: no such task.
        """
        return await self._stores.ask(lambda stores: stores.tasks.get(task_id))

    async def find(self, task_id: TaskId) -> Task | None:
        """Return a task, None when there is no such one."""
        return await self._stores.ask(lambda stores: stores.tasks.find(task_id))

    async def list(
        self,
        session_id: SessionId | None = None,
        status: TaskStatus | None = None,
        *,
        limit: int = 1_000,
        offset: int = 0,
    ) -> Sequence[Task]:
        """Return tasks, newest first."""
        wanted = TaskFilter(session_id=session_id, statuses=() if status is None else (status,))
        return await self.search(wanted, limit=limit, offset=offset)

    async def search(
        self, wanted: TaskFilter, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[Task]:
        """Return the tasks that are wanted, newest first.

        Raises:
            UsageError: `limit` is not 1 to 10,000, or `offset` is negative.
        """
        check_number(limit, "limit", least=1, most=MOST_LISTED)
        check_number(offset, "offset", least=0, most=2**53)
        return await self._stores.ask(
            lambda stores: stores.tasks.list(wanted, limit=limit, offset=offset)
        )

    async def count(self, session_id: SessionId | None = None) -> TaskCounts:
        """Return how many tasks there are, by status."""
        wanted = TaskFilter(session_id=session_id)
        return await self._stores.ask(lambda stores: stores.tasks.count(wanted))

    # --------------------------------------------------------------- moving

    async def assign(self, task_id: TaskId, agent_id: AgentId) -> Task:
        """Give a pending task to an agent; it runs then.

        Raises:
            NotFoundError: no such task or agent.
            ConflictError: it is not pending.
        """
        await self.get(task_id)
        if not await self._known.agent(agent_id):
            raise NotFoundError("Agent not found", hint=f"no agent has the id {agent_id[:40]!a}")
        now = self._clock.now_ms()
        task = await self._stores.ask(
            lambda stores: stores.tasks.start(task_id, agent_id, now_ms=now)
        )
        await self._queue.tell("task:assigned", task, agentId=agent_id)
        return task

    async def complete(
        self, task_id: TaskId, output: str | None = None, *, status: TaskEnding = "completed"
    ) -> Task:
        """End a pending or running task; `output` None keeps what there is.

        Raises:
            NotFoundError: no such task.
            ConflictError: it ended before.
        """
        said = None if output is None else self._redact(output)
        return await self._queue.complete(task_id, said, status=status)

    async def delete(self, task_id: TaskId) -> bool:
        """Remove a task with its vector and relationships; drift events stay.

        Raises:
            ConflictError: there are tasks below it.
        """
        return await self._stores.ask(lambda stores: stores.tasks.delete(task_id))

    # ------------------------------------------------------------- relating

    async def relate(
        self,
        from_task_id: TaskId,
        to_task_id: TaskId,
        kind: RelationshipType,
        metadata: dict[str, JsonValue] | None = None,
    ) -> TaskRelationship:
        """Relate two tasks; related like this already, that relationship is returned.

        Raises:
            UsageError: it is one and the same task.
            NotFoundError: one of them does not exist.
        """
        if from_task_id == to_task_id:
            raise UsageError("a task cannot be related to itself")
        now = self._clock.now_ms()
        return await self._stores.ask(
            lambda stores: stores.tasks.relate(
                from_task_id, to_task_id, kind, metadata=metadata, now_ms=now
            )
        )

    async def relationships(
        self, task_id: TaskId, direction: Direction = "both"
    ) -> Sequence[TaskRelationship]:
        """Return a task's relationships, newest first; none when there is no such task."""
        return await self._stores.ask(lambda stores: stores.tasks.relationships(task_id, direction))
