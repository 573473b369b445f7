"""The tools of review loops over MCP: real runs of a scripted coder and a scripted reviewer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from perstack.serving.backend import Place, open_backend
from perstack.serving.mcp.server import offered
from tests.fakes.mcp_door import McpDoor, door, text_of
from tests.fixtures.seed_responses.review_loops import REVIEW_LOOP_RESPONSES
from tests.fixtures.seed_responses.shape import misfits

pytestmark = pytest.mark.anyio

SCRIPTED = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
pace = 0
"""
# The first code is rejected, the second approved.
SCENARIO = """
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
# The coder does not answer for as long as any test runs.
ENDLESS = """
[[turns]]
latency_ms = 600000
text = "never"
"""
NOBODY = "00000000-0000-4000-8000-000000000000"
NAMES = sorted(REVIEW_LOOP_RESPONSES)


def scripted(folder: Path, scenario: str = SCENARIO, *, pace: int = 0) -> str:
    """Write a scenario down, and return the perstack.toml that plays it."""
    (folder / "scenario.toml").write_text(scenario)
    return SCRIPTED.replace("pace = 0", f"pace = {pace}")


async def ask(it: McpDoor, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and hold its answer against the seed's."""
    answer = await it.call(name, arguments)
    assert misfits(answer, REVIEW_LOOP_RESPONSES[name]) == [], answer
    return answer


@asynccontextmanager
async def heard_on_the_bus(it: McpDoor) -> AsyncGenerator[Mapping[str, anyio.Event]]:
    """Give events that are set once a message of that type was sent; bounds what waits for them."""
    heard: dict[str, anyio.Event] = defaultdict(anyio.Event)
    async with it.backend.use() as served:
        forget = served.coordination.bus.subscribe_all(lambda message: heard[message.type].set())
        with anyio.fail_after(30):
            yield heard
        forget()


async def test_they_are_offered_only_where_the_settings_ask_for_them(tmp_path: Path) -> None:
    for toml, wanted in (("", set[str]()), ("[mcp]\nreviewLoopTools = true\n", set(NAMES))):
        (tmp_path / "perstack.toml").write_text(toml)
        async with open_backend(Place(tmp_path)) as backend:
            assert set(NAMES) & set(offered(backend)) == wanted
    async with door(tmp_path, reviews=True) as it:
        assert set(NAMES) <= set(await it.tools())


async def test_agentstack_row_121_a_loop_is_driven_to_its_end_with_progress(tmp_path: Path) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with door(tmp_path, scripted(tmp_path), reviews=True) as it:
        result = await it.client.call_tool(
            "review_loop_start", {"code": "halve a number"}, progress_callback=hear
        )
        answer = result.structured_content
        assert answer is not None
        assert misfits(answer, REVIEW_LOOP_RESPONSES["review_loop_start"]) == [], answer
        loop = answer["loop"]
        assert answer["message"] == "Code approved after 2 iteration(s)"
        assert answer["finalCode"] == "def half(x): return x / 2"
        assert (loop["status"], loop["iteration"], loop["reviewCount"]) == ("approved", 2, 2)
        assert loop["finalVerdict"] == "APPROVED"
        assert [(done, total) for done, total, _ in heard] == [(n, 6) for n in range(5)]
        assert any("reviewed: REJECT" in (said or "") for *_, said in heard)
        stood = await ask(it, "review_loop_status", loopId=loop["id"])
        assert stood["latestReview"]["verdict"] == "APPROVED"
        found = await ask(it, "review_loop_issues", loopId=loop["id"])
        assert [one["verdict"] for one in found["reviews"]] == ["NEEDS_CHANGES", "APPROVED"]
        (wrong,) = found["reviews"][0]["issues"]
        assert (wrong["severity"], wrong["requiredFix"]) == ("high", "Divide by two.")
        code = await ask(it, "review_loop_get_code", loopId=loop["id"])
        assert (code["originalInput"], code["currentCode"]) == (
            "halve a number",
            answer["finalCode"],
        )
        assert (await ask(it, "review_loop_list"))["count"] == 0


async def test_agentstack_row_122_always_rejected_it_ends_with_the_last_iteration(
    tmp_path: Path,
) -> None:
    async with door(tmp_path, scripted(tmp_path), reviews=True) as it:
        answer = await it.call("review_loop_start", {"code": "halve", "maxIterations": 1})
        assert answer["success"] is False
        assert answer["loop"]["status"] == "max_iterations_reached"
        assert answer["loop"]["finalVerdict"] == "NEEDS_CHANGES"
        assert answer["message"] == "Review loop completed with status: max_iterations_reached"


async def test_agentstack_row_127_an_aborted_loop_stays_aborted(tmp_path: Path) -> None:
    async with door(tmp_path, scripted(tmp_path, ENDLESS, pace=1), reviews=True) as it:
        ended: list[dict[str, Any]] = []

        async def start() -> None:
            ended.append(await it.call("review_loop_start", {"code": "halve"}))

        async with heard_on_the_bus(it) as heard, anyio.create_task_group() as group:
            group.start_soon(start)
            await heard["loop:start"].wait()
            (running,) = (await ask(it, "review_loop_list"))["loops"]
            assert (running["status"], running["phase"]) == ("running", "coding")
            await ask(it, "review_loop_abort", loopId=running["id"])
            again = await it.call("review_loop_abort", {"loopId": running["id"]})
            assert (again["success"], again["error"]) == (False, "Review loop is already aborted")
        assert (ended[0]["success"], ended[0]["loop"]["status"]) == (False, "aborted")


async def test_a_client_that_cancels_the_call_aborts_the_loop(tmp_path: Path) -> None:
    async with door(tmp_path, scripted(tmp_path, ENDLESS, pace=1), reviews=True) as it:
        calling = anyio.CancelScope()

        async def start() -> None:
            with calling:
                await it.call("review_loop_start", {"code": "halve"})

        async with heard_on_the_bus(it) as heard, anyio.create_task_group() as group:
            group.start_soon(start)
            await heard["loop:start"].wait()
            (running,) = (await ask(it, "review_loop_list"))["loops"]
            calling.cancel()
            await heard["loop:aborted"].wait()
            stood = await ask(it, "review_loop_status", loopId=running["id"])
            assert stood["loop"]["status"] == "aborted"


async def test_agentstack_row_128_eleven_iterations_or_no_code_do_not_fit(tmp_path: Path) -> None:
    async with door(tmp_path, reviews=True) as it:
        for arguments in ({"code": "x", "maxIterations": 11}, {"code": ""}, {}):
            assert (await it.result("review_loop_start", arguments)).is_error
        for name in ("review_loop_status", "review_loop_issues", "review_loop_get_code"):
            told = await it.call(name, {"loopId": NOBODY})
            assert (told["found"], told["message"]) == (False, "Review loop not found")
        told = await it.call("review_loop_abort", {"loopId": NOBODY})
        assert (told["success"], told["error"]) == (False, "Review loop not found")


async def test_without_a_key_no_loop_is_begun_and_the_tool_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    toml = '[provider]\nproviderName = "anthropic"\n'
    async with door(tmp_path, toml, reviews=True) as it:
        told = (await it.result("review_loop_start", {"code": "halve"})).structured_content
        assert told is not None
        assert (told["success"], told["code"]) == (False, "config")
        assert "hint" in told
        assert (await ask(it, "review_loop_list"))["count"] == 0
        assert json.loads(text_of(await it.result("agent_list")))["count"] == 0


async def test_a_secret_in_what_is_asked_for_is_not_kept(tmp_path: Path) -> None:
    secret = "ghp_canary0123456789canary0123456789"
    (tmp_path / ".env").write_text(f"GITHUB_TOKEN={secret}\n")
    toml = f'envPath = [".env"]\n{scripted(tmp_path)}'
    async with door(tmp_path, toml, reviews=True) as it:
        answer = await it.call("review_loop_start", {"code": f"halve {secret}"})
        code = await ask(it, "review_loop_get_code", loopId=answer["loop"]["id"])
        assert code["originalInput"].startswith("halve ")
        assert secret not in code["originalInput"]
