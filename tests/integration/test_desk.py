"""Every run has an agent and a task in the shared tables, and hears what anybody wants of it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.agents import Agent
from perstack.domain.coordination import (
    CoordinationSettings,
    DriftSettings,
    MemorySettings,
    ResourceSettings,
    ResourceThresholds,
    VectorSearchSettings,
)
from perstack.domain.events import Event
from perstack.domain.ids import AgentId, ExpertKey, JobId, RunId, SessionId, TaskId
from perstack.domain.resources import Verdict
from perstack.domain.settings import ConsensusSettings
from perstack.domain.steering_events import JudgeDrift, PauseRun, ResumeRun
from perstack.domain.tasks import Task, TaskStatus
from perstack.engine.control import StopControl
from perstack.engine.plan import JobOutcome
from perstack.engine.steering import RunHelm
from perstack.errors import StorageError
from perstack.ports.agents import AgentFilter
from perstack.ports.desk import NOBODY, Carrier, RunCard
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.system import SystemClock, Uuids
from perstack.projection.run_state import RunState
from perstack.services import desk
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.identities import IdentityService
from perstack.services.task_creation import NewTask
from perstack.storage.database.opener import database_path
from perstack.wiring import (
    ProjectFacts,
    RunServices,
    Tables,
    open_run_services,
    open_tables,
    tasks_over,
)
from tests.fakes.engine import FakeSkills, World, expert, says
from tests.fakes.tasks import FakeConsensus

pytestmark = pytest.mark.anyio

SECRET = "sk-canary-value"
WITHIN = Verdict(phase="normal", triggered_by=None)
OVER = Verdict(phase="intervention", triggered_by=None, action="pause", reason="maxApiCalls")


@asynccontextmanager
async def services(
    tmp_path: Path, settings: CoordinationSettings | None = None
) -> AsyncGenerator[tuple[Tables, RunServices]]:
    """The services of one process, over the workspace's real database."""
    tables = open_tables(tmp_path)
    facts = ProjectFacts(
        settings or CoordinationSettings(), ConsensusSettings(), {}, secrets=(SECRET,)
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tables.aclose)
        yield tables, await stack.enter_async_context(open_run_services(tables, facts))


def orders_of(tables: Tables) -> AgentOrders:
    """What another process would order with, over a handle of its own."""
    clock = SystemClock()
    roll = AgentRoll(tables.stores, clock=clock)
    return AgentOrders(tables.stores, roll=roll, clock=clock, workspace=tables.workspace)


def team(request: ModelRequest, turn: int) -> Generation:
    if request.expert_key == "lead":
        return says("", ("child", {"query": "write the notes"})) if turn == 1 else says("all done")
    return says("notes written")


EXPERTS = (expert("lead", "child"), expert("child"))


async def agents_of(tables: Tables) -> dict[str, Agent]:
    found = await tables.stores.ask(lambda s: s.agents.list(AgentFilter()))
    return {one.type: one for one in found}


async def test_every_run_has_an_agent_with_what_it_used(tmp_path: Path) -> None:
    carrier = Carrier(session_id=SessionId("s1"))
    async with services(tmp_path) as (_, own):
        world = World(tmp_path, team, EXPERTS, desk=own.desk, carrier=carrier)
        ended = await world.start(f"make a release with {SECRET}")
    tables = open_tables(tmp_path)
    agents = await agents_of(tables)
    lead, child = agents["lead"], agents["child"]
    assert (lead.status, lead.origin, lead.id) == ("completed", "run", ended.run_id)
    assert (child.status, child.parent_id) == ("completed", lead.id)
    assert (lead.session_id, child.session_id) == ("s1", "s1")
    assert lead.current_task == "make a release with [redacted]"
    assert (lead.input_tokens, child.input_tokens) == (20, 10)
    assert lead.process_id is None
    assert await tables.stores.ask(lambda s: s.agents.processes()) == []
    await tables.aclose()


async def test_a_run_that_carries_an_identity_is_in_its_audit_trail_and_found_by_it(
    tmp_path: Path,
) -> None:
    tables = open_tables(tmp_path)
    identities = IdentityService(tables.stores, clock=SystemClock(), ids=Uuids())
    identity = await identities.create("lead", auto_activate=True)
    carrier = Carrier(identity_id=identity.agent_id)
    async with services(tmp_path) as (_, own):
        world = World(tmp_path, team, EXPERTS, desk=own.desk, carrier=carrier)
        ended = await world.start()
    actions = [(one.action, one.metadata) for one in await identities.audit(identity.agent_id)]
    assert [one for one in actions if one[0] == "spawned"] == [
        ("spawned", {"spawnId": ended.run_id})
    ]
    wanted = AgentFilter(identity_id=identity.agent_id)
    found = await tables.stores.ask(lambda s: s.agents.list(wanted))
    assert [(one.id, one.job_id) for one in found] == [(ended.run_id, ended.job_id)]
    await tables.aclose()


async def test_every_run_is_a_task_and_the_delegating_one_its_parent(tmp_path: Path) -> None:
    async with services(tmp_path) as (_, own):
        world = World(tmp_path, team, EXPERTS, desk=own.desk)
        ended = await world.start("make a release")
        await own.desk.flush()
        lead = await own.tasks.get(TaskId(ended.run_id))
        children = await own.tasks.relationships(lead.id, "outgoing")
        child = await own.tasks.get(children[0].to_task_id)
    assert (lead.status, lead.input, lead.output) == ("completed", "make a release", "all done")
    assert (child.status, child.input, child.output) == (
        "completed",
        "write the notes",
        "notes written",
    )
    assert (child.parent_task_id, child.depth) == (lead.id, 1)


def looking(request: ModelRequest, turn: int) -> Generation:
    """Look again and again, until somebody says enough."""
    said = str(request.messages[-1])
    return says("enough then") if "enough" in said else says("", ("look", {}))


async def agent_at_work(tables: Tables) -> AgentId:
    """The one agent, once it is on record and orders can reach it."""
    while True:
        for agent in await tables.stores.ask(lambda s: s.agents.list(AgentFilter())):
            if agent.process_id is not None:
                return agent.id
        await anyio.sleep(0.02)


async def test_what_another_process_says_is_read_at_the_next_step(tmp_path: Path) -> None:
    endings: list[JobOutcome] = []
    async with services(tmp_path) as (_, own), AsyncExitStack() as stack:
        others = open_tables(tmp_path)
        stack.push_async_callback(others.aclose)
        world = World(
            tmp_path, looking, (expert("lead"),), skills=_slow(), desk=own.desk, max_steps=10_000
        )

        async def run() -> None:
            endings.append(await world.start())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                agent = await agent_at_work(others)
                await orders_of(others).steer("enough", agent, by="ana", allow_self=True)
    assert endings[0].outcome.text == "enough then"


async def test_another_process_pauses_resumes_and_stops_a_run(tmp_path: Path) -> None:
    endings: list[JobOutcome] = []
    paused, resumed = anyio.Event(), anyio.Event()

    def on(event: Event) -> None:
        if isinstance(event.body, PauseRun):
            paused.set()
        if isinstance(event.body, ResumeRun):
            resumed.set()

    async with services(tmp_path) as (_, own), AsyncExitStack() as stack:
        others = open_tables(tmp_path)
        stack.push_async_callback(others.aclose)
        world = World(
            tmp_path, looking, (expert("lead"),), skills=_slow(), desk=own.desk, max_steps=10_000
        )
        world.heard.on = on

        async def run() -> None:
            endings.append(await world.start())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                agent = await agent_at_work(others)
                orders = orders_of(others)
                await orders.pause(agent, reason="wait", by="ana", allow_self=True)
                await paused.wait()
                await own.desk.flush()
                standing = await others.stores.ask(lambda s: s.agents.get(agent))
                assert (standing.status, standing.pause_reason) == ("stopped", "wait")
                await orders.resume(agent, by="ben", allow_self=True)
                await resumed.wait()
                await orders.give(
                    await others.stores.ask(lambda s: s.agents.get(agent)),
                    "stop",
                    None,
                    by="cay",
                    allow_self=True,
                )
    assert endings[0].outcome.ending == "stopped"
    assert [e.body.by for e in world.heard.events if e.body.type == "suspendRun"] == ["cay"]


def _slow() -> FakeSkills:
    """A tool that lets others have their turn."""

    async def look(_: Mapping[str, JsonValue]) -> str:
        await anyio.sleep(0.005)
        return "seen"

    return FakeSkills({"look": look})


async def test_a_delegation_that_repeats_its_parent_is_refused_and_leaves_no_task(
    tmp_path: Path,
) -> None:
    settings = CoordinationSettings(
        memory=MemorySettings(vector_search=VectorSearchSettings(provider="hashed")),
        drift=DriftSettings(enabled=True, behavior="prevent"),
    )

    def repeating(request: ModelRequest, turn: int) -> Generation:
        if turn > 1:
            return says("did it myself")
        return says("", ("child", {"query": "write the release notes for the version"}))

    async with services(tmp_path, settings) as (_, own):
        world = World(tmp_path, repeating, EXPERTS, desk=own.desk)
        ended = await world.start("write the release notes for the version")
        tasks = await own.tasks.list()
    judged = [e.body for e in world.heard.events if isinstance(e.body, JudgeDrift)]
    assert ended.outcome.text == "did it myself"
    assert [(one.action, one.task_id) for one in judged] == [("prevented", ended.run_id)]
    assert [task.agent_type for task in tasks] == ["lead"]


async def test_a_run_over_its_limits_stands_until_a_person_raises_them(tmp_path: Path) -> None:
    settings = CoordinationSettings(
        resources=ResourceSettings(enabled=True, thresholds=ResourceThresholds(max_api_calls=3))
    )
    endings: list[JobOutcome] = []
    paused = anyio.Event()

    def turns(request: ModelRequest, turn: int) -> Generation:
        return says("", ("look", {})) if turn < 5 else says("finished")

    def on(event: Event) -> None:
        if isinstance(event.body, PauseRun):
            paused.set()

    async with services(tmp_path, settings) as (tables, own):
        world = World(tmp_path, turns, (expert("lead"),), skills=_slow(), desk=own.desk)
        world.heard.on = on

        async def run() -> None:
            endings.append(await world.start())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await paused.wait()
                assert len(world.model.requests) == 3
                agent = await agent_at_work(tables)
                await orders_of(tables).resume(agent, by="ana", allow_self=True)
        metrics = await own.resources.get_agent_metrics(AgentId(endings[0].run_id))
    assert endings[0].outcome.text == "finished"
    pauses = [e.body for e in world.heard.events if isinstance(e.body, PauseRun)]
    assert [(one.by, "maxApiCalls" in (one.reason or "")) for one in pauses] == [
        ("resource limits", True)
    ]
    assert metrics.api_calls_count == 5


async def test_a_process_that_was_taken_for_dead_is_on_record_again_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "BEAT_S", 0.05)
    release = anyio.Event()

    async def wait(_: Mapping[str, JsonValue]) -> str:
        await release.wait()
        return "seen"

    def once(request: ModelRequest, turn: int) -> Generation:
        return says("", ("look", {})) if turn == 1 else says("done")

    lost: list[str] = []
    found: Agent | None = None
    task: Task | None = None
    async with services(tmp_path) as (tables, own):
        skills = FakeSkills({"look": wait})
        world = World(tmp_path, once, (expert("lead"),), skills=skills, desk=own.desk)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(world.start)
                agent = await agent_at_work(tables)
                while not lost:
                    seen = await tables.stores.ask(lambda s: s.agents.processes())
                    marked = await tables.stores.ask(
                        lambda s, seen=seen: s.agents.mark_lost(seen, now_ms=1)
                    )
                    lost = [one.status for one in marked]
                assert await agent_at_work(tables) == agent
                task = await own.tasks.get(TaskId(agent))
                found = await tables.stores.ask(lambda s: s.agents.get(agent))
                release.set()
    assert lost == ["failed"]
    assert found is not None
    assert (found.status, found.lost) == ("running", False)
    assert task is not None
    assert (task.status, task.attempts) == ("running", 2)


async def test_a_run_that_is_cut_off_does_not_stay_at_work_for_ever(tmp_path: Path) -> None:
    async with services(tmp_path) as (tables, own):
        world = World(
            tmp_path, looking, (expert("lead"),), skills=_slow(), desk=own.desk, max_steps=10_000
        )
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(world.start)
                await agent_at_work(tables)
                group.cancel_scope.cancel()
        await own.desk.flush()
        lead = (await agents_of(tables))["lead"]
    assert (lead.status, lead.process_id) == ("failed", None)
    assert "cut off" in (lead.last_error or "")


async def test_a_run_that_is_left_is_no_task_at_work_until_it_goes_on(tmp_path: Path) -> None:
    at_work: list[TaskStatus] = []
    async with services(tmp_path) as (_, own):
        world = World(
            tmp_path, looking, (expert("lead"),), skills=_slow(), desk=own.desk, max_steps=10_000
        )

        def leave(event: Event) -> None:
            if event.body.type == "callTools":
                world.control.stop("user")

        world.heard.on = leave
        left = await world.start()
        await own.desk.flush()
        waiting = await own.tasks.count()

        async def look(_: Mapping[str, JsonValue]) -> str:
            await own.desk.flush()
            at_work.append((await own.tasks.get(TaskId(left.run_id))).status)
            return "seen"

        def once(request: ModelRequest, turn: int) -> Generation:
            return says("", ("look", {})) if turn <= 2 else says("finished")

        skills = FakeSkills({"look": look})
        again = World(tmp_path, once, (expert("lead"),), skills=skills, desk=own.desk)
        await again.go_on(Continuation())
        await own.desk.flush()
        task = await own.tasks.get(TaskId(left.run_id))
    assert left.outcome.ending == "stopped"
    assert (waiting.running, waiting.pending) == (0, 1)
    assert set(at_work) == {"running"}
    assert (task.status, task.output) == ("completed", "finished")


async def test_limits_that_no_longer_hold_lift_no_persons_pause(tmp_path: Path) -> None:
    helm = RunHelm(StopControl())
    card = RunCard(JobId("j"), RunId("r"), ExpertKey("lead"), NOBODY, "go", None, 0, 1)
    async with services(tmp_path) as (_, own):
        own.desk.take_up(card, RunState(), helm)
        helm.pause("ana", "let me look")
        own.desk.change(AgentId("r"), OVER)
        own.desk.change(AgentId("r"), WITHIN)
        standing = helm.pause_wanted
        helm.resume("ben")
        own.desk.change(AgentId("r"), OVER)
        own.desk.change(AgentId("r"), WITHIN)
    assert standing == PauseRun(by="ana", reason="let me look")
    assert helm.pause_wanted is None


class Clumsy(RunHelm):
    """Cannot change its model, and tells when it is paused."""

    def __init__(self) -> None:
        super().__init__(StopControl())
        self.paused = anyio.Event()

    def change_model(self, model: str, by: str) -> None:
        raise StorageError(f"the history cannot be written: no {model} for {by}")

    def pause(self, by: str, reason: str | None = None) -> None:
        super().pause(by, reason)
        self.paused.set()


async def test_an_order_that_fails_takes_none_with_it_that_was_taken_at_once(
    tmp_path: Path,
) -> None:
    helm = Clumsy()
    card = RunCard(JobId("j"), RunId("r"), ExpertKey("lead"), NOBODY, "go", None, 0, 1)
    insert = "INSERT INTO agent_orders (agent_id, kind, text, given_by, created_at) VALUES"
    async with services(tmp_path) as (_, own):
        own.desk.take_up(card, RunState(), helm)
        await own.desk.flush()
        with closing(sqlite3.connect(database_path(tmp_path))) as other:
            other.execute(
                f"{insert} ('r', 'model', 'fast', 'ana', 1), ('r', 'pause', '', 'ana', 2)"
            )
            other.commit()
        with anyio.fail_after(5):
            await helm.paused.wait()


async def test_no_table_holds_a_secret_that_a_task_was_created_or_checked_with(
    tmp_path: Path,
) -> None:
    settings = CoordinationSettings(
        memory=MemorySettings(vector_search=VectorSearchSettings(provider="hashed")),
        drift=DriftSettings(enabled=True, behavior="prevent"),
    )
    gate = FakeConsensus(gated=("low",))
    text = f"deploy with {SECRET}"
    async with services(tmp_path, settings) as (tables, own):
        made = await own.tasks.create(NewTask("coder", text, priority=5))
        assert made.task is not None
        parent = made.task.id
        prevented = await own.tasks.create(NewTask("coder", text, parent_task_id=parent))
        await own.tasks.create(NewTask(f"coder {SECRET}", f"{SECRET} else", parent_task_id=parent))
        preview = await own.drift.preview(text, f"coder {SECRET}", parent)
        await own.tasks.judge(parent, "coder", text)
        facts = ProjectFacts(settings, ConsensusSettings(), {}, secrets=(SECRET,))
        gated = tasks_over(tables, facts, drift=own.drift, consensus=gate)
        await gated.create(NewTask("coder", f"again, {SECRET}", parent_task_id=parent))
    with closing(sqlite3.connect(database_path(tmp_path))) as raw:
        stored = "\n".join(raw.iterdump())
    assert not prevented.success
    assert preview.result.is_drift
    assert stored.count("deploy with [redacted]") >= 4
    assert SECRET not in stored
    assert [one.input for one in gate.proposed] == ["again, [redacted]"]


async def test_a_hook_that_never_ends_keeps_nothing_from_being_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "CLOSING_S", 1.0)

    async def endless(*_: object) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(20):
        async with services(tmp_path) as (_, own):
            own.hooks.register_hook("pre-task", endless)
            world = World(tmp_path, team, EXPERTS, desk=own.desk)
            ended = await world.start("make a release")
    tables = open_tables(tmp_path)
    lead = (await agents_of(tables))["lead"]
    task = await tables.stores.ask(lambda s: s.tasks.get(TaskId(ended.run_id)))
    assert (lead.status, lead.process_id, task.status) == ("completed", None, "completed")
    assert await tables.stores.ask(lambda s: s.agents.processes()) == []
    await tables.aclose()
