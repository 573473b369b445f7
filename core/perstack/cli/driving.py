"""Drives a job from the command line: signals stop it, its outcome becomes the exit code."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from perstack.cli.again import go_on_command
from perstack.cli.listeners import say
from perstack.cli.options import Asked
from perstack.cli.registry_experts import complete
from perstack.domain.ids import ExpertKey, JobId
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import JobOutcome, Listener
from perstack.errors import UsageError
from perstack.fetching import check_startable
from perstack.ports.desk import LIMITS
from perstack.ports.experts import Stoppable
from perstack.project import Project, open_project
from perstack.runtime import Runtime, late_model, log_to_file, open_history, open_runtime, warm_up
from perstack.services.runs import find_job
from perstack.services.staying import stays_with

if TYPE_CHECKING:
    from perstack.cli.listeners import Output
    from perstack.config.typed import Overrides

EXIT_CODES: Final = {
    "completed": 0,
    "asked": 0,
    "awaiting": 3,
    "limit": 6,
    "failed": 1,
    "stopped": 1,
}
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Printing(Listener, Protocol):
    """A listener that prints."""

    @property
    def output(self) -> Output:
        """Where to."""
        ...

    def on_end(self, ended: JobOutcome) -> None:
        """The job is driven no more."""
        ...


def drive_to_end(
    asked: Asked, over: Overrides, listener: Printing, *, wait_at_gates: bool = True
) -> int:
    """Start or go on with a job; return the exit code.

    Raises:
        PerstackError: it could not be started, or the history could not be written.
    """
    asked.check()
    names_one = asked.expert is not None or asked.goes_on
    project = open_project(
        asked.workspace, asked.config, over, trust=asked.trust, or_empty=names_one
    )
    _new_job(asked, project)
    project.admit(project.config.experts)
    if project.config.settings.runtime.name == "perstack":
        # Importing the vendor's library takes longest, so it begins before anything else is opened.
        threading.Thread(target=warm_up, args=(project.config.settings,), daemon=True).start()
    log_to_file(project.workspace, project.secrets)
    warn(project)
    return anyio.run(_drive, asked, over, project, listener, wait_at_gates)


def warn(project: Project) -> None:
    """Print the project's warnings on stderr."""
    for warning in project.warnings:
        say(f"Warning: {warning}")


async def _drive(
    asked: Asked, over: Overrides, project: Project, listener: Printing, wait: bool
) -> int:
    # Looked for first: a job that is not there is said before a key that is not there.
    history = open_history(project.workspace)
    model, found, key = None, None, ExpertKey(asked.expert or "")
    if asked.goes_on:
        found = await find_job(history, asked.continuation())
        asked, key = replace(asked, continue_job=found.id), found.coordinator_expert_key
    if found is None or not asked.own_definitions:  # Those of the job are in its history.
        project = await complete(project, [key], yes=asked.yes)
    if found is not None and await stays_with(history, found, project.config.settings.runtime):
        model = late_model(project)  # A program goes on with it, so that no key is needed.
    control, stopped_by = StopControl(), StoppedBy()
    listener.output.on_broken = lambda: control.stop("user")
    endings: list[JobOutcome] = []
    with unwrapped():
        async with (
            open_runtime(project, history=history, model=model) as runtime,
            anyio.create_task_group() as group,
        ):
            group.start_soon(watch_signals, control, stopped_by)
            driven = start_or_go_on(asked, runtime, listener, control, over=over, wait=wait)
            endings.append(await driven)
            group.cancel_scope.cancel()
    listener.on_end(endings[0])
    again = go_on_command(asked, over, endings[0])
    return exit_code(endings[0], stopped_by, listener.output, again)


class StoppedBy:
    """Which signal stopped the job, if any."""

    number: int | None = None


async def watch_signals(control: Stoppable, stopped_by: StoppedBy) -> None:
    """Stop at a boundary at the first signal, at once at the second."""
    with anyio.open_signal_receiver(*_SIGNALS) as signals:
        async for number in signals:
            again = stopped_by.number is not None
            stopped_by.number = stopped_by.number or number
            control.stop("signal", now=again)
            if not again:
                say("Stopping at a checkpoint; once more to stop now.")


async def start_or_go_on(
    asked: Asked,
    runtime: Runtime,
    listener: Listener,
    control: StopControl,
    *,
    over: Overrides,
    wait: bool,
) -> JobOutcome:
    """Do what was asked on an open runtime."""
    plan = runtime.project.plan(wait_at_gates=wait)
    new = _new_job(asked, runtime.project)
    if new is None:
        return await runtime.runs.go_on(
            plan, asked.continuation(over), listener=listener, control=control
        )
    expert, query = new
    return await runtime.runs.start(
        plan,
        expert,
        query,
        listener=listener,
        control=control,
        job_id=JobId(asked.job_id) if asked.job_id else None,
    )


def _new_job(asked: Asked, project: Project) -> tuple[ExpertKey, str] | None:
    """Return the Expert and the query of a new job, None when an existing one is meant.

    Raises:
        UsageError: one of them was not given.
        UnknownExpertError: there is no such Expert.
    """
    if asked.goes_on:
        return None
    query = (asked.query or "").strip()
    if asked.expert is None or not query:
        raise UsageError("a new job needs a query", hint='perstack run <expert> "<query>"')
    expert = ExpertKey(asked.expert)
    check_startable(project, expert, query)
    return expert, query


def exit_code(ended: JobOutcome, stopped_by: StoppedBy, output: Output, again: str) -> int:
    """Return the exit code of an outcome, and say on stderr what is not on stdout.

    `again` is the command that goes on with the job.
    """
    outcome = ended.outcome
    if outcome.error is not None:
        say(f"Error: {outcome.error.message}")
    if outcome.hint:
        say(f"Hint: {outcome.hint}")
    if outcome.ending == "asked":
        say(f"A question waits. Answer it with: {again}")
    if outcome.ending == "awaiting" and outcome.consensus_id is None:
        say(f"The run is paused. Go on with: {again}")
    elif outcome.ending == "awaiting":
        say(f"A decision is awaited: perstack consensus show {outcome.consensus_id}")
        say(f"Once it is made, go on with: {again}")
    if outcome.ending == "limit":
        limit = outcome.overrun or "the step limit was reached"
        say(f"Stopped, {limit}. Go on with: {again}")
    if outcome.ending == "stopped" and stopped_by.number is not None:
        say(f"Stopped. Go on with: {again}")
        return 128 + stopped_by.number
    if outcome.ending == "stopped" and outcome.by is not None:
        return _stopped_by(outcome.by, again)
    if output.broken is not None:
        # A reader that went away (`| head`) knows; a disk that is full does not.
        if not isinstance(output.broken, BrokenPipeError):
            say(f"Error: standard output cannot be written: {output.broken.strerror}")
            say(f"Hint: go on with: {again}")
        return 1
    return EXIT_CODES[outcome.ending]


def _stopped_by(who: str, again: str) -> int:
    """Say who stopped the job from outside, and how it goes on; return the exit code."""
    if who.startswith(LIMITS):
        say(f"Stopped by {who}")
        say(f"Hint: raise it in [resourceExhaustion.thresholds], then go on with: {again}")
        return EXIT_CODES["limit"]
    say(f"Stopped by {who}. Go on with: {again}")
    return EXIT_CODES["stopped"]
