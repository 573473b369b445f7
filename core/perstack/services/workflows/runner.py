"""Runs workflows phase by phase, each result stored before the next phase begins."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from pydantic import JsonValue

from perstack.domain.ids import SessionId
from perstack.domain.workflows import (
    MAX_ITERATIONS,
    Finding,
    PhaseResult,
    Step,
    WorkflowConfig,
    WorkflowReport,
    WorkflowRun,
    WorkflowRunId,
    latest,
    make_report,
    next_step,
)
from perstack.errors import ConflictError, PerstackError, StorageError, UsageError
from perstack.ports.reviews import Lease
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bus import Message, MessageBus, Unsubscribe
from perstack.services.handle import Handle
from perstack.services.leases import Drive, LostError, patiently

MAX_PHASES: Final = 50
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class PhaseContext:
    """What a phase knows: the run, the repair it is part of (0: none), and all results so far."""

    run_id: WorkflowRunId
    config: WorkflowConfig
    session_id: SessionId | None
    iteration: int
    results: Sequence[PhaseResult]

    def latest(self, phase: str) -> PhaseResult | None:
        """Return a phase's latest result, None when it was not done yet."""
        return latest(self.results).get(phase)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the latest results of all phases found."""
        return tuple(one for result in latest(self.results).values() for one in result.findings)


PhaseExecutor = Callable[[PhaseContext], Awaitable[PhaseResult]]
Listener = Callable[[Mapping[str, JsonValue]], Awaitable[object] | object]


class WorkflowRunner:
    """Drives runs; one whose process died or that failed goes on after its last stored result.

    What happens is told on the bus: `workflow:start`, `phase:start`, `finding`, `phase:complete`,
    `workflow:complete`, `workflow:error`. `ids` gives UUIDs.
    """

    def __init__(self, stores: Handle[Stores], *, bus: MessageBus, clock: Clock, ids: Ids) -> None:
        self._stores = stores
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._executors: dict[tuple[str | None, str], PhaseExecutor] = {}
        self._driven: dict[WorkflowRunId, Drive] = {}

    def register_phase(
        self, phase: str, executor: PhaseExecutor, *, workflow: str | None = None
    ) -> None:
        """Say how a phase is done: in any workflow, or in the one with the id `workflow`."""
        self._executors[workflow, phase] = executor

    def on(self, event: str, listener: Listener) -> Unsubscribe:
        """Call `listener` with the payload of each such event of workflows of this process."""

        def heard(message: Message) -> Awaitable[object] | object:
            if message.type == event and message.sender.startswith("workflow:"):
                return listener(message.payload)
            return None

        return self._bus.subscribe_all(heard)

    async def run(
        self, config: WorkflowConfig, *, session_id: SessionId | None = None
    ) -> WorkflowReport:
        """Do a workflow from its beginning to its report.

        Raises:
            UsageError: the configuration cannot be used.
            ConflictError: it was aborted, or another process took it over.
            PerstackError: a phase could not be done; `resume` goes on with that phase.
        """
        run = await self.create(config, session_id=session_id)
        return await self.resume(run.id)

    async def create(
        self, config: WorkflowConfig, *, session_id: SessionId | None = None
    ) -> WorkflowRun:
        """Write a run; `resume` drives it.

        Raises:
            UsageError: the configuration cannot be used.
        """
        _check(config)
        run = WorkflowRun(
            id=WorkflowRunId(self._ids.new()),
            config=config,
            session_id=session_id,
            started_at=self._clock.now_ms(),
        )
        await self._stores.ask(lambda stores: stores.workflows.add(run))
        return run

    async def resume(self, run_id: WorkflowRunId) -> WorkflowReport:
        """Drive a run from where it stands to its report; a completed one's is just returned.

        Raises:
            NotFoundError: `Workflow run not found`.
            ConflictError: it was aborted, or another process drives it.
            PerstackError: a phase could not be done.
        """
        run = await self.get(run_id)
        if run.report is not None:
            return run.report
        drive = Drive(_Claim(self._stores, run_id), clock=self._clock, ids=self._ids)
        self._driven.setdefault(run_id, drive)
        try:
            await drive.during(lambda: self._work(run_id, drive))
        finally:
            if self._driven.get(run_id) is drive:
                del self._driven[run_id]
        run = await self.get(run_id)
        if run.report is None:
            raise _not_driven(run)
        return run.report

    async def abort(self, run_id: WorkflowRunId) -> WorkflowRun:
        """End a run, whoever drives it; what it does now is stopped within a second.

        Raises:
            NotFoundError: `Workflow run not found`.
            ConflictError: it has ended already.
        """
        now = self._clock.now_ms()
        run = await self.get(run_id)
        if not await self._stores.ask(lambda stores: stores.workflows.abort(run_id, now_ms=now)):
            raise ConflictError(f"the workflow run is already {run.status}")
        drive = self._driven.get(run_id)
        if drive is not None:
            drive.stop()
        return await self.get(run_id)

    async def get(self, run_id: WorkflowRunId) -> WorkflowRun:
        """Return a run with the results of its phases.

        Raises:
            NotFoundError: `Workflow run not found`.
        """
        return await self._stores.ask(lambda stores: stores.workflows.get(run_id))

    async def list(self, *, limit: int = 100) -> Sequence[WorkflowRun]:
        """Return runs, newest first."""
        return await self._stores.ask(lambda stores: stores.workflows.list(limit=limit))

    # ------------------------------------------------------------ internals

    async def _work(self, run_id: WorkflowRunId, drive: Drive) -> None:
        run = await self.get(run_id)
        await self._tell(run_id, "workflow:start", {"config": _json(run.config)})
        try:
            while (step := next_step(run.config, run.results)) is not None:
                result = await self._phase(run, step)
                await self._keep(run, result, drive)
                run = run.model_copy(update={"results": (*run.results, result)})
        except (StorageError, LostError):
            raise
        except Exception as error:
            await self._fail(run, error, drive)
            raise
        report = make_report(run, now_ms=self._clock.now_ms())
        if not await self._finish(run_id, drive, report, None):
            raise LostError
        await self._tell(run_id, "workflow:complete", {"report": _json(report)})

    async def _phase(self, run: WorkflowRun, step: Step) -> PhaseResult:
        executor = self._executors.get((run.config.id, step.phase)) or self._executors.get(
            (None, step.phase)
        )
        if executor is None:
            return PhaseResult(
                phase=step.phase, success=True, iteration=step.iteration, skipped=True
            )
        place: dict[str, JsonValue] = {"phase": step.phase, "iteration": step.iteration}
        await self._tell(run.id, "phase:start", place)
        began = anyio.current_time()
        result = await executor(
            PhaseContext(run.id, run.config, run.session_id, step.iteration, run.results)
        )
        spent = round((anyio.current_time() - began) * 1000)
        # Which phase this was and how long it took is the runner's to say.
        return result.model_copy(
            update={"phase": step.phase, "iteration": step.iteration, "duration": spent}
        )

    async def _keep(self, run: WorkflowRun, result: PhaseResult, drive: Drive) -> None:
        number = len(run.results)

        async def add() -> bool:
            lease = drive.lease()
            return await self._stores.ask(
                lambda stores: stores.workflows.add_result(run.id, number, result, lease)
            )

        if not await patiently(add):
            raise LostError
        for finding in result.findings:
            await self._tell(run.id, "finding", {"finding": _json(finding)})
        await self._tell(run.id, "phase:complete", {"result": _json(result)})

    async def _fail(self, run: WorkflowRun, error: Exception, drive: Drive) -> None:
        # What foreign code raises may hold anything; only our own errors are written to be read.
        why = error.message if isinstance(error, PerstackError) else type(error).__name__
        await self._finish(run.id, drive, None, why)
        await self._tell(run.id, "workflow:error", {"error": why})

    async def _finish(
        self, run_id: WorkflowRunId, drive: Drive, report: WorkflowReport | None, why: str | None
    ) -> bool:
        async def finish() -> bool:
            lease = drive.lease()
            return await self._stores.ask(
                lambda stores: stores.workflows.finish(run_id, lease, report=report, error=why)
            )

        return await patiently(finish)

    async def _tell(
        self, run_id: WorkflowRunId, event: str, payload: Mapping[str, JsonValue]
    ) -> None:
        await self._bus.broadcast(f"workflow:{run_id}", event, {"runId": run_id, **payload})


class _Claim:
    """Implements `leases.Holder` for one run."""

    def __init__(self, stores: Handle[Stores], run_id: WorkflowRunId) -> None:
        self._stores = stores
        self._id = run_id

    async def claim(self, lease: Lease) -> bool:
        return await self._stores.ask(lambda stores: stores.workflows.claim(self._id, lease))

    async def beat(self, lease: Lease) -> bool:
        return await self._stores.ask(lambda stores: stores.workflows.beat(self._id, lease))

    async def release(self, lease: Lease) -> None:
        await self._stores.ask(lambda stores: stores.workflows.release(self._id, lease))


def _check(config: WorkflowConfig) -> None:
    if not 1 <= len(config.phases) <= MAX_PHASES:
        raise UsageError(f"a workflow has 1 to {MAX_PHASES} phases")
    if len(set(config.phases)) < len(config.phases):
        raise UsageError("a phase is named twice")
    if not all(_NAME.fullmatch(name) for name in (config.id, *config.phases)):
        raise UsageError("a workflow or phase has a name that cannot be used")
    if not 0 <= config.max_iterations <= MAX_ITERATIONS:
        raise UsageError(f"maxIterations must be 0 to {MAX_ITERATIONS}")


def _not_driven(run: WorkflowRun) -> PerstackError:
    if run.status == "aborted":
        return ConflictError("the workflow run was aborted")
    return ConflictError(
        "the workflow run is driven already",
        hint="it can be resumed ten seconds after that process died",
    )


def _json(
    value: WorkflowConfig | WorkflowReport | PhaseResult | Finding,
) -> JsonValue:
    shown: JsonValue = value.model_dump(mode="json", exclude_none=True)
    return shown
