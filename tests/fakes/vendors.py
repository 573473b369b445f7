"""The vendors' adapters, pointed at a fake server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

from perstack.domain.settings import ProviderName, ProviderSettings
from perstack.ports.model import ChatModel
from perstack.providers.factory import open_vendor
from perstack.providers.models import ReasoningBudget
from perstack.providers.setup import Setup
from tests.fakes.model_server import ModelServer

Vendor = Literal["anthropic", "openai", "responses"]
KEY = "sk-ant-canary-0123456789"
ENV: Mapping[str, str] = {
    "ANTHROPIC_API_KEY": KEY,
    "OPENAI_API_KEY": KEY,
    "GOOGLE_GENERATIVE_AI_API_KEY": KEY,
    "DEEPSEEK_API_KEY": KEY,
    "AZURE_API_KEY": KEY,
    "AWS_ACCESS_KEY_ID": "AKIACANARY0123456789",
    "AWS_SECRET_ACCESS_KEY": KEY,
    "AWS_REGION": "us-east-1",
    "GOOGLE_VERTEX_PROJECT": "blue-sky-1",
    "GOOGLE_VERTEX_LOCATION": "europe-west4",
    "GOOGLE_VERTEX_ACCESS_TOKEN": KEY,
}


# Where each provider's address is set, and what of it is the root.
ADDRESS: Mapping[ProviderName, str] = {
    "anthropic": "",
    "openai": "/v1",
    "google": "/v1beta/openai",
    "deepseek": "",
    "ollama": "",
    "azure-openai": "/openai",
    "amazon-bedrock": "",
    "google-vertex": "/v1",
}
MODELS: Mapping[ProviderName, str] = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-5.5",
    "google": "gemini-2.5-flash",
    "deepseek": "deepseek-v4-flash",
    "ollama": "gpt-oss:20b",
    "azure-openai": "gpt-5.5",
    "amazon-bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "google-vertex": "gemini-2.5-flash",
}


def settings(name: ProviderName, server: ModelServer, **more: object) -> ProviderSettings:
    """Return the provider, asked at the server; `more` are settings of it."""
    url = server.url + ADDRESS[name]
    return ProviderSettings.model_validate({"name": name, "base_url": url, **more})


@asynccontextmanager
async def connected(
    vendor: Vendor,
    url: str,
    *,
    model: str = "",
    budget: ReasoningBudget = "low",
    timeout_s: float = 10.0,
    headers: dict[str, str] | None = None,
    env: Mapping[str, str] = ENV,
) -> AsyncGenerator[ChatModel]:
    """Open the vendor's adapter on the server at `url`, close it at the end."""
    if vendor == "anthropic":
        settings = ProviderSettings(base_url=url, headers=headers or {})
        name = model or "claude-sonnet-5-5"
    else:
        api = "responses" if vendor == "responses" else "auto"
        settings = ProviderSettings(
            name="openai", base_url=f"{url}/v1", headers=headers or {}, api=api
        )
        name = model or "gpt-5.5"
    async with opened(settings, name, env=env, budget=budget, timeout_s=timeout_s) as given:
        yield given


@asynccontextmanager
async def opened(
    provider: ProviderSettings | ProviderName,
    model: str,
    *,
    env: Mapping[str, str] = ENV,
    budget: ReasoningBudget = "low",
    timeout_s: float = 10.0,
) -> AsyncGenerator[ChatModel]:
    """Open a provider's adapter, close it at the end."""
    settings = ProviderSettings(name=provider) if isinstance(provider, str) else provider
    given = open_vendor(settings.name, Setup(settings, model, env, budget, timeout_s))
    try:
        yield given
    finally:
        await given.aclose()
