"""What the program in a container is told to do, and what it tells of it in lines of JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from perstack.domain.base import Model
from perstack.domain.expert import Expert
from perstack.domain.ids import (
    AgentId,
    CheckpointId,
    ExpertKey,
    IdentityId,
    JobId,
    SessionId,
    TaskId,
)
from perstack.domain.jobs import SomeLimits
from perstack.domain.orders import Raise
from perstack.domain.settings import NotifySettings, Settings
from perstack.engine.plan import JobOutcome, Plan
from perstack.errors import (
    ConfigError,
    ConflictError,
    DeniedError,
    LimitError,
    NotFoundError,
    PerstackError,
    ProgramError,
    SkillError,
    StorageError,
    UsageError,
)
from perstack.ports.containers import SCENARIO
from perstack.ports.desk import Carrier
from perstack.ports.frontend import Continuation

_KINDS: Final = (
    *(ConfigError, UsageError, NotFoundError, ConflictError, DeniedError, LimitError),
    *(SkillError, StorageError, ProgramError),
)
_OUTCOMES: Final = TypeAdapter(JobOutcome)


class NewJob(Model):
    """A job to start."""

    expert_key: ExpertKey
    query: str
    job_id: JobId


class GoOn(Model):
    """A job to go on with; as `Continuation`."""

    job_id: JobId
    checkpoint_id: CheckpointId | None = None
    expert_key: ExpertKey | None = None
    text: str | None = None
    is_answer: bool = False
    own_definitions: bool = False
    more: Raise | None = None
    typed: SomeLimits | None = None


class Order(Model):
    """What to do, with definitions and settings as they were joined and accepted outside."""

    settings: Settings
    experts: dict[ExpertKey, Expert]
    begins: NewJob | None = None
    goes_on: GoOn | None = None
    wait_at_gates: bool = True
    service: bool = False
    as_begun: bool = False
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    identity_id: IdentityId | None = None
    task_id: TaskId | None = None

    def plan(self, usual: Plan) -> Plan:
        """Return the plan to drive with, `usual` but for what the order says."""
        carrier = Carrier(self.agent_id, self.session_id, self.identity_id, self.task_id)
        return replace(usual, carrier=carrier, service=self.service, as_begun=self.as_begun)

    def continuation(self, goes_on: GoOn) -> Continuation:
        """Return what the runs of this process are asked."""
        return Continuation(
            job_id=goes_on.job_id,
            checkpoint_id=goes_on.checkpoint_id,
            expert_key=goes_on.expert_key,
            text=goes_on.text,
            is_answer=goes_on.is_answer,
            own_definitions=goes_on.own_definitions,
            more=goes_on.more,
            typed=goes_on.typed,
        )


class Failure(Model):
    """One of our errors."""

    code: str
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, error: PerstackError) -> Failure:
        """Return the error as it can be told."""
        return cls(code=error.code, message=error.message, hint=error.hint)

    def error(self) -> PerstackError:
        """Return the error to raise here, of a kind with the same exit code."""
        for kind in _KINDS:
            if self.code == kind.code or self.code.startswith(f"{kind.code}."):
                return kind(self.message, hint=self.hint)
        return ProgramError(self.message, hint=self.hint)


class Told(Model):
    """One line of what the program in the container tells: exactly one of these."""

    warning: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    failure: Annotated[Failure | None, Field(exclude_if=lambda value: value is None)] = None
    outcome: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None

    @classmethod
    def ended(cls, outcome: JobOutcome) -> Told:
        """Return how the job's driving ended as it can be told."""
        return cls(outcome=_OUTCOMES.dump_json(outcome).decode())

    def read_outcome(self) -> JobOutcome | None:
        """Return the outcome, None if this tells something else, or nothing that is one."""
        if self.outcome is None:
            return None
        try:
            return _OUTCOMES.validate_json(self.outcome)
        except ValueError:
            return None


# Who is in the container goes on there, whatever executed the job before.
_INSIDE: Final = {"name": "perstack", "typed": True, "contained": True, "env": ()}


def new_order(plan: Plan, *, begins: NewJob | None = None, goes_on: GoOn | None = None) -> Order:
    """Return what a container is told; where it runs, notices are given from outside."""
    settings, carrier = plan.settings, plan.carrier
    update: dict[str, object] = {
        "runtime": settings.runtime.model_copy(update=_INSIDE),
        "notify": NotifySettings(),
    }
    if settings.provider.scenario is not None:
        provider = settings.provider.model_copy(update={"scenario": SCENARIO})
        update["provider"] = provider
    return Order(
        settings=settings.model_copy(update=update),
        experts=dict(plan.experts),
        begins=begins,
        goes_on=goes_on,
        wait_at_gates=plan.wait_at_gates,
        service=plan.service,
        as_begun=plan.as_begun,
        agent_id=carrier.agent_id,
        session_id=carrier.session_id,
        identity_id=carrier.identity_id,
        task_id=carrier.task_id,
    )
