"""What the runs of this process use, kept in memory until it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from perstack.domain.coordination import ResourceSettings
from perstack.domain.exhaustion import Transition, judge, verdict_of
from perstack.domain.ids import AgentId
from perstack.domain.metering import Activity, applied
from perstack.domain.resources import (
    COUNTERS,
    ExhaustionEvent,
    ResourceMetrics,
    Verdict,
    begin,
    evaluate,
)
from perstack.ports.resources import Change, Written

UNKNOWN_TYPE: Final = "unknown"

Action = Literal["go", "pause", "stop"]


@dataclass(frozen=True, slots=True)
class Look:
    """The limits were looked at, at a time (Unix ms)."""

    at: int


Deed = Activity | Look


@dataclass(slots=True)
class Tracked:
    """An agent of this process. `metrics` are as far as is known here, deeds not written included.

    `saved` are those that were last written or read; None as long as neither happened. `told` is
    what whoever drives the agent knows that it has to do.
    """

    agent_type: str
    metrics: ResourceMetrics
    deeds: list[Deed] = field(default_factory=list[Deed])
    saved: ResourceMetrics | None = None
    let_go: bool = False
    told: Action = "go"


class ResourceLedger:
    """Holds what is to be written and says how an agent stands; all of it in the event loop."""

    def __init__(self) -> None:
        self._agents: dict[AgentId, Tracked] = {}

    @property
    def agent_ids(self) -> list[AgentId]:
        """The agents that are held."""
        return list(self._agents)

    def note(self, agent_id: AgentId, agent_type: str, activity: Activity) -> bool:
        """Count an activity; say whether the agent was not held before."""
        found = self._agents.get(agent_id)
        new = found is None
        if found is None:
            found = Tracked(agent_type, begin(agent_id, agent_type, at=activity.at))
            self._agents[agent_id] = found
        found.let_go = False
        found.metrics = applied(found.metrics, activity)
        found.deeds.append(activity)
        return new

    def tell(self, agent_id: AgentId, settings: ResourceSettings, now_ms: int) -> Verdict | None:
        """Judge an agent for whoever drives it; None when it is not held."""
        found = self._agents.get(agent_id)
        if found is None:
            return None
        verdict = _look(found, settings, now_ms)
        found.told = verdict.action
        return verdict

    def look_at_all(self, settings: ResourceSettings, now_ms: int) -> None:
        """Judge all that work now."""
        for held in self._agents.values():
            if held.metrics.idle_since is None:
                _look(held, settings, now_ms)

    def let_go(self, agent_id: AgentId) -> None:
        """Hold an agent no longer than until its deeds are written."""
        found = self._agents.get(agent_id)
        if found is not None:
            found.let_go = True

    def drop(self, agent_id: AgentId) -> None:
        """Hold an agent no longer; what is not written of it is lost."""
        self._agents.pop(agent_id, None)

    def drop_finished(self) -> None:
        """Hold those no longer that were let go and are written."""
        for agent_id in [one for one, held in self._agents.items() if held.let_go]:
            if not self._agents[agent_id].deeds:
                self.drop(agent_id)

    def take(self) -> dict[AgentId, tuple[Deed, ...]]:
        """Return the deeds that are to be written, and count them as written."""
        taken: dict[AgentId, tuple[Deed, ...]] = {}
        for agent_id, held in self._agents.items():
            if held.deeds:
                taken[agent_id] = tuple(held.deeds)
                held.deeds = []
        return taken

    def put_back(self, taken: Mapping[AgentId, tuple[Deed, ...]]) -> None:
        """Say that deeds could not be written after all."""
        for agent_id, deeds in taken.items():
            if agent_id in self._agents:
                self._agents[agent_id].deeds[:0] = deeds

    def change(
        self,
        agent_id: AgentId,
        deeds: Sequence[Deed],
        settings: ResourceSettings,
        new_id: Callable[[], str],
    ) -> Change:
        """Return what is to be done to the stored metrics for an agent's deeds."""
        held = self._agents[agent_id]
        saved, agent_type = held.saved, held.agent_type

        def change(stored: ResourceMetrics | None) -> Written:
            first = stored or saved or begin(agent_id, agent_type, at=deeds[0].at)
            known = _not_less(first, saved)
            if known.agent_type == UNKNOWN_TYPE:
                known = known.model_copy(update={"agent_type": agent_type})
            return _replayed(known, deeds, settings, new_id)

        return change

    def settle(
        self, agent_id: AgentId, stored: ResourceMetrics, settings: ResourceSettings, now_ms: int
    ) -> Verdict | None:
        """Take over what is stored now; return the verdict if another thing is to be done by it."""
        held = self._agents.get(agent_id)
        if held is None or stored == held.saved:
            return None
        held.saved = stored
        held.metrics = _replayed(stored, held.deeds, settings, str).metrics or stored
        verdict = verdict_of(held.metrics, evaluate(held.metrics, settings, now_ms))
        if verdict.action == held.told:
            return None
        held.told = verdict.action
        return verdict


def _look(held: Tracked, settings: ResourceSettings, now_ms: int) -> Verdict:
    """Judge; what that changes is written with the rest."""
    judged = judge(held.metrics, settings, now_ms)
    if judged.transition is not None:
        held.metrics = judged.metrics
        held.deeds.append(Look(now_ms))
    return judged.verdict


def event_of(
    metrics: ResourceMetrics,
    changed: Transition,
    settings: ResourceSettings,
    *,
    event_id: str,
    at: int,
) -> ExhaustionEvent:
    """Return the record of a change of phase."""
    return ExhaustionEvent(
        id=event_id,
        agent_id=metrics.agent_id,
        agent_type=metrics.agent_type,
        phase=changed.phase,
        action_taken=changed.action,
        metrics=metrics.model_dump(mode="json"),
        thresholds=settings.thresholds,
        triggered_by=changed.triggered_by,
        created_at=at,
    )


def _replayed(
    metrics: ResourceMetrics,
    deeds: Sequence[Deed],
    settings: ResourceSettings,
    new_id: Callable[[], str],
) -> Written:
    events: list[ExhaustionEvent] = []
    for deed in deeds:
        if isinstance(deed, Activity):
            metrics = applied(metrics, deed)
            continue
        judged = judge(metrics, settings, deed.at)
        metrics = judged.metrics
        if judged.transition is not None:
            events.append(
                event_of(metrics, judged.transition, settings, event_id=new_id(), at=deed.at)
            )
    return Written(metrics, tuple(events))


def _not_less(stored: ResourceMetrics, saved: ResourceMetrics | None) -> ResourceMetrics:
    """Return the stored metrics with no counter below what this process saw: none ever shrinks."""
    if saved is None:
        return stored
    most = {name: max(getattr(stored, name), getattr(saved, name)) for name in COUNTERS}
    return stored.model_copy(update=most)
