"""Gemini over Google's version of chat completions, in AI Studio and on Vertex."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from perstack.providers.failures import check_headers
from perstack.providers.google_cloud import VENDOR, read_google_cloud
from perstack.providers.google_token import VARIABLE, GoogleToken
from perstack.providers.models import ReasoningBudget, budget_tokens
from perstack.providers.openai.access import Access, TokenAccess, keyed_access
from perstack.providers.openai.chat import ChatCompletionsModel
from perstack.providers.openai.chat_wire import Dialect, Json
from perstack.providers.setup import Setup

PROVIDER: Final = "google"
AI_STUDIO_URL: Final = "https://generativelanguage.googleapis.com/v1beta/openai"
_NAME: Final = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_NO_TOOLS: Final = "its OpenAI-compatible endpoint, which is used here, takes function tools only"
# Google's word for a call that another vendor's model made, and which nobody signed.
_UNSIGNED: Final[Json] = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def open_google(setup: Setup) -> ChatCompletionsModel:
    """Return a model of Google's AI Studio.

    Raises:
        ConfigError: no key, or an address that no key may be sent to.
    """
    access = keyed_access(
        setup,
        "Google",
        key="GOOGLE_GENERATIVE_AI_API_KEY",
        url="GOOGLE_GENERATIVE_AI_BASE_URL",
        usual=AI_STUDIO_URL,
    )
    compatible = _compatible(access)
    return ChatCompletionsModel(setup, compatible, _dialect(setup), no_tools=_NO_TOOLS)


def open_vertex(setup: Setup) -> ChatCompletionsModel:
    """Return a model of Vertex that is none of Anthropic's.

    Raises:
        ConfigError: project, place or token are missing or no such thing.
    """
    cloud = read_google_cloud(setup)
    token = GoogleToken(setup.env)
    access = TokenAccess(
        VENDOR,
        f"{cloud.root}{cloud.path}/endpoints/openapi",
        "".join(token.secrets),
        VARIABLE,
        check_headers(setup.settings.headers),
        token,
    )
    # Vertex tags thoughts only when it is told what with.
    dialect = _dialect(setup, {"thought_tag_marker": "thought"})
    model = setup.model if "/" in setup.model else f"google/{setup.model}"
    return ChatCompletionsModel(setup, access, dialect, model=model, no_tools=_NO_TOOLS)


def gemini_thinking(model: str, budget: ReasoningBudget) -> Json | None:
    """Return Google's thinking configuration, None for a model that cannot think.

    2.5 takes a number of tokens, later ones a level. Where thinking cannot be turned off, none
    becomes the least there is.
    """
    version = _version(model)
    if version is None or version < (2, 5):
        return None
    tokens = budget_tokens(budget)
    if version < (3, 0):
        return {"thinking_budget": _budget(model, tokens), "include_thoughts": tokens > 0}
    return {"thinking_level": _level(model, version, tokens), "include_thoughts": tokens > 0}


def _budget(model: str, tokens: int) -> int:
    least, most = (128, 32_768) if "pro" in model else (0, 24_576)
    if "lite" in model and tokens:
        least = 512
    return max(least, min(tokens, most))


def _level(model: str, version: tuple[int, int], tokens: int) -> str:
    if not tokens:
        return "low" if "pro" in model else "minimal"
    if tokens <= 2048:
        return "low"
    knows_medium = "pro" not in model or version >= (3, 1)
    return "medium" if tokens <= 5000 and knows_medium else "high"


def _compatible(access: Access) -> Access:
    """Return the compatible endpoint: the address is often set as Google's own protocol has it."""
    is_native = access.url.endswith(("/v1beta", "/v1alpha"))
    return replace(access, url=f"{access.url}/openai") if is_native else access


def _version(model: str) -> tuple[int, int] | None:
    found = _NAME.search(model)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else None


def _dialect(setup: Setup, more: Json | None = None) -> Dialect:
    config = gemini_thinking(setup.model, setup.reasoning_budget)
    version = _version(setup.model)
    google = {"thinking_config": config, **(more or {})}
    return Dialect(
        reasoning=lambda _: {} if config is None else {"extra_body": {"google": google}},
        tagged_thoughts=config is not None,
        signs_calls=PROVIDER,
        unsigned=_UNSIGNED if version is not None and version >= (3, 0) else None,
    )
