"""The same error has the same words, code and hint over MCP, over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import pytest
from typer.testing import CliRunner

from perstack.cli.app import app
from perstack.errors import PerstackError
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.mcp_door import door, text_of
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio

GHOST: Final = "00000000-0000-4000-8000-000000000000"
TOML: Final = SCRIPTED + '[consensus]\nenabled = true\nreviewerStrategy = "human"\n'


@dataclass(frozen=True)
class Case:
    """One mistake, made at three doors."""

    tool: str
    arguments: Mapping[str, Any]
    method: str
    path: str
    typed: tuple[str, ...]
    status: int
    exit_code: int
    body: Mapping[str, Any] | None = field(default=None)


CASES: Final = {
    "an agent type that is none": Case(
        "agent_spawn",
        {"type": "nope"},
        "POST",
        "/agents",
        ("agent", "spawn", "-t", "nope"),
        400,
        1,
        {"type": "nope"},
    ),
    "an agent that is not there": Case(
        "agent_stop",
        {"id": GHOST},
        "DELETE",
        f"/agents/{GHOST}",
        ("agent", "stop", "-i", GHOST),
        404,
        4,
    ),
    "a name that is taken": Case(
        "agent_spawn",
        {"type": "coder", "name": "bob"},
        "POST",
        "/agents",
        ("agent", "spawn", "-t", "coder", "-n", "bob"),
        409,
        4,
        {"type": "coder", "name": "bob"},
    ),
    "an identity that is not there": Case(
        "identity_activate",
        {"agentId": GHOST},
        "POST",
        f"/identities/{GHOST}/activate",
        ("identity", "activate", "-i", GHOST),
        404,
        4,
        {},
    ),
    "a task that is not there": Case(
        "task_complete",
        {"taskId": GHOST, "output": "x"},
        "PUT",
        f"/tasks/{GHOST}/complete",
        ("task", "complete", GHOST, "--output", "x"),
        404,
        4,
        {"output": "x"},
    ),
    "a parent that is not there": Case(
        "task_create",
        {"agentType": "coder", "input": "x", "parentTaskId": GHOST},
        "POST",
        "/tasks",
        ("task", "create", "-t", "coder", "-i", "x", "--parent", GHOST),
        404,
        4,
        {"agentType": "coder", "input": "x", "parentTaskId": GHOST},
    ),
    "a moment that is none": Case(
        "task_drift_metrics",
        {"since": "yesterday"},
        "",
        "",
        ("task", "drift", "metrics", "--since", "yesterday"),
        400,
        1,
    ),
    "a session that is not there": Case(
        "session_end",
        {"sessionId": GHOST},
        "PUT",
        f"/sessions/{GHOST}/end",
        ("session", "end", GHOST),
        404,
        4,
    ),
    "a memory that is not there": Case(
        "memory_get",
        {"key": "nope"},
        "GET",
        "/memory/nope",
        ("memory", "get", "-k", "nope"),
        404,
        4,
    ),
    "a checkpoint that is not there": Case(
        "consensus_approve",
        {"checkpointId": GHOST, "reviewedBy": "ana"},
        "PUT",
        f"/consensus/{GHOST}/approve",
        ("consensus", "approve", GHOST),
        404,
        4,
        {},
    ),
    "an Expert that is not there": Case(
        "expert_run",
        {"expert": "gh.ost", "query": "x"},
        "POST",
        "/jobs",
        ("run", "gh.ost", "x"),
        400,
        1,
        {"expert": "gh.ost", "query": "x"},
    ),
    "an Expert that is not here while no registry answers": Case(
        "expert_run",
        {"expert": "ghost", "query": "x"},
        "POST",
        "/jobs",
        ("run", "ghost", "x"),
        502,
        1,
        {"expert": "ghost", "query": "x"},
    ),
    "nothing that is asked for": Case(
        "expert_run",
        {"expert": "coder", "query": "   "},
        "POST",
        "/jobs",
        ("run", "coder", "   "),
        400,
        1,
        {"expert": "coder", "query": "   "},
    ),
    "a job that is not there": Case(
        "job_continue",
        {"jobId": "jjjjjjjj", "text": "x"},
        "POST",
        "/jobs/jjjjjjjj/continue",
        ("run", "x", "x", "--continue-job", "jjjjjjjj"),
        404,
        4,
        {"text": "x"},
    ),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Program.make(tmp_path, TOML).workspace


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_mistake_is_told_alike_at_every_door(workspace: Path, case: Case) -> None:
    await anyio.to_thread.run_sync(spawn_bob, workspace)
    typed = await anyio.to_thread.run_sync(typed_error, workspace, case)
    over_mcp = await mcp_error(workspace, case)
    assert over_mcp == typed
    if case.path:
        assert await http_error(workspace, case) == typed


def spawn_bob(workspace: Path) -> None:
    words = ["agent", "spawn", "-t", "coder", "-n", "bob", "--workspace", str(workspace)]
    assert CliRunner().invoke(app, words).exit_code == 0


def typed_error(workspace: Path, case: Case) -> dict[str, str | None]:
    error = CliRunner().invoke(app, [*case.typed, "--workspace", str(workspace)]).exception
    assert isinstance(error, PerstackError), error
    assert error.exit_code == case.exit_code
    return {"error": error.message, "code": error.code, "hint": error.hint}


async def mcp_error(workspace: Path, case: Case) -> dict[str, str | None]:
    async with door(workspace) as mcp:
        result = await mcp.result(case.tool, dict(case.arguments))
    told = result.structured_content
    if told is None:
        assert result.is_error
        import json

        told = json.loads(text_of(result))
    return {name: told.get(name) for name in ("error", "code", "hint")}


async def http_error(workspace: Path, case: Case) -> dict[str, str | None]:
    async with rest(workspace) as client:
        answer = await client.request(case.method, f"/api/v1{case.path}", json=case.body)
    assert answer.status_code == case.status
    told = answer.json()
    assert told["success"] is False
    return {name: told.get(name) for name in ("error", "code", "hint")}
