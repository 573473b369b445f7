"""Spawned agents that really run: a real job, its history, its record and orders from elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.agent_views import Execution
from perstack.domain.agents import Agent
from perstack.domain.coordination import AgentsSettings, CoordinationSettings
from perstack.domain.ids import JobId
from perstack.domain.messages import ExpertMessage, UserMessage, text_of
from perstack.domain.settings import ConsensusSettings
from perstack.errors import ConflictError, LimitError
from perstack.ports.model import ChatModel, Generation, ModelRequest
from perstack.ports.system import SystemClock, Uuids
from perstack.services.agent_execution import AgentExecution
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.services.expert_runner import JobExpertRunner, RunnerParts
from perstack.wiring import ProjectFacts, RunServices, Tables, open_run_services, open_tables
from tests.fakes.engine import FakeSkills, Mind, World, expert, says

pytestmark = pytest.mark.anyio


class Place:
    """What one process has: the tables, a desk, a runner, and the verbs over them."""

    def __init__(self, folder: Path, tables: Tables, own: RunServices, mind: Mind) -> None:
        self.tables, self.own = tables, own
        self.world = World(
            folder, mind, (expert("poet"),), skills=_slow(), desk=own.desk, max_steps=10_000
        )
        clock = SystemClock()
        runner = JobExpertRunner(
            RunnerParts(
                history=self.world.history,
                deps=self.world.deps,
                plan=self.world.plan,
                experts=lambda: {one.key: one for one in self.world.experts},
                open_model=_no_other_model,
            )
        )
        self.roll = AgentRoll(tables.stores, clock=clock)
        self.orders = AgentOrders(
            tables.stores, roll=self.roll, clock=clock, workspace=tables.workspace
        )
        self.agents = AgentService(
            tables.stores,
            roll=self.roll,
            orders=self.orders,
            types=AgentTypes(runner),
            clock=clock,
            ids=Uuids(),
            settings=AgentsSettings(),
        )
        self.execution = AgentExecution(
            tables.stores, agents=self.agents, runner=runner, clock=clock
        )

    async def poet(self) -> Agent:
        return await self.roll.get(name="poet")


async def _no_other_model(name: str) -> ChatModel:
    raise AssertionError(name)


def _slow() -> FakeSkills:
    async def look(_: Mapping[str, JsonValue]) -> str:
        await anyio.sleep(0.005)
        return "seen"

    return FakeSkills({"look": look})


@asynccontextmanager
async def place(folder: Path, mind: Mind) -> AsyncGenerator[Place]:
    tables = open_tables(folder)
    facts = ProjectFacts(CoordinationSettings(), ConsensusSettings(), {}, secrets=())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tables.aclose)
        own = await stack.enter_async_context(open_run_services(tables, facts))
        yield Place(folder, tables, own, mind)


def looking(request: ModelRequest, turn: int) -> Generation:
    """Look again and again, until somebody says enough."""
    said = str(request.messages[-1])
    return says("enough then") if "enough" in said else says("", ("look", {}))


async def test_a_spawned_agent_keeps_its_conversation_and_what_it_used(tmp_path: Path) -> None:
    def counting(request: ModelRequest, turn: int) -> Generation:
        told = [text_of(m.contents) for m in request.messages if isinstance(m, UserMessage)]
        turns = sum(isinstance(m, ExpertMessage) for m in request.messages)
        return says(f"{turns} before, you said {told[-1]}")

    async with place(tmp_path, counting) as here:
        first = await here.execution.run("poet", "one", name="poet", context="the sea")
        await here.own.desk.flush()
        second = await here.execution.execute("two", name="poet")
        assert first.response == "0 before, you said Context:\nthe sea\n\none"
        assert second.response == "1 before, you said two"
        assert second.job_id == first.job_id
        await here.own.desk.flush()
        poet = await here.poet()
        assert (poet.status, poet.process_id, poet.job_id) == ("idle", None, first.job_id)
        assert (poet.input_tokens, poet.output_tokens) == (20, 10)
        assert [one.id for one in await here.roll.list()] == [poet.id]
        assert (await here.world.history.get_job(JobId(first.job_id))).status == "completed"


async def at_work(
    tmp_path: Path, then: Callable[[Place, Place], Awaitable[object]]
) -> tuple[Place, list[Execution | Exception]]:
    """Have a poet look around in one place until `then` has done something in another."""
    ends: list[Execution | Exception] = []
    async with place(tmp_path, looking) as here, place(tmp_path, looking) as there:

        async def run() -> None:
            try:
                ends.append(await here.execution.run("poet", "look", name="poet"))
            except (ConflictError, LimitError) as error:
                ends.append(error)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                async for agents in there.roll.watch(poll_s=0.02):
                    if any(one.process_id is not None for one in agents):
                        break
                await then(here, there)
        await here.own.desk.flush()
    return here, ends


async def test_another_process_steers_a_spawned_agent(tmp_path: Path) -> None:
    async def steer(_: Place, there: Place) -> None:
        assert (await there.poet()).status == "running"
        with pytest.raises(ConflictError, match="is at work: look"):
            await there.execution.execute("something else", name="poet")
        await there.orders.steer("enough", name="poet", by="ana", allow_self=True)

    _, ends = await at_work(tmp_path, steer)
    (end,) = ends
    assert isinstance(end, Execution)
    assert (end.ending, end.response) == ("completed", "enough then")


async def test_another_process_stops_a_spawned_agent_and_its_name_is_free(tmp_path: Path) -> None:
    async def stop(_: Place, there: Place) -> None:
        stopped = await there.agents.stop(name="poet", by="ana", allow_self=True)
        assert stopped.ordered
        await there.agents.spawn("poet", name="poet")

    here, ends = await at_work(tmp_path, stop)
    (end,) = ends
    assert isinstance(end, Execution)
    assert (end.ending, end.response) == ("stopped", "stopped by ana")
    tables = open_tables(tmp_path)
    found = await tables.stores.ask(lambda s: s.agents.get(end.agent_id))
    await tables.aclose()
    assert found.status == "stopped"
    assert (await here.world.history.get_job(end.job_id)).status != "completed"


async def test_an_agent_that_takes_too_long_is_stopped_where_it_can_go_on(tmp_path: Path) -> None:
    async with place(tmp_path, looking) as here:
        await here.agents.spawn("poet", name="poet")
        with pytest.raises(LimitError, match=r"poet was stopped after 0\.3 s"):
            await here.execution.execute("look", name="poet", timeout_s=0.3)
        poet = await here.poet()
        assert (poet.status, poet.job_id is None) == ("failed", False)
        done = await here.execution.execute("that is enough", name="poet")
        assert (done.response, done.job_id) == ("enough then", poet.job_id)
