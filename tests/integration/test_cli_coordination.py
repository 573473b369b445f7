"""The coordination core around real programs: what they record, what others order of them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.domain.agents import Agent
from perstack.domain.coordination import CoordinationSettings
from perstack.domain.ids import AgentId, TaskId
from perstack.domain.metering import apply
from perstack.domain.resources import COUNTERS, begin
from perstack.domain.settings import ConsensusSettings
from perstack.ports.agents import AgentFilter
from perstack.ports.system import SystemClock
from perstack.runtime import open_history
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.wiring import ProjectFacts, Tables, open_tables, resources_over
from tests.fakes.cli import SCRIPTED, Program, Running

pytestmark = pytest.mark.anyio

TEAM: Final = """
[consensus]
enabled = true
reviewerStrategy = "human"

[driftDetection]
enabled = true
warningThreshold = 0.5

[memory.vectorSearch]
provider = "hashed"

[resourceExhaustion]
enabled = true

[experts."lead"]
instruction = "You are lead."
delegates = ["deployer"]

[experts."deployer"]
instruction = "You are deployer."
"""
STORY: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "deployer", args = { query = "deploy the release to production" } }]

[[turns]]
expert = "lead"
text = "Shipped."

[[turns]]
expert = "deployer"
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "deployed.txt", text = "yes" } }]

[[turns]]
expert = "deployer"
text = "Deployed."
"""
ENDLESS: Final = """
[defaults]
latency_ms = 20

[[turns]]
expert = "lead"
after = "that is enough"
text = "I stop looking."

[[turns]]
expert = "lead"
calls = [{ tool = "listDirectory", args = { path = "." } }]
"""


@asynccontextmanager
async def tables_of(program: Program) -> AsyncGenerator[Tables]:
    """The tables as another process sees them."""
    tables = open_tables(program.workspace)
    yield tables
    await tables.aclose()


def roll_of(tables: Tables) -> AgentRoll:
    return AgentRoll(tables.stores, clock=SystemClock())


def orders_of(tables: Tables) -> AgentOrders:
    return AgentOrders(
        tables.stores, roll=roll_of(tables), clock=SystemClock(), workspace=tables.workspace
    )


async def at_work(tables: Tables) -> Agent:
    """The agent that some process drives, once there is one."""
    with anyio.fail_after(20):
        while True:
            for agent in await roll_of(tables).list(AgentFilter()):
                if agent.process_id is not None:
                    return agent
            await anyio.sleep(0.05)


async def test_a_delegation_is_a_task_judged_gated_released_and_metered(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=STORY)
    async with program.running("run", "lead", "deploy the release") as running:
        gate = await waiting_gate(running, program)
        approved = await program.run("consensus", "approve", gate)
        assert approved.code == 0, approved.stderr
        ran = await running.ended()
    assert ran.code == 0, ran.stderr

    judged = ran.one("judgeDrift")
    lead_run = ran.one("requestApproval")["runId"]
    assert (judged["action"], judged["taskId"]) == ("warned", lead_run)
    assert (tmp_path / "deployed.txt").read_text() == "yes"
    async with tables_of(program) as tables:
        await check_tasks(tables, lead_run)
        await check_metrics(program, tables, ran.job_id)


async def waiting_gate(running: Running, program: Program) -> str:
    """Wait until another process sees the checkpoint that the run waits at."""
    asked = await running.until("requestApproval")
    gate = str(asked["consensusId"])
    with anyio.fail_after(20):
        while (await program.run("consensus", "show", gate)).code != 0:
            pass
    return gate


async def check_tasks(tables: Tables, lead_run: str) -> None:
    lead = await tables.stores.ask(lambda s: s.tasks.get(TaskId(lead_run)))
    (link,) = await tables.stores.ask(lambda s: s.tasks.relationships(lead.id, "outgoing"))
    child = await tables.stores.ask(lambda s: s.tasks.get(link.to_task_id))
    assert (lead.status, lead.output) == ("completed", "Shipped.")
    assert (child.agent_type, child.input, child.status) == (
        "deployer",
        "deploy the release to production",
        "completed",
    )
    assert (link.relationship_type, child.parent_task_id) == ("parent_of", lead.id)


async def check_metrics(program: Program, tables: Tables, job_id: str) -> None:
    """What is stored of each agent is what its run's events add up to."""
    history = open_history(program.workspace)
    facts = ProjectFacts(CoordinationSettings(), ConsensusSettings(), {}, ())
    resources = resources_over(tables, facts)
    settings = await history.list_runs((await history.list_jobs())[0].id)
    assert {one.job_id for one in settings} == {job_id}
    for setting in settings:
        stored = await history.read_run(setting.job_id, setting.run_id)
        agent = AgentId(setting.run_id)
        added = begin(agent, setting.expert_key, at=setting.started_at)
        for event in stored.events:
            added = apply(added, event)
        kept = await resources.get_agent_metrics(agent)
        assert {name: getattr(kept, name) for name in COUNTERS} == {
            name: getattr(added, name) for name in COUNTERS
        }
        assert added.api_calls_count == 2


async def test_what_a_person_says_elsewhere_reaches_a_running_program(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    async with (
        program.running("run", "lead", "look", "--max-steps", "5000") as running,
        tables_of(program) as tables,
    ):
        agent = await at_work(tables)
        await orders_of(tables).steer("that is enough", agent.id, by="ana")
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert [one["by"] for one in ran.all("steerRun")] == ["ana"]
    assert ran.one("completeRun")["text"] == "I stop looking."


NOT_FOUND_EXIT: Final = 4
LIMITED: Final = """
[resourceExhaustion]
enabled = true
{more}

[resourceExhaustion.thresholds]
maxApiCalls = 2

[experts."lead"]
instruction = "You are lead."
"""
THREE_LOOKS: Final = """
[[turns]]
expert = "lead"
turn = 4
text = "Looked three times."

[[turns]]
expert = "lead"
calls = [{ tool = "listDirectory", args = { path = "." } }]
"""


def limited(tmp_path: Path, more: str = "") -> Program:
    toml = SCRIPTED + LIMITED.replace("{more}", more)
    return Program.make(tmp_path, toml, scenario=THREE_LOOKS)


async def test_a_run_at_its_limits_says_so_and_goes_on_when_a_person_goes_on(
    tmp_path: Path,
) -> None:
    program = limited(tmp_path)
    paused = await program.run("run", "lead", "look", "--no-wait")
    assert paused.code == 3
    assert paused.one("pauseRun")["by"] == "resource limits"
    assert f"go on with: perstack run lead --continue-job {paused.job_id}" in paused.stderr.lower()
    on = await program.run("run", "lead", "--continue-job", paused.job_id)
    assert on.code == 0, on.stderr
    assert on.one("completeRun")["text"] == "Looked three times."


async def test_a_paused_run_says_how_another_terminal_lets_it_go_on(tmp_path: Path) -> None:
    program = limited(tmp_path)
    async with program.running("run", "lead", "look") as running:
        paused = await running.until("pauseRun")
        await running.wait_for(lambda: b"agent resume" in running.err)
        assert f"perstack agent resume -i {paused['runId']}" in running.err.decode()
        # Runs get onto the table of agents beside their work, a few times a second.
        with anyio.fail_after(20):
            while str(paused["runId"]) not in (await program.run("agent", "list", "--json")).stdout:
                pass
        resumed = await program.run("agent", "resume", "-i", paused["runId"])
        assert resumed.code == 0, resumed.stderr
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "Looked three times."


async def test_what_a_paused_agent_says_to_type_works_as_typed(tmp_path: Path) -> None:
    program = limited(tmp_path)
    async with program.running("agent", "run", "-t", "lead", "-n", "ann", "-p", "look") as running:
        await running.wait_for(lambda: b"To go on: perstack " in running.err and _whole(running))
        said = running.err.decode().split("To go on: perstack ")[1].splitlines()[0]
        # Runs get onto the table of agents beside their work, a few times a second.
        with anyio.fail_after(20):
            while (resumed := await program.run(*said.split())).code == NOT_FOUND_EXIT:
                pass
        assert resumed.code == 0, resumed.stderr
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert "Looked three times." in ran.stdout


def _whole(running: Running) -> bool:
    return running.err.endswith(b"\n")


async def test_a_run_that_the_limits_end_says_so(tmp_path: Path) -> None:
    ended = await limited(tmp_path, "autoTerminate = true").run("run", "lead", "look")
    assert ended.code == 6
    assert "Stopped by resource limits" in ended.stderr
    assert "[resourceExhaustion.thresholds]" in ended.stderr


async def test_a_killed_programs_agents_are_lost_to_whoever_looks(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    async with tables_of(program) as tables:
        async with program.running("run", "lead", "look", "--max-steps", "5000"):
            agent = await at_work(tables)
        with anyio.fail_after(20):
            while not (found := await roll_of(tables).get(agent.id)).lost:
                pass
    assert (found.status, found.process_id) == ("failed", None)


ORDERING: Final = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import anyio
from tests.integration.test_cli_coordination import order_pause

anyio.run(order_pause, Path(sys.argv[2]))
"""


async def test_an_order_from_within_the_run_itself_is_refused(tmp_path: Path) -> None:
    words = [str(tmp_path / "order.py"), str(Path(__file__).parents[2]), str(tmp_path)]
    args = f'command = "{sys.executable}", args = {json.dumps(words)}, timeout = 30000'
    story = f"""
[[turns]]
expert = "lead"
turn = 1
[[turns.calls]]
tool = "exec"
args = {{ {args}, env = {{}}, cwd = "{tmp_path}", stdout = true, stderr = true }}

[[turns]]
expert = "lead"
text = "done"
"""
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=story)
    (tmp_path / "order.py").write_text(ORDERING)
    ran = await program.run("run", "lead", "order yourself")
    assert ran.code == 0, ran.stderr
    assert "DeniedError" in str(ran.one("toolReturned")["result"])
    assert "pauseRun" not in ran.types()


async def order_pause(workspace: Path) -> None:
    """What the run's own child process tries."""
    tables = open_tables(workspace)
    agent = await at_work(tables)
    await orders_of(tables).pause(agent.id)
