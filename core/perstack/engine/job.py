"""Drives one job: its runs share a step counter, a limiter, a stop control and a listener."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
from anyio.abc import TaskGroup

from perstack.config.kept import fit_to_keep
from perstack.config.kept_settings import without_secrets
from perstack.domain.events import (
    DelegateTo,
    Delta,
    Event,
)
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import DelegatedBy, Limits, RunSetting, SomeLimits
from perstack.domain.orders import Raise, also_raised
from perstack.domain.steering_events import RaiseBudget
from perstack.domain.usage import Usage
from perstack.engine.budget import Meter, Overrun, Spent
from perstack.engine.control import StopControl
from perstack.engine.endings import gone, taken_up_again
from perstack.engine.files import kept_files
from perstack.engine.groups import unwrapped
from perstack.engine.job_record import JobRecord
from perstack.engine.opening import Opening, run_card
from perstack.engine.plan import Deps, Listener, Plan, RunOutcome
from perstack.engine.run import RunDriver
from perstack.engine.slots import Slots
from perstack.engine.steering import stopped_by
from perstack.ports.desk import Carrier
from perstack.ports.history import DrivenJob, RunLog
from perstack.ports.notices import Notice
from perstack.ports.snapshots import NO_KEEPER, FileKeeper
from perstack.projection.run_state import RunState, initial

# Few, so that the first delegates ask their models while the last ones' files are being made.
OPENED_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Past:
    """What a job has used so far, over all its runs, and which of its limits were raised.

    `raised` is what somebody has it go on with, `beyond` all that was raised; both are in the plan.
    """

    spent: Spent = field(default_factory=Spent)
    raised: RaiseBudget | None = None
    beyond: SomeLimits | None = None


_NO_PAST: Final = Past()


class JobDriver:
    """One job being driven by this process, which holds its lock."""

    def __init__(
        self,
        plan: Plan,
        deps: Deps,
        held: DrivenJob,
        listener: Listener,
        control: StopControl,
        past: Past = _NO_PAST,
    ) -> None:
        self.plan = plan
        self.deps = deps
        self.control = control
        self.job_id: JobId = held.job.id
        self._held = held
        self._listener = listener
        self.meter = Meter(plan.settings.budget, past.spent)
        self._background: TaskGroup | None = None
        self.files: FileKeeper = NO_KEEPER
        self.slots = Slots(plan.settings.max_parallel, self.meter)
        self._opening = anyio.CapacityLimiter(OPENED_AT_ONCE)
        self._fresh: set[RunId] = set()
        self._record = JobRecord(held, deps.clock, past.beyond)
        self._to_tell = past.raised

    # ---------------------------------------------------------------- what runs share

    @property
    def exhausted(self) -> bool:
        """True once the job has taken all the steps it may."""
        return self.meter.spent.steps >= self.plan.settings.max_steps

    @property
    def over_budget(self) -> Overrun | None:
        """The job's budget that is used up, if one is: then no model is asked any more."""
        return self.meter.over_budget

    @property
    def at_limit(self) -> RunOutcome | None:
        """How a run ends that finds the job at one of its limits, None while there is room."""
        if (over := self.over_budget) is not None:
            return RunOutcome("limit", overrun=over)
        return RunOutcome("limit") if self.exhausted else None

    @property
    def limits(self) -> Limits:
        """What the job may use in all."""
        settings = self.plan.settings
        return Limits(max_steps=settings.max_steps, budget=settings.budget)

    def allow(self, limits: Limits, more: Raise) -> None:
        """Hold the job to limits with `more` from now on; its record says so a moment later."""
        update = {"max_steps": limits.max_steps, "budget": limits.budget}
        settings = self.plan.settings.model_copy(update=update)
        self.plan = replace(self.plan, settings=settings)
        self.meter.allow(limits.budget)
        self._record.raised = also_raised(self._record.raised, more, limits)
        if self._background is not None:
            self._background.start_soon(self._record.limited, limits.max_steps, name="limits")

    def take_raise(self) -> RaiseBudget | None:
        """Return what somebody raised as the job goes on, once, for its coordinator to record."""
        told, self._to_tell = self._to_tell, None
        return told

    def learn(self, experts: Mapping[ExpertKey, Expert]) -> None:
        """Know Experts that the job did not know; those that it knows stay as they are."""
        self.plan = replace(self.plan, experts={**experts, **self.plan.experts})

    def take_step(self) -> int:
        """Return the next step number of the job."""
        return self.meter.take_step()

    def count(self, usage: Usage, cost_usd: float | None) -> None:
        """Add a generation's tokens and their cost (None: unknown) to the job's."""
        self.meter.count(usage, cost_usd)

    def announce(self, event: Event) -> None:
        """Tell what was recorded."""
        self.deps.desk.hear(event)
        self.files.hear(event)
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

    # ---------------------------------------------------------------- runs

    def new_run_id(self) -> RunId:
        """Return an id for a delegated run, whose history need not be looked for."""
        run_id = RunId(self.deps.ids.new())
        self._fresh.add(run_id)
        return run_id

    async def new_log(self, run_id: RunId, expert: Expert, opening: Opening) -> RunLog:
        """Begin a run's history; a job's first run keeps the definitions.

        Raises:
            StorageError: it could not be written.
        """
        first = opening.parent is None and opening.delegated_by is None
        whose = self.carrier_of(0 if opening.delegated_by is None else 1)
        setting = RunSetting(
            job_id=self.job_id,
            run_id=run_id,
            expert_key=expert.key,
            settings=without_secrets(self.plan.settings),
            query=opening.query,
            parent=opening.parent,
            delegated_by=opening.delegated_by,
            experts=fit_to_keep(self.plan.experts) if first else None,
            config_path=str(self.plan.config_path) if self.plan.config_path else None,
            agent_id=whose.agent_id,
            session_id=whose.session_id,
            identity_id=whose.identity_id,
            started_at=self.deps.clock.now_ms(),
        )
        return await self._held.create_run(setting)

    async def drive_coordinator(
        self, expert: Expert, log: RunLog, state: RunState, opening: Opening
    ) -> RunOutcome:
        """Drive the job's own run and keep the job's record true."""
        most = self.plan.settings.max_steps
        await self._record.begun(log.run_id, self.meter.spent, most)
        driver = RunDriver(
            self, expert, log, state, step=self.take_step(), depth=0, control=self.control
        )
        outcomes: list[RunOutcome] = []
        with unwrapped():
            async with (
                anyio.create_task_group() as self._background,
                self.slots.taken(),
                kept_files(self.plan, self.deps, self.job_id, self._listener) as self.files,
            ):
                with self._time_limit(self._background), self._at_desk(driver, opening):
                    outcomes.append(await self._driven(driver, opening))
        (outcome,) = outcomes
        most = self.plan.settings.max_steps
        await self._record.ended(log.run_id, self.meter.spent, most, outcome.ending)
        return outcome

    @contextmanager
    def _time_limit(self, group: TaskGroup) -> Generator[None]:
        """Stop all runs when the time that the job may take is used up."""
        limit = anyio.CancelScope()

        async def watch() -> None:
            with limit:
                await self.meter.time_is_up()
                if not self.control.stopping:  # a second stop would not wait for tools
                    self.control.stop("budget")

        group.start_soon(watch, name="time limit")
        try:
            yield
        finally:
            limit.cancel()

    def carrier_of(self, depth: int) -> Carrier:
        """Return whose work a run at `depth` is: what is delegated has the session alone."""
        whose = self.plan.carrier
        return whose if depth == 0 else Carrier(session_id=whose.session_id)

    async def _driven(self, driver: RunDriver, opening: Opening) -> RunOutcome:
        if driver.state.messages and not self.plan.service:
            await self.deps.desk.lift(driver.run_id)
        return await driver.drive(opening)

    @contextmanager
    def _at_desk(self, driver: RunDriver, opening: Opening) -> Generator[None]:
        card = run_card(driver, opening)
        self.deps.desk.take_up(card, driver.state, driver.helm)
        try:
            yield
        finally:
            self.deps.desk.let_go(driver.run_id)

    async def drive_child(
        self, child: DelegateTo, delegated_by: DelegatedBy, parent: RunDriver
    ) -> RunOutcome:
        """Drive a delegated run from wherever its history ends, or from its beginning."""
        with parent.control.below() as control:
            ended = await self._drive_child(child, delegated_by, parent, control)
            if ended.ending == "stopped" and not parent.control.stopping:
                return RunOutcome("failed", error=stopped_by(control))
            return ended

    async def _drive_child(
        self, child: DelegateTo, delegated_by: DelegatedBy, parent: RunDriver, control: StopControl
    ) -> RunOutcome:
        expert = self.plan.experts.get(child.expert.key)
        if expert is None:
            return RunOutcome("failed", error=gone(child))
        # Everything below costs files or steps, so it waits for its turn.
        async with self.slots.taken():
            if control.reason == "budget":
                return RunOutcome("limit", overrun=self.meter.out_of_time)
            if control.stopping:
                return RunOutcome("stopped")
            begun = Opening(query=child.query, delegated_by=delegated_by)
            async with self._opening:
                opened = await self._open_child(child.run_id, expert, begun)
            if isinstance(opened, RunOutcome):
                return opened
            state, log, step = opened
            again = Opening(status=state.status, delegated_by=delegated_by)
            driver = RunDriver(
                self,
                expert,
                log,
                state,
                step=step,
                depth=parent.depth + 1,
                control=control,
                above=parent,
            )
            opening = begun if state.status == "init" else again
            with self._at_desk(driver, opening):
                return await self._driven(driver, opening)

    async def _open_child(
        self, run_id: RunId, expert: Expert, begun: Opening
    ) -> tuple[RunState, RunLog, int] | RunOutcome:
        """Open a delegated run's history and take its first step, or say how it ended."""
        taken_up = None
        if run_id not in self._fresh:
            taken_up = await taken_up_again(self._held, run_id)
        if taken_up is not None and taken_up.damage is not None:
            self._listener.on_warning(taken_up.damage)
        ended = (taken_up.ended if taken_up else None) or self.at_limit
        if ended is not None:
            if taken_up is not None:
                taken_up.log.close()
            return ended
        step = self.take_step()
        if taken_up is not None:
            return taken_up.state, taken_up.log, step
        return initial(), await self.new_log(run_id, expert, begun), step
