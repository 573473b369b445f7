"""DeepSeek, whose protocol is chat completions and whose reasoning has to be sent back."""

from __future__ import annotations

from perstack.providers.models import budget_tokens
from perstack.providers.openai.access import keyed_access
from perstack.providers.openai.chat import ChatCompletionsModel
from perstack.providers.openai.chat_wire import Dialect, Json
from perstack.providers.setup import Setup


def open_deepseek(setup: Setup) -> ChatCompletionsModel:
    """Return a model of DeepSeek.

    Raises:
        ConfigError: no key, or an address that no key may be sent to.
    """
    access = keyed_access(
        setup,
        "DeepSeek",
        key="DEEPSEEK_API_KEY",
        url="DEEPSEEK_BASE_URL",
        usual="https://api.deepseek.com",
    )
    thinks = budget_tokens(setup.reasoning_budget) > 0
    dialect = Dialect(
        reasoning=lambda _: thinking(setup), limit="max_tokens", returns_reasoning=thinks
    )
    return ChatCompletionsModel(setup, access, dialect)


def thinking(setup: Setup) -> Json:
    """Return whether to reason, and how much: this vendor knows low and high."""
    tokens = budget_tokens(setup.reasoning_budget)
    if not tokens:
        return {"thinking": {"type": "disabled"}}
    return {
        "thinking": {"type": "enabled"},
        "reasoning_effort": "low" if tokens <= 2048 else "high",
    }
