"""The end of a session, with the real services of its agents, its memory and its hooks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.domain.coordination import AgentsSettings, CoordinationSettings, MemorySettings
from perstack.domain.memory import Caller
from perstack.ports.memory import MemoryStore
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.services.handle import Handle
from perstack.services.hooks import HookService
from perstack.services.memory import MemoryService
from perstack.services.sessions import SessionService
from perstack.storage.database.opener import open_memory_store, open_stores
from tests.fakes.announcer import HeardAnnouncer
from tests.fakes.consensus import SetClock
from tests.fakes.runner import FakeRunner, make_answer, make_expert

pytestmark = pytest.mark.anyio

ANA = Caller(name="ana@desk")


class NotedMemory:
    """Implements `HookMemory` over the real memory."""

    def __init__(self, memory: MemoryService) -> None:
        self._memory = memory

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        await self._memory.store(ANA, key, content, namespace=namespace, metadata=metadata)

    async def search(self, query: str, *, namespace: str, limit: int) -> Sequence[str]:
        found = await self._memory.search(ANA, query, namespace=namespace, limit=limit)
        return [hit.entry.content for hit in found.results]


class Workspace:
    """All services of one workspace that a session touches."""

    def __init__(self, folder: Path) -> None:
        clock, path = SetClock(), folder / "perstack" / "perstack.db"
        self.stores: Handle[Stores] = Handle(lambda: open_stores(path, clock=clock, ids=Uuids()))
        self.recall: Handle[MemoryStore] = Handle(
            lambda: open_memory_store(path, clock=clock, ids=Uuids())
        )
        self.memory = MemoryService(self.recall, settings=MemorySettings())
        self.roll = AgentRoll(self.stores, clock=clock)
        experts = {"coder": make_expert("coder")}
        self.agents = AgentService(
            self.stores,
            roll=self.roll,
            orders=AgentOrders(self.stores, roll=self.roll, clock=clock, workspace=folder),
            types=AgentTypes(FakeRunner(lambda _request: make_answer(), experts)),
            clock=clock,
            ids=Uuids(),
            settings=AgentsSettings(),
            announcer=HeardAnnouncer(),
        )
        self.sessions = SessionService(
            self.stores,
            clock=clock,
            ids=Uuids(),
            hooks=HookService(
                NotedMemory(self.memory), settings=CoordinationSettings(), clock=clock
            ),
            stop_agents=partial(self.agents.stop_all, by="ana"),
            forget_memory=self.memory.clear_session,
        )

    async def aclose(self) -> None:
        await self.stores.aclose()
        await self.recall.aclose()


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncGenerator[Workspace]:
    async with AsyncExitStack() as stack:
        made = Workspace(tmp_path)
        stack.push_async_callback(made.aclose)
        yield made


async def test_agentstack_row_132_a_sessions_end_takes_its_memory_and_agents_and_no_others(
    workspace: Workspace,
) -> None:
    kept, ended = await workspace.sessions.start(), await workspace.sessions.start()
    for session in (kept, ended):
        caller = Caller(name="ana@desk", session_id=session.id)
        await workspace.memory.store(caller, "note", f"of {session.id}")
        await workspace.agents.spawn("coder", session_id=session.id)
    await workspace.sessions.end(ended.id)
    spaces = {one.namespace for one in await workspace.memory.index.namespaces(ANA)}
    assert spaces == {f"session:{kept.id}", "sessions"}
    assert [agent.session_id for agent in await workspace.roll.list()] == [kept.id]
    record = await workspace.memory.find(ANA, f"session:{ended.id}:end", namespace="sessions")
    assert record is not None
