"""Which model a provider is asked for by default, and which models their vendors give up.

The dates are those that the vendors' own SDKs state (anthropic 2.11, openai 3.52).
"""

from __future__ import annotations

from typing import Final

from perstack.domain.settings import DEFAULT_MODEL, ProviderName

DEFAULT_MODELS: Final[dict[ProviderName, str]] = {
    "anthropic": DEFAULT_MODEL,
    "openai": "gpt-5.5",
    "scripted": "scripted",
}

_ENDS: Final[dict[str, tuple[str, ...]]] = {
    "2026-01-05": ("claude-3-opus-20240229",),
    "2026-02-19": (
        "claude-3-7-sonnet-latest",
        "claude-3-7-sonnet-20250219",
        "claude-3-5-haiku-latest",
        "claude-3-5-haiku-20241022",
    ),
    "2026-06-15": (
        "claude-opus-4-0",
        "claude-opus-4-20250514",
        "claude-sonnet-4-0",
        "claude-sonnet-4-20250514",
    ),
    "2026-06-30": ("claude-mythos-preview",),
    "2026-07-23": ("gpt-5.1-codex", "gpt-5.1-chat-latest", "gpt-5-chat-latest"),
    "2026-08-10": ("gpt-5.3-chat-latest", "gpt-5.2-chat-latest"),
    "2026-10-23": (
        "gpt-4.1-nano",
        "gpt-4.1-nano-2025-04-14",
        "o4-mini",
        "o4-mini-2025-04-16",
        "o3-mini",
        "o3-mini-2025-01-31",
        "o1",
        "o1-2024-12-17",
        "gpt-4o-2024-05-13",
        "gpt-4-turbo",
        "gpt-4-turbo-2024-04-09",
        "gpt-4-1106-preview",
        "gpt-4",
        "gpt-4-0613",
        "gpt-3.5-turbo",
        "gpt-3.5-turbo-0125",
    ),
    "2026-11-30": ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    "2026-12-11": (
        "gpt-5",
        "gpt-5-mini",
        "gpt-5-nano",
        "gpt-5-2025-08-07",
        "gpt-5-mini-2025-08-07",
        "gpt-5-nano-2025-08-07",
        "o3",
        "o3-2025-04-16",
    ),
    "2027-01-14": (
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-2025-04-14",
        "gpt-4.1-mini-2025-04-14",
        "gpt-4o",
        "gpt-4o-2024-11-20",
        "gpt-4o-2024-08-06",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
    ),
}
_RETIRED: Final = {name: date for date, names in _ENDS.items() for name in names}
_RETIRED_FAMILIES: Final = ("claude-1", "claude-2", "claude-3", "claude-instant", "chatgpt-4o-")
_SUCCESSORS: Final = (
    ("haiku", "claude-haiku-5-5"),
    ("opus", "claude-opus-5-5"),
    ("mythos", "claude-mythos-5-2"),
    ("claude", DEFAULT_MODEL),
    ("mini", "gpt-5.4-mini"),
    ("nano", "gpt-5.4-mini"),
    ("", "gpt-5.5"),
)
_VENDOR_OF: Final[tuple[tuple[str, ProviderName], ...]] = (
    ("claude-", "anthropic"),
    ("gpt-", "openai"),
)


def doubt_about_model(model: str, provider: ProviderName, *, own_url: bool) -> str | None:
    """Return why the vendor may refuse `model`, None when nothing speaks against it.

    Behind an `own_url` any name may be served, so that nothing is doubted there.
    """
    if own_url or provider == "scripted":
        return None
    vendor = next((vendor for prefix, vendor in _VENDOR_OF if model.startswith(prefix)), provider)
    if vendor != provider:
        return f"{model} is a model of {vendor}, but the provider is {provider}"
    if date := _RETIRED.get(model):
        return f"{model} is being retired; its vendor serves it until {date}"
    if model.startswith(_RETIRED_FAMILIES):
        return f"{model} has been retired by its vendor"
    return None


def suggest_model(model: str, provider: ProviderName) -> str:
    """Return a living model of the provider in place of `model`."""
    if not any(model.startswith(prefix) and own == provider for prefix, own in _VENDOR_OF):
        return DEFAULT_MODELS[provider]
    return next(successor for word, successor in _SUCCESSORS if word in model)
