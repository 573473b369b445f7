"""What stands around runs, as real programs use it: memory, reviewers, plugins, Slack, a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.config.trust import acceptances
from perstack.domain.coordination import CoordinationSettings, PluginSettings
from perstack.integrations.plugins.loader import LocalPlugins
from perstack.ports.agents import AgentFilter
from perstack.ports.system import SystemClock
from perstack.services.hooks import HookService
from perstack.services.loaded_plugins import LoadedPlugins
from perstack.services.plugins import PluginService
from perstack.wiring import DATABASE_URL, open_tables
from tests.fakes.cli import SCRIPTED, Program, Ran
from tests.fakes.postgres import PostgresServer
from tests.fakes.webhook import webhook
from tests.integration.test_plugins import NoMemory, Registry

pytestmark = pytest.mark.anyio

LEAD: Final = """
[experts."lead"]
instruction = "You are lead."
delegates = ["deployer"]

[experts."deployer"]
instruction = "You are deployer."
"""
GATED: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "deployer", args = { query = "deploy to production" } }]

[[turns]]
expert = "lead"
after = "out of scope"
text = "I leave it."

[[turns]]
expert = "lead"
text = "Shipped."

[[turns]]
expert = "deployer"
text = "Deployed."
"""


def reviewed(expert: str, *, approved: bool, feedback: str) -> str:
    """A scenario's reviewer, who decides in one call."""
    args = f'{{ approved = {str(approved).lower()}, feedback = "{feedback}" }}'
    return f"""
[[turns]]
expert = "{expert}"
turn = 1
calls = [{{ tool = "submitReview", args = {args} }}]

[[turns]]
expert = "{expert}"
text = "Reviewed."
"""


def consensus(strategy: str, more: str = "") -> str:
    return f'[consensus]\nenabled = true\nreviewerStrategy = "{strategy}"\n{more}\n'


def returned(ran: Ran, tool: str) -> str:
    """What the one call of a tool gave, as JSON."""
    (result,) = [e["result"] for e in ran.all("toolReturned") if e["result"]["toolName"] == tool]
    return str(result)


async def test_an_expert_remembers_what_an_earlier_run_of_it_stored(tmp_path: Path) -> None:
    toml = """
[experts."writer"]
instruction = "You are writer."

[experts."writer".skills."@perstack/memory"]
type = "memorySkill"
"""
    story = """
[[turns]]
expert = "writer"
after = "remember"
turn = 1
calls = [{ tool = "storeMemory", args = { key = "tone", content = "the tone is dry" } }]

[[turns]]
expert = "writer"
after = "recall"
turn = 1
calls = [{ tool = "searchMemory", args = { query = "tone" } }]

[[turns]]
expert = "writer"
text = "Done."
"""
    program = Program.make(tmp_path, SCRIPTED + toml, scenario=story)
    assert (await program.run("run", "writer", "remember this")).code == 0
    recalled = await program.run("run", "writer", "recall that")
    assert recalled.code == 0, recalled.stderr
    assert "the tone is dry" in returned(recalled, "searchMemory")


async def test_a_reviewing_expert_rejects_by_itself(tmp_path: Path) -> None:
    story = GATED + reviewed("adversarial", approved=False, feedback="out of scope")
    program = Program.make(tmp_path, SCRIPTED + consensus("adversarial") + LEAD, scenario=story)
    ran = await program.run("run", "lead", "release")
    assert ran.code == 0, ran.stderr
    assert ran.one("resolveApproval")["outcome"] == "rejected"
    assert ran.all("completeRun")[-1]["text"] == "I leave it."


@pytest.mark.parametrize("strategy", ["adversarial", "different-model"])
async def test_a_reviewing_expert_approves_up_to_the_risk_it_may(
    tmp_path: Path, strategy: str
) -> None:
    reviewer = "adversarial" if strategy == "adversarial" else "reviewer"
    story = GATED + reviewed(reviewer, approved=True, feedback="fine")
    rules = consensus(strategy, 'reviewerMayApprove = "high"\nreviewerModel = "another"')
    program = Program.make(tmp_path, SCRIPTED + rules + LEAD, scenario=story)
    ran = await program.run("run", "lead", "release")
    assert ran.code == 0, ran.stderr
    assert ran.one("resolveApproval")["outcome"] == "approved"
    assert reviewer in ran.one("resolveApproval")["decidedBy"]
    assert ran.all("completeRun")[-1]["text"] == "Shipped."


async def test_beyond_that_risk_its_approval_releases_nothing(tmp_path: Path) -> None:
    story = GATED + reviewed("adversarial", approved=True, feedback="looks fine to me")
    program = Program.make(tmp_path, SCRIPTED + consensus("adversarial") + LEAD, scenario=story)
    async with program.running("run", "lead", "release") as running:
        gate = (await running.until("requestApproval"))["consensusId"]
        with anyio.fail_after(30):
            while "looks fine to me" not in (shown := await shown_of(program, gate)):
                pass
        assert "pending" in shown
        assert running.process.returncode is None
        rejected = await program.run("consensus", "reject", gate, "--feedback", "out of scope")
        assert rejected.code == 0, rejected.stderr
        ran = await running.ended()
    assert ran.all("completeRun")[-1]["text"] == "I leave it."


async def shown_of(program: Program, gate: str) -> str:
    return (await program.run("consensus", "show", gate)).stdout


async def test_slack_is_told_of_the_tasks_of_a_run(tmp_path: Path) -> None:
    toml = '[slack]\nenabled = true\nwebhookUrl = "${SLACK_URL}"\n' + LEAD
    with webhook() as channel:
        program = Program.make(
            tmp_path, SCRIPTED + toml, scenario=GATED, env={"SLACK_URL": channel.url}
        )
        ran = await program.run("run", "lead", "release")
        assert ran.code == 0, ran.stderr
    assert len(channel.bodies) == 2
    assert "deploy to production" in str(channel.bodies)


PLUGIN: Final = """
import pathlib

def greet(args):
    return f"hello {args['name']}"

def after(context, memory, config):
    pathlib.Path(NOTES).write_text(f"{context.event} {context.agent_type}")

plugin = {
    "tools": [{
        "name": "greet",
        "description": "Greet somebody.",
        "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
        "handler": greet,
    }],
    "hooks": [{"event": "post-task", "handler": after}],
}
"""
GREETING: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "greet", args = { name = "Bob" } }]

[[turns]]
expert = "lead"
text = "Greeted."
"""


@asynccontextmanager
async def plugins_of(program: Program) -> AsyncGenerator[PluginService]:
    tables = open_tables(program.workspace)
    hooks = HookService(NoMemory(), settings=CoordinationSettings(), clock=SystemClock())
    loader = LocalPlugins(program.workspace)
    service = PluginService(
        tables.stores,
        loader,
        LoadedPlugins(loader, hooks, env={}, registry=Registry()),
        settings=PluginSettings(),
        workspace=program.workspace,
        consents=acceptances(program.env),
        clock=SystemClock(),
    )
    yield service
    await service.aclose()
    await tables.aclose()


async def test_an_enabled_plugins_tool_and_hook_are_at_work_in_a_run(tmp_path: Path) -> None:
    program = Program.make(tmp_path / "work", SCRIPTED + LEAD, scenario=GREETING)
    folder = program.workspace / "plugins" / "greeter"
    folder.mkdir(parents=True)
    notes = tmp_path / "notes.txt"
    (folder / "plugin.toml").write_text('name = "greeter"\nversion = "1.0.0"\n')
    (folder / "plugin.py").write_text(PLUGIN.replace("NOTES", repr(str(notes))))
    unasked = await program.run("run", "lead", "greet Bob")
    assert "not found" in returned(unasked, "greet")
    async with plugins_of(program) as service:
        await service.discover(load=False)
        assert (await service.enable("greeter")).status == "loaded"
    ran = await program.run("run", "lead", "greet Bob")
    assert ran.code == 0, ran.stderr
    assert "hello Bob" in returned(ran, "greet")
    assert notes.read_text() == "post-task lead"


async def test_more_delegations_than_agents_may_be_spawned_all_run(tmp_path: Path) -> None:
    calls = ", ".join(
        f'{{ tool = "deployer", args = {{ query = "part {number}" }} }}' for number in range(25)
    )
    story = f"""
[[turns]]
expert = "lead"
turn = 1
calls = [{calls}]

[[turns]]
expert = "lead"
text = "All back."

[[turns]]
expert = "deployer"
text = "Done."
"""
    toml = "[agents]\nmaxConcurrent = 1\n" + LEAD
    program = Program.make(tmp_path, SCRIPTED + toml, scenario=story)
    ran = await program.run("run", "lead", "go")
    assert ran.code == 0, ran.stderr
    tables = open_tables(tmp_path)
    found = await tables.stores.ask(lambda s: s.agents.list(AgentFilter(type="deployer")))
    await tables.aclose()
    assert [one.status for one in found] == ["completed"] * 25


async def test_two_programs_share_a_postgresql_server(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    program = Program.make(
        tmp_path,
        SCRIPTED + consensus("human") + LEAD,
        scenario=GATED,
        env={DATABASE_URL: postgres.emptied()},
    )
    async with program.running("run", "lead", "release") as running:
        gate = (await running.until("requestApproval"))["consensusId"]
        with anyio.fail_after(30):
            while (await program.run("consensus", "approve", gate)).code != 0:
                pass
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert ran.all("completeRun")[-1]["text"] == "Shipped."
    assert not (tmp_path / "perstack" / "perstack.db").exists()
