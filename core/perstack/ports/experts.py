"""Running an Expert for somebody else's work: a review, a phase of a workflow, a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, IdentityId, JobId, RunId, SessionId, TaskId
from perstack.domain.runtimes import ProgramName

ExpertEnding = Literal["completed", "asked", "limit", "failed", "stopped", "awaiting"]
# Gives Experts of a registry, and all that they lead to, by the key as it was asked for.
FetchExperts = Callable[[Sequence[ExpertKey]], Awaitable[Mapping[ExpertKey, Expert]]]


class Stoppable(Protocol):
    """What is at work and can be stopped from outside."""

    def stop(self, reason: Literal["user", "signal"], *, now: bool = False) -> None:
        """Stop at a checkpoint; `now` waits for no tool."""
        ...


class ExpertWatcher(Protocol):
    """Is told of a run while it works. Both return at once and never raise."""

    def on_control(self, control: Stoppable) -> None:
        """The run begins; `control` stops it."""
        ...

    def on_event(self, event: Event) -> None:
        """It, or what it delegated to, recorded an event."""
        ...


@dataclass(frozen=True, slots=True)
class OwnTool:
    """A tool that the caller answers itself, such as the verdict of a review.

    `call` gets arguments that fit `input_schema` (a JSON Schema) and returns what the model reads;
    a `ValueError` reaches the model as a failed call.
    """

    name: str
    description: str
    input_schema: dict[str, JsonValue]
    call: Callable[[Mapping[str, JsonValue]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class ExpertRequest:
    """What to run. `expert` is a key of the project or a built-in, or a definition of one's own.

    With a `job_id` that job goes on, with its conversation; else a new job begins. `is_answer`: the
    query answers what that job asked. `model` is another of the same vendor than the project's.
    `program` executes it instead of what the project says; `model` is one of that program's then.
    `context` is put before the query. `tools` are offered beside the Expert's own skills. `task_id`
    is the task that it is done for, where there is one. `timeout_s` None: no limit but the job's
    own. `watcher` is told of it while it works.
    """

    expert: ExpertKey | Expert
    query: str
    context: str | None = None
    model: str | None = None
    program: ProgramName | None = None
    tools: tuple[OwnTool, ...] = ()
    job_id: JobId | None = None
    is_answer: bool = False
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    identity_id: IdentityId | None = None
    task_id: TaskId | None = None
    max_steps: int | None = None
    timeout_s: float | None = None
    on_started: Callable[[JobId], None] | None = None
    watcher: ExpertWatcher | None = None


@dataclass(frozen=True, slots=True)
class ExpertAnswer:
    """How it ended. `text` is a completed run's result; `error` says why it did not complete."""

    ending: ExpertEnding
    text: str
    job_id: JobId
    run_id: RunId
    model: str
    steps: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    duration_ms: int
    error: str | None = None


class ExpertCatalog(Protocol):
    """Knows which Experts there are."""

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        """The project's Experts and the built-in ones, by key; the project's win."""
        ...


class ExpertRunner(ExpertCatalog, Protocol):
    """Runs Experts as real jobs of the workspace, each with its history and its agent record."""

    async def run(self, request: ExpertRequest) -> ExpertAnswer:
        """Run to the end. Cancelling stops the job at a checkpoint, in bounded time.

        Raises:
            UnknownExpertError: there is no such Expert.
            ConfigError: the model cannot be opened.
            StorageError: the history cannot be written.
        """
        ...
