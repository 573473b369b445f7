"""AgentStack's rows 1-16 as a client of the MCP door sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perstack.core_types import CORE_TYPE_NAMES
from tests.fakes.mcp_door import door, text_of

pytestmark = pytest.mark.anyio

NAMES_BY_AREA = {
    "agent": ("spawn", "list", "stop", "status", "types", "update_status"),
    "identity": ("create", "get", "list", "update", "activate", "deactivate", "retire", "audit"),
    "memory": ("store", "search", "get", "list", "delete"),
    "task": (
        "create",
        "assign",
        "complete",
        "list",
        "get",
        "check_drift",
        "get_relationships",
        "drift_metrics",
    ),
    "consensus": ("check", "list_pending", "get", "approve", "reject"),
    "session": ("start", "end", "status", "active"),
    "system": ("status", "health", "config"),
    "github": (
        "issue_create",
        "issue_list",
        "issue_get",
        "pr_create",
        "pr_list",
        "pr_get",
        "repo_info",
    ),
}
NAMES = {f"{area}_{name}" for area, names in NAMES_BY_AREA.items() for name in names}
OURS = ("expert_", "job_", "review_loop_")


async def test_agentstack_row_001_the_46_tools_of_the_seed_are_listed(tmp_path: Path) -> None:
    async with door(tmp_path, reviews=True) as it:
        tools = await it.tools()
    assert len(NAMES) == 46
    assert {name for name in tools if not name.startswith(OURS)} == NAMES
    for tool in tools.values():
        assert tool.description
        assert tool.output_schema is not None
        assert tool.annotations is not None


async def test_agentstack_row_002_an_unknown_tool_is_an_error_that_names_it(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        result = await it.result("nope")
    assert result.is_error
    assert json.loads(text_of(result))["error"] == "Unknown tool: nope"


async def test_agentstack_row_003_what_is_denied_is_an_error_of_the_call_with_its_message(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        result = await it.result(
            "memory_get", {"key": "plan", "sessionId": "mine", "namespace": "session:theirs"}
        )
    told = json.loads(text_of(result))
    assert result.is_error
    assert result.structured_content is None
    assert told["error"].startswith("Access denied: cannot read memory in session theirs")
    assert told["code"] == "denied"


async def test_agentstack_rows_005_to_011_agents_are_spawned_listed_and_stopped(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        unnamed = (await it.call("agent_spawn", {"type": "coder", "sessionId": "s-1"}))["agent"]
        assert unnamed["status"] == "idle"
        assert unnamed["name"] == f"coder-{unnamed['id'][:8]}"
        unknown = await it.call("agent_spawn", {"type": "nobody"})
        assert unknown["success"] is False
        assert unknown["error"].startswith("Unknown agent type")
        await it.call("agent_spawn", {"type": "tester", "name": "tess"})
        twice = await it.call("agent_spawn", {"type": "tester", "name": "tess"})
        assert twice["success"] is False
        assert "already exists" in twice["error"]
        assert (await it.result("agent_spawn", {"type": ""})).is_error
        listed = await it.call("agent_list", {"sessionId": "s-1"})
        assert [agent["id"] for agent in listed["agents"]] == [unnamed["id"]]
        assert (await it.call("agent_stop", {"name": "tess"}))["message"] == "Agent stopped"
        assert (await it.call("agent_status", {"name": "tess"}))["found"] is False
        gone = await it.call("agent_stop", {"name": "tess"})
        assert (gone["success"], gone["message"], gone["error"]) == (
            False,
            "Agent not found",
            "Agent not found",
        )


async def test_agentstack_row_012_stopping_neither_by_id_nor_by_name_is_unfit(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        result = await it.result("agent_stop", {})
    assert result.is_error
    assert json.loads(text_of(result))["error"] == "Either id or name is required"


async def test_agentstack_row_013_the_status_of_an_unknown_agent_is_not_found(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        told = await it.call("agent_status", {"id": "nobody"})
        unasked = await it.call("agent_status", {})
    assert told["found"] is False
    assert told["message"] == "Agent not found"
    assert told["error"] == "Agent not found"
    assert told["code"] == "not_found"
    assert unasked["found"] is False


async def test_agentstack_row_014_a_status_that_there_is_none_of_is_refused_with_those_there_are(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        agent = (await it.call("agent_spawn", {"type": "coder"}))["agent"]
        result = await it.result("agent_update_status", {"id": agent["id"], "status": "bogus"})
        kept = await it.call("agent_status", {"id": agent["id"]})
    told = json.loads(text_of(result))
    assert told["success"] is False
    assert "idle, running, completed, failed, stopped" in told["error"]
    assert kept["agent"]["status"] == "idle"


async def test_agentstack_row_015_the_status_stopped_stops_the_agent(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        agent = (await it.call("agent_spawn", {"type": "coder"}))["agent"]
        told = await it.call("agent_update_status", {"id": agent["id"], "status": "stopped"})
        left = await it.call("agent_list")
    assert told["success"] is True
    assert told["status"] == "stopped"
    assert left["count"] == 0


async def test_agentstack_row_016_the_core_types_come_first_with_what_they_can_do(
    tmp_path: Path,
) -> None:
    toml = '[experts."poet"]\ninstruction = "You write verse."\n'
    async with door(tmp_path, toml) as it:
        told = await it.call("agent_types")
    names = [one["type"] for one in told["types"]]
    assert names[:11] == list(CORE_TYPE_NAMES)
    assert names[11:] == ["poet"]
    assert told["count"] == 12
    assert all(one["capabilities"] for one in told["types"][:11])
