"""Both vendors' adapters, pointed at a fake server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from perstack.domain.settings import ProviderSettings
from perstack.ports.model import ChatModel
from perstack.providers.anthropic import AnthropicModel
from perstack.providers.models import ReasoningBudget
from perstack.providers.openai import OpenAIModel

Vendor = Literal["anthropic", "openai"]
KEY = "sk-ant-canary-0123456789"
ENV = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}


@asynccontextmanager
async def connected(
    vendor: Vendor,
    url: str,
    *,
    model: str = "",
    budget: ReasoningBudget = "low",
    timeout_s: float = 10.0,
    headers: dict[str, str] | None = None,
) -> AsyncGenerator[ChatModel]:
    """Open the vendor's adapter on the server at `url`, close it at the end."""
    given: ChatModel
    if vendor == "anthropic":
        settings = ProviderSettings(base_url=url, headers=headers or {})
        given = AnthropicModel(
            settings,
            model or "claude-sonnet-5-5",
            env=ENV,
            reasoning_budget=budget,
            timeout_s=timeout_s,
        )
    else:
        settings = ProviderSettings(name="openai", base_url=f"{url}/v1", headers=headers or {})
        given = OpenAIModel(
            settings, model or "gpt-5.5", env=ENV, reasoning_budget=budget, timeout_s=timeout_s
        )
    try:
        yield given
    finally:
        await given.aclose()
