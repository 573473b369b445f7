"""The table of agents with ten thousand in it: looking, spawning, writing, ordering."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from bench.measure import heading, median, row
from perstack.config.builtin import builtin_experts
from perstack.domain.agents import Agent, DriverProcess
from perstack.domain.coordination import AgentsSettings
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, JobId
from perstack.errors import UsageError
from perstack.ports.agents import AgentFilter
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.projection.agent_watch import frame, plain, snapshot
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.services.handle import Handle
from perstack.services.processes import own_process
from perstack.storage.database.opener import open_stores

AGENTS: Final = 10_000
_BATCH: Final = 16
_CALLS: Final = 5
_DRIVER: Final = "driver"

Timed = Callable[[], Awaitable[object]]


class NoRunner:
    """An `ExpertRunner` that knows the types and runs nothing."""

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        """The built-in ones."""
        return builtin_experts()

    async def run(self, request: ExpertRequest) -> ExpertAnswer:
        """Refuse."""
        raise UsageError(f"nothing is run here: {request.query}")


def agents(rounds: int) -> None:
    """Print the medians of many calls; the floor of lists is reading the same rows and no more."""
    heading(f"The table of agents, {AGENTS:,} in it")
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        for label, ours, floor in anyio.run(_measure, Path(name), rounds):
            row(label, ours, floor, "ms", "-")


async def _measure(folder: Path, rounds: int) -> list[tuple[str, float, float]]:
    clock, file = SystemClock(), folder / "perstack" / "perstack.db"
    handle = Handle[Stores](partial(open_stores, file, clock=clock, ids=Uuids()))
    driver = Handle[Stores](partial(open_stores, file, clock=clock, ids=Uuids()))
    process = own_process(_DRIVER, now_ms=clock.now_ms())
    await handle.ask(lambda s: s.agents.beat(process))
    runs = [_run(number, clock.now_ms(), process) for number in range(AGENTS)]
    await handle.ask(lambda s: s.agents.record(runs))
    roll, orders, service = _services(handle, folder, clock)

    async def beating(call: Timed) -> float:
        """The driver beats, as it would: nobody is lost meanwhile."""
        await driver.ask(
            lambda s: s.agents.beat(process.model_copy(update={"beat_at": clock.now_ms()}))
        )
        return await _median(rounds, call)

    everybody = AgentFilter()
    read_all = await _floor(rounds, file, AGENTS)
    found = [
        ("list all", await beating(lambda: roll.list(everybody, limit=AGENTS)), read_all),
        (
            "list the first 100",
            await beating(lambda: roll.list(everybody, limit=100)),
            await _floor(rounds, file, 100),
        ),
        (
            "list the thousand at work",
            await beating(lambda: roll.list(limit=AGENTS)),
            await _floor(rounds, file, AGENTS // 10),
        ),
        ("count by status", await beating(lambda: roll.count_by_status(everybody)), 0.0),
        ("list and draw 10,000 rows", await beating(partial(_draw, roll, clock)), read_all),
        (
            f"write {_BATCH} as a driver does",
            await beating(lambda: driver.ask(lambda s: s.agents.record(runs[:_BATCH]))),
            0.0,
        ),
        ("spawn and stop", await beating(partial(_spawn, service)), 0.0),
        ("order, and take it elsewhere", await beating(partial(_order, orders, driver)), 0.0),
        (
            "look for orders, none there",
            await beating(lambda: driver.ask(lambda s: s.agents.take_orders(_DRIVER))),
            0.0,
        ),
    ]
    await handle.aclose()
    await driver.aclose()
    return found


def _services(
    handle: Handle[Stores], folder: Path, clock: SystemClock
) -> tuple[AgentRoll, AgentOrders, AgentService]:
    roll = AgentRoll(handle, clock=clock)
    orders = AgentOrders(handle, roll=roll, clock=clock, workspace=folder)
    service = AgentService(
        handle,
        roll=roll,
        orders=orders,
        types=AgentTypes(NoRunner()),
        clock=clock,
        ids=Uuids(),
        settings=AgentsSettings(max_concurrent=20),
    )
    return roll, orders, service


def _run(number: int, now_ms: int, process: DriverProcess) -> Agent:
    return Agent(
        id=AgentId(f"run-{number:05}"),
        type="coder",
        name=f"coder-{number}",
        status="running" if number % 10 == 0 else "completed",
        origin="run",
        job_id=JobId(f"job-{number // 10}"),
        process_id=process.id if number % 10 == 0 else None,
        memory_namespace=f"session:{number}",
        current_task=f"the {number}. thing that somebody wants to be done",
        step_number=number % 17,
        input_tokens=1_000 + number,
        output_tokens=100 + number,
        cost_usd=0.01,
        created_at=now_ms - 2 * AGENTS + number,
        updated_at=now_ms - 2 * AGENTS + number,
    )


async def _draw(roll: AgentRoll, clock: SystemClock) -> None:
    found = await roll.list(AgentFilter(), limit=AGENTS)
    plain(frame(snapshot(found, max_concurrent=20), now_ms=clock.now_ms(), clock="12:00:00"))


async def _spawn(service: AgentService) -> None:
    agent = await service.spawn("coder")
    await service.stop(agent.id)


async def _order(orders: AgentOrders, driver: Handle[Stores]) -> None:
    await orders.steer("shorter, please", AgentId("run-00000"), by="bench")
    taken = await driver.ask(lambda s: s.agents.take_orders(_DRIVER))
    if len(taken) != 1:
        raise RuntimeError("the order did not arrive")


async def _floor(rounds: int, file: Path, limit: int) -> float:
    """Return what reading the rows takes with nothing around SQLite."""
    connection = sqlite3.connect(file)

    async def read() -> None:
        query = "SELECT * FROM agents ORDER BY created_at, number LIMIT ?"
        connection.execute(query, (limit,)).fetchall()

    took = await _median(rounds, read)
    connection.close()
    return took


async def _median(rounds: int, call: Timed) -> float:
    await call()
    took: list[float] = []
    for _ in range(_CALLS * rounds):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1_000)
    return median(took)
