"""A process with a coordinator, killed while one of its workers is at work and one is idle."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import anyio

from perstack.domain.coordination import AgentsSettings
from perstack.domain.ids import TaskId
from perstack.domain.tasks import Task
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.services.bus import MessageBus
from perstack.services.coordinator import CoordinatorParts, HierarchicalCoordinator
from perstack.services.crew import AgentCrew
from perstack.services.handle import Handle
from perstack.services.task_queue import TaskQueue
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS
from tests.fakes.runner import Answering, FakeRunner, make_answer, make_expert

KINDS = ("coordinator", "coder", "tester")


@dataclass(frozen=True, slots=True)
class Place:
    """What one process knows of a workspace."""

    stores: Handle[Stores]
    roll: AgentRoll
    agents: AgentService
    queue: TaskQueue
    parts: CoordinatorParts

    async def add(self, name: str, agent_type: str) -> TaskId:
        task = Task(id=TaskId(name), agent_type=agent_type, input="do it", created_at=NOW_MS)
        await self.stores.ask(lambda stores: stores.tasks.add(task))
        return task.id

    async def until_done(self) -> None:
        with anyio.fail_after(15):
            for _ in count():
                if await self.queue.is_empty():
                    return
                await anyio.sleep(0.01)


@asynccontextmanager
async def open_place(path: Path, answer: Answering) -> AsyncGenerator[Place]:
    """Give the services of a process, agents that others see among them."""
    clock, ids, bus = SystemClock(), Uuids(), MessageBus()
    stores: Handle[Stores] = Handle(lambda: open_stores(path, clock=clock, ids=ids))
    runner = FakeRunner(answer, {kind: make_expert(kind) for kind in KINDS})
    roll = AgentRoll(stores, clock=clock)
    agents = AgentService(
        stores,
        roll=roll,
        orders=AgentOrders(stores, roll=roll, clock=clock, workspace=path.parent),
        types=AgentTypes(runner),
        clock=clock,
        ids=ids,
        settings=AgentsSettings(),
    )
    crew = AgentCrew(stores, agents=agents, clock=clock, ids=ids, process_id=ids.new())
    queue = TaskQueue(stores, clock=clock)
    parts = CoordinatorParts(queue, crew, runner, bus, ids)
    yield Place(stores, roll, agents, queue, parts)
    await stores.aclose()


def coordinate_until_killed(path: Path, told: Connection) -> None:
    """Have a tester idle and a coder at work, tell so, and never get further."""
    anyio.run(_coordinate, path, told)


async def _coordinate(path: Path, told: Connection) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if request.expert == "tester":
            return make_answer("tested")
        told.send("at work")
        await anyio.sleep_forever()
        raise AssertionError

    async with (
        open_place(path, answer) as place,
        HierarchicalCoordinator.open(place.parts, max_workers=2) as coordinator,
    ):
        await coordinator.submit_task(await place.add("t1", "tester"))
        await place.until_done()
        await coordinator.submit_task(await place.add("t2", "coder"))
        await anyio.sleep_forever()
