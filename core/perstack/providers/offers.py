"""Refusing what a provider does not offer: tools and skills that it would run itself."""

from __future__ import annotations

from collections.abc import Sequence

from perstack.errors import ProviderError
from perstack.ports.model import ProviderTools

NOTHING: ProviderTools = ProviderTools()


def not_offered(vendor: str, name: str, offered: Sequence[str], why: str = "") -> ProviderError:
    """Return the error for a provider tool that is not to be had; asking again does not help."""
    because = f": {why}" if why else ""
    known = ", ".join(offered)
    return ProviderError(
        f"{vendor} offers no provider tool {name!a}{because}",
        hint=f"it offers: {known}" if known else "remove it from providerTools",
    )


def no_skills(vendor: str) -> ProviderError:
    """Return the error for provider skills where there are none."""
    return ProviderError(f"{vendor} offers no provider skills", hint="remove providerSkills")


def refuse_all(vendor: str, asked: ProviderTools, why: str = "") -> None:
    """Refuse whatever is asked for.

    Raises:
        ProviderError: anything is.
    """
    if asked.names:
        raise not_offered(vendor, asked.names[0], (), why)
    if asked.skills:
        raise no_skills(vendor)
