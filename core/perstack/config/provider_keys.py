"""For which vendors the environment holds credentials, without looking at their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perstack.domain.settings import ProviderName, VendorName

# Any one of the alternatives will do, each of them with all its variables.
_NEEDED: Final[dict[VendorName, tuple[tuple[str, ...], ...]]] = {
    "anthropic": (("ANTHROPIC_API_KEY",),),
    "openai": (("OPENAI_API_KEY",),),
    "google": (("GOOGLE_GENERATIVE_AI_API_KEY",),),
    "ollama": ((),),
    "azure-openai": (("AZURE_API_KEY",),),
    "amazon-bedrock": (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),),
    "google-vertex": (("GOOGLE_VERTEX_ACCESS_TOKEN",), ("GOOGLE_APPLICATION_CREDENTIALS",)),
    "deepseek": (("DEEPSEEK_API_KEY",),),
    "scripted": ((),),
}


def has_credentials(name: ProviderName, env: Mapping[str, str]) -> bool:
    """Tell whether what a vendor needs is set; that it is right is not known.

    What a plugin's provider needs is not known either: nothing is missed.
    """
    return any(all(env.get(one, "").strip() for one in needed) for needed in _needed(name))


def credentialed(env: Mapping[str, str]) -> tuple[VendorName, ...]:
    """Return the vendors that can be asked with what the environment holds."""
    return tuple(name for name in _NEEDED if name != "scripted" and has_credentials(name, env))


def variables_of(name: ProviderName) -> tuple[str, ...]:
    """Return the variables of the usual way to give credentials, none when none are needed."""
    return _needed(name)[0]


def _needed(name: ProviderName) -> tuple[tuple[str, ...], ...]:
    return next((needed for vendor, needed in _NEEDED.items() if vendor == name), ((),))
