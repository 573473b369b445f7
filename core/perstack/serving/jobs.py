"""Jobs that a server was asked to run: they go on whoever listens, and stop with the server."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.errors import ConflictError, LimitError, PerstackError, UsageError

if TYPE_CHECKING:
    from perstack.domain.events import Delta, Event
    from perstack.domain.ids import CheckpointId, ExpertKey, JobId, RunId
    from perstack.engine.plan import JobOutcome
    from perstack.ports.frontend import Continuation
    from perstack.project import Project
    from perstack.projection.run_state import RunState
    from perstack.services.runs import Runs
    from perstack.serving.backend import Backend, Served

    OnEvent = Callable[[Event], None]
    _Drive = Callable[[Served, "ServedJob"], Awaitable[JobOutcome]]
    _Work = Callable[[Served], Awaitable[object]]

MOST_AT_ONCE: Final = 32
STOP_WITHIN_S: Final = 10.0
STOP_NOW_WITHIN_S: Final = 1.5
LET_GO_S: Final = 5.0

_LOG: Final = logging.getLogger(__name__)


class ServedJob:
    """A job at work in this process. Implements the engine's `Listener`."""

    def __init__(self) -> None:
        self.control = StopControl()
        self.job_id: JobId | None = None
        self.began = anyio.Event()
        self.over = anyio.Event()
        self._listeners: list[OnEvent] = []
        self._outcome: JobOutcome | None = None
        self._error: Exception | None = None
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its Experts of a registry were warned of, before it began."""
        return tuple(self._warnings)

    async def begin(self) -> JobId:
        """Wait until it has begun, and return its id.

        Raises:
            PerstackError: it could not begin.
        """
        await self.began.wait()
        if self.job_id is None:
            raise self._error or ConflictError("the job ended before it began")
        return self.job_id

    async def wait(self) -> JobOutcome:
        """Wait for the end of its driving.

        Raises:
            PerstackError: it could not begin, or its history could not be written.
        """
        await self.over.wait()
        if self._outcome is None:
            raise self._error or ConflictError("the job was cut off", hint="it can be gone on with")
        return self._outcome

    def listen(self, listener: OnEvent) -> Callable[[], None]:
        """Tell `listener`, which must be quick, of each event, until what is returned is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def end(self, outcome: JobOutcome | None, error: Exception | None) -> None:
        """Say how it ended."""
        self._outcome, self._error = outcome, error
        if outcome is not None:
            self.job_id = outcome.job_id
        self.began.set()
        self.over.set()

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """The history has what came before."""

    def on_event(self, event: Event) -> None:
        """Hand it on."""
        self.job_id = event.job_id
        self.began.set()
        for listener in self._listeners[:]:
            listener(event)

    def on_delta(self, delta: Delta) -> None:
        """Observers follow the history's live folder."""

    def on_warning(self, text: str) -> None:
        """The history says the same when it is looked at."""

    async def complete(self, served: Served, key: ExpertKey) -> Project:
        """Return the project with all Experts of a registry that one leads to, all accepted.

        Raises:
            UnknownExpertError, RegistryError, ConfigError: as `fetching.completed`.
            ConflictError: it was stopped meanwhile.
        """
        from perstack.fetching import completed

        whole = project = served.runtime.project
        with self.control.interruptible() as stopped:
            whole = await completed(project, [key])
        if stopped.cancelled_caught:
            raise ConflictError("the job was stopped before it began")
        new = [text for text in whole.fetch_warnings if text not in project.fetch_warnings]
        for text in new:
            _LOG.warning("%s", text)
        self._warnings.extend(new)
        return whole


class ServedJobs:
    """Starts jobs and goes on with them; `get` finds one that is at work here."""

    def __init__(self, backend: Backend, group: TaskGroup) -> None:
        self._backend = backend
        self._group = group
        self._at_work: set[ServedJob] = set()
        self._others = 0

    def get(self, job_id: JobId) -> ServedJob | None:
        """Return the job if this process drives it."""
        return next((job for job in self._at_work if job.job_id == job_id), None)

    @property
    def count(self) -> int:
        """How many are at work here."""
        return len(self._at_work)

    async def start(
        self,
        expert: ExpertKey,
        query: str,
        *,
        max_steps: int | None = None,
        on_event: OnEvent | None = None,
    ) -> ServedJob:
        """Start a job, and return once it has begun.

        Raises:
            PerstackError: it could not begin.
        """

        async def drive(served: Served, job: ServedJob) -> JobOutcome:
            from perstack.fetching import check_startable

            check_startable(served.runtime.project, expert, query)
            plan = (await job.complete(served, expert)).plan()
            if max_steps is not None:
                settings = plan.settings.model_copy(update={"max_steps": max_steps})
                plan = replace(plan, settings=settings)
            runs = await _able(served)
            return await runs.start(plan, expert, query, listener=job, control=job.control)

        return await self._begin(drive, on_event)

    async def go_on(self, wanted: Continuation, *, on_event: OnEvent | None = None) -> ServedJob:
        """Go on with a job, and return once it has begun.

        One that has said how it ended may be let go of by this process only a moment later.

        Raises:
            PerstackError: it could not.
        """
        if wanted.job_id is not None:
            await self._let_go(wanted.job_id)

        async def drive(served: Served, job: ServedJob) -> JobOutcome:
            from perstack.services.runs import find_job

            found = await find_job(self._backend.history, wanted)
            plan = (await job.complete(served, found.coordinator_expert_key)).plan()
            runs = await _able(served)
            return await runs.go_on(plan, wanted, listener=job, control=job.control)

        return await self._begin(drive, on_event)

    async def _let_go(self, job_id: JobId) -> None:
        """Wait, in bounded time, for a job that stops here, or has ended, to be over."""
        job = self.get(job_id)
        if job is None:
            return
        saved = (await self._backend.history.get_job(job_id)).status
        if saved != "running" or job.control.stopping:
            with anyio.move_on_after(LET_GO_S):
                await job.over.wait()

    def spawn(self, name: str, work: _Work) -> None:
        """Have something else done by the services meanwhile: a workflow, a review loop.

        What goes wrong with it is written down by itself, and logged. It is cut off when the
        server ends, and must be able to go on after that.

        Raises:
            LimitError: as many are at work already as may be.
        """
        self.check_room()
        self._others += 1
        self._group.start_soon(self._do, name, work, name=f"serve:{name}")

    def check_room(self) -> None:
        """Raise if nothing more may be spawned now.

        Raises:
            LimitError: as many are at work already as may be.
        """
        if self._others >= MOST_AT_ONCE:
            raise LimitError(
                f"{MOST_AT_ONCE} workflows and review loops are at work in this server already",
                hint="wait for one to end, or abort one",
            )

    async def _do(self, name: str, work: _Work) -> None:
        try:
            async with self._backend.use() as served:
                await work(served)
        except PerstackError as error:
            _LOG.warning("%s: %s", name, error.message)
        except Exception:  # noqa: BLE001  nobody waits for it; the server lives on
            _LOG.exception("%s failed", name)
        finally:
            self._others -= 1

    def ask_to_stop(self, *, now: bool = False) -> None:
        """Tell every job to stop at a checkpoint, and wait for none."""
        for job in list(self._at_work):
            job.control.stop("user", now=now)

    async def stop_all(self, *, now: bool = False, within_s: float = STOP_WITHIN_S) -> None:
        """Stop every job at a checkpoint within `within_s` seconds; `now` waits for no tool."""
        self.ask_to_stop(now=now)
        with anyio.move_on_after(STOP_NOW_WITHIN_S if now else within_s, shield=True):
            for job in list(self._at_work):
                await job.over.wait()

    async def _begin(self, drive: _Drive, on_event: OnEvent | None) -> ServedJob:
        if len(self._at_work) >= MOST_AT_ONCE:
            raise LimitError(
                f"{MOST_AT_ONCE} jobs are at work in this server already",
                hint="wait for one to end, or stop one",
            )
        job = ServedJob()
        if on_event is not None:
            job.listen(on_event)
        self._at_work.add(job)
        self._group.start_soon(self._drive, job, drive, name="serve:job")
        try:
            await job.begin()
        except anyio.get_cancelled_exc_class():
            job.control.stop("user")
            raise
        return job

    async def _drive(self, job: ServedJob, drive: _Drive) -> None:
        outcome: JobOutcome | None = None
        failed: Exception | None = None
        try:
            async with self._backend.use() as served:
                outcome = await drive(served, job)
        except Exception as error:  # noqa: BLE001  whoever waits for the job is told
            failed = error
        finally:
            self._at_work.discard(job)
            job.end(outcome, failed)


def continuation(
    job_id: JobId,
    *,
    text: str | None = None,
    answer: str | None = None,
    from_checkpoint: CheckpointId | None = None,
    max_steps: int | None = None,
) -> Continuation:
    """Return what to go on with, as clients say it.

    Raises:
        UsageError: both a text and an answer were given.
    """
    from perstack.domain.jobs import SomeLimits
    from perstack.ports.frontend import Continuation

    if text is not None and answer is not None:
        raise UsageError(
            "text and answer exclude each other", hint="give an answer where a question waits"
        )
    return Continuation(
        job_id=job_id,
        checkpoint_id=from_checkpoint,
        text=answer if answer is not None else text,
        is_answer=answer is not None,
        typed=SomeLimits(max_steps=max_steps) if max_steps else None,
    )


async def _able(served: Served) -> Runs:
    """Return what runs jobs; a key that is not set is said beforehand."""
    await served.be_able()
    return served.runtime.runs


@asynccontextmanager
async def open_jobs(
    backend: Backend, *, stop_within_s: float = STOP_WITHIN_S
) -> AsyncGenerator[ServedJobs]:
    """Give what runs jobs; those at work when the block ends are stopped at a checkpoint."""
    with unwrapped():
        async with anyio.create_task_group() as group:
            jobs = ServedJobs(backend, group)
            try:
                yield jobs
            finally:
                await jobs.stop_all(within_s=stop_within_s)
                group.cancel_scope.cancel()
