"""/api/v1/system."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from perstack.errors import NotSignedInError
from perstack.serving.rest.context import Principal
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio
SYSTEM = "/api/v1/system"
CANARY = "canary-0123456789"


class Nobody:
    """A doorkeeper who knows nobody."""

    async def admit(self, connection: HTTPConnection) -> Principal:
        raise NotSignedInError("No authentication token provided")

    async def admit_token(self, token: str) -> Principal:
        raise NotSignedInError("Invalid token")

    async def again(self, principal: Principal) -> Principal:
        raise NotSignedInError("Invalid token")


async def test_the_status_counts_what_there_is(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        await client.post("/api/v1/agents", json={"type": "coder"})
        await client.post("/api/v1/memory", json={"key": "k", "content": "c"})
        session = (await client.post("/api/v1/sessions")).json()["data"]
        told = (await client.get(f"{SYSTEM}/status")).json()["data"]
        assert told["agents"]["active"] == 1
        assert told["agents"]["byStatus"]["idle"] == 1
        assert "default" in told["memory"]["namespaces"]
        assert told["sessions"] == {"active": 1}
        assert told["session"] == session
        assert told["tasks"] == {"pending": 0, "processing": 0, "queued": 0}
        assert told["uptime"] > 0
        figures = (await client.get(f"{SYSTEM}/metrics")).json()["data"]
        assert figures["counters"]["resource_exhaustion_warnings_total"] == 0
        assert figures["histograms"]["agent_api_calls"]["count"] == 0
        assert (figures["memory"], figures["agents"]) == (told["memory"], told["agents"])


async def test_health_is_told_in_short_and_in_detail(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        short = (await client.get(f"{SYSTEM}/health")).json()["data"]
        assert short["checks"]["database"] is True
        assert short["checks"]["vector_search"]["message"] == "Disabled (using FTS only)"
        detailed = (await client.get(f"{SYSTEM}/health/detailed")).json()["data"]
        assert set(detailed["checks"]) == {"database", "memory", "providers", "disk", "system"}
        assert detailed["checks"]["database"]["status"] == "pass"
        assert detailed["timestamp"].endswith("Z")


async def test_alive_and_ready_are_told_to_whoever_asks_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    async with rest_door(tmp_path, doorkeeper=Nobody()) as door:
        live = await door.client.get(f"{SYSTEM}/health/live")
        assert (live.status_code, live.json()["data"]["status"]) == (200, "ok")
        ready = await door.client.get(f"{SYSTEM}/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert "success" not in ready.json()
        for path in ("status", "health", "health/detailed", "config", "metrics", "resources"):
            assert (await door.client.get(f"{SYSTEM}/{path}")).status_code == 401, path


async def test_a_server_without_a_database_is_alive_and_not_ready(tmp_path: Path) -> None:
    (tmp_path / "perstack").mkdir()
    (tmp_path / "perstack" / "perstack.db").write_text("this is no database" * 100)
    async with rest(tmp_path) as client:
        assert (await client.get(f"{SYSTEM}/health/live")).status_code == 200
        ready = await client.get(f"{SYSTEM}/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
        assert ready.json()["reason"].startswith("The database cannot be used")
        assert str(tmp_path) not in ready.text


async def test_the_configuration_is_told_without_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    (tmp_path / ".env").write_text(f"GITHUB_TOKEN={CANARY}\nOPENAI_API_KEY={CANARY}\n")
    toml = (
        f'[github]\nenabled = true\ntoken = "{CANARY}"\n'
        f'[slack]\nenabled = true\nwebhookUrl = "https://hooks.example/{CANARY}"\n'
    )
    async with rest(tmp_path, toml) as client:
        told = await client.get(f"{SYSTEM}/config")
        assert told.json()["data"]["providers"]["anthropic"] == {"configured": True}
        assert told.json()["data"]["github"]["enabled"] is True
        assert CANARY not in told.text


async def test_resources_have_the_seeds_shape_whether_monitoring_is_on_or_not(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path) as client:
        told = (await client.get(f"{SYSTEM}/resources")).json()["data"]
        assert set(told) == {"enabled", "config", "metrics"}
        assert told["enabled"] is False
        assert told["config"]["thresholds"] == {
            "maxFilesAccessed": 50,
            "maxApiCalls": 100,
            "maxSubtasksSpawned": 20,
            "maxTimeWithoutDeliverableMs": 1_800_000,
            "maxTokensConsumed": 500_000,
        }
        assert told["metrics"]["recentEvents"] == []
        assert told["metrics"]["totalAgentsTracked"] == 0
    async with rest(tmp_path, "[resourceExhaustion]\nenabled = true\n") as client:
        assert (await client.get(f"{SYSTEM}/resources")).json()["data"]["enabled"] is True
