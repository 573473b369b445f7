"""Jobs that a container drives: started from here, heard through the history that is shared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from perstack.domain.events import Event
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job
from perstack.domain.runtimes import is_program
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.job_record import new_job
from perstack.engine.plan import Deps, JobOutcome, Listener, Plan, RunOutcome
from perstack.engine.recall import forked, recall, spent
from perstack.errors import ConfigError, ConflictError, NotFoundError, ProgramError
from perstack.ports.containers import ContainedJob, Container, ContainerEnd
from perstack.ports.frontend import Continuation
from perstack.ports.history import History
from perstack.projection.run_state import RunState
from perstack.services.contained_notices import notice_of
from perstack.services.contained_order import GoOn, NewJob, Told, new_order

# A tool that was begun gets a second; writing down where the job stands may take some more.
_STOPS_WITHIN_S: Final = 20.0
_KILLED: Final = 137
_LOG: Final = logging.getLogger(__name__)


class ContainedJobs:
    """Has jobs driven in containers. The lock of a job is the container's, never ours."""

    def __init__(self, history: History, deps: Deps) -> None:
        self._history = history
        self._deps = deps

    async def start(
        self, plan: Plan, begins: NewJob, *, listener: Listener, control: StopControl
    ) -> JobOutcome:
        """Have a new job driven until it stops.

        Raises:
            ConfigError: the job cannot be driven in a container.
            ConflictError: a job with that id exists.
            ProgramError: there is no engine, or the container failed.
            PerstackError: whatever ended the driving there.
        """
        try:
            await self._history.get_job(begins.job_id)
        except NotFoundError:
            pass
        else:
            raise ConflictError(f"job {begins.job_id} exists already")
        order = new_order(plan, begins=begins).model_dump_json()
        job = self._job(plan, begins.job_id, begins.expert_key, order)
        hearing = _Hearing(self._history, begins.job_id, listener)
        return await self._drive(job, begins.expert_key, hearing, control)

    async def go_on(
        self,
        plan: Plan,
        found: Job,
        wanted: Continuation,
        *,
        listener: Listener,
        control: StopControl,
    ) -> JobOutcome:
        """Have a job that is there driven on until it stops.

        Raises:
            ConflictError: a process, here or in a container, drives it.
            PerstackError: as for `start`.
        """
        if (await self._history.look_at_job(found.id)).alive and not await self._freed(found.id):
            raise ConflictError(
                f"a container or another process still drives job {found.id}",
                hint="watch it with perstack start, or stop it there",
            )
        goes_on = GoOn(
            job_id=found.id,
            checkpoint_id=wanted.checkpoint_id,
            expert_key=wanted.expert_key,
            text=wanted.text,
            is_answer=wanted.is_answer,
            own_definitions=wanted.own_definitions,
            more=wanted.more,
            typed=wanted.typed,
        )
        key = found.coordinator_expert_key
        order = new_order(plan, goes_on=goes_on).model_dump_json()
        job = self._job(plan, found.id, key, order)
        if found.workspace is not None:
            job = replace(job, folder=Path(found.workspace))
        hearing = _Hearing(self._history, found.id, listener)
        await hearing.skip_past()
        return await self._drive(job, key, hearing, control)

    async def _freed(self, job_id: JobId) -> bool:
        """End the container that drives the job if its process is dead; say whether it was."""
        return job_id in await self._deps.containers.clear_away()

    def _job(self, plan: Plan, job_id: JobId, key: ExpertKey, order: str) -> ContainedJob:
        experts = taking_part(plan.experts, key)
        _check_runtimes(experts)
        scenario = plan.settings.provider.scenario
        base = plan.config_path.parent if plan.config_path else plan.workspace
        return ContainedJob(
            job_id=job_id,
            order=order,
            experts=experts,
            settings=plan.settings,
            workspace=plan.workspace,
            env=plan.env,
            scenario=None if scenario is None else base / Path(scenario).expanduser(),
        )

    async def _drive(
        self, job: ContainedJob, key: ExpertKey, hearing: _Hearing, control: StopControl
    ) -> JobOutcome:
        opened = control.interruptible()
        with opened as scope:
            async with self._deps.containers.open(job, hearing.told) as container:
                opened.release()
                # A stop in the very last moment is felt only at the next wait.
                if not scope.cancel_called:
                    ended = await self._attend(container, hearing, control)
                    return await self._outcome(job, key, hearing, ended, control)
        # A stop came while images were built.
        return await self._stopped(job, key, control)

    async def _attend(
        self, container: Container, hearing: _Hearing, control: StopControl
    ) -> ContainerEnd:
        endings: list[ContainerEnd] = []
        with unwrapped():
            async with anyio.create_task_group() as group:
                hearing.tell = lambda event: self._tell(event, group)
                group.start_soon(hearing.follow, name="contained:follow")
                group.start_soon(_pass_on_stops, container, control, name="contained:stop")
                endings.append(await container.ended())
                group.cancel_scope.cancel()
        hearing.tell = _nobody
        await hearing.rest()
        return endings[0]

    def _tell(self, event: Event, group: TaskGroup) -> None:
        """Call whatever the user configured, beside what is heard."""
        if (notice := notice_of(event)) is not None:
            group.start_soon(self._deps.notifier.notify, notice, name="contained:notify")

    async def _outcome(
        self,
        job: ContainedJob,
        key: ExpertKey,
        hearing: _Hearing,
        ended: ContainerEnd,
        control: StopControl,
    ) -> JobOutcome:
        last = hearing.last
        if last is not None and last.failure is not None:
            raise last.failure.error()
        outcome = last.read_outcome() if last is not None else None
        if outcome is not None and outcome.job_id == job.job_id:
            return outcome
        if control.stopping:
            return await self._stopped(job, key, control)
        raise _died(job.job_id, replace(ended, said=self._deps.redact(ended.said)))

    async def _stopped(
        self, contained: ContainedJob, key: ExpertKey, control: StopControl
    ) -> JobOutcome:
        """Return where the job stands that was stopped before it said so itself, or began."""
        try:
            job = await self._history.get_job(contained.job_id)
        except NotFoundError:
            job = await self._begun(contained, key)
        used = await spent(self._history, job)
        outcome = RunOutcome("stopped", by=control.by)
        return JobOutcome(job.id, job.coordinator_run_id, key, outcome, used)

    async def _begun(self, contained: ContainedJob, key: ExpertKey) -> Job:
        """Record the job that no container came to record, so that it can be gone on with."""
        job = new_job(
            contained.job_id,
            RunId(self._deps.ids.new()),
            key,
            max_steps=contained.settings.max_steps,
            now_ms=self._deps.clock.now_ms(),
        )
        async with self._history.create_job(job):
            pass
        return job


def taking_part(experts: Mapping[ExpertKey, Expert], key: ExpertKey) -> Mapping[ExpertKey, Expert]:
    """Return the Expert and all that it can delegate to, directly or through others."""
    found: dict[ExpertKey, Expert] = {}
    todo = [key]
    while todo:
        at = todo.pop()
        if at in found or at not in experts:
            continue
        found[at] = experts[at]
        todo += experts[at].delegates
    return found


def _check_runtimes(experts: Mapping[ExpertKey, Expert]) -> None:
    for expert in experts.values():
        if expert.runtime is not None and is_program(expert.runtime):
            raise ConfigError(
                f'Expert {expert.key} runs on "{expert.runtime}", which no container has',
                hint=f"remove runtime from [experts.{expert.key}], or add --runtime perstack",
            )


def _died(job_id: JobId, ended: ContainerEnd) -> ProgramError:
    how = f"with exit code {ended.code}" if ended.code is not None else "without a word"
    said = f": {ended.said}" if ended.said else ""
    hint = f"go on with it: perstack run <expert> <query> --continue-job {job_id}"
    if ended.code == _KILLED:
        hint = f"it may have run out of memory: raise memory in [runtimes.docker], then {hint}"
    return ProgramError(f"the container ended {how}{said}", hint=hint)


async def _pass_on_stops(container: Container, control: StopControl) -> None:
    """Stop at a checkpoint when that is asked for, at once when it is asked again."""
    with control.interruptible():
        await anyio.sleep_forever()
    await container.interrupt()
    with control.finishing():
        await anyio.sleep_forever()
    await container.interrupt()
    await anyio.sleep(_STOPS_WITHIN_S)
    await container.kill()


def _nobody(event: Event) -> None:
    del event


class _Hearing:
    """Announces what a container records, each event once and in order, as it is recorded."""

    def __init__(self, history: History, job_id: JobId, listener: Listener) -> None:
        self._history = history
        self._job_id = job_id
        self._listener = listener
        self._heads: dict[RunId, int] = {}
        self._past: dict[RunId, RunState] = {}
        self._met: set[RunId] = set()
        self.last: Told | None = None
        self.tell: Callable[[Event], None] = _nobody

    async def skip_past(self) -> None:
        """Announce nothing of what is recorded already."""
        for setting in await self._history.list_runs(self._job_id):
            recalled = await recall(self._history, self._job_id, setting.run_id)
            self._past[setting.run_id] = recalled.state
            if recalled.stored.events:
                self._heads[setting.run_id] = recalled.stored.events[-1].seq

    def told(self, line: str) -> None:
        """Take a line of the container's standard output; what is none of ours is only logged."""
        try:
            told = Told.model_validate_json(line)
        except ValueError:
            _LOG.warning("the container says: %s", line[:500])
            return
        if told.warning is not None:
            self._listener.on_warning(told.warning)
        else:
            self.last = told

    async def follow(self) -> None:
        """Announce what is recorded, until cancelled."""
        async with aclosing(self._history.follow(job_id=self._job_id)) as batches:
            async for batch in batches:
                await self._hear(batch.events)
                for delta in batch.deltas:
                    self._listener.on_delta(delta)

    async def rest(self) -> None:
        """Announce what nobody followed any more."""
        try:
            settings = await self._history.list_runs(self._job_id)
        except NotFoundError:
            return
        events: list[Event] = []
        for setting in settings:
            events += (await self._history.read_run(self._job_id, setting.run_id)).events
        await self._hear(sorted(events, key=lambda event: event.timestamp))

    async def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.seq <= self._heads.get(event.run_id, -1):
                continue
            if event.run_id not in self._met:
                await self._introduce(event.run_id)
            self._heads[event.run_id] = event.seq
            self._listener.on_event(event)
            self.tell(event)

    async def _introduce(self, run_id: RunId) -> None:
        state = self._past.get(run_id)
        if state is None:
            for setting in await self._history.list_runs(self._job_id):
                if setting.run_id == run_id:
                    state = await forked(self._history, self._job_id, setting.parent)
        self._met.add(run_id)
        if state is not None and state.messages:
            self._listener.on_taken_up(run_id, state)
