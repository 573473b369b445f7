"""Which agent a run belongs to, and what it is called: agents on record, found by run and job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perstack.domain.ids import AgentId, JobId, RunId
from perstack.projection.views import RunView
from perstack_tui.state.wording import versioned
from perstack_tui.text import flat, width_of

if TYPE_CHECKING:
    from perstack.domain.agents import Agent


@dataclass(frozen=True, slots=True)
class AgentKey:
    """The row of a spawned agent that has no run to show yet."""

    id: AgentId


@dataclass(frozen=True, slots=True)
class Roster:
    """The spawned agents: by the run they are at, and by the job their prompts go on with."""

    by_run: Mapping[RunId, Agent] = field(default_factory=dict["RunId", "Agent"])
    by_job: Mapping[JobId, Agent] = field(default_factory=dict["JobId", "Agent"])
    waiting: tuple[Agent, ...] = ()

    def agent_of(self, run: RunView) -> Agent | None:
        """Return the spawned agent whose own run this is; a delegate's run is nobody's."""
        found = self.by_run.get(run.run_id)
        if found is None and run.parent_run_id is None:
            found = self.by_job.get(run.job_id)
        return found

    def short_name(self, run: RunView) -> str:
        """Return the agent's name, else the Expert's: what lists say."""
        agent = self.agent_of(run)
        return flat(run.expert_key if agent is None else agent.name)

    def name_of(self, run: RunView, room: int) -> str:
        """Return the agent's name, else the Expert's with its version if that fits into `room`."""
        agent = self.agent_of(run)
        if agent is not None:
            return flat(agent.name)
        full = flat(versioned(run.expert_key, run.expert_version))
        return full if run.expert_version and width_of(full) <= room else flat(run.expert_key)


NOBODY = Roster()


def roster_of(agents: Sequence[Agent]) -> Roster:
    """Return the lookups over the agents on record; a run's own record says nothing new."""
    spawned = [agent for agent in agents if agent.origin == "spawned"]
    by_run = {agent.run_id: agent for agent in spawned if agent.run_id is not None}
    by_job = {agent.job_id: agent for agent in spawned if agent.job_id is not None}
    waiting = tuple(agent for agent in spawned if agent.job_id is None and agent.run_id is None)
    return Roster(by_run, by_job, waiting)
