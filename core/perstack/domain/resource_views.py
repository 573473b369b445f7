"""What is told of an agent's use of its resources, in the seed's shapes."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.ids import AgentId
from perstack.domain.moments import Moment
from perstack.domain.resources import Phase, ResourceMetrics, Trigger


class ResourceView(Model):
    """What an agent used since it began, and how near its limits that is."""

    agent_id: AgentId
    agent_type: str
    files_read: int
    files_written: int
    files_modified: int
    api_calls_count: int
    subtasks_spawned: int
    tokens_consumed: int
    started_at: Moment
    last_deliverable_at: Moment | None
    last_activity_at: Moment
    phase: Phase
    paused_at: Moment | None
    pause_reason: str | None
    triggered_by: Trigger | None


class Paused(Model):
    """That an agent begins nothing more until it is resumed."""

    paused: Literal[True] = True
    reason: str


class Resumed(Model):
    """That an agent goes on."""

    resumed: Literal[True] = True


def resource_view(metrics: ResourceMetrics) -> ResourceView:
    """Return an agent's figures as the seed shows them."""
    return ResourceView.model_validate(
        {name: getattr(metrics, name) for name in ResourceView.model_fields}
    )
