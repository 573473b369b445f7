"""What a job is driven with, and how its driving ends."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from perstack.domain.events import Delta, Event, RunError
from perstack.domain.expert import Expert
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId
from perstack.domain.settings import Settings
from perstack.engine.budget import Overrun, Spent
from perstack.errors import ConfigError
from perstack.ports.consensus import Gate
from perstack.ports.containers import NO_CONTAINERS, Containers
from perstack.ports.desk import NO_DESK, NOBODY, Carrier, Desk
from perstack.ports.model import ChatModel
from perstack.ports.notices import Notifier
from perstack.ports.programs import NO_PROGRAMS, Programs
from perstack.ports.skills import ListedTools, SkillOpener
from perstack.ports.snapshots import NO_SNAPSHOTS, Snapshots
from perstack.ports.system import Clock, Ids
from perstack.projection.run_state import RunState

Ending = Literal["completed", "asked", "limit", "failed", "stopped", "awaiting"]


class Listener(Protocol):
    """Hears what happens, in order, in the event loop; must return quickly and never raise."""

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """A run with a past (or a fork, with its parent's) is about to go on."""
        ...

    def on_event(self, event: Event) -> None:
        """An event was recorded."""
        ...

    def on_delta(self, delta: Delta) -> None:
        """A model said something."""
        ...

    def on_warning(self, text: str) -> None:
        """Something about the job that a person should know, and that no event tells."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job runs with. `experts` is a snapshot: a reload does not reach a running job.

    `wait_at_gates` False suspends the job at its first gate instead of waiting. `listed` are the
    tools that a lock file lists, by Expert. `carrier` is whose work it is; `service`: a service
    asked for it, and no user. `admit` refuses Experts that ask for more than the user has accepted
    (it raises a `ConfigError`). `as_begun`: the Experts are those that the job was started with, so
    that what runs took of later definitions counts as well.
    """

    settings: Settings
    experts: Mapping[ExpertKey, Expert]
    workspace: Path
    env: Mapping[str, str] = field(repr=False)
    config_path: Path | None = None
    wait_at_gates: bool = True
    listed: Mapping[ExpertKey, ListedTools] = field(default_factory=dict[ExpertKey, ListedTools])
    carrier: Carrier = NOBODY
    service: bool = False
    as_begun: bool = False
    admit: Callable[[Mapping[ExpertKey, Expert]], None] = lambda _: None


async def _only_one(name: str) -> ChatModel:
    raise ConfigError(f"the model {name} cannot be opened here", hint="start the job with it")


@dataclass(frozen=True, slots=True)
class Deps:
    """What the engine works with.

    `open_model` opens another model of the same provider by name, or raises a `ConfigError`;
    whoever gave it closes what it opened.
    """

    model: ChatModel
    skills: SkillOpener
    gate: Gate
    notifier: Notifier
    clock: Clock
    ids: Ids
    redact: Callable[[str], str]
    version: str
    rng: random.Random = field(default_factory=random.SystemRandom)
    desk: Desk = NO_DESK
    snapshots: Snapshots = NO_SNAPSHOTS
    open_model: Callable[[str], Awaitable[ChatModel]] = _only_one
    programs: Programs = NO_PROGRAMS
    containers: Containers = NO_CONTAINERS


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run's driving ended. `text` is a completed run's result.

    With the ending "limit", `overrun` is the budget that was used up, None for the step limit; with
    "stopped", `by` is who stopped it, where that is known.
    """

    ending: Ending
    text: str = ""
    error: RunError | None = None
    hint: str | None = None
    consensus_id: ConsensusId | None = None
    overrun: Overrun | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job's driving ended, and what it has used since it began."""

    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    outcome: RunOutcome
    spent: Spent
