"""What a container runs: one job as it was ordered outside, told of in lines of JSON."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from perstack.cli.driving import StoppedBy, watch_signals
from perstack.config.env import Environment
from perstack.config.load import LoadedConfig
from perstack.config.process_env import process_environment
from perstack.config.trust import Trust, acceptances
from perstack.domain.events import Delta, Event
from perstack.domain.ids import RunId
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import JobOutcome
from perstack.errors import ConfigError, PerstackError
from perstack.processes.own import keep_to_itself
from perstack.project import Project
from perstack.projection.run_state import RunState
from perstack.runtime import Runtime, log_to_file, open_runtime
from perstack.services.contained_order import Failure, Order, Told


def drive_ordered(order: Path) -> int:
    """Drive the job that the file orders; return the exit code, which says only whether it ended.

    What happens is in the history of the current folder, how it ended on standard output.
    """
    keep_to_itself()
    try:
        outcome = anyio.run(_drive, _project(order), _read(order))
    except PerstackError as error:
        _tell(Told(failure=Failure.of(error)))
        return error.exit_code
    _tell(Told.ended(outcome))
    return 0


def _read(order: Path) -> Order:
    try:
        return Order.model_validate_json(order.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{order} is no order that this version understands") from error


def _project(path: Path) -> Project:
    """Return the ordered project: all that it asks for was accepted outside, as it was joined."""
    order = _read(path)
    config = LoadedConfig(path, "", order.settings, order.experts, env_paths=())
    around = process_environment()
    trust = Trust(acceptances(around), path, named=True)
    workspace = Path.cwd()
    return Project(workspace, config, config, Environment(around), trust)


async def _drive(project: Project, order: Order) -> JobOutcome:
    log_to_file(project.workspace, project.secrets)
    control, stopped_by = StopControl(), StoppedBy()
    outcomes: list[JobOutcome] = []
    with unwrapped():
        async with open_runtime(project) as runtime, anyio.create_task_group() as group:
            group.start_soon(watch_signals, control, stopped_by)
            outcomes.append(await _ordered(runtime, order, control))
            group.cancel_scope.cancel()
    return outcomes[0]


async def _ordered(runtime: Runtime, order: Order, control: StopControl) -> JobOutcome:
    plan = order.plan(runtime.project.plan(wait_at_gates=order.wait_at_gates))
    listener = _Warnings()
    if (begins := order.begins) is not None:
        return await runtime.runs.start(
            plan,
            begins.expert_key,
            begins.query,
            listener=listener,
            control=control,
            job_id=begins.job_id,
        )
    if order.goes_on is None:
        raise ConfigError("the order neither begins a job nor goes on with one")
    wanted = order.continuation(order.goes_on)
    return await runtime.runs.go_on(plan, wanted, listener=listener, control=control)


class _Warnings:
    """Implements the engine's `Listener`: what is recorded is heard outside, the rest is told."""

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Nobody asks here."""

    def on_event(self, event: Event) -> None:
        """It is in the history."""

    def on_delta(self, delta: Delta) -> None:
        """It is in the live file."""

    def on_warning(self, text: str) -> None:
        """Tell it: it is recorded nowhere."""
        _tell(Told(warning=text))


def _tell(told: Told) -> None:
    sys.stdout.write(told.model_dump_json() + "\n")
    sys.stdout.flush()
