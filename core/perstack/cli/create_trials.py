"""Trials of drafts: real jobs, each with its history in a folder of its own below the records."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from perstack.domain.coordination import CoordinationSettings
from perstack.domain.events import Delta, Event
from perstack.domain.ids import JobId, RunId
from perstack.domain.settings import ConsensusSettings, NotifySettings, Settings, SnapshotSettings
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import JobOutcome, Plan
from perstack.errors import PerstackError
from perstack.ports.system import SystemClock, Uuids
from perstack.project import Project
from perstack.projection.log_filter import LogFilter, parse_steps
from perstack.projection.log_scan import LogRequest, LogScan
from perstack.projection.plain import PlainLines
from perstack.projection.run_state import RunState
from perstack.runtime import Runtime, open_history, open_runtime
from perstack.services.creating import Trial, Tried
from perstack.services.creating_budget import TRIAL_STEPS, SharedBudget
from perstack.services.handle import Handle
from perstack.services.looking import JobRuns
from perstack.storage.database.opener import database_path, open_memory_store, open_stores
from perstack.storage.files import explained
from perstack.wiring import Tables

_STOP_WITHIN_S: Final = 10.0
_CLOSING_S: Final = 3.0
_LOG_EVENTS: Final = 200
_LISTED: Final = 50
_OWN: Final = ("perstack", ".git")
# What tells how the work went; the rest is bookkeeping.
_TOLD: Final = frozenset(
    {
        "startRun",
        "callTools",
        "toolReturned",
        "callDelegate",
        "requestApproval",
        "skillLog",
        "retry",
        "completeRun",
        "suspendRun",
        "stopRunByInteractiveTool",
        "stopRunByExceededMaxSteps",
        "stopRunByExceededBudget",
        "stopRunByError",
    }
)
# It still asks the user, or waits for a person: both are what a trial has to show.
_WHY: Final = {
    "asked": "it asks the user a question, whom nobody can reach in a trial",
    "awaiting": "it waits for a person to allow a tool call, whom nobody can reach in a trial",
}


class TrialRunner:
    """Runs trials in `folder`, a subfolder each. `line` is given what is to be shown of them."""

    def __init__(
        self,
        project: Project,
        folder: Path,
        budget: SharedBudget,
        line: Callable[[str], None],
    ) -> None:
        self._project = project
        self._folder = folder
        self._budget = budget
        self._line = line

    def place(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self._folder / str(number)

    async def run(self, trial: Trial) -> Tried:
        """Run one to its end, within its limits. Cancelling stops it in bounded time.

        Raises:
            PerstackError: it could not be run at all.
        """
        place = self.place(trial.number)
        await anyio.to_thread.run_sync(_lay_out, place, trial.files)
        settings = trial_settings(self._project.config.settings, self._budget)
        config = replace(self._project.config, settings=settings, experts=dict(trial.experts))
        project = replace(self._project, workspace=place, file=config, config=config, listed={})
        self._line(f"Trial {trial.number}: {trial.expert} in {place}")
        try:
            with unwrapped():
                ended = await self._in(project, trial)
        except PerstackError as error:
            # A server that does not start, say: that is what the model has to mend.
            self._line(f"Trial {trial.number}: failed")
            why = f"{error.message}; {error.hint}" if error.hint else error.message
            return Tried("failed", "", steps=0, tokens=0, cost_usd=None, error=why)
        self._line(f"Trial {trial.number}: {ended.outcome.ending}")
        return _tried(ended, await anyio.to_thread.run_sync(_files_in, place))

    async def _in(self, project: Project, trial: Trial) -> JobOutcome:
        # Of its own even where the workspace's tables are on a server: nothing of it stays there.
        tables = _own_tables(project.workspace)
        try:
            async with open_runtime(project, tables=tables) as runtime:
                return await self._drive(runtime, trial)
        finally:
            with anyio.move_on_after(_CLOSING_S, shield=True):
                await tables.aclose()

    async def _drive(self, runtime: Runtime, trial: Trial) -> JobOutcome:
        """Drive the job to its end; being cancelled stops it at a checkpoint."""
        control, listener = StopControl(), _TrialLines(self._budget, self._line)
        endings: list[JobOutcome] = []
        over = anyio.Event()
        plan = _plan(runtime, trial)

        async def work(scope: anyio.CancelScope) -> None:
            try:
                with scope:
                    endings.append(
                        await runtime.runs.start(
                            plan, trial.expert, trial.query, listener=listener, control=control
                        )
                    )
            finally:
                over.set()

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope(shield=True)
            group.start_soon(work, scope)
            try:
                await over.wait()
            finally:
                if not over.is_set():
                    control.stop("user", now=True)
                    with anyio.move_on_after(_STOP_WITHIN_S, shield=True):
                        await over.wait()
                scope.cancel()
        return endings[0]

    async def read_log(self, number: int, step: str | None) -> str:
        """Return what happened in a trial, as `perstack log` tells it.

        Raises:
            UsageError: `step` is no choice of steps.
        """
        history = open_history(self.place(number))
        only = LogFilter(_TOLD, parse_steps(step) if step else None)
        latest = await history.find_latest_job()
        if latest is None:
            return "Nothing was recorded: it did not begin."
        runs = JobRuns(await history.list_runs(latest.id))
        lines: list[str] = []
        # Single steps uncut; all of them would fill the context.
        request = LogRequest(only, take=_LOG_EVENTS, points=runs.points, verbose=bool(step))
        scan = LogScan(request, lines.append)
        batches = history.read_records(JobId(latest.id), runs.ids)
        try:
            async for batch in batches:
                for record in batch.records:
                    scan.take(record)
        finally:
            await batches.aclose()
        more = [f"{scan.shown} of {scan.matched} events shown"] * (scan.shown < scan.matched)
        return "\n".join([scan.summary.line(), *lines, *more])


def trial_settings(settings: Settings, budget: SharedBudget) -> Settings:
    """Return the user's settings with a trial's limits, and nothing that reaches out of it.

    Gates before delegations are off, since nobody could decide them; a tool that has to be
    approved still waits, which ends the trial.
    """
    return settings.model_copy(
        update={
            "max_steps": min(settings.max_steps, TRIAL_STEPS),
            "budget": budget.of_trial(),
            "consensus": ConsensusSettings(),
            "notify": NotifySettings(),
            "snapshots": SnapshotSettings(enabled=False),
            "coordination": CoordinationSettings(),
        }
    )


def _plan(runtime: Runtime, trial: Trial) -> Plan:
    # What these Experts ask for was shown to the user and allowed, or is not in them any more.
    plan = runtime.project.plan(wait_at_gates=False)
    return replace(plan, experts=trial.experts, config_path=None, admit=_admitted)


def _admitted(_: object) -> None:
    return None


def _own_tables(place: Path) -> Tables:
    target, clock, ids = database_path(place), SystemClock(), Uuids()
    stores = partial(open_stores, target, clock=clock, ids=ids)
    memory = partial(open_memory_store, target, clock=clock, ids=ids)
    return Tables(place, Handle(stores), Handle(memory))


def _lay_out(place: Path, files: Mapping[str, str]) -> None:
    """Make a trial's folder with its files; what a crash left of an earlier one goes away."""
    with explained("make", place):
        place.mkdir(mode=0o700, parents=True)
        for name, text in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")


def _files_in(place: Path) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(each for each in folders if each not in _OWN)
        for name in sorted(names):
            path = Path(folder, name)
            with suppress(OSError):  # gone in the meantime
                found.append((path.relative_to(place).as_posix(), path.lstat().st_size))
            if len(found) >= _LISTED:
                return tuple(found)
    return tuple(found)


def _tried(ended: JobOutcome, files: tuple[tuple[str, int], ...]) -> Tried:
    outcome, spent = ended.outcome, ended.spent
    error = outcome.error.message if outcome.error else _WHY.get(outcome.ending)
    if outcome.ending == "limit":
        error = str(outcome.overrun) if outcome.overrun else "the step limit was reached"
    return Tried(
        outcome.ending,
        outcome.text,
        spent.steps,
        spent.usage.total_tokens,
        None if spent.cost.partial else spent.cost.usd,
        error,
        files,
    )


class _TrialLines:
    """Shows a trial as indented progress lines, and counts what it uses."""

    def __init__(self, budget: SharedBudget, line: Callable[[str], None]) -> None:
        self._budget = budget
        self._line = line
        self._lines = PlainLines()

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Remember how the run stood."""
        self._lines.seed(run_id, state)

    def on_event(self, event: Event) -> None:
        """Show what there is to say."""
        self._budget.note(event)
        for line in self._lines.event(event):
            self._line(f"  | {line}")

    def on_delta(self, delta: Delta) -> None:
        """Say nothing: what was finished is told."""

    def on_warning(self, text: str) -> None:
        """Show it."""
        self._line(f"  | Warning: {text}")
