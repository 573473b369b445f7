"""Which model a provider is asked for by default, and which models their vendors give up.

When they do is in the table of models. No SDK lists the models of Google and DeepSeek; theirs are
as of November 2026 from the pages "Gemini deprecations" (Gemini API documentation), "Gemini
Developer API" (Firebase AI Logic documentation) and "Your First API Call" (DeepSeek API
documentation). What a platform calls its models (Azure's deployments, Bedrock's and Vertex's ids)
or a machine has (Ollama), and what a plugin's
provider calls them, is for the user to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perstack.config.model_table import is_retired, models_of, retirement, vendor_of
from perstack.domain.settings import DEFAULT_MODEL, ProviderName, VendorName

DEFAULT_MODELS: Final[Mapping[str, str]] = {
    "anthropic": DEFAULT_MODEL,
    "openai": "gpt-5.5",
    "google": "gemini-3.8-flash",
    "deepseek": "deepseek-v4-flash",
    "scripted": "scripted",
}

_SUCCESSORS: Final = (
    ("haiku", "claude-haiku-5-5"),
    ("opus", "claude-opus-5-5"),
    ("mythos", "claude-mythos-5-2"),
    ("claude", DEFAULT_MODEL),
    ("gemini", "gemini-3.8-flash"),
    ("deepseek", "deepseek-v4-flash"),
    ("mini", "gpt-5.4-mini"),
    ("nano", "gpt-5.4-mini"),
    ("", "gpt-5.5"),
)
_VENDOR_OF: Final[tuple[tuple[str, VendorName], ...]] = (
    ("claude-", "anthropic"),
    ("gpt-", "openai"),
    ("gemini-", "google"),
    ("deepseek-", "deepseek"),
)
_NEAR: Final = 0.5
_NAMED: Final = 3
_OWN_MODELS_ONLY: Final = frozenset(vendor for _, vendor in _VENDOR_OF)


def doubt_about_model(model: str, provider: ProviderName, *, own_url: bool) -> str | None:
    """Return why the vendor may refuse `model`, None when nothing speaks against it.

    Behind an `own_url` any name may be served, and on a platform names are its own, so that
    nothing is doubted there.
    """
    if own_url or provider not in _OWN_MODELS_ONLY:
        return None
    vendor = next((vendor for prefix, vendor in _VENDOR_OF if model.startswith(prefix)), provider)
    if vendor != provider:
        return f"{model} is a model of {vendor}, but the provider is {provider}"
    if day := retirement(model):
        return f"{model} is being retired; its vendor serves it until {day}"
    if is_retired(model):
        return f"{model} has been retired by its vendor"
    return None


def doubt_about_name(model: str, provider: ProviderName, *, now_ms: int) -> str | None:
    """Return that the table does not know `model`, with near names; None where it knows it.

    Models are newer than tables, so that this is for whoever types a name, not for every run. On a
    platform names are its own, and nothing is doubted.
    """
    if provider not in _OWN_MODELS_ONLY or (maker := vendor_of(model)) == provider:
        return None
    if maker is not None:
        return f"{model} is a model of {maker}, but the provider is {provider}"
    from difflib import get_close_matches

    known = models_of(provider, now_ms=now_ms)
    near = get_close_matches(model, known, n=_NAMED, cutoff=_NEAR)
    there = f"near it: {', '.join(near)}" if near else f"there are {', '.join(known[:_NAMED])}"
    return f"{model} is no model of {provider} that is known here; {there}"


def suggest_model(model: str, provider: ProviderName) -> str:
    """Return a living model of a vendor that is the provider in place of `model`."""
    if not any(model.startswith(prefix) and own == provider for prefix, own in _VENDOR_OF):
        return DEFAULT_MODELS[provider]
    return next(successor for word, successor in _SUCCESSORS if word in model)
