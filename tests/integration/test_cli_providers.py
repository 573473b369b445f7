"""The whole program and its providers: one job over several vendors, and what none can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.cli import Program
from tests.fakes.model_server import Answer, Seen, model_server, steps
from tests.fakes.model_wire import Call, Fault, Refusal, Reply

pytestmark = pytest.mark.anyio

SOLO: Final = '[experts."solo"]\ninstruction = "You are solo."\n'
RESPONSES: Final = (
    '[provider]\nproviderName = "openai"\n[provider.setting]\napi = "responses"\n' + SOLO
)
SEARCHING: Final = SOLO + 'providerTools = ["webSearch"]\n'
FOUND: Final = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://x", "encrypted_content": "Ev0D"}],
}
SEARCHED: Final = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "x"},
}


def by_vendor(seen: Seen) -> Answer:
    """Think, call, and be done, whichever protocol is spoken."""
    if seen.assistant_messages % 2 == 0:
        return Reply(thinking=["hm"], encrypted="gAAA", calls=[Call("attemptCompletion")])
    return Reply([f"Done over {seen.protocol}."], encrypted="gAAB")


def types_of(seen: Seen) -> set[str]:
    if seen.protocol == "responses":
        return {item.get("type", item.get("role")) for item in seen.body["input"]}
    if seen.protocol == "openai":
        return {key for message in seen.body["messages"] for key in message}
    blocks: list[dict[str, Any]] = [
        block for message in seen.body["messages"] for block in message["content"]
    ]
    return {block["type"] for block in blocks}


async def test_a_job_goes_on_with_other_vendors_and_none_gets_anothers_reasoning(
    tmp_path: Path,
) -> None:
    async with model_server(decide=by_vendor) as server:
        google = {
            "GOOGLE_GENERATIVE_AI_API_KEY": "sk-google-canary-0123456789",
            "GOOGLE_GENERATIVE_AI_BASE_URL": server.url,
        }
        program = Program.make(tmp_path, RESPONSES, base_url=server.url, env=google)
        said: list[str] = []
        for provider in ("openai", "anthropic", "google", "openai"):
            options = ("--provider", provider, *(("--continue",) if said else ()))
            if provider == "google":
                options += ("--model", "gemini-2.5-flash")
            ran = await program.run("run", "solo", "go", *options)
            assert ran.code == 0, ran.stderr
            said.append(ran.one("completeRun")["text"])
        seen = server.requests
    assert [text.removeprefix("Done over ") for text in said] == [
        "responses.",
        "anthropic.",
        "openai.",
        "responses.",
    ]
    # Each vendor's first request holds calls of the others, but no reasoning of theirs.
    assert "thinking" not in types_of(seen[2])
    assert "thinking" in types_of(seen[3])
    assert "reasoning_content" not in types_of(seen[4])
    reasoning = [item for item in seen[6].body["input"] if item.get("type") == "reasoning"]
    assert [item["encrypted_content"] for item in reasoning] == ["gAAA", "gAAB"]


async def test_many_steps_over_responses(tmp_path: Path) -> None:
    decide = steps(5, tool="healthCheck")
    async with model_server(decide=decide) as server:
        program = Program.make(tmp_path, RESPONSES, base_url=server.url)
        ran = await program.run("run", "solo", "go")
        assert ran.code == 0, ran.stderr
        last = server.requests[-1].body["input"]
    called = [item["call_id"] for item in last if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in last if item.get("type") == "function_call_output"]
    assert called == answered == [f"call_{number}" for number in range(6)]


async def test_what_the_vendor_found_itself_survives_a_continuation(tmp_path: Path) -> None:
    replies = [
        Reply(["I look."], blocks=[SEARCHED], stop_reason="pause_turn"),
        Reply(["It is."], blocks=[FOUND], calls=[Call("attemptCompletion")]),
        *[Reply(["Done."])] * 3,
    ]
    async with model_server(*replies) as server:
        program = Program.make(tmp_path, SEARCHING, base_url=server.url)
        first = await program.run("run", "solo", "go")
        before = len(server.requests)
        again = await program.run("run", "solo", "more", "--continue")
        assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
        continued = server.requests[before].body
    said = continued["messages"][1]["content"]
    assert said[0] == SEARCHED
    assert FOUND in said
    assert continued["tools"][-1]["name"] == "web_search"


async def test_a_provider_tool_that_is_not_to_be_had_is_refused_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    async with model_server() as server:
        program = Program.make(tmp_path, SEARCHING, base_url=server.url)
        ran = await program.run("run", "solo", "go", "--provider", "ollama", "--model", "x")
        assert server.requests == []
    assert ran.code == 1
    assert "Expert 'solo': Ollama offers no provider tool 'webSearch'" in ran.stderr


async def test_a_conversation_that_is_too_long_ends_the_run_and_says_what_helps(
    tmp_path: Path,
) -> None:
    too_long = Refusal(400, "prompt is too long: 210000 tokens > 200000 maximum")
    async with model_server(decide=lambda _: too_long) as server:
        ran = await Program.make(tmp_path, SOLO, base_url=server.url).run("run", "solo", "go")
        assert len(server.requests) == 1
    assert ran.code == 1
    assert "prompt is too long" in ran.stderr
    assert "earlier checkpoint" in ran.stderr


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_a_stream_of_odd_characters_is_stored_and_the_job_goes_on(
    tmp_path: Path, provider: str
) -> None:
    odd = Call("\x1b[2Jread\u202e", {"k": "\udfff"})
    replies = [
        Reply(["a\ud800b BAD c"], calls=[odd], fault=Fault("invalid_utf8")),
        *[Reply(["Done \ud83d."])] * 3,
    ]
    async with model_server(*replies) as server:
        program = Program.make(tmp_path, RESPONSES, base_url=server.url)
        first = await program.run("run", "solo", "go", "--provider", provider)
        again = await program.run("run", "solo", "more", "--continue", "--provider", provider)
        sent = json.dumps(server.requests[1].body)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert "not found" in sent
    assert "a\ufffdb \ufffd\ufffd c" in str(json.loads(sent))
    assert first.one("completeRun")["text"] == "Done \ufffd."


async def test_a_model_that_calls_tools_for_ever_stops_at_the_usual_limit(tmp_path: Path) -> None:
    decide = steps(10_000, tool="healthCheck")
    async with model_server(decide=decide) as server:
        ran = await Program.make(tmp_path, SOLO, base_url=server.url).run("run", "solo", "go")
        assert len(server.requests) == 100
    assert ran.code == 6
