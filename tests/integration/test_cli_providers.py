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


@pytest.mark.long
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


KEY: Final = "sk-other-canary-0123456789"
OTHERS: Final[dict[str, tuple[str, dict[str, str], str]]] = {
    "ollama": ("gpt-oss:20b", {"OLLAMA_BASE_URL": "URL"}, "/v1/chat/completions"),
    "deepseek": (
        "deepseek-v4-flash",
        {"DEEPSEEK_API_KEY": KEY, "DEEPSEEK_BASE_URL": "URL"},
        "/chat/completions",
    ),
    "azure-openai": (
        "our-deployment",
        {"AZURE_API_KEY": KEY, "AZURE_BASE_URL": "URL/openai", "AZURE_API_VERSION": "preview"},
        "/openai/v1/chat/completions?api-version=preview",
    ),
    "google-vertex": (
        "claude-x",
        {
            "GOOGLE_VERTEX_PROJECT": "blue-sky-1",
            "GOOGLE_VERTEX_LOCATION": "eu",
            "GOOGLE_VERTEX_ACCESS_TOKEN": KEY,
            "GOOGLE_VERTEX_BASE_URL": "URL/v1",
        },
        "/v1/projects/blue-sky-1/locations/eu/publishers/anthropic/models/claude-x:streamRawPredict",
    ),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("provider", OTHERS)
async def test_every_provider_is_reached_with_what_the_environment_says(
    tmp_path: Path, provider: str
) -> None:
    model, variables, path = OTHERS[provider]
    async with model_server(decide=by_vendor) as server:
        env = {name: value.replace("URL", server.url) for name, value in variables.items()}
        program = Program.make(tmp_path, SOLO, env=env)
        ran = await program.run("run", "solo", "go", "--provider", provider, "--model", model)
        paths = {seen.path for seen in server.requests}
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"].startswith("Done over")
    assert ran.one("completeRun")["checkpoint"]["usage"]["totalTokens"] == 240
    assert paths == {path}
    assert KEY not in ran.stdout + ran.stderr


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


async def test_signed_thinking_goes_back_after_tools_and_from_the_disk(tmp_path: Path) -> None:
    replies = [
        Reply(thinking=["hm"], signature="c2ln", redacted="ZW5j", calls=[Call("healthCheck")]),
        Reply(calls=[Call("attemptCompletion")]),
        *[Reply(["Done."])] * 2,
    ]
    async with model_server(*replies) as server:
        program = Program.make(tmp_path, SOLO, base_url=server.url)
        first = await program.run("run", "solo", "go")
        again = await program.run("run", "solo", "more", "--continue")
        assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
        after_tools, continued = server.requests[1].body, server.requests[-1].body
    signed = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
    ]
    assert after_tools["messages"][1]["content"][:2] == signed
    assert continued["messages"][1]["content"][:2] == signed


async def test_a_provider_tool_that_is_not_to_be_had_is_refused_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    async with model_server() as server:
        program = Program.make(tmp_path, SEARCHING, base_url=server.url)
        ran = await program.run("run", "solo", "go", "--provider", "ollama", "--model", "x")
        assert server.requests == []
    assert ran.code == 1
    assert "Expert 'solo': Ollama offers no provider tool 'webSearch'" in ran.stderr


async def test_a_model_that_is_being_retired_is_asked_with_a_warning_and_a_suggestion(
    tmp_path: Path,
) -> None:
    async with model_server(Reply(["Done."])) as server:
        program = Program.make(
            tmp_path, 'model = "claude-sonnet-4-5"\n' + SOLO, base_url=server.url
        )
        ran = await program.run("run", "solo", "go")
        (seen,) = server.requests
    assert ran.code == 0, ran.stderr
    assert seen.body["model"] == "claude-sonnet-4-5"
    assert "is being retired; its vendor serves it until 2026-11-30" in ran.stderr
    assert 'write model = "claude-sonnet-5-5"' in ran.stderr


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


@pytest.mark.sampled(1)
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


@pytest.mark.long
async def test_a_model_that_calls_tools_for_ever_stops_at_the_usual_limit(tmp_path: Path) -> None:
    decide = steps(10_000, tool="healthCheck")
    async with model_server(decide=decide) as server:
        ran = await Program.make(tmp_path, SOLO, base_url=server.url).run("run", "solo", "go")
        assert len(server.requests) == 100
    assert ran.code == 6
