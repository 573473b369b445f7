"""Agents: the live records of Experts at work, and what people order them to do."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, IdentityId, JobId, RunId, SessionId
from perstack.domain.moments import Moment

AgentStatus = Literal["idle", "running", "completed", "failed", "stopped"]
AgentOrigin = Literal["spawned", "run"]
OrderKind = Literal[
    "stop", "stopNow", "pause", "resume", "steer", "model", "definition", "budget", "retry"
]

MAX_SPAWNED: Final = 20
LOST_AFTER_MS: Final = 10_000


class Agent(Model):
    """An Expert at work, or one that was spawned and waits. Times in Unix milliseconds.

    An agent of the origin "run" is a run's record and has the run's id; a "spawned" one has an id
    of its own, and `job_id` is the conversation that `exec` goes on with. `process_id` is the
    process that drives it now, None for nobody. `lost`: that process died. `cost_usd` is a lower
    bound when `cost_partial`. `current_task` and `last_error` are shortened, without secrets.
    """

    id: AgentId
    type: str
    name: str
    status: AgentStatus
    origin: AgentOrigin
    session_id: SessionId | None = None
    identity_id: IdentityId | None = None
    parent_id: AgentId | None = None
    job_id: JobId | None = None
    run_id: RunId | None = None
    process_id: str | None = None
    memory_namespace: str
    current_task: str | None = None
    last_error: str | None = None
    step_number: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    cost_partial: bool = False
    lost: bool = False
    paused_at: Moment | None = None
    pause_reason: str | None = None
    created_at: Moment
    updated_at: Moment
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class DriverProcess(Model):
    """A process that drives agents. `beat_at` is when it last said that it lives."""

    id: str
    pid: int
    host: str
    started_at: int
    beat_at: int


class Order(Model):
    """What somebody wants of an agent.

    `text` is a steering message, a reason, a model's name, or one of `domain.orders` as JSON.
    """

    id: int = 0
    agent_id: AgentId
    kind: OrderKind
    text: str | None = None
    by: str
    created_at: int


class AgentType(Model):
    """What can be spawned. `custom` ones come from `perstack.toml`, a plugin or a program."""

    type: str
    name: str
    description: str
    capabilities: tuple[str, ...]
    system_prompt: str
    custom: bool


def default_name(agent_type: str, agent_id: str) -> str:
    """Return the name of an agent that was given none."""
    return f"{agent_type}-{agent_id[:8]}"
