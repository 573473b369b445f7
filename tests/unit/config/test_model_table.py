"""The table of models: what is known by which name, and whose word counts."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perstack.config
from perstack.config.model_table import facts_of, is_retired, retirement
from perstack.config.models import DEFAULT_MODELS, doubt_about_name
from perstack.domain.settings import ProviderName
from perstack.domain.usage import ModelFacts, ModelPrice

FILE = Path(perstack.config.__path__[0]) / "models.data.toml"
MODELS = {
    name: section
    for section, said in tomllib.loads(FILE.read_text("utf-8")).items()
    for name in said["models"]
}


def at(year: int, month: int, day: int) -> int:
    return round(datetime(year, month, day, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-sonnet-4-5", 200_000),
        ("claude-sonnet-4-5-20250929", 200_000),
        ("claude-opus-4-20250514", 200_000),
        ("claude-3-5-haiku-latest", 200_000),
        ("claude-sonnet-5-5", 1_000_000),
        ("claude-opus-5", 1_000_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", 200_000),
        ("claude-sonnet-4-5@20250929", 200_000),
        ("models/gemini-2.5-flash", 1_048_576),
        ("openai/gpt-5.5", 1_050_000),
        ("gpt-5-mini", 400_000),
        ("gpt-5-mini-2025-08-07", 400_000),
        ("gpt-5-chat-latest", 128_000),
        ("gpt-4.1", 1_047_576),
        ("o3-mini", 200_000),
        ("gpt-oss:20b", 131_072),
        ("claude-sonnet-6", None),
        ("gpt-5.5-turbo", None),
        ("gpt-5.5-", None),
        ("a-model-of-my-own", None),
        ("", None),
    ],
)
def test_windows_are_known_by_name_snapshot_and_platform_name(
    model: str, tokens: int | None
) -> None:
    assert facts_of(model, {}).context_window == tokens


@pytest.mark.parametrize(
    ("models", "window", "most"),
    [
        (("claude-opus-4-5", "claude-sonnet-4-5"), 200_000, 64_000),
        (("claude-opus-4-1", "claude-opus-4-20250514"), 200_000, 32_000),
        (("claude-sonnet-4-20250514", "claude-3-7-sonnet-20250219"), 200_000, 64_000),
        (("claude-3-5-haiku-latest",), 200_000, 8_192),
        (("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"), 1_048_576, 65_536),
        (("gpt-5", "gpt-5-mini", "gpt-5-nano"), 400_000, 128_000),
        (("gpt-5-chat-latest",), 128_000, 16_384),
        (("o4-mini",), 200_000, 100_000),
        (("gpt-4.1",), 1_047_576, 32_768),
        (("deepseek-chat",), 128_000, 8_192),
        (("deepseek-reasoner",), 128_000, 64_000),
    ],
)
def test_the_limits_are_those_that_perstack_states(
    models: tuple[str, ...], window: int, most: int
) -> None:
    for model in models:
        facts = facts_of(model, {})
        assert (facts.context_window, facts.max_output_tokens) == (window, most), model


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("claude-sonnet-5-5", True),
        ("gpt-5.5", True),
        ("deepseek-reasoner", True),
        ("claude-3-5-sonnet-20241022", False),
        ("claude-3-5-haiku-latest", False),
        ("gpt-4.1", False),
        ("gpt-4o-mini", False),
        ("deepseek-chat", False),
        ("gemma3:27b", None),
        ("who-knows", None),
    ],
)
def test_it_says_which_models_can_think(model: str, thinks: bool | None) -> None:
    assert facts_of(model, {}).thinks is thinks


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_figure_has_a_source_and_makes_sense(model: str) -> None:
    facts = facts_of(model, {})
    assert facts.source
    assert facts.context_window is None or facts.context_window >= 4_096
    if facts.max_output_tokens is not None and facts.context_window is not None:
        assert facts.max_output_tokens <= facts.context_window
    if facts.price is None:
        return
    assert re.search(r"\d{4}-\d{2}-\d{2}", facts.source), "a price is dated"
    dear = facts.price.long_prompt
    for price in (facts.price, *([dear] if dear else [])):
        assert 0 < price.input < price.output
        assert price.cached_input is None or price.cached_input < price.input
        assert price.cache_write is None or price.cache_write >= price.input
    if dear is not None:
        assert dear.input > facts.price.input
        assert facts.context_window is not None
        assert dear.above < facts.context_window


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google"])
def test_what_a_provider_is_asked_for_by_default_has_a_known_price(provider: ProviderName) -> None:
    facts = facts_of(DEFAULT_MODELS[provider], {}, provider=provider)
    assert facts.price is not None
    assert facts.thinks


def test_a_price_is_the_vendors_own_at_its_own_address() -> None:
    def priced(provider: ProviderName, *, elsewhere: bool = False) -> bool:
        facts = facts_of("claude-sonnet-5-5", {}, provider=provider, elsewhere=elsewhere)
        assert facts.context_window == 1_000_000
        return facts.price is not None

    assert priced("anthropic")
    assert not priced("anthropic", elsewhere=True)
    assert not priced("amazon-bedrock")
    assert not priced("google-vertex")


def test_a_price_that_holds_until_a_day_is_unknown_after_it() -> None:
    def price(now_ms: int) -> ModelPrice | None:
        return facts_of("gemini-4-argon", {}, now_ms=now_ms).price

    assert price(at(2026, 11, 30)) is not None
    assert price(at(2026, 12, 1)) is None


# ---------------------------------------------------------------- the user's own word

PRICE = ModelPrice(input=1, output=2)


def test_what_the_user_states_wins_key_by_key() -> None:
    own = {"claude-sonnet-5-5": ModelFacts(price=PRICE, source="our contract")}
    facts = facts_of("claude-sonnet-5-5", own, provider="anthropic")
    assert facts.price == PRICE
    assert facts.context_window == 1_000_000
    assert facts.source is not None
    assert facts.source.startswith("our contract; Anthropic")


def test_what_the_user_states_holds_at_any_address_and_for_any_name() -> None:
    own = {"mine": ModelFacts(context_window=9, price=PRICE, thinks=False)}
    facts = facts_of("mine", own, provider="ollama", elsewhere=True, now_ms=at(2030, 1, 1))
    assert facts == ModelFacts(context_window=9, price=PRICE, thinks=False, source="perstack.toml")


FIGURES = st.none() | st.integers(1, 10**7)


@given(
    st.sampled_from([*sorted(MODELS), "unheard-of"]),
    st.builds(
        ModelFacts,
        context_window=FIGURES,
        max_output_tokens=FIGURES,
        thinks=st.none() | st.booleans(),
        price=st.none() | st.just(PRICE),
    ),
)
def test_each_key_is_the_users_where_stated_and_the_tables_elsewhere(
    model: str, own: ModelFacts
) -> None:
    table, facts = facts_of(model, {}), facts_of(model, {model: own})
    for key in ("context_window", "max_output_tokens", "thinks", "price"):
        stated: object = getattr(own, key)
        assert getattr(facts, key) == (getattr(table, key) if stated is None else stated)


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("claude-sonnet-4-5-20250929", date(2026, 11, 30)),
        ("claude-3-7-sonnet-latest", date(2026, 2, 19)),
        ("gpt-4o-2024-05-13", date(2026, 10, 23)),
        ("gpt-4o-2024-08-06", date(2027, 1, 14)),
        ("gemini-2.0-flash-001", date(2026, 6, 1)),
        ("claude-sonnet-5-5", None),
        ("my-own", None),
    ],
)
def test_it_says_when_a_model_is_given_up(model: str, day: date | None) -> None:
    assert retirement(model) == day


def test_generations_that_are_gone_are_known_by_their_beginning() -> None:
    assert is_retired("claude-2.1")
    assert is_retired("claude-3-haiku-20240307")
    assert not is_retired("claude-opus-5-5")
    assert not is_retired("gpt-5.5")


NOW = at(2026, 11, 1)


@pytest.mark.parametrize(
    ("model", "provider", "said"),
    [
        ("claude-sonet-5-5", "anthropic", "is known here; near it: claude-sonnet-5-5, "),
        ("sonnet", "anthropic", "is known here; near it: claude-sonnet-5"),
        ("x", "deepseek", "x is no model of deepseek that is known here; there are deepseek-"),
        ("o3", "anthropic", "o3 is a model of openai, but the provider is anthropic"),
    ],
)
def test_a_name_that_the_table_does_not_know_is_doubted_with_near_ones(
    model: str, provider: ProviderName, said: str
) -> None:
    assert said in (doubt_about_name(model, provider, now_ms=NOW) or "")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-5-5", "anthropic"),
        ("claude-sonnet-4-5-20250929", "anthropic"),
        ("my-deployment", "azure-openai"),
        ("qwen3:8b", "ollama"),
        ("whatever", "plugin:p"),
        *((model, provider) for provider, model in DEFAULT_MODELS.items()),
    ],
)
def test_a_name_is_not_doubted_that_is_known_or_that_nobody_can_know(
    model: str, provider: ProviderName
) -> None:
    assert doubt_about_name(model, provider, now_ms=NOW) is None


def test_no_name_is_suggested_that_its_vendor_has_given_up() -> None:
    said = doubt_about_name("claude-sonnet-3", "anthropic", now_ms=at(2027, 1, 1)) or ""
    assert "claude-sonnet-4-5" not in said
    assert "near it: claude-" in said
