"""Jobs, runs and their statuses."""

from __future__ import annotations

import operator
from typing import Annotated, Final, Literal

from pydantic import Field

from perstack.domain.base import Model
from perstack.domain.expert import Expert
from perstack.domain.ids import (
    AgentId,
    CheckpointId,
    ExpertKey,
    IdentityId,
    JobId,
    RunId,
    SessionId,
    ToolCallId,
)
from perstack.domain.settings import BudgetSettings, Settings
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage

SCHEMA_VERSION: Final = 1

JobStatus = Literal[
    "running", "completed", "stoppedByMaxSteps", "stoppedByInteractiveTool", "stoppedByError"
]
RunStatus = Literal[
    "init",
    "proceeding",
    "completed",
    "stoppedByInteractiveTool",
    "stoppedByDelegate",
    "stoppedByExceededMaxSteps",
    "stoppedByError",
]


def _is_none(value: object) -> bool:
    return value is None


class Limits(Model):
    """What a job may use over all its continuations."""

    max_steps: int
    budget: BudgetSettings = BudgetSettings()


class SomeLimits(Model):
    """Some of a job's limits; those that are None are not spoken of."""

    max_steps: int | None = None
    budget: BudgetSettings = BudgetSettings()


class Job(Model):
    """One request by a user, or by a service (`service`: a review, say). Times in Unix ms.

    `coordinator_run_id` is the run that the job would go on with; `raised` are limits that somebody
    gave it above those of its configuration. `driven_ms` is for how long
    processes drove it, in milliseconds, without the time that it waited for people. All sums are
    as of the last time that a process let go of it: `driven_since` is when one took it up that has
    not let go yet, or that was killed. `workspace` is the folder that its Experts work in, where
    that is not the one whose history has it (a fork's copy).
    """

    schema_version: int = SCHEMA_VERSION
    id: JobId
    status: JobStatus
    coordinator_expert_key: ExpertKey
    coordinator_run_id: RunId
    total_steps: int = Field(default=0, ge=0)
    max_steps: int
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    driven_ms: int = Field(default=0, ge=0)
    driven_since: int | None = None
    raised: Annotated[SomeLimits | None, Field(exclude_if=_is_none)] = None
    workspace: Annotated[str | None, Field(exclude_if=_is_none)] = None
    service: Annotated[bool, Field(exclude_if=operator.not_)] = False
    started_at: int
    finished_at: int | None = None


class DelegatedBy(Model):
    """Which call of which run started a delegated run."""

    run_id: RunId
    expert_key: ExpertKey
    tool_call_id: ToolCallId
    tool_name: str
    checkpoint_id: CheckpointId


class ForkPoint(Model):
    """The checkpoint whose messages a run begins with."""

    run_id: RunId
    checkpoint_id: CheckpointId


class InteractiveAnswer(Model):
    """The user's answer to an interactive tool call."""

    tool_call_id: ToolCallId
    tool_name: str
    skill_name: str
    text: str


class RunSetting(Model):
    """What a run was started with; no key is ever in it.

    `experts` is kept by a job's first run alone. `parent` is the checkpoint that a fork began
    from, `delegated_by` the call that a delegated run answers. `agent_id` (a spawned agent),
    `session_id` and `identity_id` are whose work it is, None for nobody's.
    """

    schema_version: int = SCHEMA_VERSION
    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    settings: Settings
    query: str | None = None
    parent: ForkPoint | None = None
    delegated_by: DelegatedBy | None = None
    experts: dict[ExpertKey, Expert] | None = None
    config_path: str | None = None
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    identity_id: IdentityId | None = None
    started_at: int
