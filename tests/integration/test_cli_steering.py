"""Changing runs of another process: orders of a real program to a real program."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.domain.ids import AgentId, JobId, RunId
from perstack.domain.jobs import SomeLimits
from perstack.ports.system import RandomIds, SystemClock
from perstack.storage.history.store import FileHistory
from tests.fakes.cli import SCRIPTED, Program, Ran
from tests.integration.test_cli_coordination import at_work, roll_of, tables_of

pytestmark = pytest.mark.anyio

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
LEAD: Final = """
[experts."lead"]
version = "1.0.0"
instruction = "You are lead."
"""
NEWER: Final = """
[experts."lead"]
version = "1.1.0"
instruction = "You are lead, and brief."
delegates = ["helper"]

[experts."helper"]
instruction = "You help."
"""
PAIR: Final = """
[experts."lead"]
instruction = "You are lead."
delegates = ["child", "slow"]

[experts."child"]
instruction = "You are child."

[experts."slow"]
instruction = "You are slow."
"""
PAIR_STORY: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [
    { tool = "child", args = { query = "count" } },
    { tool = "slow", args = { query = "wait" } },
]

[[turns]]
expert = "lead"
text = "All done."

[[turns]]
expert = "child"
text = "Counted."
[turns.error]
status = 400
message = "the disk is full"
times = 1

[[turns]]
expert = "slow"
after = "that is enough"
text = "Waited."

[[turns]]
expert = "slow"
latency_ms = 50
calls = [{ tool = "listDirectory", args = { path = "." } }]
"""


async def ordered(program: Program, verb: str, *args: str) -> Ran:
    ran = await program.run("agent", verb, *args)
    assert ran.code == 0, ran.stderr
    return ran


async def agent_of(program: Program, run_id: str) -> None:
    """Wait until the run's agent is on record."""
    async with tables_of(program) as tables:
        with anyio.fail_after(20):
            while await roll_of(tables).find(AgentId(RunId(run_id))) is None:
                pass


@pytest.mark.long
async def test_a_run_of_another_process_is_changed_and_says_who_changed_it(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + LEAD, scenario=ENDLESS)
    async with program.running("run", "lead", "look", "--max-steps", "4000") as running:
        async with tables_of(program) as tables:
            agent = await at_work(tables)
        config = tmp_path / "perstack.toml"
        config.write_text(config.read_text().replace(LEAD, NEWER))
        await ordered(program, "model", "swift", "-i", agent.id)
        changed = await running.until("changeModel")
        await ordered(program, "budget", "-i", agent.id, "--steps", "500")
        raised = await running.until("raiseBudget")
        await ordered(program, "take", "-i", agent.id)
        taken = await running.until("takeDefinition")
        await ordered(program, "model", "swift", "-i", agent.id)
        refused = await running.until("refuseOrder")
        await ordered(program, "steer", "that is enough", "-i", agent.id)
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    who = changed["by"]
    assert "@" in str(who)
    assert {one["by"] for one in (raised, taken, refused)} == {who}
    assert (changed["model"], raised["limits"]["maxSteps"]) == ("swift", 4500)
    assert (taken["before"]["version"], taken["expert"]["version"]) == ("1.0.0", "1.1.0")
    assert taken["changes"] == ["instruction", "delegates"]
    assert "swift is what it generates with" in refused["reason"]
    late = await program.run("agent", "model", "swift", "-i", agent.id)
    assert late.code == 4
    assert "not at work" in late.stderr
    assert "perstack run lead --continue-job" in late.stderr
    listed = await program.run("log", "--job", ran.job_id, "--take", "0")
    assert "model changed by" in listed.stdout


@pytest.mark.long
async def test_a_delegation_that_failed_is_done_again_from_elsewhere(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + PAIR, scenario=PAIR_STORY)
    async with program.running("run", "lead", "go", "--max-steps", "4000") as running:
        failed = await running.until("stopRunByError")
        await agent_of(program, failed["runId"])
        await running.until("initializeRuntime", times=3)
        begun = [one for one in running.events if one["type"] == "initializeRuntime"]
        slow = next(one["runId"] for one in begun if one["expertName"] == "slow")
        await until_failed(program, failed["runId"])
        await ordered(program, "retry", "-i", failed["runId"])
        again = await running.until("retryDelegate")
        early = await program.run("agent", "retry", "-i", slow)
        assert early.code == 4
        assert "is at work" in early.stderr
        # A script fails the same way in each run: what counts here is that there is another.
        await running.until("stopRunByError", times=2)
        await ordered(program, "steer", "that is enough", "-i", slow)
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert again["before"] == failed["runId"]
    failures = [one["runId"] for one in ran.all("stopRunByError")]
    assert failures == [failed["runId"], again["runId"]]


async def until_failed(program: Program, run_id: str) -> None:
    async with tables_of(program) as tables:
        with anyio.fail_after(20):
            while (await roll_of(tables).get(AgentId(run_id))).process_id is not None:
                pass


async def test_stopping_now_waits_for_no_tool(tmp_path: Path) -> None:
    story = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "exec", args = { command = "sleep", args = ["30"] } }]
"""
    program = Program.make(tmp_path, SCRIPTED + LEAD, scenario=story)
    async with program.running("run", "lead", "sleep") as running:
        async with tables_of(program) as tables:
            agent = await at_work(tables)
        await running.until("callTools")
        await ordered(program, "stop", "--now", "-i", agent.id)
        suspended = await running.until("suspendRun")
        await running.ended()
    assert "@" in suspended["by"]


@pytest.mark.long
async def test_an_order_to_a_killed_process_is_lost_and_its_job_goes_on(tmp_path: Path) -> None:
    story = ENDLESS.replace("latency_ms = 20", "latency_ms = 1500")
    program = Program.make(tmp_path, SCRIPTED + LEAD, scenario=story)
    async with program.running("run", "lead", "look") as running:
        async with tables_of(program) as tables:
            agent = await at_work(tables)
        await ordered(program, "model", "swift", "-i", agent.id)
        running.send(signal.SIGKILL)
        killed = await running.ended()
    assert killed.code == -signal.SIGKILL
    again = await program.run("run", "lead", "that is enough", "--continue", "--pace", "0")
    assert again.code == 0, again.stderr
    assert not again.all("changeModel")
    assert again.one("initializeRuntime")["model"].startswith("scripted:")


@pytest.mark.long
async def test_a_run_cannot_change_itself(tmp_path: Path) -> None:
    order = f"sleep 1; {sys.executable} -m perstack agent model swift -i $PERSTACK_RUN_ID"
    args = json.dumps(["-c", order])
    story = f"""
[[turns]]
expert = "lead"
turn = 1
calls = [{{ tool = "exec", args = {{ command = "sh", args = {args}, timeout = 30000 }} }}]

[[turns]]
expert = "lead"
text = "Tried."
"""
    program = Program.make(tmp_path, SCRIPTED + LEAD, scenario=story)
    ran = await program.run("run", "lead", "try")
    assert ran.code == 0, ran.stderr
    assert "cannot give orders to agents" in json.dumps(ran.one("toolReturned"))
    assert not ran.all("changeModel")


@pytest.mark.long
async def test_a_limit_that_is_typed_counts_though_the_job_was_given_more(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + LEAD, scenario=ENDLESS)
    first = await program.run("run", "lead", "look", "--max-steps", "1")
    assert first.code == 6
    history = FileHistory(tmp_path, clock=SystemClock(), ids=RandomIds())
    async with history.drive_job(JobId(first.job_id)) as held:
        await held.save(held.job.model_copy(update={"raised": SomeLimits(max_steps=400)}))
    again = await program.run("run", "lead", "--continue", "--max-steps", "3")
    assert again.code == 6
    job = await history.get_job(JobId(first.job_id))
    assert (job.total_steps, job.max_steps, job.raised) == (3, 3, None)
