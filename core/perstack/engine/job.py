"""Drives one job: its runs share a step counter, a limiter, a stop control and a listener."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perstack.config.secrets import without_secrets
from perstack.domain.events import DelegateTo, Delta, Event, RunError
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import DelegatedBy, Job, JobStatus, RunSetting
from perstack.domain.usage import NO_COST, NO_USAGE, Usage
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import Deps, Listener, Plan, RunOutcome
from perstack.engine.recall import Spent
from perstack.engine.run import Opening, RunDriver
from perstack.errors import NotFoundError
from perstack.ports.history import DrivenJob, RunLog
from perstack.ports.notices import Notice
from perstack.projection.run_state import RunState, fold_all, initial

# Few, so that the first delegates ask their models while the last ones' files are being made.
OPENED_AT_ONCE: Final = 8
_JOB_STATUS: dict[str, JobStatus] = {
    "completed": "completed",
    "asked": "stoppedByInteractiveTool",
    "limit": "stoppedByMaxSteps",
    "failed": "stoppedByError",
    "stopped": "running",
    "awaiting": "running",
}


class JobDriver:
    """One job being driven by this process, which holds its lock.

    `spent` is what the job has used so far, over all its runs.
    """

    def __init__(
        self,
        plan: Plan,
        deps: Deps,
        held: DrivenJob,
        listener: Listener,
        control: StopControl,
        *,
        spent: Spent | None = None,
    ) -> None:
        self.plan = plan
        self.deps = deps
        self.control = control
        self.job_id: JobId = held.job.id
        self._held = held
        self._listener = listener
        self._steps = spent.steps if spent else 0
        self._usage = spent.usage if spent else NO_USAGE
        self._cost = spent.cost if spent else NO_COST
        self._background: TaskGroup | None = None
        self._slots = anyio.CapacityLimiter(plan.settings.max_parallel)
        self._opening = anyio.CapacityLimiter(OPENED_AT_ONCE)
        self._fresh: set[RunId] = set()

    # ---------------------------------------------------------------- what runs share

    @property
    def exhausted(self) -> bool:
        """True once the job has taken all the steps it may."""
        return self._steps >= self.plan.settings.max_steps

    def take_step(self) -> int:
        """Return the next step number of the job."""
        self._steps += 1
        return self._steps

    def count(self, usage: Usage, cost_usd: float | None) -> None:
        """Add a generation's tokens and their cost (None: unknown) to the job's."""
        if usage != NO_USAGE:
            self._usage = self._usage.plus(usage)
            self._cost = self._cost.plus(cost_usd)

    def announce(self, event: Event) -> None:
        """Tell the listener what was recorded."""
        self._listener.on_event(event)

    def take_up(self, run_id: RunId, state: RunState) -> None:
        """Tell the listener how a run stands that goes on."""
        self._listener.on_taken_up(run_id, state)

    def say(self, delta: Delta) -> None:
        """Show what a model says to the listener and to other processes."""
        self._held.say(delta)
        self._listener.on_delta(delta)

    def notify(self, notice: Notice) -> None:
        """Tell a person, beside whatever goes on; the job's end waits for it, in bounded time."""
        if self._background is not None:
            self._background.start_soon(self.deps.notifier.notify, notice, name="notify")

    @asynccontextmanager
    async def yielded_slot(self) -> AsyncGenerator[None]:
        """Give up the running task's place while it waits for its delegates."""
        self._slots.release_on_behalf_of(anyio.get_current_task().id)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self._slots.acquire_on_behalf_of(anyio.get_current_task().id)

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        me = anyio.get_current_task().id
        await self._slots.acquire_on_behalf_of(me)
        try:
            yield
        finally:
            self._slots.release_on_behalf_of(me)

    # ---------------------------------------------------------------- runs

    def new_run_id(self) -> RunId:
        """Return an id for a delegated run, whose history need not be looked for."""
        run_id = RunId(self.deps.ids.new())
        self._fresh.add(run_id)
        return run_id

    def new_log(self, run_id: RunId, expert: Expert, opening: Opening) -> RunLog:
        """Begin a run's history; a job's first run keeps the definitions. Waits for the disk."""
        first = opening.parent is None and opening.delegated_by is None
        return self._held.create_run(
            RunSetting(
                job_id=self.job_id,
                run_id=run_id,
                expert_key=expert.key,
                settings=without_secrets(self.plan.settings),
                query=opening.query,
                parent=opening.parent,
                delegated_by=opening.delegated_by,
                experts=dict(self.plan.experts) if first else None,
                config_path=str(self.plan.config_path) if self.plan.config_path else None,
                started_at=self.deps.clock.now_ms(),
            )
        )

    async def drive_coordinator(
        self, expert: Expert, log: RunLog, state: RunState, opening: Opening
    ) -> RunOutcome:
        """Drive the job's own run and keep the job's record true."""
        self._save("running", log.run_id)
        driver = RunDriver(self, expert, log, state, step=self.take_step(), depth=0)
        outcomes: list[RunOutcome] = []
        with unwrapped():
            async with anyio.create_task_group() as self._background, self._slot():
                outcomes.append(await driver.drive(opening))
        self._save(_JOB_STATUS[outcomes[0].ending], log.run_id, finished=True)
        return outcomes[0]

    async def drive_child(
        self, child: DelegateTo, delegated_by: DelegatedBy, *, depth: int
    ) -> RunOutcome:
        """Drive a delegated run from wherever its history ends, or from its beginning."""
        expert = self.plan.experts.get(child.expert.key)
        if expert is None:
            return RunOutcome("failed", error=_gone(child))
        # Everything below costs files or steps, so it waits for its turn.
        async with self._slot():
            if self.control.stopping:
                return RunOutcome("stopped")
            begun = Opening(query=child.query, delegated_by=delegated_by)
            async with self._opening:
                opened = await self._open_child(child.run_id, expert, begun)
            if isinstance(opened, RunOutcome):
                return opened
            state, log, step = opened
            again = Opening(status=state.status, delegated_by=delegated_by)
            driver = RunDriver(self, expert, log, state, step=step, depth=depth)
            return await driver.drive(begun if state.status == "init" else again)

    async def _open_child(
        self, run_id: RunId, expert: Expert, begun: Opening
    ) -> tuple[RunState, RunLog, int] | RunOutcome:
        """Open a delegated run's history and take its first step, or say how it ended."""
        taken_up = None
        if run_id not in self._fresh:
            taken_up = await anyio.to_thread.run_sync(self._taken_up, run_id)
        ended = _ended(taken_up[0]) if taken_up else None
        if ended is not None or self.exhausted:
            if taken_up is not None:
                taken_up[1].close()
            return ended or RunOutcome("limit")
        step = self.take_step()
        if taken_up is not None:
            return (*taken_up, step)
        log = await anyio.to_thread.run_sync(self.new_log, run_id, expert, begun)
        return initial(), log, step

    def _taken_up(self, run_id: RunId) -> tuple[RunState, RunLog] | None:
        try:
            stored, log = self._held.reopen_run(run_id)
        except NotFoundError:
            return None
        return fold_all(stored.events), log

    def _save(self, status: JobStatus, run_id: RunId, *, finished: bool = False) -> None:
        job = self._held.job
        self._held.save(
            job.model_copy(
                update={
                    "status": status,
                    "coordinator_run_id": run_id,
                    "total_steps": self._steps,
                    "max_steps": self.plan.settings.max_steps,
                    "usage": self._usage,
                    "cost": self._cost,
                    "finished_at": self.deps.clock.now_ms() if finished else None,
                }
            )
        )


def _gone(child: DelegateTo) -> RunError:
    return RunError(
        name="UnknownExpertError", message=f"Expert {child.expert.key!r} is no longer defined"
    )


def _ended(state: RunState) -> RunOutcome | None:
    match state.status:
        case "completed":
            return RunOutcome("completed", text=state.last_text)
        case "stoppedByError":
            return RunOutcome("failed", error=state.error)
        case "stoppedByExceededMaxSteps":
            return RunOutcome("limit")
        case "init" | "proceeding" | "stoppedByDelegate" | "stoppedByInteractiveTool":
            return None


def new_job(
    job_id: JobId, run_id: RunId, expert_key: ExpertKey, *, max_steps: int, now_ms: int
) -> Job:
    """Return the record of a job that begins at `now_ms` (Unix ms)."""
    return Job(
        id=job_id,
        status="running",
        coordinator_expert_key=expert_key,
        coordinator_run_id=run_id,
        max_steps=max_steps,
        started_at=now_ms,
    )
