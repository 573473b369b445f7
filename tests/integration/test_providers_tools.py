"""Tools that the providers run themselves: asked for, paused, and sent back as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from perstack.domain.expert import ProviderSkill, ProviderToolOptions, WebSearchOptions
from perstack.domain.ids import RunId
from perstack.domain.messages import Message, ProviderPart, TextPart
from perstack.domain.settings import ProviderSettings
from perstack.domain.usage import Usage
from perstack.errors import ProviderError
from perstack.ports.model import ModelRequest, ProviderTools
from tests.fakes.conversation import ask, expert, request, system, tool, user
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Call, Fault, Reply
from tests.fakes.vendors import connected, opened

pytestmark = pytest.mark.anyio

SEARCHED: Final[Mapping[str, object]] = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "perstack"},
}
FOUND: Final[Mapping[str, object]] = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://x", "encrypted_content": "Ev0D"}],
}
SEARCH: Final = ProviderTools(
    ("webSearch",), ProviderToolOptions(web_search=WebSearchOptions(max_uses=3))
)


def wanting(tools: ProviderTools, *messages: Message, run: str = "run1") -> ModelRequest:
    asked = request(*messages, run=run, offered=[tool("read")])
    return replace(asked, provider_tools=tools)


async def test_what_claude_found_goes_back_unchanged() -> None:
    reply = Reply(["It is."], blocks=[SEARCHED, FOUND], calls=[Call("read", {}, "c1")])
    async with (
        model_server(reply, Reply(["done"])) as server,
        connected("anthropic", server.url) as model,
    ):
        history: list[Message] = [system(), user("go")]
        shown, first = await ask(model, wanting(SEARCH, *history))
        history += [expert(*first.parts), user("more")]
        await ask(model, wanting(SEARCH, *history))
        one, two = server.requests
    assert [piece.text for piece in shown] == ["It is."]
    assert [part.provider for part in first.parts if isinstance(part, ProviderPart)] == [
        "anthropic"
    ] * 2
    assert one.body["tools"] == [
        {"name": "read", "description": "does read", "input_schema": {"type": "object"}},
        {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
    ]
    said = two.body["messages"][1]["content"]
    assert said[:2] == [SEARCHED, FOUND]
    assert [block["type"] for block in said[2:]] == ["text", "tool_use"]


async def test_a_pause_is_gone_on_from_and_both_halves_are_one_answer() -> None:
    paused = Reply(["I search."], blocks=[SEARCHED], stop_reason="pause_turn", container="ctr_1")
    rest = Reply(["It is."], blocks=[FOUND])
    async with (
        model_server(paused, rest) as server,
        connected("anthropic", server.url) as model,
    ):
        shown, generation = await ask(model, wanting(SEARCH))
        one, two = server.requests
    assert [piece.text for piece in shown] == ["I search.", "It is."]
    assert generation.finish == "stop"
    assert [type(part) for part in generation.parts] == [
        ProviderPart,
        TextPart,
        ProviderPart,
        TextPart,
    ]
    half = Usage(input_tokens=100, output_tokens=20, total_tokens=120)
    assert (generation.usage, generation.requests) == (half.plus(half), (half, half))
    assert "container" not in one.body
    assert two.body["container"] == {"id": "ctr_1"}
    assert two.body["messages"][:1] == one.body["messages"][:1]
    assert two.body["messages"][-1] == {
        "role": "assistant",
        "content": [SEARCHED, {"type": "text", "text": "I search."}],
    }


async def test_a_vendor_that_pauses_for_ever_is_left() -> None:
    async with (
        model_server(decide=lambda _: Reply(["…"], stop_reason="pause_turn")) as server,
        connected("anthropic", server.url) as model,
    ):
        with pytest.raises(ProviderError, match="paused") as caught:
            await ask(model, wanting(SEARCH))
        assert len(server.requests) == 20
    assert not caught.value.retryable


async def test_a_fault_after_a_pause_is_a_fault_of_the_whole() -> None:
    paused = Reply(["I search."], blocks=[SEARCHED], stop_reason="pause_turn")
    broken = Reply(["It"], fault=Fault("reset_mid", after=3))
    async with (
        model_server(paused, broken) as server,
        connected("anthropic", server.url) as model,
    ):
        with pytest.raises(ProviderError) as caught:
            await ask(model, wanting(SEARCH))
    assert caught.value.retryable


async def test_skills_open_a_container_that_the_run_keeps() -> None:
    skills = ProviderTools(skills=(ProviderSkill(type="builtin", skill_id="xlsx"),))
    async with (
        model_server(Reply(["a"], container="ctr_1"), *[Reply(["b"])] * 3) as server,
        connected("anthropic", server.url) as model,
    ):
        await ask(model, wanting(skills))
        await ask(model, wanting(skills))
        await ask(model, wanting(skills, run="another"))
        model.forget(RunId("run1"))
        await ask(model, wanting(skills))
        containers = [seen.body["container"] for seen in server.requests]
        first = server.requests[0]
    listed = [{"type": "anthropic", "skill_id": "xlsx", "version": "latest"}]
    fresh = {"skills": listed}
    assert containers == [fresh, {"id": "ctr_1", "skills": listed}, fresh, fresh]
    assert "skills-2025-10-02" in first.headers["anthropic-beta"]
    assert first.body["tools"][-1]["name"] == "code_execution"


def defined(definition: str) -> ProviderTools:
    skill = ProviderSkill(type="custom", name="Brief", definition=definition)
    return ProviderTools(skills=(skill,))


async def test_a_projects_skill_is_uploaded_once_and_found_again() -> None:
    async with model_server(*[Reply(["x"])] * 4) as server:
        server.skills.skills = {f"old_{number}": (f"o{number}", b"") for number in range(150)}
        for definition in ("Be brief.", "Be brief.", "Be very brief."):
            async with connected("anthropic", server.url) as model:
                await ask(model, wanting(defined(definition)))
                if definition == "Be very brief.":
                    await ask(model, wanting(defined(definition)))
        given = [seen.body["container"]["skills"][0] for seen in server.requests]
        label, form = server.skills.skills["skill_150"]
        assert server.skills.asked.count("POST") == 2
    assert [skill["skill_id"] for skill in given] == ["skill_150"] * 2 + ["skill_151"] * 2
    assert {skill["type"] for skill in given} == {"custom"}
    assert label.startswith("Brief ")
    assert b'filename="brief/SKILL.md"' in form
    assert b"Be brief." in form


async def test_an_account_that_cannot_be_asked_for_skills_is_a_failure_that_passes() -> None:
    async with (
        model_server(Reply(["x"])) as server,
        connected("anthropic", server.url) as model,
    ):
        server.skills.status = 529
        with pytest.raises(ProviderError, match="no skills today") as caught:
            await ask(model, wanting(defined("Be brief.")))
        assert caught.value.retryable
        server.skills.status = 200
        await ask(model, wanting(defined("Be brief.")))


async def test_betas_that_are_configured_stay() -> None:
    skills = ProviderTools(skills=(ProviderSkill(type="builtin", skill_id="xlsx"),))
    headers = {"Anthropic-Beta": "mine-1"}
    async with (
        model_server(Reply(["a"])) as server,
        connected("anthropic", server.url, headers=headers) as model,
    ):
        await ask(model, wanting(skills))
    sent = server.requests[0].headers["anthropic-beta"].split(",")
    assert sent == ["mine-1", "thinking-binding-controls-2026-08-01", "skills-2025-10-02"]


async def test_openais_search_is_offered_bounded_and_sent_back() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": "x"}}
    reply = Reply(["It is."], blocks=[item], encrypted="gAAA")
    async with (
        model_server(reply, Reply(["done"])) as server,
        connected("responses", server.url) as model,
    ):
        history: list[Message] = [system(), user("go")]
        _, first = await ask(model, wanting(SEARCH, *history))
        history += [expert(*first.parts), user("more")]
        await ask(model, wanting(SEARCH, *history))
        one, two = server.requests
    assert one.body["tools"][-1] == {"type": "web_search"}
    assert one.body["max_tool_calls"] == 3
    assert [entry.get("type") for entry in two.body["input"]] == [
        None,
        "reasoning",
        "web_search_call",
        None,
        None,
    ]
    assert two.body["input"][2] == item


async def test_azures_search_has_a_name_of_its_own() -> None:
    tools = ProviderTools(("webSearchPreview",))
    async with model_server(Reply(["x"])) as server:
        given = ProviderSettings(name="azure-openai", base_url=server.url, api="responses")
        async with opened(given, "gpt-5") as model:
            await ask(model, wanting(tools))
        assert server.requests[0].body["tools"][-1] == {"type": "web_search_preview"}


async def test_a_tool_that_is_not_offered_is_refused_without_a_request() -> None:
    async with model_server() as server:
        for vendor in ("anthropic", "openai", "responses"):
            async with connected(vendor, server.url) as model:
                with pytest.raises(ProviderError, match="googleMaps") as caught:
                    await ask(model, wanting(ProviderTools(("googleMaps",))))
            assert not caught.value.retryable
        assert server.requests == []


async def test_the_answer_can_be_made_shorter_than_the_model_allows() -> None:
    short = replace(request(), max_output_tokens=1500)
    async with model_server(*[Reply(["x"])] * 4) as server:
        async with connected("anthropic", server.url, model="claude-sonnet-4-5") as model:
            await ask(model, short)
        async with connected("openai", server.url) as model:
            await ask(model, short)
        async with connected("responses", server.url) as model:
            await ask(model, short)
        given = ProviderSettings(name="deepseek", base_url=server.url)
        async with opened(given, "deepseek-chat") as model:
            await ask(model, short)
        claude, chat, responses, deepseek = (seen.body for seen in server.requests)
    assert claude["max_tokens"] == 1500
    assert "thinking" not in claude
    assert chat["max_completion_tokens"] == 1500
    assert responses["max_output_tokens"] == 1500
    assert deepseek["max_tokens"] == 1500
