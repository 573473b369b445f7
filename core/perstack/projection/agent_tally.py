"""What the record of an agent says of a run that it does, kept up from the run's events."""

from __future__ import annotations

from typing import Final

from perstack.domain.agents import Agent, AgentStatus, default_name
from perstack.domain.events import (
    CompleteRun,
    Event,
    StartRun,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
)
from perstack.domain.ids import AgentId
from perstack.domain.steering_events import PauseRun, ResumeRun
from perstack.domain.usage import Cost, Usage
from perstack.ports.desk import RunCard
from perstack.projection.cutting import one_line
from perstack.projection.event_facts import spent_by
from perstack.projection.run_state import RunState

_TASK_CHARACTERS: Final = 120
_ERROR_CHARACTERS: Final = 200
_CUT_OFF: Final = "It was cut off before it came to a checkpoint."


class AgentTally:
    """One run's part of its agent's record. `owner` is the agent: spawned, or the run itself."""

    def __init__(self, card: RunCard, state: RunState) -> None:
        self.card = card
        self.owner = card.carrier.agent_id or AgentId(card.run_id)
        self.is_spawned = card.carrier.agent_id is not None
        self.status: AgentStatus = "running"
        self.ended = False
        self._task = one_line(card.query, _TASK_CHARACTERS) if card.query else None
        self._error: str | None = None
        self._step = state.step_number
        # A spawned agent's record has what its earlier runs used; a run's own begins with its past.
        self._usage = Usage() if self.is_spawned else state.usage
        self._cost = Cost() if self.is_spawned else state.cost
        self._paused: tuple[int, str] | None = None
        self._at = card.started_at

    def hear(self, event: Event) -> None:
        """Take in an event of the run."""
        body = event.body
        self._at, self._step = event.timestamp, event.step_number
        usage, usd = spent_by(body)
        if usage.total_tokens:
            self._usage, self._cost = self._usage.plus(usage), self._cost.plus(usd)
        match body:
            case StartRun():
                self.status, self._error, self._paused = "running", None, None
            case PauseRun():
                self._paused = (event.timestamp, body.reason or f"paused by {body.by}")
                self.status = "running" if self.is_spawned else "stopped"
            case ResumeRun():
                self._paused, self.status = None, "running"
            case CompleteRun():
                self.status = "completed"
            case StopRunByError():
                self.status, self._error = "failed", one_line(body.error.message, _ERROR_CHARACTERS)
            case StopRunByInteractiveTool():
                self.status = "idle"
            case SuspendRun() | StopRunByExceededMaxSteps() | StopRunByExceededBudget():
                self.status = "stopped"
            case _:
                pass

    def agent(self, process_id: str) -> Agent:
        """Return the record of a run's own agent.

        One that is driven no more without having said how it ended was cut off: its history could
        not be written, or its program was ended by force.
        """
        card = self.card
        if self.ended and self.status == "running":
            self.status, self._error = "failed", _CUT_OFF
        return self._written(
            Agent(
                id=self.owner,
                type=card.expert_key,
                name=default_name(card.expert_key, self.owner),
                status=self.status,
                origin="run",
                session_id=card.carrier.session_id,
                identity_id=card.carrier.identity_id,
                parent_id=AgentId(card.parent_run_id) if card.parent_run_id else None,
                memory_namespace=f"session:{card.carrier.session_id or self.owner}",
                created_at=card.started_at,
                updated_at=self._at,
            ),
            process_id,
        )

    def joined(self, base: Agent, process_id: str) -> Agent:
        """Return a spawned agent's record `base`, as it stood before this run, with what it used.

        Whoever had it run says how that ended.
        """
        return self._written(base.model_copy(update={"status": "running"}), process_id)

    def _written(self, base: Agent, process_id: str) -> Agent:
        update = {
            "job_id": self.card.job_id,
            "run_id": self.card.run_id,
            "process_id": None if self.ended else process_id,
            "current_task": self._task or base.current_task,
            "last_error": self._error,
            "step_number": self._step,
            "input_tokens": base.input_tokens + self._usage.input_tokens,
            "output_tokens": base.output_tokens + self._usage.output_tokens,
            "cost_usd": base.cost_usd + self._cost.usd,
            "cost_partial": base.cost_partial or self._cost.partial,
            "lost": False,
            "paused_at": self._paused[0] if self._paused else None,
            "pause_reason": self._paused[1] if self._paused else None,
            "updated_at": self._at,
        }
        return base.model_copy(update=update)
