"""A desk that remembers, and a hand on every run's helm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perstack.domain.events import Event
from perstack.domain.ids import ExpertKey, RunId
from perstack.ports.desk import DriftVerdict, Helm, Hold, RunCard
from perstack.projection.run_state import RunState


@dataclass
class FakeDesk:
    """`holding` answers `hold`; with `judging`, it answers `judge` and delegations are judged."""

    holding: Callable[[RunId], Hold | None] = lambda _: None
    judging: Callable[[str], DriftVerdict] | None = None
    cards: list[RunCard] = field(default_factory=list[RunCard])
    helms: dict[ExpertKey, Helm] = field(default_factory=dict[ExpertKey, Helm])
    heard: list[Event] = field(default_factory=list[Event])
    gone: list[RunId] = field(default_factory=list[RunId])
    lifted: list[RunId] = field(default_factory=list[RunId])

    @property
    def judges_drift(self) -> bool:
        return self.judging is not None

    def take_up(self, card: RunCard, state: RunState, helm: Helm) -> None:
        self.cards.append(card)
        self.helms[card.expert_key] = helm

    async def lift(self, run_id: RunId) -> None:
        self.lifted.append(run_id)

    def hear(self, event: Event) -> None:
        self.heard.append(event)

    def let_go(self, run_id: RunId) -> None:
        self.gone.append(run_id)

    def hold(self, run_id: RunId) -> Hold | None:
        return self.holding(run_id)

    async def judge(self, parent: RunId, agent_type: ExpertKey, query: str) -> DriftVerdict:
        assert self.judging is not None
        return self.judging(query)
