"""Real `perstack mcp start` processes: a session as a coding agent has it, and two at a time."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters
from mcp.client import Client

from perstack.config.typed import Overrides
from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.ids import ConsensusId, TaskId
from perstack.domain.task_results import TaskCreation
from perstack.ports.frontend import CockpitRequest, Setup
from perstack.ports.history import FeedBatch
from perstack.projection.workspace import WorkspaceFold
from perstack.services.task_creation import NewTask
from perstack.serving.backend import Backend, Place, open_backend
from perstack_tui.local.gateway import open_local_gateway
from perstack_tui.ports.gateway import InboxUpdate, Update
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.mcp_door import text_of

pytestmark = pytest.mark.anyio

TOML = f"""{SCRIPTED}
[consensus]
enabled = true
reviewerStrategy = "human"
"""
SCENARIO = '[[turns]]\ntext = "done"\n'
WITHIN_S = 40.0


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path, TOML, scenario=SCENARIO)


@asynccontextmanager
async def server(program: Program) -> AsyncGenerator[Client]:
    """Start an MCP server of its own, and give the client that it serves."""
    started = StdioServerParameters(
        command=sys.executable,
        args=["-m", "perstack", "mcp", "start"],
        env=dict(program.env),
        cwd=program.workspace,
    )
    async with Client(started) as client:
        yield client


async def call(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a tool's structured answer; fail if it is an error of the protocol."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


class Watched:
    """What a cockpit over the same folder is shown."""

    def __init__(self) -> None:
        self._fold = WorkspaceFold()
        self._news = anyio.Event()

    def take(self, update: Update) -> None:
        if isinstance(update, FeedBatch):
            self._fold.apply(update)
        elif isinstance(update, InboxUpdate):
            self._fold.apply_inbox(update.checkpoints)
        self._news.set()
        self._news = anyio.Event()

    @property
    def pending(self) -> list[ConsensusCheckpoint]:
        return list(self._fold.view().inbox.pending)

    @property
    def decided(self) -> list[ConsensusCheckpoint]:
        return list(self._fold.view().inbox.decided)

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(WITHIN_S):
            while not condition():
                await self._news.wait()


@asynccontextmanager
async def cockpit(workspace: Path) -> AsyncGenerator[Watched]:
    """Open what the cockpit's screens are fed from."""
    setup = Setup(workspace / "perstack.toml", Overrides(), None, named=True)
    gateway = await open_local_gateway(CockpitRequest(workspace=workspace, runtime=setup))
    watched = Watched()

    async def consume() -> None:
        async with aclosing(gateway.updates()) as updates:
            async for update in updates:
                watched.take(update)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        try:
            yield watched
        finally:
            await gateway.aclose()
            group.cancel_scope.cancel()


async def test_a_risky_child_task_waits_for_a_person_in_another_process(program: Program) -> None:
    async with cockpit(program.workspace) as watched, server(program) as client:
        parent = await call(client, "task_create", agentType="researcher", input="look around")
        asked = await call(
            client,
            "task_create",
            agentType="devops",
            input="deploy it to production",
            parentTaskId=parent["task"]["id"],
        )
        assert (asked["success"], asked["consensusRequired"]) == (False, True)
        checkpoint, named = asked["checkpointId"], asked["checkpoint"]["taskId"]
        await watched.until(lambda: [one.id for one in watched.pending] == [checkpoint])
        assert (await call(client, "task_get", taskId=named))["found"] is False
        own = await client.call_tool(
            "consensus_approve", {"checkpointId": checkpoint, "reviewedBy": "the boss"}
        )
        assert own.is_error
        assert "whoever proposed this cannot decide it" in text_of(own)

        approved = await program.run("consensus", "approve", checkpoint)
        assert approved.code == 0, approved.stderr

        made = (await call(client, "task_get", taskId=named))["task"]
        assert (made["input"], made["status"]) == ("deploy it to production", "pending")
        assert made["consensusCheckpointId"] == checkpoint
        seen = (await call(client, "consensus_get", checkpointId=checkpoint))["checkpoint"]
        assert (seen["status"], seen["decision"]["reviewerType"]) == ("approved", "human")
        assert "said" not in seen["decision"]["reviewedBy"]
        await watched.until(lambda: not watched.pending)
        assert [(one.id, one.status) for one in watched.decided] == [(checkpoint, "approved")]


async def test_each_server_and_the_command_line_see_the_others_agents_and_tasks(
    program: Program,
) -> None:
    async with server(program) as one, server(program) as other:
        ada = (await call(one, "agent_spawn", type="coder", name="ada"))["agent"]["id"]
        bob = (await call(other, "agent_spawn", type="tester", name="bob"))["agent"]["id"]
        for client in (one, other):
            listed = (await call(client, "agent_list"))["agents"]
            assert [agent["id"] for agent in listed] == [ada, bob]
        task = (await call(one, "task_create", agentType="coder", input="x"))["task"]["id"]
        await call(other, "task_assign", taskId=task, agentId=bob)
        assert (await call(one, "task_get", taskId=task))["task"]["agentId"] == bob
        told = await program.run("agent", "list", "--json")
        assert told.code == 0, told.stderr
        assert ada in told.stdout
        assert bob in told.stdout
        await call(other, "agent_stop", id=ada)
        assert [agent["id"] for agent in (await call(one, "agent_list"))["agents"]] == [bob]


async def propose(backend: Backend) -> TaskCreation:
    """Have a third party ask for a risky task below a plain one."""
    async with backend.use() as served:
        tasks = served.coordination.tasks
        parent = (await tasks.create(NewTask(agent_type="researcher"))).task
        assert parent is not None
        return await tasks.create(
            NewTask(agent_type="devops", input="deploy it", parent_task_id=parent.id)
        )


async def race(backend: Backend, one: Client, other: Client, round_: int) -> str:
    """Approve through one server and reject through another at once; return what it became."""
    asked = await propose(backend)
    assert asked.checkpoint is not None
    which = {"checkpointId": asked.checkpoint.id}
    told: dict[str, dict[str, Any]] = {}

    async def decide(client: Client, tool: str) -> None:
        told[tool] = await call(client, tool, **which, reviewedBy=f"{tool} {round_}")

    parties = [(one, "consensus_approve"), (other, "consensus_reject")]
    async with anyio.create_task_group() as group:
        for client, tool in parties if round_ % 2 else parties[::-1]:
            group.start_soon(decide, client, tool)

    won = [tool for tool, answer in told.items() if answer["success"]]
    assert len(won) == 1, told
    (lost,) = told.keys() - set(won)
    status = told[won[0]]["checkpoint"]["status"]
    assert status == {"consensus_approve": "approved", "consensus_reject": "rejected"}[won[0]]
    assert told[lost]["error"] == f"Checkpoint is already {status}"
    async with backend.use() as served:
        checkpoints, tasks = served.coordination.checkpoints, served.coordination.tasks
        consensus_id = ConsensusId(asked.checkpoint.id)
        assert (await checkpoints.get(consensus_id)).status == status
        entries = [one.event for one in await checkpoints.events(consensus_id)]
        assert entries == ["created", status]
        made = await tasks.find(TaskId(asked.checkpoint.task_id))
        assert (made is not None) == (status == "approved")
    return status


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.long)])
async def test_approve_against_reject_through_two_servers_has_one_winner(
    program: Program, rounds: int
) -> None:
    async with (
        open_backend(Place(program.workspace, trust=True)) as backend,
        server(program) as one,
        server(program) as other,
    ):
        for round_ in range(rounds):
            await race(backend, one, other, round_)
