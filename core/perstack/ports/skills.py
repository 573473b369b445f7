"""What the engine asks of skills: tools it can list and call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pydantic import JsonValue

from perstack.domain.expert import Consent, Expert
from perstack.domain.ids import AgentId, JobId, RunId, SessionId, ToolCallId
from perstack.domain.messages import ExpertMessage, ResultPart, UserMessage
from perstack.domain.server_events import (
    SkillConnected,
    SkillDisconnected,
    SkillLog,
    SkillProgress,
    SkillStarting,
    SkillStderr,
)
from perstack.domain.settings import ExecSettings

SkillNotice = (
    SkillStarting | SkillConnected | SkillStderr | SkillLog | SkillProgress | SkillDisconnected
)


@dataclass(frozen=True, slots=True)
class Todo:
    """One item of a run's todo list; ids count from 0."""

    id: int
    title: str
    completed: bool


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run's skills may know. `todos` is the list as the history left it.

    `env` is the user's environment joined with the env files; a skill passes on only what its
    rules allow. `session_id` and `agent_id` are whose work the run is, None for nobody's.
    """

    job_id: JobId
    run_id: RunId
    workspace: Path
    env: Mapping[str, str] = field(repr=False)
    todos: tuple[Todo, ...] = ()
    exec: ExecSettings = field(default_factory=ExecSettings)
    base_skill_command: tuple[str, ...] = ()
    listed: ListedTools | None = None
    session_id: SessionId | None = None
    agent_id: AgentId | None = None


class ListedTools(Protocol):
    """Tools as a lock file lists them, so that a run need not wait for their servers."""

    def tools_of(self, skill_name: str) -> Sequence[ToolSpec] | None:
        """Return the skill's tools under their own names, None when they are not listed."""
        ...


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool. `name` is what the model calls it, unique within the skill set.

    `gated` tools wait for a person; `repeatable` ones only read, so calling twice does no harm.
    `own_name` is what the skill itself calls the tool, None if that is `name`.
    """

    skill_name: str
    name: str
    description: str
    input_schema: dict[str, JsonValue]
    gated: bool = False
    repeatable: bool = False
    own_name: str | None = None


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call gave. `is_error` reaches the model."""

    parts: tuple[ResultPart, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Elicitation:
    """A tool server's question to the user. `answer_schema` is the JSON Schema of the answer."""

    skill_name: str
    message: str
    answer_schema: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ElicitationAnswer:
    """What the user said; `content` fits the schema, and is there only when it was accepted."""

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """A tool server's request to the run's model: texts and pictures, no tools."""

    skill_name: str
    system: str | None
    messages: tuple[UserMessage | ExpertMessage, ...]
    max_tokens: int
    consent: Consent


@dataclass(frozen=True, slots=True)
class SamplingAnswer:
    """What the model said. `refused` says why it was not asked; `text` is empty then."""

    text: str = ""
    model: str = ""
    stop_reason: Literal["endTurn", "maxTokens"] = "endTurn"
    refused: str | None = None


class SkillHost(Protocol):
    """The run, as its skills see it. Everything is called in the event loop."""

    def output(self, tool_call_id: ToolCallId, text: str) -> None:
        """Show what a call prints, live."""
        ...

    async def elicit(self, asked: Elicitation) -> ElicitationAnswer:
        """Put a server's question to the user and wait, bounded in time."""
        ...

    async def sample(self, asked: Sampling) -> SamplingAnswer:
        """Let a server ask the run's model, once a person has agreed where that is needed."""
        ...


class SkillSet(Protocol):
    """An Expert's connected skills (base and MCP), open for one run."""

    async def ready(self) -> None:
        """Wait for skills with `lazyInit`; from here on `tools` is complete and does not change.

        Raises:
            SkillError: one of them could not be started in time.
        """
        ...

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name, base skill first; complete once `ready` has returned."""
        ...

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        """Call a tool of `tools`; bad arguments, crashes and timeouts are error outcomes.

        Only cancellation is raised. `tool_call_id` is what progress and output are told under.
        """
        ...


class SkillOpener(Protocol):
    """Starts an Expert's skills and closes them with the run."""

    def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AbstractAsyncContextManager[SkillSet]:
        """Start the base and all MCP skills concurrently; close them on exit, in bounded time.

        Waits for all but those with `lazyInit`. `notice` is called in the event loop with what
        happens, in order. Without a `host`, servers' requests are declined.

        Raises:
            SkillError: a server could not be started in time; its last stderr lines are named.
            ConfigError: a `requiredEnv` variable is not set.
        """
        ...
