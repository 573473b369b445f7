"""What is known of models by name."""

from __future__ import annotations

import pytest

from perstack.providers.models import (
    Claude,
    ReasoningBudget,
    Thinking,
    claude_thinking,
    max_output_tokens,
    openai_effort,
    parse_claude,
)


@pytest.mark.parametrize(
    ("model", "claude"),
    [
        ("claude-3-5-haiku-20241022", Claude("haiku", (3, 5))),
        ("claude-3-opus-20240229", Claude("opus", (3, 0))),
        ("claude-opus-4-20250514", Claude("opus", (4, 0))),
        ("claude-haiku-4-5-20251001", Claude("haiku", (4, 5))),
        ("claude-sonnet-5-5", Claude("sonnet", (5, 5))),
        ("anthropic/claude-sonnet-5.5", Claude("sonnet", (5, 5))),
        ("claude-mythos-preview", None),
        ("llama-4-70b", None),
    ],
)
def test_family_and_version_are_read_from_the_name(model: str, claude: Claude | None) -> None:
    assert parse_claude(model) == claude


@pytest.mark.parametrize(
    ("model", "budget", "thinking"),
    [
        ("claude-3-5-haiku-latest", "high", Thinking()),
        ("qwen-coder", "high", Thinking()),
        ("claude-sonnet-4-5", "none", Thinking()),
        ("claude-sonnet-4-5", 0, Thinking()),
        ("claude-sonnet-4-5", "minimal", Thinking("enabled", 1024)),
        ("claude-sonnet-4-5", "low", Thinking("enabled", 2048)),
        ("claude-sonnet-4-5", "medium", Thinking("enabled", 5000)),
        ("claude-sonnet-4-5", "high", Thinking("enabled", 10_000)),
        ("claude-sonnet-4-5", 7, Thinking("enabled", 1024)),
        ("claude-opus-4-1", 90_000, Thinking("enabled", 32_000 - 1024)),
        ("claude-opus-4-6", "low", Thinking("adaptive", None, "low")),
        ("claude-opus-4-7", "none", Thinking()),
        ("claude-opus-4-7", "medium", Thinking("adaptive", None, "medium", summarized=True)),
        ("claude-sonnet-5", "none", Thinking("disabled")),
        ("claude-sonnet-5-5", "none", Thinking("between_tools")),
        ("claude-opus-5-5", "none", Thinking("adaptive", None, "low", bound=True)),
        ("claude-fable-5", "none", Thinking("adaptive", None, "low")),
        (
            "claude-sonnet-5-5",
            20_000,
            Thinking("adaptive", None, "high", summarized=True, bound=True),
        ),
    ],
)
def test_thinking_is_asked_for_in_the_way_the_model_understands(
    model: str, budget: ReasoningBudget, thinking: Thinking
) -> None:
    assert claude_thinking(model, budget) == thinking


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-3-5-haiku-latest", 8192),
        ("claude-3-opus-20240229", 4096),
        ("claude-opus-4-1", 32_000),
        ("claude-sonnet-5-5", 64_000),
        ("qwen-coder", 32_000),
    ],
)
def test_output_is_asked_for_within_the_models_limit(model: str, tokens: int) -> None:
    assert max_output_tokens(model) == tokens


@pytest.mark.parametrize(
    ("model", "budget", "with_tools", "effort"),
    [
        ("o4-mini", "minimal", True, "low"),
        ("o4-mini", 5000, True, "medium"),
        ("o3", "none", True, "low"),
        ("gpt-5", "none", True, "minimal"),
        ("gpt-5", "low", True, "low"),
        ("gpt-5.1", "none", True, "none"),
        ("gpt-5.1", 5001, True, "high"),
        ("gpt-5.5", "high", False, "high"),
        ("gpt-5.5", "high", True, "none"),
        ("gpt-6.1-sol", "high", True, "none"),
        ("gpt-6-astra", "medium", False, "medium"),
        ("gpt-5-chat-latest", "high", True, None),
        ("gpt-4.1", "high", True, None),
        ("deepseek-chat", "high", True, None),
    ],
)
def test_effort_is_sent_only_where_the_model_takes_it(
    model: str, budget: ReasoningBudget, with_tools: bool, effort: str | None
) -> None:
    assert openai_effort(model, budget, with_tools=with_tools) == effort
