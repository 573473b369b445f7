"""The services of agents over a workspace's database, with a runner that is told what to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from perstack.config.builtin import builtin_experts
from perstack.domain.agents import Agent
from perstack.domain.coordination import AgentsSettings
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, SessionId
from perstack.domain.sessions import Session
from perstack.errors import ConflictError
from perstack.ports.announcements import Announcement
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.agent_execution import AgentExecution
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.services.handle import Handle
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import SetClock
from tests.fakes.runner import Answering, FakeRunner, make_answer, make_expert


@dataclass
class Told:
    """Implements `Announcer` by writing down."""

    heard: list[tuple[str, str, str | None]] = field(
        default_factory=list[tuple[str, str, str | None]]
    )

    def announce(self, said: Announcement) -> None:
        self.heard.append((said.kind, said.subject, said.text))


@dataclass
class Shut:
    """Implements `ResourceGate`: whom it names may not work."""

    reasons: dict[str, str] = field(default_factory=dict[str, str])

    async def refuse_if_paused(self, agent_id: AgentId) -> None:
        if agent_id in self.reasons:
            raise ConflictError(f"Agent {agent_id} is paused: {self.reasons[agent_id]}")


class Stage:
    """All services of one process, over a workspace's database, with a runner to be told what."""

    def __init__(self, folder: Path, clock: SetClock, *, process_id: str = "here") -> None:
        self.answer: Answering = lambda request: make_answer(f"did: {request.query}")
        experts: dict[str, Expert] = {**builtin_experts(), "poet": make_expert("poet")}
        self.runner = FakeRunner(lambda request: self.answer(request), experts)
        self.clock = clock
        self.told, self.gate = Told(), Shut()
        self.forgotten: list[str] = []
        database = folder / "perstack" / "perstack.db"
        self.stores: Handle[Stores] = Handle(
            lambda: open_stores(database, clock=clock, ids=Uuids())
        )
        self.roll = AgentRoll(self.stores, clock=clock)
        self.orders = AgentOrders(self.stores, roll=self.roll, clock=clock, workspace=folder)
        self.agents = AgentService(
            self.stores,
            roll=self.roll,
            orders=self.orders,
            types=AgentTypes(self.runner),
            clock=clock,
            ids=Uuids(),
            settings=AgentsSettings(max_concurrent=20),
            announcer=self.told,
            forget=self.forget,
        )
        self.execution = AgentExecution(
            self.stores,
            agents=self.agents,
            runner=self.runner,
            clock=clock,
            process_id=process_id,
            gate=self.gate,
            announcer=self.told,
            secrets=("hunter2-hunter2",),
        )

    async def begin_session(self, session_id: SessionId) -> None:
        session = Session(id=session_id, started_at=self.clock.now_ms())
        await self.stores.ask(lambda stores: stores.sessions.add(session))

    async def forget(self, agent_id: AgentId) -> None:
        self.forgotten.append(agent_id)

    async def get(self, agent_id: AgentId) -> Agent:
        return await self.stores.ask(lambda s: s.agents.get(agent_id))
