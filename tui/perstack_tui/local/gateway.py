"""The gateway onto a runtime in this process; other processes are seen through the workspace."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perstack.config.typed import Overrides
from perstack.config.untrusted import Demand
from perstack.domain.consensus import ConsensusCheckpoint, Decision
from perstack.domain.expert import Expert
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId
from perstack.engine.plan import JobOutcome
from perstack.errors import ConfigError, ConflictError, PerstackError, StorageError
from perstack.ports.frontend import CockpitRequest, Continuation, Setup
from perstack.ports.system import RandomIds
from perstack.project import Project, accept
from perstack.projection.views import EntryView, QuestionView
from perstack.providers.breaker import Breakers
from perstack.runtime import Runtime, log_to_file, open_history, open_runtime, open_travel
from perstack.services.runs import find_job
from perstack.services.whoami import whoami
from perstack.wiring import consensus_over, has_database, open_tables
from perstack_tui.local.before import options_before
from perstack_tui.local.comparing import compare_headless
from perstack_tui.local.definitions import Definitions
from perstack_tui.local.fetching import Fetching
from perstack_tui.local.jobs import LocalJob, spawn_headless
from perstack_tui.local.records import LocalRecords
from perstack_tui.local.registry import LocalCatalog
from perstack_tui.local.steering import LocalSteering, SteeringParts
from perstack_tui.local.transcripts import Transcripts
from perstack_tui.local.travel import LocalTravel
from perstack_tui.local.watching import watch_agents
from perstack_tui.ports.gateway import (
    Gateway,
    InboxUpdate,
    LocalJobsUpdate,
    Trouble,
    Update,
)

_LOG: Final = logging.getLogger(__name__)
INBOX_POLL_S: Final = 0.15
NO_DATABASE_POLL_S: Final = 0.5
RETRY_S: Final = 2.0
LEAVE_WITHIN_S: Final = 5.0
DETACH_GRACE_S: Final = 10.0
DETACH_WITHIN_S: Final = 15.0
_QUEUED: Final = 4
# The user has to say something before such a job can go on.
_NEED_WORDS: Final = ("completed", "stoppedByInteractiveTool")


Work = Callable[["Runtime", "LocalJob"], Awaitable[JobOutcome]]


async def open_local_gateway(request: CockpitRequest) -> Gateway:
    """Open the workspace that `request` names; its `runtime` must be a `Setup`."""
    setup = request.runtime
    if not isinstance(setup, Setup):
        raise ConfigError("the cockpit was opened without a setup")
    return LocalGateway(request.workspace, setup)


class LocalGateway:
    """Runs jobs in this process and follows every job of the workspace."""

    def __init__(self, workspace: Path, setup: Setup) -> None:
        self._workspace = workspace
        self._setup = setup
        log_to_file(workspace)
        self._history = open_history(workspace)
        self._transcripts = Transcripts(self._history, workspace / "perstack")
        self._tables = open_tables(workspace)
        self._consensus = consensus_over(self._tables)
        self._breakers = Breakers()
        self._send, self._receive = anyio.create_memory_object_stream[Update](_QUEUED)
        self._group: TaskGroup | None = None
        self._definitions = Definitions(workspace, setup, tell=self._tell, used=self._use)
        self._jobs: dict[JobId, LocalJob] = {}
        self._first_job_id = setup.job_id
        self.steering = LocalSteering(
            SteeringParts(
                workspace, self._jobs, self._tables, self._history, self._project, self._go_on
            )
        )
        past = open_travel(workspace, self._history)
        self.travel = LocalTravel(past, self._go_on, self._experts, self._definitions.left_out)
        self.records = LocalRecords(workspace, self._tables, self._history, self._project)
        self.registry = LocalCatalog(self._project)
        self._fetching = Fetching(self._tell, yes=setup.yes)

    @property
    def workspace(self) -> Path:
        """The folder whose `perstack/` is watched."""
        return self._workspace

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield what happens until closed; everything this gateway does runs while it is open."""
        async with self._receive, self._send, anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._follow, name="cockpit:history")
            group.start_soon(self._watch_inbox, name="cockpit:inbox")
            group.start_soon(self._definitions.watch, name="cockpit:config")
            told = partial(watch_agents, self._workspace, self._tables, self._tell)
            group.start_soon(told, name="cockpit:agents")
            async for update in self._receive:
                yield update
            group.cancel_scope.cancel()

    # ---------------------------------------------------------------- commands

    async def read_entries(
        self, job_id: JobId, run_id: RunId, first: int, count: int
    ) -> Sequence[EntryView]:
        """Read entries of a run's transcript back from the history."""
        return await self._transcripts.read(job_id, run_id, first, count)

    async def start(self, expert_key: ExpertKey, query: str) -> JobId:
        """Start a job in this process and return once it runs."""
        project = await self._fetching.complete(await self._project(), [expert_key])
        job_id = self._first_job_id or JobId(RandomIds().new())
        self._first_job_id = None

        async def work(runtime: Runtime, job: LocalJob) -> JobOutcome:
            return await runtime.runs.start(
                project.plan(),
                expert_key,
                query,
                listener=job,
                control=job.control,
                job_id=job_id,
            )

        await self._launch(job_id, project, work, self._setup.overrides)
        return job_id

    async def compare(self, expert_key: ExpertKey, query: str, contestants: Sequence[str]) -> str:
        """Start a comparison in a process of its own; return its id once it is recorded."""
        given = self._setup.overrides
        project = await self._fetching.complete(await self._project(), [expert_key])
        return await compare_headless(project, given, expert_key, query, contestants)

    async def go_on(self) -> JobId:
        """Go on with the job that was named as the cockpit was opened."""
        wanted = self._setup.continuation
        if wanted is None:
            raise ConflictError("the cockpit was opened for no job")
        job = await find_job(self._history, wanted)
        if wanted.text is not None or job.status not in _NEED_WORDS:
            await self._go_on(wanted, job.id)
        return job.id

    async def follow_up(self, job_id: JobId, text: str) -> None:
        """Go on with a job that has ended or that no process drives."""
        await self._go_on(Continuation(job_id=job_id, text=text or None), job_id)

    async def answer(self, given: Sequence[tuple[QuestionView, str]]) -> None:
        """Answer questions of one run; the job goes on in this process."""
        job_id = given[0][0].job_id
        text = json.dumps(
            [{"toolCallId": question.tool_call_id, "text": text} for question, text in given]
        )
        await self._go_on(Continuation(job_id=job_id, text=text, is_answer=True), job_id)

    async def decide(
        self, consensus_id: ConsensusId, decision: Decision, *, standing: bool = False
    ) -> ConsensusCheckpoint:
        """Decide a consensus checkpoint; a person pressed the key here."""
        decision = decision.model_copy(update={"reviewed_by": whoami()})
        return await self._consensus.record(
            consensus_id, decision, allow_self=True, standing=standing
        )

    async def detach(self, job_ids: Sequence[JobId]) -> None:
        """Hand running jobs of this process to a headless one each, which goes on with them."""
        jobs = [self._jobs[job_id] for job_id in job_ids if job_id in self._jobs]
        for job in jobs:
            job.control.stop("detach", tool_grace_s=DETACH_GRACE_S)
        await self._ended(jobs, within_s=DETACH_WITHIN_S)
        await _hand_over(jobs)

    async def accept(self, demands: Sequence[Demand]) -> None:
        """Remember that the user accepted what the configuration asks for."""
        project = await self._project()
        await anyio.to_thread.run_sync(accept, project, demands)
        await self._fetching.accept(demands)

    async def aclose(self) -> None:
        """Stop what still runs at a step boundary (bounded in time) and close everything."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.control.stop("user")
        await self._ended(jobs, within_s=LEAVE_WITHIN_S)
        with anyio.move_on_after(1, shield=True):
            await self._consensus.aclose()
        self._transcripts.close()
        self._send.close()

    # ---------------------------------------------------------------- jobs of this process

    async def _ended(self, jobs: Sequence[LocalJob], *, within_s: float) -> None:
        with anyio.move_on_after(within_s) as scope:
            for job in jobs:
                await job.over.wait()
        if scope.cancelled_caught:
            with anyio.move_on_after(1):
                for job in jobs:
                    job.control.stop("user", now=True)
                    await job.over.wait()

    async def _go_on(self, wanted: Continuation, job_id: JobId) -> None:
        overrides = self._setup.overrides
        if wanted is not self._setup.continuation:
            overrides = await self._as_before(job_id)
        project = await self._definitions.project(overrides)
        if not wanted.own_definitions:
            job = await self._history.get_job(job_id)
            project = await self._fetching.complete(project, [job.coordinator_expert_key])

        async def work(runtime: Runtime, job: LocalJob) -> JobOutcome:
            return await runtime.runs.go_on(
                project.plan(), wanted, listener=job, control=job.control
            )

        await self._launch(job_id, project, work, overrides)

    async def _experts(self, job_id: JobId) -> Mapping[ExpertKey, Expert]:
        """The Experts as they are defined now, and those of the registry for the job."""
        project = await self._definitions.project(self._setup.overrides)
        job = await self._history.get_job(job_id)
        return (await self._fetching.complete(project, [job.coordinator_expert_key])).experts

    async def _as_before(self, job_id: JobId) -> Overrides:
        """The options under which the file gives what the job was started with."""
        job = await self._history.get_job(job_id)
        stored = await self._history.read_run(job_id, job.coordinator_run_id)
        given = self._setup.overrides
        now = (await self._definitions.project(given)).config.settings
        return options_before(given, stored.setting.settings, now)

    async def _launch(
        self,
        job_id: JobId,
        project: Project,
        work: Work,
        overrides: Overrides,
    ) -> None:
        """Run `work` beside everything else; return once it got going, raise what kept it."""
        if self._group is None:
            raise ConflictError("the cockpit is not open yet")
        if job_id in self._jobs:
            raise ConflictError("this process already runs that job")
        job = LocalJob(job_id, project, overrides)
        self._jobs[job_id] = job
        self._group.start_soon(self._drive, job, work, name=f"job:{job_id}")
        # From here on it runs: whoever gives up waiting could not tell what became of it.
        with anyio.CancelScope(shield=True):
            await job.going.wait()
        if job.error is not None:
            raise job.error
        self._group.start_soon(self._fetching.tell, project, name="cockpit:warnings")

    async def _drive(self, job: LocalJob, work: Work) -> None:
        error: PerstackError | None = None
        try:
            await self._announce_jobs()
            async with open_runtime(
                job.project,
                history=self._history,
                tables=self._tables,
                breakers=self._breakers,
            ) as runtime:
                job.desk = runtime.services.desk
                job.outcome = await work(runtime, job)
        except PerstackError as caught:
            error = caught
        except Exception as bug:  # noqa: BLE001  the edge between jobs and the screen
            # A bug in one job must take neither the screen nor the other jobs with it.
            error = _logged(bug, job.job_id, self._workspace)
        finally:
            self._jobs.pop(job.job_id, None)
            had_begun = job.going.is_set()
            job.error = error
            job.going.set()
            job.over.set()
        if error is not None and had_begun:
            await self._tell(Trouble(error.message, error.hint))
        await self._announce_jobs()

    async def _tell(self, update: Update) -> None:
        # While the cockpit is being left, what is still said has no listener any more.
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._send.send(update)

    async def _announce_jobs(self) -> None:
        await self._tell(LocalJobsUpdate(frozenset(self._jobs)))

    # ---------------------------------------------------------------- what is watched

    async def _project(self) -> Project:
        return await self._definitions.project(self._setup.overrides)

    def _use(self, project: Project) -> None:
        self._consensus.auto_reject = project.config.settings.consensus.auto_reject
        log_to_file(self._workspace, project.secrets)

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._history.follow()) as batches:
                    async for batch in batches:
                        await self._tell(batch)
            except PerstackError as error:
                await self._tell(Trouble(error.message, error.hint))
                await anyio.sleep(RETRY_S)

    async def _watch_inbox(self) -> None:
        # Loading the database library takes longer than the first paint; without a database
        # nothing can wait, and whoever proposes the first checkpoint makes one.
        while True:
            if not has_database(self._workspace):
                await anyio.sleep(NO_DATABASE_POLL_S)
                continue
            try:
                async with aclosing(self._consensus.watch(poll_s=INBOX_POLL_S)) as inboxes:
                    async for inbox in inboxes:
                        await self._tell(InboxUpdate((*inbox.pending, *inbox.decided)))
            except PerstackError as error:
                await self._tell(Trouble(error.message, error.hint))
                await anyio.sleep(RETRY_S)


async def _hand_over(jobs: Sequence[LocalJob]) -> None:
    """Have processes of their own go on with the jobs that were stopped for it."""
    failed: list[PerstackError] = []
    for job in (job for job in jobs if job.was_detached):
        try:
            await anyio.to_thread.run_sync(_go_on_headless, job)
        except PerstackError as error:
            failed.append(error)
    if late := [job.job_id for job in jobs if not job.over.is_set()]:
        failed.append(
            ConflictError(
                f"{', '.join(late)} did not stop within {DETACH_WITHIN_S:g} s",
                hint="its checkpoints are kept: perstack run <expert> --continue-job ID",
            )
        )
    if failed:
        raise _together(failed)


def _go_on_headless(job: LocalJob) -> None:
    """Start a process of its own session that takes the job up, with its own definitions.

    Raises:
        StorageError: it could not be started; the job is stopped, its checkpoint kept.
    """
    try:
        spawn_headless(job)
    except OSError as error:
        raise StorageError(
            f"job {job.job_id} cannot be detached: {error.strerror}",
            hint=f"perstack run {job.expert_key} --continue-job {job.job_id}",
        ) from error


def _together(failed: Sequence[PerstackError]) -> PerstackError:
    if len(failed) == 1:
        return failed[0]
    return PerstackError("; ".join(error.message for error in failed), hint=failed[0].hint)


def _logged(bug: Exception, job_id: JobId, workspace: Path) -> PerstackError:
    _LOG.error("job %s", job_id, exc_info=bug)
    return PerstackError(
        f"internal error: {type(bug).__name__}; the job can be continued",
        hint=f"{workspace}/perstack/logs/perstack.log says where",
    )
