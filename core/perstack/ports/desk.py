"""Where a process keeps the records of its runs, and hears what people want of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from perstack.domain.events import Event
from perstack.domain.expert import Expert
from perstack.domain.ids import (
    AgentId,
    ExpertKey,
    IdentityId,
    JobId,
    RunId,
    SessionId,
    TaskId,
)
from perstack.domain.orders import Raise, RetryOrder
from perstack.projection.run_state import RunState

LIMITS: Final = "resource limits"
DriftAction = Literal["allowed", "warned", "prevented", "pending"]


@dataclass(frozen=True, slots=True)
class Carrier:
    """Whose work a job is: a spawned agent's, in a session, with an identity. None: nobody's.

    `task_id` is the task that it is done for, where that was there before.
    """

    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    identity_id: IdentityId | None = None
    task_id: TaskId | None = None


NOBODY: Final = Carrier()


@dataclass(frozen=True, slots=True)
class RunCard:
    """A run that is being taken up. `query` is what a new one was asked, None for one with a past.

    `parent_run_id` is the run that delegated it; `started_at` in Unix milliseconds. `is_question`:
    a service asks something that no work follows from, a review say, so that it is no task.
    """

    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    carrier: Carrier
    query: str | None
    parent_run_id: RunId | None
    depth: int
    started_at: int
    is_question: bool = False


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """How like its ancestors a task is. `similarity` is the highest cosine, `task_id` whose."""

    action: DriftAction
    similarity: float
    task_id: TaskId | None = None
    checked_ancestors: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What the resource limits want of a run at a step's boundary."""

    kind: Literal["pause", "stop"]
    reason: str


class Helm(Protocol):
    """A run, and all that it delegates, as people steer it. Called in the event loop; idempotent.

    `by` is who, a person or `LIMITS`; it is recorded. What comes when the run has ended does
    nothing.
    """

    def stop(self, by: str, *, now: bool = False) -> None:
        """End the run at a checkpoint: a coordinator's job stops, a delegation has failed."""
        ...

    def pause(self, by: str, reason: str | None = None) -> None:
        """Let it wait at the next step's boundary; the limits' pause and a person's add up."""
        ...

    def resume(self, by: str) -> None:
        """Let it go on: a person lifts every pause, `LIMITS` only their own."""
        ...

    def steer(self, text: str, by: str) -> None:
        """Have the model read `text` with its next generation."""
        ...

    def change_model(self, model: str, by: str) -> None:
        """Have it generate with another model of its provider from its next step on."""
        ...

    def take_definition(self, experts: Mapping[ExpertKey, Expert], by: str) -> None:
        """Have it go on with its Expert as `experts` define it, from its next step on."""
        ...

    def raise_budget(self, more: Raise, by: str) -> None:
        """Let the run's whole job use more, at once."""
        ...

    def retry(self, failed: RetryOrder, by: str) -> None:
        """Have a delegation of this run that failed done again."""
        ...


class Desk(Protocol):
    """One for all jobs of a process. What is synchronous returns at once and never raises."""

    @property
    def judges_drift(self) -> bool:
        """True when delegations are compared with the tasks they descend from."""
        ...

    def take_up(self, card: RunCard, state: RunState, helm: Helm) -> None:
        """A run is being driven from now on; `state` is what its past comes to."""
        ...

    async def lift(self, run_id: RunId) -> None:
        """A person has a run with a past go on: limits that paused it count from here.

        Bounded in time; never raises.
        """
        ...

    def hear(self, event: Event) -> None:
        """An event of a run that was taken up was recorded."""
        ...

    def let_go(self, run_id: RunId) -> None:
        """The run is driven no more."""
        ...

    def hold(self, run_id: RunId) -> Hold | None:
        """Return what the resource limits want at this boundary, None when it may go on."""
        ...

    async def judge(self, parent: RunId, agent_type: ExpertKey, query: str) -> DriftVerdict:
        """Compare a delegation with its ancestors, the delegating run's task being the first.

        Bounded in time; what cannot be compared is said in the verdict, never raised.
        """
        ...


class NoDesk:
    """Keeps no records and hears nobody."""

    @property
    def judges_drift(self) -> bool:
        """Delegations are not compared."""
        return False

    def take_up(self, card: RunCard, state: RunState, helm: Helm) -> None:
        """Nobody asks."""

    async def lift(self, run_id: RunId) -> None:
        """Nothing is limited."""

    def hear(self, event: Event) -> None:
        """Nobody asks."""

    def let_go(self, run_id: RunId) -> None:
        """Nobody asks."""

    def hold(self, run_id: RunId) -> Hold | None:
        """Every run may go on."""
        return None

    async def judge(self, parent: RunId, agent_type: ExpertKey, query: str) -> DriftVerdict:
        """Nothing is compared."""
        return DriftVerdict("allowed", 0.0)


NO_DESK: Final = NoDesk()
