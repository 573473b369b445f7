"""Each tool of agents, identities, memory, sessions and the system answers in the seed's shape.

What the seed's samples promise is in `tests/fixtures/seed_responses`; the tool's own output schema
is checked by the SDK's client at every call, and here once more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from perstack.serving.verbs.catalog import verbs
from tests.fakes.mcp_door import McpDoor, door
from tests.fixtures.seed_responses.agents import AGENT_RESPONSES
from tests.fixtures.seed_responses.consensus import CONSENSUS_RESPONSES
from tests.fixtures.seed_responses.github import GITHUB_RESPONSES
from tests.fixtures.seed_responses.identities import IDENTITY_RESPONSES
from tests.fixtures.seed_responses.memory import MEMORY_RESPONSES
from tests.fixtures.seed_responses.sessions import SESSION_RESPONSES
from tests.fixtures.seed_responses.shape import misfits
from tests.fixtures.seed_responses.system import SYSTEM_RESPONSES
from tests.fixtures.seed_responses.tasks import TASK_RESPONSES

pytestmark = pytest.mark.anyio

PROMISED: Final = {
    **AGENT_RESPONSES,
    **IDENTITY_RESPONSES,
    **MEMORY_RESPONSES,
    **SESSION_RESPONSES,
    **SYSTEM_RESPONSES,
}


class Judge:
    """Calls tools, and compares each answer with what was promised."""

    def __init__(self, it: McpDoor, own: dict[str, dict[str, Any]]) -> None:
        self._it = it
        self._own = own
        self.called: set[str] = set()

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        """Call a tool and return its answer, which has the promised shape."""
        told = await self._it.call(tool, given)
        for schema in (PROMISED[tool], self._own[tool]):
            assert misfits(told, schema) == [], (tool, told)
        self.called.add(tool)
        return told


async def call_agents(judge: Judge, session: str) -> None:
    agent = (await judge.call("agent_spawn", type="coder", sessionId=session))["agent"]
    await judge.call("agent_list")
    await judge.call("agent_status", id=agent["id"])
    await judge.call("agent_types")
    await judge.call("agent_update_status", id=agent["id"], status="completed")
    await judge.call("agent_stop", name=agent["name"])


async def call_identities(judge: Judge) -> None:
    given = {"displayName": "Ada", "capabilities": [{"name": "a", "enabled": True}]}
    made = await judge.call("identity_create", agentType="coder", metadata={"a": None}, **given)
    which = made["identity"]["agentId"]
    await judge.call("identity_get", displayName="Ada")
    await judge.call("identity_update", agentId=which, description="writes", capabilities=[])
    await judge.call("identity_activate", agentId=which)
    await judge.call("identity_deactivate", agentId=which, reason="rest")
    await judge.call("identity_retire", agentId=which, reason="done", actorId="ana")
    await judge.call("identity_list")
    await judge.call("identity_audit", agentId=which)


async def call_memory(judge: Judge) -> None:
    await judge.call("memory_store", key="a/b", content="word", agentId="x", metadata={"n": [1]})
    await judge.call("memory_search", query="word")
    await judge.call("memory_get", key="a/b")
    await judge.call("memory_list")
    await judge.call("memory_delete", key="a/b")


async def test_every_answer_has_the_shape_of_the_seed_and_of_its_own_schema(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        own = {name: tool.output_schema or {} for name, tool in (await it.tools()).items()}
        judge = Judge(it, own)
        session = (await judge.call("session_start", metadata={"why": "shapes"}))["session"]["id"]
        await judge.call("session_status", sessionId=session)
        await judge.call("session_active")
        await call_agents(judge, session)
        await call_identities(judge)
        await call_memory(judge)
        await judge.call("system_status")
        await judge.call("system_health")
        await judge.call("system_config")
        await judge.call("session_end", sessionId=session)
    assert judge.called == set(PROMISED)


def test_each_of_the_46_tools_has_a_shape_that_the_seed_promised() -> None:
    others = (*TASK_RESPONSES, *CONSENSUS_RESPONSES, *GITHUB_RESPONSES)
    every = [*PROMISED, *others]
    ours = ("expert_", "job_")
    assert len(every) == 46
    assert set(every) == {name for name in verbs() if not name.startswith(ours)}


def test_a_shape_refuses_an_answer_that_lacks_something() -> None:
    stopped = AGENT_RESPONSES["agent_stop"]
    told = {"success": True, "agentId": "a", "message": "Agent stopped"}
    assert misfits(told, stopped) == []
    assert misfits({**told, "success": False}, stopped)
    del told["agentId"]
    assert misfits(told, stopped) == ["'agentId' is a required property"]
