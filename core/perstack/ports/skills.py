"""What the engine asks of skills: tools it can list and call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from perstack.domain.events import (
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
)
from perstack.domain.expert import Expert
from perstack.domain.ids import JobId, RunId
from perstack.domain.messages import ResultPart

SkillNotice = SkillStarting | SkillConnected | SkillStderr | SkillDisconnected


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
    rules allow.
    """

    job_id: JobId
    run_id: RunId
    workspace: Path
    env: Mapping[str, str] = field(repr=False)
    todos: tuple[Todo, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool. `name` is what the model calls it, unique within the skill set.

    `gated` tools wait for a person; `repeatable` ones only read, so calling twice does no harm.
    """

    skill_name: str
    name: str
    description: str
    input_schema: dict[str, JsonValue]
    gated: bool = False
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call gave. `is_error` reaches the model."""

    parts: tuple[ResultPart, ...]
    is_error: bool = False


class SkillSet(Protocol):
    """An Expert's connected skills (base and MCP), open for one run."""

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name, base skill first, as they stood when the run was opened."""
        ...

    async def call(self, name: str, args: Mapping[str, JsonValue]) -> ToolOutcome:
        """Call a tool of `tools`; bad arguments, crashes and timeouts are error outcomes.

        Only cancellation is raised.
        """
        ...


class SkillOpener(Protocol):
    """Starts an Expert's skills and closes them with the run."""

    def open(
        self, expert: Expert, context: RunContext, notice: Callable[[SkillNotice], None]
    ) -> AbstractAsyncContextManager[SkillSet]:
        """Start the base and all MCP skills concurrently; close them on exit, in bounded time.

        `notice` is called in the event loop with what happens, in order.

        Raises:
            SkillError: a server could not be started in time; its last stderr lines are named.
            ConfigError: a `requiredEnv` variable is not set.
        """
        ...
