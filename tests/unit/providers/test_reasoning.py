"""How Google's, Ollama's and DeepSeek's models are told to reason."""

from __future__ import annotations

import pytest

from perstack.domain.settings import ProviderSettings
from perstack.providers.models import ReasoningBudget, Thinking
from perstack.providers.openai.deepseek import thinking
from perstack.providers.openai.gemini import gemini_thinking
from perstack.providers.openai.ollama import think
from perstack.providers.setup import Setup


def setup(model: str, budget: ReasoningBudget) -> Setup:
    return Setup(ProviderSettings(), model, {}, budget)


@pytest.mark.parametrize(
    ("model", "budget", "setting"),
    [
        ("gemini-2.5-flash", "minimal", 1024),
        ("gemini-2.5-flash", "medium", 5000),
        ("gemini-2.5-flash", "high", 10_000),
        ("gemini-2.5-flash", 999_999, 24_576),
        ("gemini-2.5-flash", "none", 0),
        ("gemini-2.5-flash-lite", 100, 512),
        ("gemini-2.5-flash-lite", "none", 0),
        ("gemini-2.5-pro", "none", 128),
        ("gemini-2.5-pro", 999_999, 32_768),
        ("google/gemini-2.5-pro", "low", 2048),
        ("gemini-3-pro-preview", "none", "low"),
        ("gemini-3-pro-preview", "low", "low"),
        ("gemini-3-pro-preview", "medium", "high"),
        ("gemini-3.1-pro-preview", "medium", "medium"),
        ("gemini-3.8-flash", "none", "minimal"),
        ("gemini-3.8-flash", "medium", "medium"),
        ("gemini-3.8-flash", "high", "high"),
    ],
)
def test_gemini_gets_tokens_up_to_2_5_and_a_level_from_3_on(
    model: str, budget: ReasoningBudget, setting: int | str
) -> None:
    field = "thinking_level" if isinstance(setting, str) else "thinking_budget"
    shows = budget != "none"
    assert gemini_thinking(model, budget) == {field: setting, "include_thoughts": shows}


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemma-3-27b-it", "meta/llama-4"])
def test_what_cannot_think_is_told_nothing(model: str) -> None:
    assert gemini_thinking(model, "high") is None


@pytest.mark.parametrize(
    ("model", "budget", "fields"),
    [
        ("qwen3", "low", {}),
        ("qwen3", 0, {"reasoning_effort": "none"}),
        ("gpt-oss:120b", 5001, {"reasoning_effort": "high"}),
        ("someone/gpt-oss:20b", "low", {"reasoning_effort": "low"}),
    ],
)
def test_ollama_thinks_unless_told_not_to(
    model: str, budget: ReasoningBudget, fields: dict[str, str]
) -> None:
    assert think(setup(model, budget)) == fields


@pytest.mark.parametrize(
    ("budget", "effort"), [("minimal", "low"), ("low", "low"), ("medium", "high"), (9999, "high")]
)
def test_deepseek_knows_low_and_high(budget: ReasoningBudget, effort: str) -> None:
    said = thinking(setup("deepseek-v4-pro", budget))
    assert said == {"thinking": {"type": "enabled"}, "reasoning_effort": effort}


@pytest.mark.parametrize(
    ("most", "left"), [(64_000, 5000), (5001, 5000), (5000, 2500), (2048, 1024), (2047, None)]
)
def test_a_budget_stays_within_the_answer(most: int, left: int | None) -> None:
    assert Thinking(kind="enabled", budget=5000).within(most).budget == left
