"""/api/v1/review-loops: started at once, driven in the background."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.fakes.rest_answers import API, becomes, data, refused
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
LOOPS = f"{API}/review-loops"
TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
"""
STORY = """
[[turns]]
expert = "coder"
after = "Recorded."
text = "Handed in."
[[turns]]
expert = "coder"
after = "[HIGH] It divides by zero"
calls = [{ tool = "submitCode", args = { code = "def half(x): return x / 2" } }]
[[turns]]
expert = "coder"
calls = [{ tool = "submitCode", args = { code = "def half(x): return x / 0" } }]
[[turns]]
expert = "adversarial"
after = "Recorded."
text = "Reviewed."
[[turns]]
expert = "adversarial"
after = "x / 2"
calls = [{ tool = "submitVerdict", args = { verdict = "APPROVE", summary = "Sound." } }]
[[turns]]
expert = "adversarial"
[[turns.calls]]
tool = "submitVerdict"
[turns.calls.args]
verdict = "REJECT"
summary = "It cannot work."
[[turns.calls.args.issues]]
severity = "HIGH"
title = "It divides by zero"
requiredFix = "Divide by two."
"""
NEVER = """
[[turns]]
text = "at last"
latency_ms = 600_000
"""
UNFIT: Final[tuple[object, ...]] = (
    {},
    {"codeInput": " "},
    {"codeInput": "x", "maxIterations": 11},
    {"codeInput": "x", "maxIterations": 0},
    {"codeInput": "x", "maxIterations": True},
    {"codeInput": "x" * 500_001},
)


async def test_a_loop_is_answered_at_once_and_comes_to_its_verdict_by_itself(
    tmp_path: Path,
) -> None:
    (tmp_path / "scenario.toml").write_text(STORY)
    async with rest(tmp_path, TOML) as client:
        begun = data(await client.post(LOOPS, json={"codeInput": "halve a number"}), 202)
        assert (begun["status"], begun["phase"], begun["reviewCount"]) == ("running", "pending", 0)
        ended = await becomes(
            client, f"/review-loops/{begun['id']}", lambda loop: loop["status"] != "running"
        )
        assert (ended["status"], ended["finalVerdict"], ended["iteration"]) == (
            "approved",
            "APPROVED",
            2,
        )
        assert ended["currentCode"] == "def half(x): return x / 2"
        assert [one["verdict"] for one in ended["reviews"]] == ["NEEDS_CHANGES", "APPROVED"]
        assert ended["reviews"][0]["issues"][0]["severity"] == "high"
        assert ended["completedAt"].endswith("Z")
        assert data(await client.get(LOOPS)) == []
        approved = data(await client.get(LOOPS, params={"status": "approved"}))
        assert [one["id"] for one in approved] == [begun["id"]]
        said = refused(await client.post(f"{LOOPS}/{begun['id']}/abort"), 409)
        assert said == "Review loop is already approved"


async def test_agentstack_row_127_a_loop_that_is_aborted_mid_run_stays_aborted(
    tmp_path: Path,
) -> None:
    (tmp_path / "scenario.toml").write_text(NEVER)
    async with rest(tmp_path, TOML) as client:
        begun = data(await client.post(LOOPS, json={"codeInput": "x", "maxIterations": 1}), 202)
        one = f"/review-loops/{begun['id']}"
        at_work = await becomes(client, one, lambda loop: loop["phase"] == "coding")
        assert at_work["coderId"] is not None
        assert [each["id"] for each in data(await client.get(LOOPS))] == [begun["id"]]
        assert data(await client.post(f"{API}{one}/abort"))["status"] == "aborted"
        left = await becomes(client, "/agents", lambda agents: agents["count"] == 0)
        assert left["agents"] == []
        assert data(await client.get(f"{API}{one}"))["status"] == "aborted"


async def test_agentstack_row_128_what_cannot_be_reviewed_is_refused(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for body in UNFIT:
            refused(await client.post(LOOPS, json=body), 400)
        assert data(await client.get(LOOPS)) == []


async def test_without_a_model_no_loop_begins(tmp_path: Path) -> None:
    async with rest(tmp_path, TOML) as client:
        assert "scenario.toml" in refused(await client.post(LOOPS, json={"codeInput": "x"}), 400)
        assert data(await client.get(LOOPS)) == []


async def test_an_unknown_loop_is_not_found(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        assert refused(await client.get(f"{LOOPS}/none"), 404) == "Review loop not found"
        refused(await client.post(f"{LOOPS}/none/abort"), 404)
        refused(await client.post(f"{LOOPS}/none/resume"), 404)


async def test_a_loop_that_a_server_left_is_gone_on_with_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(NEVER)
    async with rest(tmp_path, TOML) as client:
        begun = data(await client.post(LOOPS, json={"codeInput": "halve a number"}), 202)
        one = f"/review-loops/{begun['id']}"
        await becomes(client, one, lambda loop: loop["phase"] == "coding")
    (tmp_path / "scenario.toml").write_text(STORY)
    async with rest(tmp_path, TOML) as client:
        assert data(await client.get(f"{API}{one}"))["status"] == "running"
        assert data(await client.post(f"{API}{one}/resume"), 202)["id"] == begun["id"]
        ended = await becomes(client, one, lambda loop: loop["status"] != "running")
        assert ended["status"] == "approved"
        assert data(await client.post(f"{API}{one}/resume"), 202)["status"] == "approved"
