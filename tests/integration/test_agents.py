"""Agents: spawning, looking, stopping and losing them, on a real database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import psutil
import pytest

from perstack.config.builtin import CORE_TYPES, builtin_experts
from perstack.domain.agents import DriverProcess
from perstack.domain.coordination import AgentsSettings
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, SessionId
from perstack.errors import (
    ConflictError,
    LimitError,
    NotFoundError,
    UsageError,
)
from perstack.ports.agents import AgentFilter
from perstack.services.agent_types import define
from perstack.services.processes import dead_processes, own_process
from tests.fakes.agent_stage import Stage
from tests.fakes.agents import make_process, make_run
from tests.fakes.consensus import NOW_MS, SetClock

pytestmark = pytest.mark.anyio

S1 = SessionId("s1")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def stage(tmp_path: Path, clock: SetClock) -> AsyncGenerator[Stage]:
    made = Stage(tmp_path, clock)
    yield made
    await made.stores.aclose()


async def test_agentstack_row_5_an_agent_without_a_name_is_called_by_its_type_and_id(
    stage: Stage,
) -> None:
    await stage.begin_session(S1)
    agent = await stage.agents.spawn("coder", session_id=S1, metadata={"project": "x"})
    assert (agent.status, agent.name) == ("idle", f"coder-{agent.id[:8]}")
    assert agent.memory_namespace == "session:s1"
    assert (await stage.agents.spawn("coder")).memory_namespace.startswith("session:")
    assert await stage.get(agent.id) == agent
    told = stage.agents.told(agent).model_dump(mode="json", exclude_none=True)
    assert set(told["agent"]) == {"id", "type", "name", "status", "createdAt", "sessionId"}
    assert told["prompt"] == builtin_experts()[ExpertKey("coder")].instruction
    assert stage.told.heard[0] == ("agent_spawned", agent.name, None)


async def test_agentstack_row_6_an_unknown_type_is_named(stage: Stage) -> None:
    with pytest.raises(UsageError, match=r"^Unknown agent type: nope$"):
        await stage.agents.spawn("nope")
    assert await stage.roll.list() == []


async def test_agentstack_row_7_a_name_is_used_once_until_its_agent_is_stopped(
    stage: Stage,
) -> None:
    await stage.agents.spawn("coder", name="bob")
    with pytest.raises(ConflictError, match=r"^Agent with name 'bob' already exists$"):
        await stage.agents.spawn("tester", name="bob")
    await stage.agents.stop(name="bob")
    assert (await stage.agents.spawn("tester", name="bob")).type == "tester"


async def test_agentstack_row_8_no_more_than_twenty_are_spawned_and_no_more_than_configured(
    stage: Stage,
) -> None:
    await stage.stores.ask(lambda s: s.agents.record([make_run(f"r{n}") for n in range(30)]))
    for _ in range(20):
        await stage.agents.spawn("coder")
    stage.agents.settings = AgentsSettings(max_concurrent=500)
    with pytest.raises(LimitError) as caught:
        await stage.agents.spawn("coder")
    assert caught.value.message == (
        "Maximum number of concurrent agents reached (20). Stop some agents before spawning more."
    )
    assert len(await stage.roll.list(AgentFilter(origin="spawned"))) == 20
    assert await stage.agents.stop_all() == 20
    stage.agents.settings = AgentsSettings(max_concurrent=1)
    await stage.agents.spawn("coder")
    with pytest.raises(LimitError, match=r"reached \(1\)"):
        await stage.agents.spawn("coder")


@pytest.mark.parametrize("name", ["", " ", "x" * 101])
async def test_agentstack_row_9_an_empty_type_is_refused_and_so_is_a_name_out_of_bounds(
    stage: Stage, name: str
) -> None:
    with pytest.raises(UsageError, match="type must not be empty"):
        await stage.agents.spawn("")
    with pytest.raises(UsageError, match="name must"):
        await stage.agents.spawn("coder", name=name)


async def test_agentstack_row_10_a_session_lists_its_own_in_the_order_of_their_spawning(
    stage: Stage,
) -> None:
    await stage.begin_session(S1)
    await stage.begin_session(SessionId("s2"))
    made = [await stage.agents.spawn("coder", session_id=S1) for _ in range(3)]
    await stage.agents.spawn("coder", session_id=SessionId("s2"))
    found = await stage.roll.list(AgentFilter(session_id=S1))
    assert [one.id for one in found] == [one.id for one in made]


async def test_agentstack_row_11_a_stopped_agent_is_gone_by_name_and_id(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder", name="bob")
    stopped = await stage.agents.stop(name="bob")
    assert stopped.model_dump(mode="json") == {
        "success": True,
        "message": "Agent stopped",
        "agentId": agent.id,
        "ordered": False,
    }
    assert await stage.roll.find(agent.id) is None
    assert await stage.roll.find(name="bob") is None
    assert await stage.roll.list() == []
    with pytest.raises(NotFoundError, match=r"^Agent not found$"):
        await stage.agents.stop(agent.id)
    assert stage.told.heard.count(("agent_stopped", "bob", None)) == 1
    assert stage.forgotten == [agent.id]


async def test_agentstack_row_12_stopping_nobody_in_particular_is_refused(stage: Stage) -> None:
    with pytest.raises(UsageError, match=r"^Either id or name is required$"):
        await stage.agents.stop()


async def test_agentstack_row_13_an_unknown_agent_has_no_status(stage: Stage) -> None:
    with pytest.raises(NotFoundError, match=r"^Agent not found$"):
        await stage.agents.status(AgentId("nobody"))
    agent = await stage.agents.spawn("reviewer")
    report = await stage.agents.status(agent.id)
    assert report.capabilities[:2] == ("code-review", "security-review")
    assert report.system_prompt == builtin_experts()[ExpertKey("reviewer")].instruction


async def test_agentstack_rows_14_and_15_a_status_is_one_of_five_and_stopped_stops(
    stage: Stage,
) -> None:
    agent = await stage.agents.spawn("coder")
    with pytest.raises(UsageError) as caught:
        await stage.agents.update_status(agent.id, "bogus")
    assert caught.value.message == (
        "Invalid status. Must be one of: idle, running, completed, failed, stopped"
    )
    for status in ("completed", "failed", "running", "idle"):
        after = await stage.agents.update_status(agent.id, status)
        assert after is not None
        assert after.status == status
    assert await stage.agents.update_status(agent.id, "stopped") is None
    assert await stage.roll.find(agent.id) is None
    with pytest.raises(NotFoundError):
        await stage.agents.update_status(agent.id, "idle")


async def test_the_status_of_what_a_run_drives_is_not_for_others_to_set(stage: Stage) -> None:
    await stage.stores.ask(lambda s: s.agents.record([make_run("r1")]))
    with pytest.raises(ConflictError, match="follows from what it does"):
        await stage.agents.update_status(AgentId("r1"), "idle")


async def test_agentstack_row_16_types_are_the_eleven_then_the_projects_then_others(
    stage: Stage,
) -> None:
    stage.agents.types.register(define("oracle", name="O", description="", system_prompt="Hm"))
    types = stage.agents.types.list()
    assert [one.type for one in types] == [*CORE_TYPES, "poet", "oracle"]
    assert all(one.capabilities and one.description for one in types[:11])
    assert [one.custom for one in types] == [False] * 11 + [True] * 2


async def test_agentstack_rows_17_and_18_core_types_can_be_neither_replaced_nor_removed(
    stage: Stage,
) -> None:
    mine = define("coder", name="Mine", description="", system_prompt="Hm")
    assert not stage.agents.types.register(mine)
    assert stage.agents.types.expert("coder").name == "Coder"
    assert not stage.agents.types.unregister("coder")
    assert not stage.agents.types.register(mine.model_copy(update={"key": ExpertKey("poet")}))
    assert "coder" in [one.type for one in stage.agents.types.list()]


async def test_agentstack_row_19_the_latest_registration_of_a_type_wins_and_is_run(
    stage: Stage,
) -> None:
    types = stage.agents.types
    for prompt in ("first", "second"):
        assert types.register(
            define("oracle", name="O", description="d", system_prompt=prompt, capabilities=["see"])
        )
    await stage.execution.run("oracle", "what next?")
    (asked,) = stage.runner.asked
    assert isinstance(asked.expert, Expert)
    assert asked.expert.instruction == "second"
    assert types.unregister("oracle")
    with pytest.raises(UsageError):
        await stage.agents.spawn("oracle")


async def test_agentstack_row_23_another_process_finds_the_agents_that_are_there(
    stage: Stage, tmp_path: Path, clock: SetClock
) -> None:
    agent = await stage.agents.spawn("coder", name="bob")
    await stage.execution.execute("first", agent.id)
    other = Stage(tmp_path, clock, process_id="there")
    assert (await other.roll.get(name="bob")).id == agent.id
    await other.execution.execute("second", name="bob")
    assert other.runner.asked[0].job_id == "j1"
    await other.agents.stop(name="bob")
    await other.stores.aclose()
    assert await stage.roll.find(agent.id) is None


async def test_agentstack_row_37_an_agent_can_get_an_identity_of_its_own(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder", name="bob", create_identity=True)
    assert agent.identity_id is not None
    carried = agent.identity_id
    identity = await stage.stores.ask(lambda s: s.identities.find(carried))
    assert identity is not None
    assert (identity.status, identity.display_name) == ("active", "bob")
    assert identity.metadata == {"ephemeral": True, "spawnId": agent.id}
    await stage.execution.execute("work", agent.id)
    assert stage.runner.asked[0].identity_id == carried


async def test_agentstack_row_38_the_identity_of_a_stopped_agent_rests(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder", create_identity=True)
    assert agent.identity_id is not None
    carried = agent.identity_id
    other = await stage.agents.spawn("coder", identity_id=carried)
    for one, status in ((agent, "active"), (other, "dormant")):
        await stage.agents.stop(one.id)
        identity = await stage.stores.ask(lambda s: s.identities.find(carried))
        assert identity is not None
        assert identity.status == status
    with pytest.raises(ConflictError, match="current status: dormant"):
        await stage.agents.spawn("coder", identity_id=carried)


async def test_what_a_dead_process_drove_is_lost_once_anybody_looks(
    stage: Stage, clock: SetClock
) -> None:
    async def drive(name: str, process: DriverProcess) -> None:
        run = make_run(name, process_id=process.id)
        await stage.stores.ask(lambda s: s.agents.record([run]))
        await stage.stores.ask(lambda s: s.agents.beat(process))

    child = subprocess.Popen([sys.executable, "-c", ""])  # noqa: ASYNC220
    child.wait()
    await drive("gone", make_process("p1", pid=child.pid))
    await drive("elsewhere", make_process("p2", host="other", beat_at=NOW_MS))
    await drive("silent", make_process("p3", host="other", beat_at=NOW_MS - 10_001))
    reused = make_process("p4", pid=os.getpid())
    await drive("reused", reused.model_copy(update={"started_at": 0}))
    await drive("mine", own_process("p5", now_ms=2 * NOW_MS).model_copy(update={"beat_at": NOW_MS}))
    found = await stage.roll.list(AgentFilter(statuses=["failed"]))
    assert [one.id for one in found] == ["gone", "silent", "reused"]
    assert all(one.lost for one in found)
    assert await stage.roll.count_by_status() == {"running": 2}


async def test_dead_processes_are_looked_for_at_most_once_a_second(
    stage: Stage, clock: SetClock
) -> None:
    assert await stage.roll.list() == []
    run = make_run("r1", process_id="p1")
    await stage.stores.ask(lambda s: s.agents.record([run]))
    silent = make_process("p1", beat_at=NOW_MS - 60_000)
    await stage.stores.ask(lambda s: s.agents.beat(silent))
    assert (await stage.roll.get(AgentId("r1"))).status == "running"


def test_a_clock_that_is_set_forward_a_little_makes_nobody_dead() -> None:
    born_ms = round(psutil.Process().create_time() * 1_000)
    before = own_process("p1", now_ms=born_ms - 50_000).model_copy(update={"beat_at": NOW_MS})
    assert dead_processes([before], now_ms=NOW_MS) == []


def test_a_process_is_dead_after_ten_seconds_of_silence_and_not_before() -> None:
    process = make_process(host="other")
    assert dead_processes([process], now_ms=NOW_MS + 10_000) == []
    assert dead_processes([process], now_ms=NOW_MS + 10_001) == [process]


async def test_who_watches_sees_what_another_process_changes(
    stage: Stage, tmp_path: Path, clock: SetClock
) -> None:
    other = Stage(tmp_path, clock)
    watching = stage.roll.watch(poll_s=0.01)
    with anyio.fail_after(10):
        assert await anext(watching) == []
        agent = await other.agents.spawn("coder")
        assert [one.id for one in await anext(watching)] == [agent.id]
        await other.agents.stop(agent.id)
        assert await anext(watching) == []
    await watching.aclose()
    await other.stores.aclose()
