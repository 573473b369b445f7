"""Models on this machine or one nearby, through Ollama."""

from __future__ import annotations

from typing import Final

from perstack.providers.failures import check_headers
from perstack.providers.models import budget_tokens, effort_of
from perstack.providers.openai.access import Access
from perstack.providers.openai.chat import ChatCompletionsModel
from perstack.providers.openai.chat_wire import Dialect, Json
from perstack.providers.setup import Setup
from perstack.providers.urls import check_any_host

USUAL_URL: Final = "http://localhost:11434"
_VARIABLE: Final = "OLLAMA_BASE_URL"


def open_ollama(setup: Setup) -> ChatCompletionsModel:
    """Return a model of Ollama. It wants no key, so it may be anywhere and over http.

    Raises:
        ConfigError: the address is no URL.
    """
    if setup.settings.base_url:
        url = check_any_host(setup.settings.base_url, source="baseUrl")
    else:
        given = setup.env.get(_VARIABLE, "").strip() or USUAL_URL
        url = check_any_host(given, source=_VARIABLE)
    url = url.removesuffix("/v1").removesuffix("/api") + "/v1"
    headers = check_headers(setup.settings.headers)
    # The SDK wants a key; Ollama does not look at it.
    access = Access("Ollama", url, "ollama", "", headers)
    dialect = Dialect(reasoning=lambda _: think(setup), limit="max_tokens")
    return ChatCompletionsModel(setup, access, dialect)


def think(setup: Setup) -> Json:
    """Return whether the model is to think.

    A model that can does so unless told not to; one that cannot refuses to be told to. Only
    gpt-oss knows how much.
    """
    tokens = budget_tokens(setup.reasoning_budget)
    is_leveled = setup.model.rpartition("/")[2].startswith("gpt-oss")
    if is_leveled:  # Its thinking cannot be turned off.
        return {"reasoning_effort": effort_of(tokens)}
    return {} if tokens else {"reasoning_effort": "none"}
