"""Every provider, through its real client and real sockets: one answer with a call, and back."""

from __future__ import annotations

from typing import Any

import pytest

from perstack.domain.messages import Message, ProviderPart, TextPart, ThinkingPart
from perstack.domain.settings import ProviderName
from perstack.domain.usage import Usage
from perstack.errors import ProviderError
from perstack.ports.model import ChatModel, Generation, Spoken
from perstack.providers.models import ReasoningBudget
from tests.fakes.conversation import ask, call, expert, request, result, system, tool, tools, user
from tests.fakes.model_server import Seen, model_server
from tests.fakes.model_wire import Call, Fault, Refusal, Reply
from tests.fakes.vendors import ENV, KEY, MODELS, opened, settings

pytestmark = pytest.mark.anyio

CALLING = Reply(["I look"], ["hm"], calls=[Call("read", {"path": "x"}, "c1")], reasoning_tokens=5)
DONE = Reply(["done"])


async def conversed(model: ChatModel) -> tuple[list[Spoken], Generation, Generation]:
    """Ask, answer the call, ask again."""
    history: list[Message] = [system(), user("go")]
    shown, first = await ask(model, request(*history, offered=[tool("read")]))
    history += [expert(*first.parts), tools(result("read", "c1", "X"))]
    _, second = await ask(model, request(*history, offered=[tool("read")]))
    return shown, first, second


async def talked(
    name: ProviderName,
    *,
    model: str = "",
    budget: ReasoningBudget = "low",
    replies: tuple[Reply, Reply] = (CALLING, DONE),
    **more: Any,
) -> tuple[Generation, Seen, Seen]:
    """Return the first answer and both requests."""
    async with model_server(*replies) as server:
        given = settings(name, server, **more)
        async with opened(given, model or MODELS[name], budget=budget) as opened_model:
            shown, first, second = await conversed(opened_model)
        assert shown
        assert call("read", "c1", path="x") in first.parts
        assert first.finish == "toolCalls"
        assert second.parts == (TextPart(text="done"),)
        one, two = server.requests
    assert KEY not in str(one.body)
    return first, one, two


async def test_anthropics_own() -> None:
    first, one, two = await talked("anthropic")
    assert one.path == "/v1/messages"
    assert one.body["model"] == "claude-sonnet-5-5"
    assert isinstance(first.parts[0], ThinkingPart)
    assert two.body["messages"][1]["content"][0]["type"] == "thinking"


async def test_openais_older_protocol() -> None:
    _, one, _ = await talked("openai")
    assert one.path == "/v1/chat/completions"
    assert one.body["reasoning_effort"] == "none"


async def test_openais_responses() -> None:
    reply = Reply(["I look"], ["hm"], calls=CALLING.calls, encrypted="gAAA", phase="commentary")
    _, one, two = await talked("openai", api="responses", replies=(reply, DONE))
    assert one.path == "/v1/responses"
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert one.body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert [item.get("type", item.get("role")) for item in two.body["input"]] == [
        "user",
        "reasoning",
        "assistant",
        "function_call",
        "function_call_output",
    ]
    _, reasoning, said, _, output = two.body["input"]
    assert (reasoning["id"], reasoning["encrypted_content"]) == ("rs_1", "gAAA")
    assert said["phase"] == "commentary"
    assert output == {"type": "function_call_output", "call_id": "c1", "output": "X"}


async def test_responses_are_asked_at_openais_own_address_alone() -> None:
    async with model_server(DONE) as proxy:
        env = {**ENV, "PERSTACK_PROXY_URL": proxy.url}
        async with opened("openai", "gpt-5.5", env=env) as model:
            with pytest.raises(ProviderError):
                await ask(model, request())
        assert [seen.path for seen in proxy.requests] == ["api.openai.com:443"]
    async with model_server(DONE) as server, opened(settings("openai", server), "x") as model:
        await ask(model, request())
        assert server.requests[0].path == "/v1/chat/completions"


async def test_an_account_that_may_not_have_summaries_does_without() -> None:
    refusal = Refusal(400, "Your organization must be verified to generate reasoning summaries.")
    async with model_server(refusal, DONE, DONE) as server:
        async with opened(settings("openai", server, api="responses"), "gpt-5.5") as model:
            await ask(model, request())
            await ask(model, request())
        reasoning = [seen.body["reasoning"] for seen in server.requests]
    assert reasoning == [{"effort": "low", "summary": "auto"}, {"effort": "low"}, {"effort": "low"}]


async def test_google() -> None:
    signed = Reply(["I look"], calls=CALLING.calls, signed="c2lnbmVk")
    first, one, two = await talked("google", replies=(signed, DONE))
    assert one.path == "/v1beta/openai/chat/completions"
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert one.body["extra_body"]["google"]["thinking_config"] == {
        "thinking_budget": 2048,
        "include_thoughts": True,
    }
    assert any(isinstance(part, ProviderPart) for part in first.parts)
    (asked,) = two.body["messages"][2]["tool_calls"]
    assert asked["extra_content"] == {"google": {"thought_signature": "c2lnbmVk"}}


async def test_googles_thoughts_come_as_text_in_tags() -> None:
    tagged = Reply(["<thought>h", "m</thou", "ght>I look"], calls=CALLING.calls)
    first, _, _ = await talked("google", replies=(tagged, DONE))
    assert first.parts[0] == ThinkingPart(thinking="hm")
    assert first.parts[1] == TextPart(text="I look")


async def test_a_call_that_another_model_made_is_let_pass_by_google() -> None:
    async with model_server(DONE) as server:
        async with opened(settings("google", server), "gemini-3-flash-preview") as model:
            history = [system(), user("go"), expert(call("read", "c1")), tools(result("read"))]
            await ask(model, request(*history))
        (asked,) = server.requests[0].body["messages"][2]["tool_calls"]
    assert "skip" in asked["extra_content"]["google"]["thought_signature"]


async def test_google_counts_reasoning_beside_the_output() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}
    async with (
        model_server(Reply(["x"], usage=usage)) as server,
        opened(settings("google", server), "gemini-2.5-flash") as model,
    ):
        _, generation = await ask(model, request())
    assert generation.usage == Usage(
        input_tokens=100, output_tokens=50, reasoning_tokens=30, total_tokens=150
    )


@pytest.mark.parametrize(
    ("model", "budget", "fields"),
    [
        ("gpt-oss:20b", "medium", {"reasoning_effort": "medium"}),
        ("gpt-oss:20b", "none", {"reasoning_effort": "low"}),
        ("qwen3:4b", "high", {}),
        ("qwen3:4b", "none", {"reasoning_effort": "none"}),
    ],
)
async def test_ollama(model: str, budget: ReasoningBudget, fields: dict[str, str]) -> None:
    first, one, _ = await talked("ollama", model=model, budget=budget)
    assert one.path == "/v1/chat/completions"
    assert {name: one.body[name] for name in one.body if "reasoning" in name} == fields
    assert first.parts[0] == ThinkingPart(thinking="hm")


async def test_ollama_needs_no_key_and_takes_any_host() -> None:
    async with model_server(DONE) as server:
        env = {"OLLAMA_BASE_URL": server.url.replace("127.0.0.1", "localhost") + "/"}
        async with opened("ollama", "x", env=env) as model:
            await ask(model, request())
        assert server.requests[0].path == "/v1/chat/completions"
    async with opened("ollama", "x", env={"OLLAMA_BASE_URL": "http://192.168.7.7:11434"}):
        pass


@pytest.mark.parametrize(
    ("budget", "fields"),
    [
        ("low", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
        ("high", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("none", {"thinking": {"type": "disabled"}}),
    ],
)
async def test_deepseek(budget: ReasoningBudget, fields: dict[str, object]) -> None:
    _, one, two = await talked("deepseek", budget=budget)
    assert one.path == "/chat/completions"
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert {name: one.body.get(name) for name in fields} == fields
    said = two.body["messages"][2]
    assert said.get("reasoning_content") == ("hm" if budget != "none" else None)


async def test_deepseeks_count_of_cached_tokens_is_read() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 64}
    async with (
        model_server(Reply(["x"], usage=usage)) as server,
        opened(settings("deepseek", server), "deepseek-chat") as model,
    ):
        _, generation = await ask(model, request())
    assert generation.usage.cached_input_tokens == 64


async def test_azure() -> None:
    _, one, _ = await talked("azure-openai")
    assert one.path == "/openai/v1/chat/completions?api-version=v1"
    assert one.headers["api-key"] == KEY
    assert "authorization" not in one.headers
    assert one.body["model"] == "gpt-5.5"


async def test_azure_by_deployment() -> None:
    _, one, _ = await talked(
        "azure-openai",
        model="my deployment",
        use_deployment_based_urls=True,
        api_version="2024-10-21",
    )
    path = "/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"
    assert one.path == path
    assert "reasoning_effort" not in one.body


async def test_azure_over_responses() -> None:
    _, one, _ = await talked("azure-openai", api="responses")
    assert one.path == "/openai/v1/responses?api-version=v1"
    assert one.headers["api-key"] == KEY


async def test_bedrock() -> None:
    first, one, two = await talked("amazon-bedrock")
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert one.path == f"/model/{model}/invoke-with-response-stream"
    assert one.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIACANARY")
    assert "/us-east-1/bedrock/aws4_request" in one.headers["authorization"]
    assert KEY not in str(one.headers)
    assert one.body["anthropic_version"]
    assert not {"model", "stream"} & set(one.body)
    assert one.body["thinking"]["budget_tokens"] == 2048
    assert isinstance(first.parts[0], ThinkingPart)
    assert two.body["messages"][1]["content"][0]["signature"] == "signed-by-vendor"


async def test_bedrocks_sessions_and_betas_travel() -> None:
    async with model_server(DONE) as server:
        env = {**ENV, "AWS_SESSION_TOKEN": "session-canary"}
        given = settings("amazon-bedrock", server)
        async with opened(given, "anthropic.claude-sonnet-5-5", env=env) as model:
            await ask(model, request())
        (seen,) = server.requests
    assert seen.headers["x-amz-security-token"] == "session-canary"
    assert seen.body["anthropic_beta"] == ["thinking-binding-controls-2026-08-01"]
    assert "anthropic-beta" not in seen.headers


async def test_the_clouds_variables_of_the_process_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaks = {
        "AWS_BEARER_TOKEN_BEDROCK": "leak-1",
        "AZURE_OPENAI_AD_TOKEN": "leak-2",
        "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9/leak-3",
        "OPENAI_API_VERSION": "leak-4",
        "ANTHROPIC_VERTEX_PROJECT_ID": "leak-5",
        "ANTHROPIC_BEDROCK_BASE_URL": "http://127.0.0.1:9/leak-6",
    }
    for name, value in leaks.items():
        monkeypatch.setenv(name, value)
    async with model_server(*[DONE] * 3) as server:
        for provider in ("amazon-bedrock", "azure-openai", "google-vertex"):
            async with opened(settings(provider, server), MODELS[provider]) as model:
                await ask(model, request())
        assert len(server.requests) == 3
        assert "leak" not in str([(seen.path, seen.headers) for seen in server.requests])


async def test_bedrocks_exceptions_in_mid_stream_are_told_and_pass() -> None:
    broken = Reply(["one", "two"], fault=Fault("exception", after=3))
    async with model_server(broken) as server:
        given = settings("amazon-bedrock", server)
        async with opened(given, MODELS["amazon-bedrock"]) as model:
            with pytest.raises(ProviderError, match="Slow down") as caught:
                await ask(model, request())
    assert caught.value.retryable


async def test_bedrocks_binary_stream_may_hold_what_is_no_utf8() -> None:
    async with model_server(Reply(["é" * 500 + "\u20ac"])) as server:
        given = settings("amazon-bedrock", server)
        async with opened(given, MODELS["amazon-bedrock"]) as model:
            _, generation = await ask(model, request())
    assert generation.parts == (TextPart(text="é" * 500 + "\u20ac"),)


async def test_gemini_on_vertex() -> None:
    _, one, _ = await talked("google-vertex")
    place = "/v1/projects/blue-sky-1/locations/europe-west4"
    assert one.path == f"{place}/endpoints/openapi/chat/completions"
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert one.body["model"] == "google/gemini-2.5-flash"
    assert one.body["extra_body"]["google"]["thought_tag_marker"] == "thought"


async def test_claude_on_vertex() -> None:
    _, one, _ = await talked("google-vertex", model="claude-sonnet-4-5@20250929")
    place = "/v1/projects/blue-sky-1/locations/europe-west4"
    model = "claude-sonnet-4-5@20250929"
    assert one.path == f"{place}/publishers/anthropic/models/{model}:streamRawPredict"
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert one.body["anthropic_version"]
    assert one.body["stream"] is True
    assert "model" not in one.body
