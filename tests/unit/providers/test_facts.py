"""What is known of a model where it is asked, and what that changes in what it is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from perstack.domain.ids import ExpertKey, RunId
from perstack.domain.settings import ProviderName, ProviderSettings, Settings
from perstack.domain.usage import ModelFacts, ModelPrice
from perstack.ports.model import ChatModel, ModelRequest
from perstack.providers.factory import open_model
from perstack.providers.facts import model_facts, other_address
from tests.fakes.conversation import system, user
from tests.fakes.model_server import ModelServer, model_server
from tests.fakes.model_wire import Reply
from tests.fakes.vendors import ENV

pytestmark = pytest.mark.anyio

NOW_MS = round(datetime(2026, 11, 21, tzinfo=UTC).timestamp() * 1000)
OWN = ModelPrice(input=1, output=2)


def asking(
    provider: ProviderName, model: str, base_url: str | None = None, own: ModelFacts | None = None
) -> Settings:
    return Settings(
        model=model,
        provider=ProviderSettings(name=provider, base_url=base_url),
        models={model: own} if own else {},
    )


@pytest.mark.parametrize(
    ("provider", "model", "url", "env"),
    [
        ("anthropic", "claude-sonnet-5-5", None, {}),
        ("anthropic", "claude-sonnet-5-5", "https://api.anthropic.com", {}),
        ("openai", "gpt-5.5", "https://api.openai.com/v1", {}),
        ("google", "gemini-3.8-flash", None, {"ANTHROPIC_BASE_URL": "https://proxy.example"}),
    ],
)
def test_at_the_vendors_own_address_the_price_is_known(
    provider: ProviderName, model: str, url: str | None, env: dict[str, str]
) -> None:
    settings = asking(provider, model, url)
    assert not other_address(settings, env)
    assert model_facts(settings, env=env, now_ms=NOW_MS).price is not None


@pytest.mark.parametrize(
    ("provider", "model", "url", "env"),
    [
        ("anthropic", "claude-sonnet-5-5", "https://proxy.example", {}),
        ("anthropic", "claude-sonnet-5-5", "https://api.anthropic.com.evil.example", {}),
        ("anthropic", "claude-sonnet-5-5", None, {"ANTHROPIC_BASE_URL": "https://proxy.example"}),
        ("openai", "gpt-5.5", "http://[not-an-address", {}),
        ("azure-openai", "gpt-5.5", None, {}),
        ("amazon-bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", None, {}),
        ("google-vertex", "gemini-3.8-flash", None, {}),
    ],
)
def test_elsewhere_the_window_is_known_and_the_price_is_not(
    provider: ProviderName, model: str, url: str | None, env: dict[str, str]
) -> None:
    facts = model_facts(asking(provider, model, url), env=env, now_ms=NOW_MS)
    assert facts.context_window
    assert facts.price is None


def test_a_price_that_the_user_states_holds_anywhere() -> None:
    settings = asking("ollama", "llama", own=ModelFacts(price=OWN))
    assert model_facts(settings, env={}, now_ms=NOW_MS).price == OWN


# ---------------------------------------------------------------- what the model is sent


async def said_to(server: ModelServer, model: ChatModel) -> dict[str, object]:
    request = ModelRequest(
        run_id=RunId("r"),
        expert_key=ExpertKey("e"),
        messages=(system("be brief"), user("hi")),
        tools=(),
    )
    try:
        async for _ in model.stream(request):
            pass
    finally:
        await model.aclose()
    return server.requests[-1].body


@pytest.mark.parametrize(
    ("model", "thinks"), [("claude-sonnet-4-5", True), ("claude-3-5-sonnet-20241022", False)]
)
async def test_a_claude_that_cannot_think_is_not_told_to(
    model: str, thinks: bool, tmp_path: Path
) -> None:
    async with model_server(Reply(text=["hello"])) as server:
        settings = asking("anthropic", model, server.url)
        opened = open_model(settings, env=ENV, base_dir=tmp_path)
        body = await said_to(server, opened)
    assert ("thinking" in body) == thinks


@pytest.mark.parametrize("thinks", [True, False])
async def test_the_users_word_on_thinking_counts(thinks: bool, tmp_path: Path) -> None:
    async with model_server(Reply(text=["hello"])) as server:
        settings = asking("openai", "gpt-5.1", f"{server.url}/v1", ModelFacts(thinks=thinks))
        opened = open_model(settings, env=ENV, base_dir=tmp_path)
        body = await said_to(server, opened)
    assert (body.get("reasoning_effort") == "low") == thinks


async def test_the_output_limit_is_the_models_own(tmp_path: Path) -> None:
    async with model_server(Reply(text=["hello"])) as server:
        opened = open_model(
            asking("anthropic", "claude-sonnet-5-5", server.url), env=ENV, base_dir=tmp_path
        )
        body = await said_to(server, opened)
    assert body["max_tokens"] == 128_000
