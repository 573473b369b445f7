"""Who makes the vectors, by the settings and what is there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from perstack.domain.coordination import VectorSearchSettings
from perstack.embeddings.opener import choose_embedder, describe, open_embedder
from perstack.errors import ProviderError

pytestmark = pytest.mark.anyio

ON = VectorSearchSettings(enabled=True)
KEY = "sk-canary-0123456789"


def on(provider: str, model: str | None = None) -> VectorSearchSettings:
    return VectorSearchSettings.model_validate(
        {"enabled": True, "provider": provider, "model": model}
    )


def test_without_vector_search_there_is_none_unless_one_is_needed() -> None:
    off = VectorSearchSettings()
    assert open_embedder(off, {}) is None
    assert describe(off, {}) == "none: memory.vectorSearch.enabled is false"
    needed = open_embedder(off, {}, always=True)
    assert needed is not None


def test_the_first_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perstack.embeddings.opener.find_minilm", lambda: None)
    assert describe(ON, {}).startswith("hashed:words-512-1: it needs nothing")
    assert "--no-deps" in describe(ON, {})


@pytest.mark.parametrize(
    ("settings", "env", "says"),
    [
        (
            on("openai"),
            {"OPENAI_API_KEY": KEY},
            (
                "openai:text-embedding-3-small: memory.vectorSearch.provider says so; "
                "texts are sent to OpenAI"
            ),
        ),
        (
            on("openai", "text-embedding-3-large"),
            {},
            (
                "openai:text-embedding-3-large: OPENAI_API_KEY is not set "
                "(export OPENAI_API_KEY=... or put it into .env)"
            ),
        ),
        (
            on("ollama"),
            {"OLLAMA_BASE_URL": "http://box:11434/v1/"},
            (
                "ollama:nomic-embed-text: memory.vectorSearch.provider says so; "
                "texts are sent to http://box:11434/v1"
            ),
        ),
        (on("hashed"), {}, "hashed:words-512-1: memory.vectorSearch.provider says so"),
    ],
)
def test_the_choice_is_told_with_its_reason(
    settings: VectorSearchSettings, env: Mapping[str, str], says: str
) -> None:
    assert describe(settings, env) == says


@pytest.mark.parametrize(
    ("settings", "env", "says"),
    [
        (on("openai"), {}, "OPENAI_API_KEY is not set"),
        (on("openai"), {"OPENAI_API_KEY": "  "}, "OPENAI_API_KEY is not set"),
        (on("openai"), {"OPENAI_API_KEY": f"{KEY}\n\x07x"}, "a character that cannot be sent"),
        (
            on("openai"),
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://evil.example"},
            "OPENAI_BASE_URL must be https",
        ),
        (on("ollama"), {"OLLAMA_BASE_URL": "file:///x"}, "OLLAMA_BASE_URL must be a URL"),
        (on("embedded"), {}, "its package is not installed"),
    ],
)
async def test_what_is_missing_is_told_when_a_vector_is_wanted(
    settings: VectorSearchSettings,
    env: Mapping[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perstack.embeddings.opener.find_minilm", lambda: None)
    choice = choose_embedder(settings, env)
    assert choice is not None
    with pytest.raises(ProviderError) as caught:
        await choice.embedder.embed(["a"])
    assert says in caught.value.message
    assert caught.value.hint
    assert not caught.value.retryable
    assert "canary" not in f"{choice} {caught.value.message} {caught.value.hint}"
    await choice.embedder.aclose()
