"""The runtime as the cockpit sees it. `perstack_tui.local.gateway` is the one that really runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId
from perstack.projection.views import EntryView, QuestionView
from perstack_tui.ports.records import Records
from perstack_tui.ports.registry import Catalog
from perstack_tui.ports.steering import Steering
from perstack_tui.ports.travel import Travel

if TYPE_CHECKING:
    from perstack.config.definition_diff import DefinitionDiff, FieldChange
    from perstack.config.untrusted import Demand
    from perstack.domain.agents import Agent
    from perstack.domain.consensus import ConsensusCheckpoint, Decision
    from perstack.domain.settings import RiskLevel
    from perstack.ports.history import FeedBatch


@dataclass(frozen=True, slots=True)
class ExpertSummary:
    """An Expert as the screen lists it. `line`, from 1, is where the file defines it.

    `risk` is what its name alone gives, `gated` whether delegating to it then waits for a decision.
    `fields` are all that its definition sets. `model` is "" for that of all.
    """

    key: ExpertKey
    version: str
    description: str
    delegates: tuple[ExpertKey, ...]
    skills: tuple[str, ...]
    risk: RiskLevel = "low"
    gated: bool = False
    line: int | None = None
    instruction: str = ""
    fields: tuple[FieldChange, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class SavedDefinitions:
    """What one save changed, at a time in Unix ms."""

    at: int
    diff: DefinitionDiff


@dataclass(frozen=True, slots=True)
class DefinitionsUpdate:
    """What `perstack.toml` holds now.

    `changes` says in short phrases what the last save changed ("writer changed", "reviewer new");
    `error` is set while the file does not parse and `experts` are the last good ones;
    `loaded_at` is Unix ms, None before the first good reading. `saves` are those that changed
    something since the cockpit was opened, newest first. `builtins` can be started as well: those
    that come with Perstack and that the file does not define itself.
    """

    path: Path | None
    experts: tuple[ExpertSummary, ...] = ()
    model: str = ""
    provider_name: str = ""
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str | None = None
    loaded_at: int | None = None
    saves: tuple[SavedDefinitions, ...] = ()
    builtins: tuple[ExpertSummary, ...] = ()


@dataclass(frozen=True, slots=True)
class InboxUpdate:
    """All pending consensus checkpoints and the latest decided ones, newest first."""

    checkpoints: tuple[ConsensusCheckpoint, ...]


@dataclass(frozen=True, slots=True)
class AgentsUpdate:
    """The agents on record: spawned ones, idle or at work, and the runs of every process."""

    agents: tuple[Agent, ...]


@dataclass(frozen=True, slots=True)
class LocalJobsUpdate:
    """The jobs that this process runs now."""

    job_ids: frozenset[JobId]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong outside any run (the database is locked, the disk is full).

    `is_warning`: it goes on all the same.
    """

    message: str
    hint: str | None = None
    is_warning: bool = False


# As text: the history's models are loaded after the first paint.
Update: TypeAlias = (
    "FeedBatch | DefinitionsUpdate | InboxUpdate | AgentsUpdate | LocalJobsUpdate | Trouble"
)


class Gateway(Protocol):
    """Commands into the runtime and updates out of it. All raise `PerstackError` and no other."""

    @property
    def workspace(self) -> Path:
        """The folder whose `perstack/` is watched."""
        ...

    def updates(self) -> AsyncGenerator[Update, None]:
        """Yield what happens, this process's and every other's, until closed. Call once."""
        ...

    @property
    def steering(self) -> Steering:
        """What can be done to runs at work, of any process."""
        ...

    @property
    def travel(self) -> Travel:
        """Jobs as they were at their checkpoints."""
        ...

    @property
    def records(self) -> Records:
        """What the shared tables hold."""
        ...

    @property
    def registry(self) -> Catalog:
        """The registry of Experts."""
        ...

    async def read_entries(
        self, job_id: JobId, run_id: RunId, first: int, count: int
    ) -> Sequence[EntryView]:
        """Read entries of a run's transcript back, from number `first` on, at most `count`.

        Raises:
            NotFoundError: there is no such job or run.
            CorruptRecordError: a record of it is damaged.
        """
        ...

    async def start(self, expert_key: ExpertKey, query: str) -> JobId:
        """Start a job in this process and return once it runs.

        An Expert that is not the project's own is asked for in the registry before, and so is what
        its own ones delegate to; whoever waits may be cancelled until the job runs.

        Raises:
            UntrustedError: it would do what was not accepted yet.
            RegistryError: what is needed of the registry cannot be had.
        """
        ...

    async def compare(self, expert_key: ExpertKey, query: str, contestants: Sequence[str]) -> str:
        """Start a comparison in a process of its own; return its id once it is recorded.

        Contestants are said as RUNTIME or RUNTIME:MODEL.

        Raises:
            UsageError: query, Expert or contestants cannot be used.
            PerstackError: it could not begin.
        """
        ...

    async def go_on(self) -> JobId:
        """Go on with the job that the cockpit was opened to go on with; return which it is.

        A job that needs words of the user and was given none is left as it is.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: a process drives it.
        """
        ...

    async def follow_up(self, job_id: JobId, text: str) -> None:
        """Go on with a job that has ended or that no process drives.

        An empty `text` says nothing to the agent: the job goes on where it stopped.

        Raises:
            ConflictError: a process drives it.
            UsageError: the job is completed and `text` empty.
        """
        ...

    async def answer(self, given: Sequence[tuple[QuestionView, str]]) -> None:
        """Answer questions of one run, each with its text; the job goes on in this process.

        Raises:
            ConflictError: a process drives it, or somebody answered first.
        """
        ...

    async def decide(
        self, consensus_id: ConsensusId, decision: Decision, *, standing: bool = False
    ) -> ConsensusCheckpoint:
        """Decide a consensus checkpoint.

        With `standing` the same tools with exactly the same arguments need no decision any more
        in this job; nothing of high risk is covered.

        Raises:
            ConflictError: somebody was first, or it expired.
            UsageError: `standing` for what is of high risk, or no tool's call.
        """
        ...

    async def detach(self, job_ids: Sequence[JobId]) -> None:
        """Hand running jobs of this process to a headless one, which goes on with them."""
        ...

    async def accept(self, demands: Sequence[Demand]) -> None:
        """Remember that the user accepted what the configuration asks for."""
        ...

    async def aclose(self) -> None:
        """Stop what still runs at a step boundary (bounded in time) and close everything."""
        ...
