"""What is known of the model that a job asks, as it is served where the job asks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from perstack.config.model_table import facts_of
from perstack.domain.settings import Settings
from perstack.domain.usage import ModelFacts

_VARIABLES: Final[Mapping[str, str]] = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "openai": "OPENAI_BASE_URL",
    "google": "GOOGLE_GENERATIVE_AI_BASE_URL",
    "ollama": "OLLAMA_BASE_URL",
    "azure-openai": "AZURE_BASE_URL",
    "google-vertex": "GOOGLE_VERTEX_BASE_URL",
    "deepseek": "DEEPSEEK_BASE_URL",
}
_OWN_HOSTS: Final = frozenset({
    "api.anthropic.com",
    "api.openai.com",
    "generativelanguage.googleapis.com",
    "api.deepseek.com",
})  # fmt: skip


def other_address(settings: Settings, env: Mapping[str, str]) -> str:
    """Return where requests go instead of to the vendor's own address, empty if they go there."""
    provider = settings.provider
    variable = _VARIABLES.get(provider.name)
    url = provider.base_url or (env.get(variable, "") if variable else "")
    try:
        host = urlsplit(url).hostname
    except ValueError:  # Whoever opens the model says what is wrong with it.
        host = None
    return "" if host in _OWN_HOSTS else url


def model_facts(settings: Settings, *, env: Mapping[str, str], now_ms: int) -> ModelFacts:
    """Return what is known at `now_ms` (Unix ms) of the model that `settings` name.

    Its price is known where its vendor serves it or where the user states it.
    """
    return facts_of(
        settings.model,
        settings.models,
        provider=settings.provider.name,
        elsewhere=bool(other_address(settings, env)),
        now_ms=now_ms,
    )
