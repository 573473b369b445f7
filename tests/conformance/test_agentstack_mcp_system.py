"""AgentStack's session and system tools as a client of the MCP door sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.mcp_door import door, text_of

pytestmark = pytest.mark.anyio

CANARY = "canary-7Qm2xVb9"
SECRETIVE = f"""
model = "llama3"
envPath = [".env"]

[provider]
providerName = "ollama"
[provider.setting]
baseUrl = "http://127.0.0.1:1/api"

[slack]
enabled = true
webhookUrl = "${{SLACK_WEBHOOK_URL}}"

[github]
enabled = true
token = "${{GITHUB_TOKEN}}"

[experts."poet"]
instruction = "You know the word {CANARY}-instruction."
"""
KEYS = f"""
OPENAI_API_KEY={CANARY}-file
GITHUB_TOKEN={CANARY}-token
SLACK_WEBHOOK_URL=https://hooks.slack.com/services/{CANARY}-hook
"""


async def test_a_session_is_begun_looked_at_and_ended(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        none = await it.call("session_active")
        assert (none["active"], none["message"]) == (False, "No active session")
        nothing = await it.call("session_status", {})
        assert (nothing["found"], nothing["message"]) == (False, "No active session")
        older = (await it.call("session_start", {"metadata": {"why": "a test"}}))["session"]
        newer = (await it.call("session_start"))["session"]
        active = await it.call("session_active")
        assert active["session"]["id"] == newer["id"]
        shown = await it.call("session_status", {"sessionId": older["id"]})
        assert shown["session"]["metadata"] == {"why": "a test"}
        assert shown["session"]["tasks"]["total"] == 0
        ended = await it.call("session_end", {})
        assert ended == {
            "success": True,
            "message": "Session ended",
            "sessionId": newer["id"],
        }
        again = await it.call("session_end", {"sessionId": newer["id"]})
        assert (again["success"], again["error"]) == (False, "Session not found or already ended")
        assert (await it.call("session_active"))["session"]["id"] == older["id"]


async def test_what_a_session_kept_ends_with_it(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        session = (await it.call("session_start"))["session"]["id"]
        await it.call("agent_spawn", {"type": "coder", "sessionId": session})
        await it.call("memory_store", {"key": "k", "content": "a", "sessionId": session})
        await it.call("session_end", {"sessionId": session})
        assert (await it.call("agent_list"))["count"] == 0
        assert (await it.call("memory_list", {"sessionId": session}))["total"] == 0


async def test_the_status_counts_what_is_there(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        session = (await it.call("session_start"))["session"]["id"]
        await it.call("agent_spawn", {"type": "coder"})
        await it.call("memory_store", {"key": "k", "content": "a", "namespace": "notes"})
        told = await it.call("system_status")
        health = await it.call("system_health")
    assert told["session"]["id"] == session
    assert told["agents"]["active"] == 1
    assert told["agents"]["byStatus"]["idle"] == 1
    assert "notes" in told["memory"]["namespaces"]
    assert health["status"] == "healthy"
    assert health["checks"]["database"] is True


async def test_no_answer_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(KEYS, "utf-8")
    monkeypatch.setenv("ANTHROPIC_API_KEY", f"{CANARY}-env")
    monkeypatch.setenv("JWT_SECRET", f"{CANARY}-jwt")
    async with door(tmp_path, SECRETIVE) as it:
        told = {
            name: text_of(await it.result(name))
            for name in ("system_config", "system_status", "system_health")
        }
    config = json.loads(told["system_config"])
    assert CANARY not in "".join(told.values())
    assert config["providers"]["openai"] == {"configured": True}
    assert config["providers"]["ollama"]["baseUrl"] == "http://127.0.0.1:1/api"
    assert config["slack"]["configured"] is True
    assert config["github"] == {"enabled": True, "useGhCli": False}
