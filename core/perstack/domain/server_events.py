"""What tool servers do, tell and ask."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ConsensusId, ToolCallId
from perstack.domain.usage import Usage


class SkillStarting(Model):
    """A tool server is being started."""

    type: Literal["skillStarting"] = "skillStarting"
    skill_name: str
    command: str
    args: tuple[str, ...]


class ServerInfo(Model):
    """What a tool server calls itself."""

    name: str
    version: str


class SkillConnected(Model):
    """A skill is ready. Durations in milliseconds."""

    type: Literal["skillConnected"] = "skillConnected"
    skill_name: str
    server_info: ServerInfo | None = None
    spawn_duration_ms: int
    handshake_duration_ms: int
    tool_discovery_duration_ms: int
    connect_duration_ms: int
    total_duration_ms: int


class SkillStderr(Model):
    """A line that a tool server wrote to its standard error."""

    type: Literal["skillStderr"] = "skillStderr"
    skill_name: str
    message: str


class SkillLog(Model):
    """A log message that a tool server sent."""

    type: Literal["skillLog"] = "skillLog"
    skill_name: str
    level: str
    message: str


class SkillProgress(Model):
    """How far a tool call has come; `total` None means nobody knows."""

    type: Literal["skillProgress"] = "skillProgress"
    skill_name: str
    tool_call_id: ToolCallId
    progress: float
    total: float | None = None
    message: str | None = None


class RequestInput(Model):
    """A tool server asks the user (elicitation), or wants to ask the model (sampling).

    The run waits for the decision at the consensus checkpoint `consensus_id`. `schema` is the JSON
    Schema of the answer that an elicitation wants. `expires_at` in Unix milliseconds.
    """

    type: Literal["requestInput"] = "requestInput"
    kind: Literal["elicitation", "sampling"]
    consensus_id: ConsensusId
    skill_name: str
    message: str
    answer_schema: dict[str, JsonValue] | None = None
    expires_at: int | None = None


class ResolveInput(Model):
    """What became of a server's request. What the user answered is not recorded."""

    type: Literal["resolveInput"] = "resolveInput"
    consensus_id: ConsensusId
    outcome: Literal["accepted", "declined", "expired"]
    decided_by: str | None = None


class SampleModel(Model):
    """The model answered a tool server's sampling request."""

    type: Literal["sampleModel"] = "sampleModel"
    skill_name: str
    usage: Usage
    cost_usd: float | None = None


class SkillDisconnected(Model):
    """A skill was closed, or its server died."""

    type: Literal["skillDisconnected"] = "skillDisconnected"
    skill_name: str
