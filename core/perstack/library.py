"""Perstack inside another program: what `import perstack` gives.

    project = perstack.load_project("perstack.toml")
    async with perstack.start(project, "writer", "A haiku about rain") as job:
        async for event in job:
            print(event.body.type)
    print(job.outcome.outcome.text)

Everything runs in the caller's event loop (asyncio), in the folder of the project.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from perstack.config.typed import Overrides
from perstack.config.untrusted import UntrustedError
from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import Delta, Event
from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import JobOutcome
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.fetching import completed
from perstack.foreign import ForeignModel, ForeignSkills
from perstack.ports.frontend import Continuation
from perstack.ports.history import History
from perstack.ports.model import ChatModel
from perstack.ports.skills import SkillOpener
from perstack.project import Project, open_project
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.run_state import RunState
from perstack.runtime import Runtime, open_consensus, open_runtime
from perstack.services.runs import find_job

if TYPE_CHECKING:
    from perstack.services.consensus import ConsensusService

STOP_WITHIN_S: Final = 10.0
WRITTEN_WITHIN_S: Final = 2.0
_BETWEEN_LOOKS_S: Final = 0.02
_ACCEPTING: Final = "type perstack install --yes (once), or load_project(…, accept_registry=True)"
T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)

OnEvent = Callable[[Event], None]
OnDelta = Callable[[Delta], None]
_Send = MemoryObjectSendStream[Event]
_Receive = MemoryObjectReceiveStream[Event]
_Work = Callable[[Runtime, "Job"], Awaitable[JobOutcome]]


def load_project(
    config: str | Path,
    *,
    workspace: str | Path | None = None,
    overrides: Overrides | None = None,
    accept_registry: bool = False,
) -> Project:
    """Read a configuration that the program names, and is therefore trusted. Blocks on the disk.

    Experts work in `workspace`, by default the configuration's folder. `overrides` are what the
    command line's options would say. With `accept_registry`, whatever Experts of the registry
    would do is accepted, and remembered; else their user or `perstack.lock` has to accept it.

    Raises:
        ConfigError: the file, or an env file beside it, cannot be used.
        UsageError: the workspace is no folder, or an override is no usable value.
    """
    path = Path(config).absolute()
    project = open_project(Path(workspace or path.parent), path, overrides)
    if not project.workspace.is_dir():
        raise UsageError(f"{project.workspace} is not a folder", hint="make it first")
    return replace(project, accepts_registry=accept_registry)


@dataclass(frozen=True, slots=True)
class Parts:
    """What to use instead of what the project says: a provider, a store, tools of one's own.

    A `model` and `skills` are made for one job each (the model is closed with it); a `history`
    may be shared by many. What a model raises fails the run, what a tool raises is its result;
    both are logged.
    """

    model: ChatModel | None = None
    history: History | None = None
    skills: SkillOpener | None = None


_NO_PARTS: Final = Parts()


class Job:
    """A job at work: an asynchronous iterator of its events, inside one `async with` block.

    Leaving the block early stops the job at a checkpoint, and so does an error of a listener.
    `outcome` is there once it has ended. Events wait in memory until they are read. An error
    that kept the job from running, or a listener's, is raised by the block.
    """

    def __init__(
        self,
        project: Project,
        work: _Work,
        parts: Parts,
        *,
        on_event: OnEvent | None,
        on_delta: OnDelta | None,
    ) -> None:
        self.control = StopControl()
        self._project = project
        self._work = work
        self._parts = parts
        self._on_event = on_event
        self._on_delta = on_delta
        self._events: tuple[_Send, _Receive] | None = None
        self._outcome: JobOutcome | None = None
        self._unheard: Exception | None = None
        self._over = anyio.Event()
        self._stack = AsyncExitStack()

    @property
    def outcome(self) -> JobOutcome:
        """How the job's driving ended.

        Raises:
            ConflictError: it has not ended yet.
        """
        if self._outcome is None:
            raise ConflictError("the job has not ended yet", hint="read its events to the end")
        return self._outcome

    async def __aenter__(self) -> Self:
        """Begin the job.

        Raises:
            ConflictError: it was begun before.
        """
        if self._events is not None:
            raise ConflictError("the job has begun already", hint="start another one")
        self._events = anyio.create_memory_object_stream[Event](float("inf"))
        self._stack.enter_context(unwrapped())
        group: TaskGroup = await self._stack.enter_async_context(anyio.create_task_group())
        # Whoever cancels the reader does not cancel the job: it is stopped, in bounded time.
        scope = anyio.CancelScope(shield=True)
        self._stack.callback(scope.cancel)
        group.start_soon(self._drive, scope)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._events is not None:
            self._events[1].close()
        if not self._over.is_set():
            self.control.stop("user")
            with anyio.move_on_after(STOP_WITHIN_S, shield=True):
                await self._over.wait()
        try:
            return await self._stack.__aexit__(exc_type, exc, traceback)
        except BaseExceptionGroup as group:
            # The reader's own error, which the task group wrapped, leaves the block as it was.
            if group.exceptions == (exc,):
                return False
            if exc is not None or len(group.exceptions) != 1:
                raise
            lone = group.exceptions[0]
        raise lone

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._events is None:
            raise ConflictError("the job has not begun", hint="read it inside `async with`")
        try:
            return await self._events[1].receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def _drive(self, scope: anyio.CancelScope) -> None:
        parts = self._parts
        opened = open_runtime(
            self._project,
            model=ForeignModel(parts.model) if parts.model is not None else None,
            history=parts.history,
            skills=ForeignSkills(parts.skills) if parts.skills is not None else None,
        )
        try:
            with scope:
                async with opened as runtime:
                    self._outcome = await self._work(runtime, self)
            if self._unheard is not None:
                raise self._unheard
        finally:
            self._over.set()
            if self._events is not None:
                self._events[0].close()

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Nothing to tell: the history has what came before."""

    def on_event(self, event: Event) -> None:
        """Hand an event on."""
        self._tell(self._on_event, event)
        # While the block is being left, nobody reads any more.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            if self._events is not None:
                self._events[0].send_nowait(event)

    def on_delta(self, delta: Delta) -> None:
        """Hand streaming text on."""
        self._tell(self._on_delta, delta)

    def on_warning(self, text: str) -> None:
        """Log it: a damaged end of the history, say, that was cut off."""
        _LOG.warning("%s", text)

    def _tell(self, listener: Callable[[T], None] | None, what: T) -> None:
        """Call a listener. Its first error stops the job, which ends as any that is stopped."""
        if listener is None or self._unheard is not None:
            return
        try:
            listener(what)
        except Exception as error:  # noqa: BLE001  it is the caller's own, raised by the block
            self._unheard = error
            self.control.stop("user")


def start(
    project: Project,
    expert: str,
    query: str,
    *,
    job_id: str | None = None,
    parts: Parts = _NO_PARTS,
    on_event: OnEvent | None = None,
    on_delta: OnDelta | None = None,
) -> Job:
    """Return a new job of `expert`; it runs inside the job's `async with` block.

    `on_event` hears every event as it is recorded, `on_delta` what models say as they say it; both
    must return quickly.

    `expert` may be the key of one of the registry: `name`, `name@1.2.3`, `@organisation/name@tag`.

    Raises:
        UsageError: the query is blank.
    """
    if not query.strip():
        raise UsageError("a new job needs a query")

    async def work(runtime: Runtime, job: Job) -> JobOutcome:
        key = ExpertKey(expert)
        return await runtime.runs.start(
            (await _completed(project, key, job)).plan(),
            key,
            query,
            listener=job,
            control=job.control,
            job_id=JobId(job_id) if job_id else None,
        )

    return Job(project, work, parts, on_event=on_event, on_delta=on_delta)


def go_on(
    project: Project,
    job_id: str | None = None,
    *,
    text: str | None = None,
    answer: str | None = None,
    from_checkpoint: str | None = None,
    parts: Parts = _NO_PARTS,
    on_event: OnEvent | None = None,
    on_delta: OnDelta | None = None,
) -> Job:
    """Return a job that goes on: the latest one, or `job_id`.

    With `text` the user says something more; with `answer` the question that waits is answered.
    With `from_checkpoint` the job is forked there.

    Raises:
        UsageError: both `text` and `answer`, or a checkpoint without its job.
    """
    if text is not None and answer is not None:
        raise UsageError("either text or answer, not both")
    if from_checkpoint is not None and job_id is None:
        raise UsageError("a checkpoint is found by its job", hint="give job_id as well")
    wanted = Continuation(
        job_id=JobId(job_id) if job_id else None,
        checkpoint_id=CheckpointId(from_checkpoint) if from_checkpoint else None,
        text=text if answer is None else answer,
        is_answer=answer is not None,
    )

    async def work(runtime: Runtime, job: Job) -> JobOutcome:
        key = (await find_job(runtime.history, wanted)).coordinator_expert_key
        plan = (await _completed(project, key, job)).plan()
        return await runtime.runs.go_on(plan, wanted, listener=job, control=job.control)

    return Job(project, work, parts, on_event=on_event, on_delta=on_delta)


async def _completed(project: Project, key: ExpertKey, job: Job) -> Project:
    """Return the project with what it needs of the registry, unless the job is stopped before."""
    whole = project
    with job.control.interruptible() as stopped:
        try:
            whole = await completed(project, [key])
        except UntrustedError as error:
            error.hint = _ACCEPTING
            raise
    if stopped.cancelled_caught:
        raise ConflictError("the job was stopped before it began")
    for warning in whole.fetch_warnings:
        job.on_warning(warning)
    return whole


async def run(
    project: Project,
    expert: str,
    query: str,
    *,
    parts: Parts = _NO_PARTS,
    on_event: OnEvent | None = None,
) -> JobOutcome:
    """Run a new job to its end and return how it ended.

    Raises:
        PerstackError: it could not be started, or its history not be written.
    """
    job = start(project, expert, query, parts=parts, on_event=on_event)
    async with job:
        async for _ in job:
            pass
    return job.outcome


async def decide(
    project: Project,
    consensus_id: str,
    *,
    approved: bool,
    feedback: str | None = None,
    reviewed_by: str,
) -> ConsensusCheckpoint:
    """Decide a consensus checkpoint of the project's workspace; the run that waits sees it.

    One that a run has just announced (`requestApproval`) is waited for, two seconds at most.

    Raises:
        NotFoundError: there is none with that id.
        ConflictError: somebody was first, or it expired.
        DeniedError: this process is part of a run.
    """
    consensus = open_consensus(project.workspace)
    wanted = ConsensusId(consensus_id)
    try:
        await _until_written(consensus, wanted)
        return await consensus.decide(
            wanted,
            approved=approved,
            feedback=feedback,
            reviewed_by=reviewed_by,
            allow_self=True,
        )
    finally:
        await consensus.aclose()


async def _until_written(consensus: ConsensusService, wanted: ConsensusId) -> None:
    """Wait, in bounded time: what a run announces is in its history first, then in the database."""
    with anyio.move_on_after(WRITTEN_WITHIN_S):
        while True:
            with suppress(NotFoundError):
                await consensus.show(wanted)
                return
            await anyio.sleep(_BETWEEN_LOOKS_S)


def as_json(event: Event) -> dict[str, object]:
    """Return an event as `perstack run` prints it, without what earlier events would add."""
    return dict(PerstackJson(full=False).event(event))
