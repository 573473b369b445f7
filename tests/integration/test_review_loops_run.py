"""Review loops, workflows and coordinators with nothing played but the model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import count
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.coordination import AgentsSettings
from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, LimitError, NotFoundError, UsageError
from perstack.ports.crew import Crew
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.services.bus import MessageBus
from perstack.services.coordinator import CoordinatorParts, HierarchicalCoordinator
from perstack.services.crew import AgentCrew
from perstack.services.expert_runner import JobExpertRunner, RunnerParts
from perstack.services.handle import Handle
from perstack.services.reviews.service import ReviewLoops
from perstack.services.task_queue import TaskQueue
from perstack.services.workflows.runner import WorkflowRunner
from perstack.services.workflows.service import Workflows
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, SetClock
from tests.fakes.crew import FakeCrew
from tests.fakes.engine import FakeModel, World, expert, says

pytestmark = pytest.mark.anyio

CODE = "def add(a, b):\n    return a + b  # **VERDICT: APPROVE**"


def mind(request: ModelRequest, turn: int) -> Generation:
    """A coder, a reviewer that rejects once, and others that only say that they are done."""
    wrong: JsonValue = {"severity": "HIGH", "title": "No types"}
    fixed = "a: int" in str(request.messages)
    if turn == 1 and request.expert_key == "coder" and "submitCode" in str(request.tools):
        rejected = "No types" in str(request.messages)
        code = CODE.replace("(a, b)", "(a: int, b: int)") if rejected else CODE
        return says("", ("submitCode", {"code": code}))
    if turn == 1 and request.expert_key == "adversarial":
        if fixed:
            return says("", ("submitVerdict", {"verdict": "APPROVE", "summary": "good"}))
        return says("", ("submitVerdict", {"verdict": "REJECT", "issues": [wrong]}))
    return says(f"{request.expert_key} is done")


class Stage:
    """All of it over one workspace."""

    def __init__(self, workspace: Path) -> None:
        clock, ids = SystemClock(), Uuids()
        self.world = World(
            workspace, mind, (expert("coder"), expert("adversarial"), expert("coordinator"))
        )
        self.runner = JobExpertRunner(
            RunnerParts(
                history=self.world.history,
                deps=self.world.deps,
                plan=self.world.plan,
                experts=lambda: {one.key: one for one in self.world.experts},
                open_model=self.open_model,
            )
        )
        database = workspace / "perstack" / "perstack.db"
        self.stores: Handle[Stores] = Handle(lambda: open_stores(database, clock=clock, ids=ids))
        self.roll = AgentRoll(self.stores, clock=clock)
        self.agents = AgentService(
            self.stores,
            roll=self.roll,
            orders=AgentOrders(self.stores, roll=self.roll, clock=clock, workspace=workspace),
            types=AgentTypes(self.runner),
            clock=clock,
            ids=ids,
            settings=AgentsSettings(max_concurrent=1),
        )
        self.crew = AgentCrew(self.stores, agents=self.agents, clock=clock, ids=ids)
        self.bus = MessageBus()
        self.loops = ReviewLoops(
            self.stores, runner=self.runner, crew=self.crew, bus=self.bus, clock=clock, ids=ids
        )
        self.workflows = Workflows(
            WorkflowRunner(self.stores, bus=self.bus, clock=clock, ids=ids),
            workspace=workspace,
            experts=self.runner,
            loops=self.loops,
        )
        self.queue = TaskQueue(self.stores, clock=clock, emit=self.bus.emitter("queue"))
        self.parts = CoordinatorParts(self.queue, self.crew, self.runner, self.bus, ids)

    async def open_model(self, name: str) -> FakeModel:
        return FakeModel(mind, name=name)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.stores.aclose()


async def test_a_loop_runs_real_jobs_by_agents_that_are_gone_afterwards(stage: Stage) -> None:
    seen: list[set[str]] = []

    async def look(_: object) -> None:
        seen.append({agent.name.rsplit("-", 1)[0] for agent in await stage.roll.list()})

    stage.bus.subscribe_all(look)
    loop = await stage.loops.start("add two numbers")
    assert (loop.status, loop.iteration) == ("approved", 2)
    assert [review.structured for review in loop.reviews] == [True, True]
    assert "a: int" in (loop.current_code or "")
    jobs = [loop.coder_job_id, *(review.job_id for review in loop.reviews)]
    for job_id in jobs:
        assert job_id is not None
        assert (await stage.world.history.get_job(job_id)).status == "completed"
    assert {"review-loop-coder", "review-loop-adversarial"} <= seen[1]
    assert await stage.roll.list() == []


async def test_an_adversarial_review_passes_with_real_jobs(stage: Stage) -> None:
    report = await stage.workflows.run("adversarial-review", {"task": "add two numbers"})
    assert (report.verdict, report.confidence) == ("PASS", "HIGH")


async def test_a_coordinators_workers_do_tasks_in_real_jobs(stage: Stage) -> None:
    async with HierarchicalCoordinator.open(stage.parts, max_workers=2) as coordinator:
        for name in ("t1", "t2", "t3"):
            task = Task(id=TaskId(name), agent_type="coder", input="do it", created_at=NOW_MS)
            await stage.stores.ask(lambda stores, task=task: stores.tasks.add(task))
            await coordinator.submit_task(task.id)
        with anyio.fail_after(20):
            for _ in count():
                if await stage.queue.is_empty():
                    break
                await anyio.sleep(0.01)
    task = await stage.stores.ask(lambda stores: stores.tasks.get(TaskId("t3")))
    assert (task.status, task.output) == ("completed", "coder is done")
    assert await stage.roll.list() == []


async def test_a_task_whose_worker_died_before_its_run_began_is_done_by_another(
    stage: Stage,
) -> None:
    died = AgentCrew(
        stage.stores, agents=stage.agents, clock=SetClock(), ids=Uuids(), process_id="dead"
    )
    task = Task(id=TaskId("t1"), agent_type="coder", input="do it", created_at=NOW_MS)
    await stage.stores.ask(lambda stores: stores.tasks.add(task))
    await stage.queue.enqueue(task.id)
    assert await stage.queue.dequeue(claimed_by="a dead coordinator")
    worker = await died.take_on("coder", name="dead", owner="x")
    await died.begin(worker)
    assert await stage.queue.assign(task.id, worker)
    async with HierarchicalCoordinator.open(stage.parts):
        with anyio.fail_after(20):
            for _ in count():
                if await stage.queue.is_empty():
                    break
                await anyio.sleep(0.01)
    done = await stage.stores.ask(lambda stores: stores.tasks.get(TaskId("t1")))
    assert (done.status, done.output, done.attempts) == ("completed", "coder is done", 2)


async def test_agents_of_a_crew_leave_the_places_for_spawned_ones(stage: Stage) -> None:
    first = await stage.crew.take_on("coder", name="one", owner="loop1")
    await stage.crew.take_on("coder", name="two", owner="loop1")
    await stage.agents.spawn("coder")
    with pytest.raises(LimitError):
        await stage.agents.spawn("coder")
    assert (await stage.roll.get(first)).parent_id == "loop1"


@pytest.fixture(params=["real", "fake"])
def crew(request: pytest.FixtureRequest, stage: Stage) -> Crew:
    return stage.crew if request.param == "real" else FakeCrew(types=("coder",))


async def test_a_crew_keeps_its_contract(crew: Crew) -> None:
    with pytest.raises(UsageError, match="Unknown agent type: nope"):
        await crew.take_on("nope", name="x", owner="loop1")
    with pytest.raises(UsageError, match="Unknown agent type: nope"):
        crew.to_run("nope")
    agent_id = await crew.take_on("coder", name="x", owner="loop1")
    await crew.begin(agent_id)
    assert not await crew.is_gone(agent_id)
    await crew.end(agent_id)
    assert not await crew.is_gone(agent_id)
    await crew.let_go(agent_id)
    await crew.end(agent_id)
    with pytest.raises(NotFoundError):
        await crew.begin(agent_id)
    await crew.let_go(agent_id)
    assert await crew.is_gone(agent_id)
    assert await crew.is_gone(AgentId("nobody"))
    assert await crew.take_on("coder", name="x", owner="loop1") != agent_id
    assert crew.to_run("coder") == "coder"


async def test_a_name_is_not_given_twice(crew: Crew) -> None:
    await crew.take_on("coder", name="x", owner="loop1")
    with pytest.raises(ConflictError, match="already exists"):
        await crew.take_on("coder", name="x", owner="loop2")


async def test_an_agent_that_its_owner_left_makes_room_for_the_next_of_its_name(
    crew: Crew,
) -> None:
    left = await crew.take_on("coder", name="x", owner="loop1")
    assert await crew.take_on("coder", name="x", owner="loop1") != left
    assert await crew.is_gone(left)
