"""What the service of resource limits asks of its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.ids import AgentId
from perstack.domain.resources import (
    Deliverable,
    ExhaustionEvent,
    ResourceMetrics,
    ResourceSummary,
)


@dataclass(frozen=True, slots=True)
class Written:
    """What a change writes. `metrics` None leaves them as they are, or absent."""

    metrics: ResourceMetrics | None
    events: tuple[ExhaustionEvent, ...] = ()
    deliverable: Deliverable | None = None


# Called in a worker thread with what is stored (None: nothing); it must not depend on anything that
# the event loop changes meanwhile.
Change = Callable[[ResourceMetrics | None], Written]


class ResourceStore(Protocol):
    """Metrics, deliverables and exhaustion events of agents, shared by all processes."""

    async def change(self, changes: Sequence[tuple[AgentId, Change]]) -> Sequence[Written]:
        """Change metrics in one transaction that no other change comes between; return all."""
        ...

    async def find(self, agent_ids: Sequence[AgentId]) -> Sequence[ResourceMetrics]:
        """Return the metrics of those of the agents that are tracked."""
        ...

    async def latest(self, *, limit: int) -> Sequence[ResourceMetrics]:
        """Return metrics, the latest active first."""
        ...

    async def remove(self, agent_id: AgentId) -> bool:
        """Forget an agent's metrics and deliverables, not its events; say whether it had any."""
        ...

    async def deliverables(self, agent_id: AgentId, *, limit: int = 100) -> Sequence[Deliverable]:
        """Return what an agent delivered, newest first."""
        ...

    async def events(
        self, *, agent_id: AgentId | None = None, since_ms: int = 0, limit: int = 10
    ) -> Sequence[ExhaustionEvent]:
        """Return changes of phase, newest first."""
        ...

    async def summary(self, *, since_ms: int = 0) -> ResourceSummary:
        """Return figures over all tracked agents; totals and events are those since then."""
        ...
