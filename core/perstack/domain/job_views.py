"""Jobs and Experts as other programs see them."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.expert import Expert
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId, ToolCallId
from perstack.domain.moments import Moment

JobEnding = Literal["completed", "asked", "limit", "failed", "stopped"]
JobStanding = Literal[
    "running", "waiting", "paused", "asks", "stopped", "lost", "completed", "failed", "limit"
]
ExpertSource = Literal["project", "builtin"]

_ENDINGS: dict[JobStanding, JobEnding] = {
    "completed": "completed",
    "asks": "asked",
    "limit": "limit",
    "failed": "failed",
    "stopped": "stopped",
}


class Question(Model):
    """What an Expert asks the user, and the answers that it offers, if any."""

    tool_call_id: ToolCallId
    text: str
    choices: tuple[str, ...] = ()


class JobReport(Model):
    """How a job stands. `ending` is None while it is at work, or was left without saying how.

    `cost` is in USD and `tokens` counts all; with `partial` it was more, since some vendor did not
    say. `text` is what the coordinating Expert said last, once it is done. `consensus_id` is the
    checkpoint that waits for a person's decision, `hint` how the job goes on. `warnings` are what
    was said of Experts of a registry, to whoever had it begin or go on.
    """

    job_id: JobId
    run_id: RunId
    expert: ExpertKey
    state: JobStanding
    ending: JobEnding | None = None
    text: str | None = None
    steps: int
    max_steps: int
    tokens: int
    cost: float
    partial: bool = False
    question: Question | None = None
    consensus_id: ConsensusId | None = None
    error: str | None = None
    started_at: Moment
    finished_at: Moment | None = None
    hint: str | None = None
    warnings: tuple[str, ...] = ()


class ExpertView(Model):
    """An Expert, without anything that its skills are started or reached with."""

    key: ExpertKey
    name: str
    version: str
    description: str | None = None
    source: ExpertSource
    delegates: tuple[ExpertKey, ...] = ()
    skills: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class ExpertList(Model):
    """The Experts that there are."""

    count: int
    experts: tuple[ExpertView, ...]


def ending_of(state: JobStanding) -> JobEnding | None:
    """Return how a job in that state ended, None when it has not."""
    return _ENDINGS.get(state)


def expert_view(expert: Expert, source: ExpertSource) -> ExpertView:
    """Return an Expert as others see it."""
    return ExpertView(
        key=expert.key,
        name=expert.name or expert.key,
        version=expert.version,
        description=expert.description,
        source=source,
        delegates=expert.delegates,
        skills=tuple(expert.skills),
        tags=expert.tags,
    )
