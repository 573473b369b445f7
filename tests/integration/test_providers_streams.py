"""Whole conversations through the real SDKs and real sockets."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.text import TextReceiveStream

from perstack.domain.messages import Message, TextPart, ThinkingPart, ToolCallPart
from perstack.domain.usage import Usage
from perstack.ports.model import ChatModel, Generation, Spoken
from tests.fakes.conversation import ask, call, expert, request, result, system, tool, tools, user
from tests.fakes.model_server import ModelServer, model_server
from tests.fakes.model_wire import Call, Fault, Reply
from tests.fakes.vendors import ENV, KEY, Vendor, connected, opened

pytestmark = pytest.mark.anyio

ALL: Sequence[Vendor] = ("anthropic", "openai", "responses")
FULL = Reply(
    text=["I ", "read"],
    thinking=["h", "m"],
    calls=[Call("read", {"path": "x"}, "c1"), Call("ls", {}, "c2")],
    input_tokens=100,
    output_tokens=20,
    cached_tokens=80,
    reasoning_tokens=5,
)


@pytest.mark.parametrize("vendor", ALL)
async def test_reasoning_text_and_parallel_calls_arrive_in_order(vendor: Vendor) -> None:
    async with model_server(FULL) as server, connected(vendor, server.url) as model:
        shown, generation = await ask(model, request(offered=[tool("read"), tool("ls")]))
    assert shown == [
        Spoken("reasoning", "h"),
        Spoken("reasoning", "m"),
        Spoken("text", "I "),
        Spoken("text", "read"),
    ]
    thinking, *rest = generation.parts
    assert isinstance(thinking, ThinkingPart)
    assert thinking.thinking == "hm"
    assert rest == [TextPart(text="I read"), call("read", "c1", path="x"), call("ls", "c2")]
    assert generation.finish == "toolCalls"


@pytest.mark.parametrize(
    ("vendor", "read"), [("anthropic", 180), ("openai", 100), ("responses", 100)]
)
async def test_usage_includes_cached_tokens_in_the_input(vendor: Vendor, read: int) -> None:
    async with model_server(FULL) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    assert generation.usage == Usage(
        input_tokens=read,
        output_tokens=20,
        reasoning_tokens=5,
        total_tokens=read + 20,
        cached_input_tokens=80,
    )


async def test_thinking_goes_back_with_its_signature_and_results_follow() -> None:
    async with model_server(FULL, Reply(["done"])) as server:
        async with connected("anthropic", server.url) as model:
            history: list[Message] = [system(), user("go")]
            _, first = await ask(model, request(*history))
            history += [expert(*first.parts), tools(result("read", "c1", "X"), result("ls", "c2"))]
            _, second = await ask(model, request(*history))
        _, said, answered = server.requests[1].body["messages"]
    assert said["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": "signed-by-vendor",
    }
    assert [block["type"] for block in said["content"]] == ["thinking", "text", *["tool_use"] * 2]
    assert [block["tool_use_id"] for block in answered["content"]] == ["c1", "c2"]
    assert second.parts == (TextPart(text="done"),)


async def test_results_go_back_over_chat_completions() -> None:
    async with model_server(FULL, Reply(["done"])) as server:
        async with connected("openai", server.url) as model:
            history: list[Message] = [system(), user("go")]
            _, first = await ask(model, request(*history))
            history += [expert(*first.parts), tools(result("read", "c1", "X"), result("ls", "c2"))]
            await ask(model, request(*history))
        roles = [message["role"] for message in server.requests[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]


@pytest.mark.parametrize("vendor", ALL)
async def test_the_next_request_uses_the_same_connection(vendor: Vendor) -> None:
    replies = [Reply(["one"]), Reply(["two"]), Reply(["three"])]
    async with model_server(*replies) as server, connected(vendor, server.url) as model:
        for _ in replies:
            await ask(model, request())
        assert len(server.requests) == 3
        assert server.connections == 1


@pytest.mark.parametrize("vendor", ALL)
async def test_runs_are_answered_concurrently(vendor: Vendor) -> None:
    gate = anyio.Event()
    said: list[str] = []

    async def one(server: ModelServer, run: str) -> None:
        _, generation = await ask(model, request(run=run))
        said.extend(part.text for part in generation.parts if isinstance(part, TextPart))
        assert server.max_in_flight == 8

    async with (
        model_server(decide=lambda _: Reply(["hi"], gate=gate)) as server,
        connected(vendor, server.url) as model,
    ):
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for number in range(8):
                    group.start_soon(one, server, f"run{number}")
                while server.max_in_flight < 8:
                    await anyio.lowlevel.checkpoint()
                gate.set()
    assert said == ["hi"] * 8


@pytest.mark.parametrize("vendor", ALL)
async def test_pieces_arrive_before_the_answer_is_finished(vendor: Vendor) -> None:
    stalled = Reply(["first", "second"], fault=Fault("stall_mid", after=4))
    async with model_server(stalled) as server, connected(vendor, server.url) as model:
        stream = model.stream(request())
        with anyio.fail_after(10):
            assert await anext(stream) == Spoken("text", "first")
            await stream.aclose()


@pytest.mark.parametrize("vendor", ALL)
async def test_cancelling_in_mid_stream_leaves_at_once_and_the_model_usable(
    vendor: Vendor,
) -> None:
    until_text = 4 if vendor == "responses" else 3
    stalled = Reply(["first"], fault=Fault("stall_mid", after=until_text))
    async with (
        model_server(stalled, Reply(["again"])) as server,
        connected(vendor, server.url) as model,
    ):
        with anyio.fail_after(10), anyio.CancelScope() as scope:
            async for _ in model.stream(request()):
                scope.cancel()
        assert scope.cancelled_caught
        _, generation = await ask(model, request())
        assert generation.parts == (TextPart(text="again"),)


@pytest.mark.parametrize("vendor", ALL)
async def test_the_key_travels_in_the_authorization_header_alone(vendor: Vendor) -> None:
    async with model_server(Reply(["x"])) as server:
        async with connected(vendor, server.url, headers={"x-team": "blue"}) as model:
            await ask(model, request())
        (seen,) = server.requests
    assert [name for name, value in seen.headers.items() if KEY in value] == ["authorization"]
    assert seen.headers["x-team"] == "blue"
    assert KEY not in str(seen.body)


async def test_nothing_of_the_process_environment_reaches_the_vendor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaks = {
        "ANTHROPIC_AUTH_TOKEN": "leak-1",
        "ANTHROPIC_CUSTOM_HEADERS": "x-leak: leak-2",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/leak-3",
        "OPENAI_CUSTOM_HEADERS": "x-leak: leak-4",
        "OPENAI_ORG_ID": "leak-5",
        "OPENAI_PROJECT_ID": "leak-6",
        "OPENAI_ADMIN_KEY": "leak-7",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/leak-8",
    }
    for name, value in leaks.items():
        monkeypatch.setenv(name, value)
    async with model_server(*[Reply(["x"])] * 3) as server:
        for vendor in ALL:
            async with connected(vendor, server.url) as model:
                await ask(model, request())
        assert len(server.requests) == 3
        assert "leak" not in str([seen.headers for seen in server.requests])
    assert os.environ["OPENAI_ORG_ID"] == "leak-5"


async def test_addresses_come_from_the_given_environment() -> None:
    async with model_server(Reply(["x"]), Reply(["x"])) as server:
        env = dict(ENV) | {
            "ANTHROPIC_BASE_URL": f"{server.url}/v1/",
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "OPENAI_ORGANIZATION": "org-1",
            "OPENAI_PROJECT": "proj-1",
        }
        async with opened("anthropic", "claude-haiku-4-5", env=env) as model:
            await ask(model, request())
        async with opened("openai", "gpt-5", env=env) as model:
            await ask(model, request())
        anthropic, openai = server.requests
    assert anthropic.path == "/v1/messages"
    assert openai.path == "/v1/chat/completions"
    assert openai.headers["openai-organization"] == "org-1"
    assert openai.headers["openai-project"] == "proj-1"


@pytest.mark.parametrize(
    ("model_name", "thinking", "beta"),
    [
        ("claude-3-5-haiku-latest", None, False),
        ("claude-sonnet-4-5", "enabled", False),
        ("claude-opus-4-7", "adaptive", False),
        ("claude-sonnet-5-5", "adaptive", True),
    ],
)
async def test_each_generation_of_claude_is_asked_in_its_own_way(
    model_name: str, thinking: str | None, beta: bool
) -> None:
    async with model_server(Reply(["x"])) as server:
        async with connected("anthropic", server.url, model=model_name) as model:
            await ask(model, request())
        (seen,) = server.requests
    assert seen.body.get("thinking", {}).get("type") == thinking
    assert ("thinking-binding" in seen.headers.get("anthropic-beta", "")) == beta


async def test_the_server_as_a_process_plays_its_steps_to_both_vendors() -> None:
    command = [sys.executable, "-m", "tests.fakes.model_server", "--steps", "1"]
    command += ["--tool", "record", "--args", '{"key": "k{{turn}}"}']
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(30):
                url = (await TextReceiveStream(process.stdout).receive()).strip()
            for vendor in ALL:
                async with connected(vendor, url) as model:
                    assert await played(model, turns=3) == [
                        ("record", {"key": "k0"}),
                        ("attemptCompletion", {}),
                        "All done.",
                    ]
        finally:
            process.kill()


async def played(model: ChatModel, *, turns: int) -> list[object]:
    """Return each turn's call, or its text where there was none."""
    history: list[Message] = [system(), user("go")]
    said: list[object] = []
    for _ in range(turns):
        _, generation = await ask(model, request(*history))
        said.append(_first_call(generation))
        history += [expert(*generation.parts), user("next")]
    return said


def _first_call(generation: Generation) -> object:
    for part in generation.parts:
        if isinstance(part, ToolCallPart):
            return (part.tool_name, part.args)
    return "".join(part.text for part in generation.parts if isinstance(part, TextPart))
