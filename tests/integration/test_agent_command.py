"""`perstack agent`: one program has an agent at work, others look at it, order it and stop it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
from typer.testing import CliRunner, Result

from perstack.cli.agent import agent_app
from perstack.config.builtin import CORE_TYPES, builtin_experts
from perstack.domain.agents import Agent
from perstack.domain.coordination import CoordinationSettings
from perstack.domain.ids import AgentId
from perstack.domain.settings import ConsensusSettings
from perstack.errors import (
    ConfigError,
    ConflictError,
    DeniedError,
    LimitError,
    NotFoundError,
    PerstackError,
    UsageError,
)
from perstack.ports.system import SystemClock
from perstack.services.agent_roll import AgentRoll
from perstack.wiring import ProjectFacts, Tables, open_tables, resources_over
from tests.fakes.cli import SCRIPTED, Program, Running

COMMAND: Final = r"perstack agent \w+"
HOSTILE: Final = "bob \x1b[2J\x1b]52;c;eA==\x07 \u202egnp\r\n second"
SETTINGS: Final = """
[agents]
maxConcurrent = 3
"""
LEAD: Final = """
[experts."lead"]
instruction = "You are lead."
description = "Leads\\nthe others"
"""
TEAM: Final = SETTINGS + LEAD
ENDLESS: Final = """
[defaults]
latency_ms = 20

[[turns]]
after = "that is enough"
text = "I stop looking."

[[turns]]
calls = [{ tool = "listDirectory", args = { path = "." } }]
"""
HELLO: Final = """
[[turns]]
text = "Hello \\u001b[2J\\nthere."
"""
GATED: Final = """
[[turns]]
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "x.txt", text = "x" } }]

[[turns]]
text = "Written."
"""
ASKER: Final = """
[experts."asker"]
instruction = "You are asker."
[experts."asker".skills."user"]
type = "interactiveSkill"
[experts."asker".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object"}'
"""
ASKS: Final = """
[[turns]]
turn = 1
calls = [{ tool = "askUser", args = { question = "Which \\u001b[2J?", choices = ["red", "blue"] } }]

[[turns]]
text = "Painted."
"""


# ---------------------------------------------------------------- in this process


def invoke(workspace: Path, *args: str) -> Result:
    return CliRunner().invoke(agent_app(), [*args, "--workspace", str(workspace)])


def said(workspace: Path, *args: str) -> str:
    result = invoke(workspace, *args)
    assert result.exit_code == 0, result.exception
    return result.stdout


def told(workspace: Path, *args: str) -> Any:
    printed = said(workspace, *args, "--json")
    assert printed.isascii()
    assert all(line.isprintable() for line in printed.splitlines())
    return json.loads(printed)


def refused(workspace: Path, *args: str) -> PerstackError:
    error = invoke(workspace, *args).exception
    assert isinstance(error, PerstackError), error
    return error


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Program.make(tmp_path, SCRIPTED + TEAM, scenario=HELLO).workspace


def test_looking_where_nothing_ever_was_makes_nothing(tmp_path: Path) -> None:
    assert said(tmp_path, "list") == "No active agents.\n"
    assert told(tmp_path, "list") == {"count": 0, "agents": []}
    for verb in (["status"], ["stop"], ["pause"], ["resume"], ["steer", "hi"], ["exec", "-p", "x"]):
        error = refused(tmp_path, *verb, "-n", "bob")
        assert (type(error), error.message) == (NotFoundError, "Agent not found"), verb
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["status", "stop", "pause", "resume"])
def test_an_agent_must_be_named(workspace: Path, verb: str) -> None:
    error = refused(workspace, verb)
    assert (type(error), error.message) == (UsageError, "Either id or name is required")
    assert refused(workspace, verb, "-n", "").message == "Either id or name is required"


def test_a_workspace_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    for verb in (["list"], ["types"], ["spawn", "-t", "coder"], ["stop", "-n", "x"]):
        assert "there is no folder" in refused(tmp_path / "nowhere", *verb).message


def test_an_agent_is_spawned_listed_shown_and_stopped(workspace: Path) -> None:
    spawned = said(workspace, "spawn", "-t", "lead", "-n", "bob", "-s", "s1")
    lines = dict(line.split(maxsplit=1) for line in spawned.splitlines())
    assert list(lines) == ["ID", "Type", "Name", "Status"]
    assert (lines["Type"], lines["Name"], lines["Status"]) == ("lead", "bob", "idle")
    head, row = said(workspace, "list").splitlines()
    assert head.split() == ["ID", "TYPE", "NAME", "STATUS", "TASK"]
    assert row.split() == [lines["ID"], "lead", "bob", "idle", "—"]
    shown = said(workspace, "status", "-i", lines["ID"])
    assert f"ID            {lines['ID']}\n" in shown
    assert "Session       s1\n" in shown
    assert "Capabilities  -\n" in shown
    assert said(workspace, "stop", "-n", "bob") == "Agent stopped successfully.\n"
    assert said(workspace, "list") == "No active agents.\n"
    assert isinstance(refused(workspace, "stop", "-n", "bob"), NotFoundError)


def test_json_has_the_seed_s_shapes(workspace: Path) -> None:
    spawned = told(workspace, "spawn", "-t", "reviewer", "-n", "rev")
    agent = spawned["agent"]
    instruction = builtin_experts()[CORE_TYPES[3]].instruction
    assert spawned == {"success": True, "agent": agent, "prompt": instruction}
    assert sorted(agent) == ["createdAt", "id", "name", "status", "type"]
    assert told(workspace, "list") == {"count": 1, "agents": [agent]}
    found = told(workspace, "status", "-n", "rev")
    assert {key: found["agent"][key] for key in agent} == agent
    assert (found["found"], found["systemPrompt"]) == (True, instruction)
    assert found["capabilities"][:2] == ["code-review", "security-review"]
    assert told(workspace, "stop", "-i", agent["id"]) == {
        "success": True,
        "message": "Agent stopped",
        "agentId": agent["id"],
        "ordered": False,
    }


def test_a_session_s_agents_can_be_listed_alone(workspace: Path) -> None:
    for name, session in (("a", "s1"), ("b", "s2")):
        told(workspace, "spawn", "-t", "lead", "-n", name, "-s", session)
    (only,) = told(workspace, "list", "-s", "s2")["agents"]
    assert (only["name"], only["sessionId"]) == ("b", "s2")


def test_types_are_the_core_s_and_then_the_project_s(workspace: Path) -> None:
    listed = told(workspace, "types")
    assert [one["type"] for one in listed["types"]] == [*CORE_TYPES, "lead"]
    assert listed["count"] == len(CORE_TYPES) + 1
    assert {"type", "name", "description", "capabilities"} == set(listed["types"][0])
    assert said(workspace, "types").splitlines()[-1].split(maxsplit=1) == [
        "lead",
        "Leads⏎the others",
    ]


def test_the_instruction_is_shown_when_asked_for(workspace: Path) -> None:
    assert "You are lead." not in said(workspace, "spawn", "-t", "lead")
    assert "\nYou are lead.\n" in said(workspace, "spawn", "-t", "lead", "--show-prompt")


def test_names_are_unique_types_known_and_the_number_bounded(workspace: Path) -> None:
    told(workspace, "spawn", "-t", "lead", "-n", "bob")
    taken = refused(workspace, "spawn", "-t", "coder", "-n", "bob")
    assert (type(taken), taken.exit_code) == (ConflictError, 4)
    assert taken.message == "Agent with name 'bob' already exists"
    unknown = refused(workspace, "spawn", "-t", "wizard")
    assert (unknown.message, unknown.exit_code) == ("Unknown agent type: wizard", 1)
    for _ in range(2):
        told(workspace, "spawn", "-t", "lead")
    full = refused(workspace, "spawn", "-t", "lead")
    assert (type(full), full.exit_code) == (LimitError, 6)
    assert full.message.startswith("Maximum number of concurrent agents reached (3).")
    assert full.hint is not None
    assert {"perstack agent list", "perstack agent stop"} <= set(re.findall(COMMAND, full.hint))


def test_a_name_that_is_no_text_is_printed_all_the_same(workspace: Path) -> None:
    told(workspace, "spawn", "-t", "lead", "-n", "\udcff one")
    assert "‹U+DCFF› two" in said(workspace, "spawn", "-t", "lead", "-n", "\udcff two")
    assert len(said(workspace, "list").splitlines()) == 3


def test_a_hostile_name_is_printed_inert(workspace: Path) -> None:
    shown = [said(workspace, "spawn", "-t", "lead", "-n", HOSTILE)]
    agent_id = told(workspace, "list")["agents"][0]["id"]
    shown += [said(workspace, "list"), said(workspace, "status", "-i", agent_id)]
    for text in shown:
        assert all(line.isprintable() for line in text.splitlines()), text
        assert "‹U+" in text
    assert len(shown[1].splitlines()) == 2


def test_an_idle_agent_can_be_stopped_and_not_ordered(workspace: Path) -> None:
    told(workspace, "spawn", "-t", "lead", "-n", "bob")
    for verb in (["pause"], ["resume"], ["steer", "hi"]):
        error = refused(workspace, *verb, "-n", "bob")
        assert (type(error), error.exit_code) == (ConflictError, 4), verb
        assert (
            error.message == f"agent bob is not {'paused' if verb == ['resume'] else 'at work now'}"
        )
        assert error.hint == "perstack agent exec -n bob -p … gives it work"


def test_a_run_may_order_nobody(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(workspace, "spawn", "-t", "lead", "-n", "bob")
    monkeypatch.setenv("PERSTACK_RUN_ID", "r1")
    for verb in (["pause"], ["resume"], ["steer", "hi"]):
        error = refused(workspace, *verb, "-n", "bob")
        assert (type(error), error.exit_code) == (DeniedError, 4), verb


def test_a_mistake_in_the_configuration_keeps_nobody_from_stopping_an_agent(
    workspace: Path,
) -> None:
    told(workspace, "spawn", "-t", "lead", "-n", "bob")
    (workspace / "perstack.toml").write_text("[agents\n")
    assert isinstance(refused(workspace, "spawn", "-t", "coder"), ConfigError)
    assert told(workspace, "list")["count"] == 1
    named = ("--config", str(workspace / "perstack.toml"))
    assert isinstance(refused(workspace, "stop", "-n", "bob", *named), ConfigError)
    result = invoke(workspace, "stop", "-n", "bob")
    assert result.exit_code == 0
    assert "Warning: perstack.toml is left out: " in result.stderr


def test_a_configuration_that_nobody_accepted_spawns_nothing(tmp_path: Path) -> None:
    Program.make(tmp_path, SCRIPTED + TEAM, scenario=HELLO, trusted=False)
    assert "has not been accepted yet" in refused(tmp_path, "spawn", "-t", "lead").message
    assert "has not been accepted yet" in refused(tmp_path, "run", "-t", "lead", "-p", "x").message
    assert told(tmp_path, "spawn", "-t", "lead", "--trust")["success"] is True


def test_what_is_to_be_done_can_be_in_a_file_which_must_be_one(workspace: Path) -> None:
    (workspace / "binary").write_bytes(b"\xff\xfe")
    (workspace / "huge").write_bytes(b"x" * 4_000_001)
    run = ("run", "-t", "lead", "-p")
    for file, message in (
        ("nowhere", "File not found: {}"),
        ("binary", "File is no UTF-8 text: {}"),
        ("huge", "File is larger than 4,000,000 bytes: {}"),
        ("", "File cannot be read: {}: Is a directory"),
    ):
        path = f"{workspace}/{file}"
        assert refused(workspace, *run, f"@{path}").message == message.format(path)
    lacking = refused(workspace, *run, "x", "--context", "@nowhere")
    assert lacking.message == "Context file not found: nowhere"
    assert told(workspace, "list")["count"] == 0


# ---------------------------------------------------------------- the real program


@asynccontextmanager
async def tables_of(program: Program) -> AsyncGenerator[Tables]:
    tables = open_tables(program.workspace)
    yield tables
    await tables.aclose()


async def there(program: Program, *args: str) -> Any:
    """What another process than the one at work is told."""
    return await anyio.to_thread.run_sync(partial(told, program.workspace, *args))


async def at_work(tables: Tables, name: str = "bob") -> Agent:
    """The agent, once its run is recorded."""
    roll = AgentRoll(tables.stores, clock=SystemClock())
    with anyio.fail_after(20):
        async for agents in roll.watch(poll_s=0.02):
            for agent in agents:
                if agent.name == name and agent.process_id is not None and agent.step_number:
                    return agent
    raise AssertionError("it watches until it is closed")


async def until(program: Program, status: str) -> None:
    """Wait until another process sees the agent so."""
    with anyio.fail_after(20):
        while status not in await anyio.to_thread.run_sync(said, program.workspace, "list"):
            pass


def working(program: Program, *args: str) -> Any:
    words = ("-p", "look", "--max-steps", "50000", *args)
    return program.running("agent", "run", "-t", "lead", "-n", "bob", *words)


@pytest.mark.anyio
async def test_an_agent_answers_and_goes_on_with_its_conversation(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=HELLO)
    (tmp_path / "task.txt").write_text("greet me")
    ran = await program.run(
        "agent", "run", "-t", "lead", "-n", HOSTILE, "-p", "@task.txt", "--show-prompt"
    )
    assert ran.code == 0, ran.stderr
    assert all(line.isprintable() for line in ran.stdout.splitlines())
    rule = "─" * 60
    assert f"{rule}\nYou are lead.\n{rule}\n" in ran.stdout
    assert "It stays. To give it more: perstack agent exec -i " in ran.stderr  # its name is wild
    assert "To stop it: perstack agent stop -i " in ran.stderr
    assert f"{rule}\nHello ‹U+001B›[2J\nthere.\n{rule}\nAgent         " in ran.stdout
    last = ran.stdout.splitlines()[-1].split()
    assert last[0] == "Duration"
    assert last[1].endswith("s")
    agent_id = (await there(program, "list"))["agents"][0]["id"]
    again = await program.run("agent", "exec", "-i", agent_id, "-p", "again", "--json")
    assert again.code == 0, again.stderr
    done = json.loads(again.stdout)
    assert (done["agentId"], done["response"]) == (agent_id, "Hello \x1b[2J\nthere.")
    assert {"model", "duration"} <= set(done)
    assert (done["ending"], done["steps"]) == ("completed", 2)
    log = await program.run("log", "--job", done["jobId"])
    assert "greet me" in log.stdout


@pytest.mark.anyio
async def test_other_processes_look_at_pause_resume_and_steer_an_agent_at_work(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    async with tables_of(program) as tables, working(program) as running:
        agent = await at_work(tables)
        listed = (await there(program, "list"))["agents"]
        assert [(one["id"], one["status"]) for one in listed] == [(agent.id, "running")]
        busy = await program.run("agent", "exec", "-n", "bob", "-p", "something else")
        assert (busy.code, busy.stderr.splitlines()[0]) == (4, "Error: agent bob is at work: look")
        assert "Hint: perstack agent steer … -n bob " in busy.stderr
        early = await program.run("agent", "resume", "-n", "bob")
        assert (early.code, "is at work and not paused" in early.stdout) == (0, True)
        paused = await there(program, "pause", "-n", "bob", "--reason", "lunch")
        assert (paused["success"], paused["agentId"]) == (True, agent.id)
        await until(program, "running, paused: lunch")
        assert (await there(program, "resume", "-n", "bob"))["success"] is True
        steered = await there(program, "steer", "-i", agent.id, "that is enough")
        assert steered["message"] == "Agent is told before its next step"
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert "\nI stop looking.\n" in ran.stdout
    assert (await there(program, "status", "-n", "bob"))["agent"]["status"] == "idle"


@pytest.mark.anyio
async def test_another_process_stops_an_agent_at_work_and_its_name_is_free(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    async with tables_of(program) as tables, working(program, "--json") as running:
        await at_work(tables)
        stopped = await there(program, "stop", "-n", "bob", "--reason", "enough")
        assert (stopped["success"], stopped["ordered"]) == (True, True)
        ran = await running.ended()
    assert ran.code == 1, ran.stderr
    done = json.loads(ran.stdout)
    assert done["ending"] == "stopped"
    assert done["response"].startswith("stopped by ")
    assert (await there(program, "list"))["count"] == 0
    assert (await there(program, "spawn", "-t", "lead", "-n", "bob"))["success"] is True


@pytest.mark.anyio
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
    ],
)
async def test_a_signal_stops_at_a_checkpoint_and_what_it_says_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    async with tables_of(program) as tables, working(program) as running:
        agent = await at_work(tables)
        running.send(number)
        ran = await running.ended()
    assert ran.code == 128 + number, ran.stderr
    assert "Stopping at a checkpoint" in ran.stderr
    again = f"perstack agent exec -i {agent.id} -p 'go on'"
    assert f"Stopped. Go on with: {again}\n" in ran.stderr
    found = (await there(program, "status", "-n", "bob"))["agent"]
    assert found["status"] == "idle"
    assert "processId" not in found
    said_then = ("agent", "exec", "-i", agent.id, "-p", "that is enough", "--max-steps", "50000")
    went_on = await program.run(*said_then, "--json")
    assert went_on.code == 0, went_on.stderr
    assert json.loads(went_on.stdout)["jobId"] == found["jobId"]


@pytest.mark.anyio
@pytest.mark.long
async def test_a_killed_program_s_agent_is_lost_and_can_be_given_work_again(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    async with tables_of(program) as tables:
        async with working(program):
            await at_work(tables)
        await until(program, "failed, lost")
    again = ("-n", "bob", "-p", "that is enough", "--max-steps", "50000")
    ran = await program.run("agent", "exec", *again)
    assert ran.code == 0, ran.stderr
    assert "I stop looking." in ran.stdout


@pytest.mark.anyio
@pytest.mark.long
async def test_a_limit_ends_with_6_and_what_to_type(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=ENDLESS)
    empty = await program.run("agent", "run", "-t", "lead", "-p", "")
    assert (empty.code, empty.stderr) == (1, "Error: prompt must not be empty\n")
    limited = ("-n", "bob", "-p", "look", "--max-steps", "2")
    ran = await program.run("agent", "run", "-t", "lead", *limited)
    assert ran.code == 6, ran.stderr
    stopped = "It was stopped, the step limit was reached. Raise that limit, and go on with: "
    assert re.search(rf"{stopped}perstack agent exec -i .* --max-steps 4\n", ran.stderr)
    over = await program.run("agent", "exec", *limited)
    assert over.code == 6
    assert "--max-steps" in over.stderr
    assert (await there(program, "status", "-n", "bob"))["agent"]["status"] == "idle"


@pytest.mark.anyio
async def test_what_waits_for_a_decision_is_said_and_decided_elsewhere(tmp_path: Path) -> None:
    gated = (
        SCRIPTED
        + SETTINGS
        + LEAD
        + """
[experts."lead".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
requireApproval = ["writeTextFile"]
"""
    )
    program = Program.make(tmp_path, gated, scenario=GATED)
    async with program.running("agent", "run", "-t", "lead", "-p", "write") as running:
        gate = await _gate(running)
        with anyio.fail_after(20):
            while (await program.run("consensus", "approve", gate)).code != 0:
                pass
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert (tmp_path / "x.txt").read_text() == "x"


async def _gate(running: Running) -> str:
    mark = "A decision is awaited: perstack consensus show "
    await running.wait_for(lambda: mark in running.err.decode() and running.err.endswith(b"\n"))
    return running.err.decode().split(mark)[1].split()[0]


@pytest.mark.anyio
@pytest.mark.long
async def test_a_question_is_said_and_answered_by_exec(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + SETTINGS + ASKER, scenario=ASKS)
    assert (await there(program, "spawn", "-t", "asker", "-n", "bob"))["success"] is True
    exec_ = ("agent", "exec", "-n", "bob", "-p")
    hint = "gives it new work; --answer is for what it asked"
    new_work = f"perstack agent exec -n bob -p '<text>' {hint}"
    early = await program.run(*exec_, "blue", "--answer")
    assert (early.code, early.stderr.splitlines()) == (
        4,
        [
            "Error: agent bob asked nothing: it had no work yet",
            f"Hint: {new_work}",
        ],
    )
    asked = await program.run(*exec_, "paint", "--json")
    assert asked.code == 0, asked.stderr
    assert json.loads(asked.stdout)["ending"] == "asked"
    assert asked.stderr.startswith("asker asks: Which ‹U+001B›[2J?\n  1 red\n  2 blue\n")
    assert " -p '<answer>' --answer\n" in asked.stderr
    unasked = await program.run(*exec_, "something else")
    assert (unasked.code, "waits for an answer" in unasked.stderr) == (1, True)
    assert "Hint: perstack agent exec -n bob -p '<answer>' --answer\n" in unasked.stderr
    assert (await there(program, "status", "-n", "bob"))["agent"]["status"] == "idle"
    answered = await program.run(*exec_, "blue", "--answer", "--json")
    assert answered.code == 0, answered.stderr
    assert json.loads(answered.stdout)["response"] == "Painted."
    late = await program.run(*exec_, "blue", "--answer")
    assert (late.code, "nothing waits for an answer" in late.stderr) == (4, True)
    assert new_work in late.stderr
    assert (await there(program, "status", "-n", "bob"))["agent"]["status"] == "idle"


@pytest.mark.anyio
@pytest.mark.long
async def test_resuming_lifts_the_limits_that_paused_an_idle_agent(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=HELLO)
    agent_id = (await there(program, "spawn", "-t", "lead", "-n", "bob"))["agent"]["id"]
    async with tables_of(program) as tables:
        facts = ProjectFacts(CoordinationSettings(), ConsensusSettings(), {}, ())
        await resources_over(tables, facts).pause_agent(AgentId(agent_id), "too many files")
    exec_ = ("agent", "exec", "-n", "bob", "-p", "go")
    held = await program.run(*exec_)
    assert held.code == 4, held.stderr
    assert f"Hint: perstack agent resume -i {agent_id}" in held.stderr
    printed = await anyio.to_thread.run_sync(said, tmp_path, "resume", "-i", agent_id)
    assert printed == "bob is paused no more; perstack agent exec -n bob -p … gives it work.\n"
    assert (await program.run(*exec_)).code == 0


@pytest.mark.anyio
async def test_only_having_an_agent_work_needs_a_key(tmp_path: Path) -> None:
    anthropic = '[provider]\nproviderName = "anthropic"\n' + TEAM
    program = Program.make(tmp_path, anthropic, env={"ANTHROPIC_API_KEY": ""})
    assert (await there(program, "spawn", "-t", "lead", "-n", "bob"))["success"] is True
    ran = await program.run("agent", "exec", "-n", "bob", "-p", "hi")
    assert ran.code == 1
    assert "ANTHROPIC_API_KEY" in ran.stderr
    unknown = await program.run("agent", "exec", "-n", "eve", "-p", "hi")
    assert (unknown.code, unknown.stderr.splitlines()[0]) == (4, "Error: Agent not found")
