"""The coordinator: workers that are real agents do the tasks of the queue."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus
from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, SessionId, TaskId
from perstack.domain.tasks import DEFAULT_PRIORITY, QueuedTask, QueueStatus, Task, TaskEnding
from perstack.engine.groups import alone
from perstack.errors import ConflictError, PerstackError, UsageError
from perstack.ports.crew import Crew
from perstack.ports.experts import ExpertRequest, ExpertRunner
from perstack.ports.system import Ids
from perstack.services.bus import MessageBus
from perstack.services.expert_tools import why_not
from perstack.services.leases import patiently

MAX_WORKERS: Final = 5
MOST_WORKERS: Final = 20
COORDINATOR: Final = "coordinator"
TASK_S: Final = 1_800.0
POLL_S: Final = 0.5
RECOVER_S: Final = 10.0
CLOSING_S: Final = 10.0
_BEAT_S: Final = 2.5
_LET_GO_S: Final = 10.0
_FEEDBACK: Final = 2_000
_LOG: Final = logging.getLogger(__name__)


class Queue(Protocol):
    """What a coordinator asks of the queue; `services.task_queue.TaskQueue` fits."""

    async def enqueue(self, task_id: TaskId, priority: int = DEFAULT_PRIORITY) -> QueuedTask:
        """Put a pending task at the end of its priority."""
        ...

    async def dequeue(
        self, agent_type: str | None = None, *, claimed_by: str | None = None
    ) -> QueuedTask | None:
        """Take the first task; it is nobody else's then."""
        ...

    async def assign(self, task_id: TaskId, agent_id: AgentId) -> bool:
        """Give it to an agent."""
        ...

    async def complete(
        self, task_id: TaskId, output: str | None = None, *, status: TaskEnding = "completed"
    ) -> Task:
        """End it."""
        ...

    async def requeue(
        self, task_id: TaskId, feedback: str | None = None, *, attempt: int | None = None
    ) -> Task:
        """Put it back, or fail it when that was too often; only if `attempt` is still the last."""
        ...

    async def recover(self) -> Sequence[Task]:
        """Put back what dead processes took and gave to no agent."""
        ...

    async def processing(self) -> Sequence[QueuedTask]:
        """Return what was taken and is not done."""
        ...

    async def status(self) -> QueueStatus:
        """Return how many wait and are being processed."""
        ...


@dataclass(frozen=True, slots=True)
class CoordinatorParts:
    """What a coordinator works with. One task takes at most `task_s` seconds."""

    queue: Queue
    crew: Crew
    runner: ExpertRunner
    bus: MessageBus
    ids: Ids
    task_s: float = TASK_S


class WorkerState(Model):
    """A worker and what it does, as `status` shows it."""

    id: AgentId
    type: str
    name: str
    status: Literal["idle", "running"]
    task_id: TaskId | None = None


class CoordinatorStatus(Model):
    """The coordinator's own agent, its workers, and the queue of all."""

    coordinator: WorkerState
    workers: tuple[WorkerState, ...]
    queue: QueueStatus


class HierarchicalCoordinator:
    """Does the tasks of the workspace's queue, at most `max_workers` at a time.

    A task gets an idle worker of its type; else a new one, in place of an idle worker of another
    type when there are `max_workers`: so no type ever waits for another. A task that fails goes
    back to the queue, which bounds how often. The session is that of its agents.
    """

    def __init__(
        self,
        parts: CoordinatorParts,
        me: WorkerState,
        *,
        max_workers: int,
        session_id: SessionId | None,
    ) -> None:
        self._parts = parts
        self._me = me
        self._id = me.id
        self._max_workers = max_workers
        self._session_id = session_id
        self._workers: dict[AgentId, WorkerState] = {}
        self._hiring = anyio.Lock()
        self._slots = anyio.Semaphore(max_workers)
        self._woken = anyio.Event()
        self._closing = False
        self._at_work = 0
        self._idle = anyio.Event()
        self._scope = anyio.CancelScope()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        parts: CoordinatorParts,
        *,
        max_workers: int = MAX_WORKERS,
        session_id: SessionId | None = None,
    ) -> AsyncGenerator[HierarchicalCoordinator]:
        """Give a coordinator that works until the block ends, which shuts it down.

        Raises:
            UsageError: `max_workers` is not 1 to 20.
            ConflictError, LimitError, StorageError: its agent cannot be made.
        """
        if not 1 <= max_workers <= MOST_WORKERS:
            raise UsageError(f"maxWorkers must be 1 to {MOST_WORKERS}")
        me = await _sign_on(parts, session_id)
        coordinator = cls(parts, me, max_workers=max_workers, session_id=session_id)
        try:
            with alone():
                async with anyio.create_task_group() as group:
                    await group.start(coordinator._serve)
                    try:
                        yield coordinator
                        await coordinator.shutdown()
                    finally:
                        coordinator._scope.cancel()
        finally:
            await coordinator._let_all_go()

    # ---------------------------------------------------------------- verbs

    async def submit_task(self, task_id: TaskId, priority: int = DEFAULT_PRIORITY) -> QueuedTask:
        """Put a pending task into the queue.

        Raises:
            UsageError: the priority is not 1 to 10.
            NotFoundError: no such task.
            ConflictError: it is queued already, or not pending; or this is shut down.
        """
        if self._closing:
            raise ConflictError("the coordinator is shut down")
        placed = await self._parts.queue.enqueue(task_id, priority)
        self._woken.set()
        return placed

    async def status(self) -> CoordinatorStatus:
        """Return what its workers do, and how long the queue is."""
        return CoordinatorStatus(
            coordinator=self._me,
            workers=tuple(self._workers.values()),
            queue=await self._parts.queue.status(),
        )

    async def shutdown(self, *, closing_s: float = CLOSING_S) -> None:
        """Take no more tasks; give those at work `closing_s` seconds, then put them back."""
        self._closing = True
        self._woken.set()
        with anyio.move_on_after(closing_s):
            while self._at_work:
                self._idle = anyio.Event()
                await self._idle.wait()
        self._scope.cancel()

    # ------------------------------------------------------------- the pump

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        """Do tasks until the scope is cancelled, which leaves the caller's own block alone."""
        with self._scope:
            async with anyio.create_task_group() as group:
                task_status.started()
                group.start_soon(self._keep_known, name="coordinator:beat")
                await self._pump(group)

    async def _keep_known(self) -> None:
        """Say that this process lives, also while nothing is to be done."""
        while True:
            await anyio.sleep(_BEAT_S)
            try:
                if not await self._parts.crew.keep(self._id):
                    # It slept, a whole laptop say: others took it for dead, and its agents with it.
                    self._me = await _sign_on(self._parts, self._session_id)
                    self._id = self._me.id
            except PerstackError as error:
                _LOG.warning("the coordinator is not known to be alive: %s", error.message)

    async def _pump(self, group: TaskGroup) -> None:
        """Start tasks as workers become free."""
        recovered_at = float("-inf")
        while not self._closing:
            await self._slots.acquire()
            self._woken = anyio.Event()
            if anyio.current_time() - recovered_at > RECOVER_S:
                await self._recover()
                recovered_at = anyio.current_time()
            queued = await self._next()
            if queued is None:
                self._slots.release()
                with anyio.move_on_after(POLL_S):
                    await self._woken.wait()
                continue
            self._at_work += 1
            group.start_soon(self._do, queued.task, name=f"task:{queued.task.id}")

    async def _next(self) -> QueuedTask | None:
        if self._closing:
            return None
        try:
            return await self._parts.queue.dequeue(claimed_by=self._id)
        except PerstackError as error:
            _LOG.warning("the queue cannot be asked: %s", error.message)
            return None

    async def _recover(self) -> None:
        """Put back what processes that died were doing."""
        try:
            await self._parts.queue.recover()
            for queued in await self._parts.queue.processing():
                agent_id = queued.task.agent_id
                if agent_id is not None and await self._parts.crew.is_gone(agent_id):
                    await self._give_back(queued.task, "Its worker is gone.")
        except PerstackError as error:
            _LOG.warning("lost tasks were not looked for: %s", error.message)

    async def _do(self, task: Task) -> None:
        """Do one task, whatever comes of it."""
        settled = False
        try:
            await self._with_worker(task)
            settled = True
        except PerstackError as error:
            await self._give_back(task, error.message)
            settled = True
        except Exception as error:  # noqa: BLE001 - logged, and the task says what broke
            # A foreign provider or tool broke; that ends its task and not all the others'.
            _LOG.exception("task %s broke its worker", task.id)
            await self._give_back(task, type(error).__name__)
            settled = True
        finally:
            if not settled:
                with anyio.move_on_after(_LET_GO_S, shield=True):
                    await self._give_back(task, "The coordinator was shut down.")
            self._at_work -= 1
            self._slots.release()
            self._idle.set()

    async def _with_worker(self, task: Task) -> None:
        worker = await self._hire(task)
        try:
            # First, so that no death of this process leaves a task with a worker who seems alive.
            await self._parts.crew.begin(worker.id)
            # Where somebody else has it meanwhile, it is theirs.
            if await self._parts.queue.assign(task.id, worker.id):
                await self._perform(task, worker)
        finally:
            with anyio.move_on_after(_LET_GO_S, shield=True):
                await _quietly(self._parts.crew.end(worker.id), worker.id)
            self._workers[worker.id] = worker.model_copy(update={"status": "idle", "task_id": None})

    async def _perform(self, task: Task, worker: WorkerState) -> None:
        shown: JsonValue = task.model_dump(mode="json", exclude_none=True)
        await self._parts.bus.send(self._id, worker.id, "task:assign", {"task": shown})
        try:
            output = await self._run(task, worker)
            await patiently(lambda: self._parts.queue.complete(task.id, output))
        except Exception:
            await self._report(worker, "task:failed", task)
            raise
        await self._report(worker, "task:completed", task)

    async def _run(self, task: Task, worker: WorkerState) -> str:
        if not (task.input or "").strip():
            raise UsageError("the task has no input")
        answer = await self._parts.runner.run(
            ExpertRequest(
                expert=self._parts.crew.to_run(task.agent_type),
                query=task.input or "",
                context=None if task.feedback is None else f"The last attempt: {task.feedback}",
                agent_id=worker.id,
                session_id=self._session_id or task.session_id,
                task_id=task.id,
                timeout_s=self._parts.task_s,
            )
        )
        if answer.ending != "completed":
            raise why_not(f"the Expert {task.agent_type}", answer)
        return answer.text

    # ---------------------------------------------------------- the workers

    async def _hire(self, task: Task) -> WorkerState:
        """Return a worker of the task's type, which is at work from now on."""
        async with self._hiring:
            worker = await self._find_idle(task.agent_type)
            if worker is None:
                idle = [one for one in self._workers.values() if one.status == "idle"]
                if len(self._workers) >= self._max_workers and idle:
                    await self._parts.crew.let_go(idle[0].id)
                    del self._workers[idle[0].id]
                worker = await self._take_on(task.agent_type)
            busy = worker.model_copy(update={"status": "running", "task_id": task.id})
            self._workers[worker.id] = busy
            return busy

    async def _find_idle(self, agent_type: str) -> WorkerState | None:
        """Return an idle worker of a type; those that a person stopped are forgotten."""
        for worker in list(self._workers.values()):
            if (worker.type, worker.status) != (agent_type, "idle"):
                continue
            if not await self._parts.crew.is_gone(worker.id):
                return worker
            del self._workers[worker.id]
        return None

    async def _take_on(self, agent_type: str) -> WorkerState:
        name = f"{agent_type}-worker-{self._parts.ids.new()[:8]}"
        agent_id = await self._parts.crew.take_on(
            agent_type, name=name, owner=self._id, session_id=self._session_id
        )
        return WorkerState(id=agent_id, type=agent_type, name=name, status="idle")

    async def _report(self, worker: WorkerState, event: str, task: Task) -> None:
        await self._parts.bus.send(worker.id, self._id, event, {"taskId": task.id})

    async def _give_back(self, task: Task, why: str) -> None:
        try:
            # By now another coordinator may have given it to a worker of its own.
            await patiently(
                lambda: self._parts.queue.requeue(task.id, why[:_FEEDBACK], attempt=task.attempts)
            )
        except PerstackError as error:
            _LOG.warning("task %s was not put back: %s", task.id, error.message)
        self._woken.set()

    async def _let_all_go(self) -> None:
        with anyio.move_on_after(_LET_GO_S, shield=True):
            await _quietly(self._parts.crew.end(self._id), self._id)
            for agent_id in (*self._workers, self._id):
                await _quietly(self._parts.crew.let_go(agent_id), agent_id)


async def _sign_on(parts: CoordinatorParts, session_id: SessionId | None) -> WorkerState:
    """Make the coordinator's own agent, driven by this process: should that die, it is gone."""
    name = f"main-coordinator-{parts.ids.new()[:8]}"
    me = await parts.crew.take_on(
        COORDINATOR, name=name, owner="coordinator", session_id=session_id
    )
    await parts.crew.begin(me)
    return WorkerState(id=me, type=COORDINATOR, name=name, status="running")


async def _quietly(work: Awaitable[None], agent_id: AgentId) -> None:
    try:
        await work
    except PerstackError as error:
        _LOG.warning("agent %s was not let go: %s", agent_id, error.message)
