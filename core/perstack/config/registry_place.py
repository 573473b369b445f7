"""Where the registry of Experts is, and with which key it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from perstack.config.urls import fault_of_url
from perstack.domain.registry import DEFAULT_URL
from perstack.errors import ConfigError

URL_VARIABLE: Final = "PERSTACK_API_BASE_URL"
KEY_VARIABLE: Final = "PERSTACK_API_KEY"


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """A registry's URL, without a slash at its end, and the user's key for it, if there is one."""

    url: str
    key: str | None = field(default=None, repr=False)


def registry_place(
    env: Mapping[str, str],
    configured: str | None = None,
    *,
    signed_in: Callable[[str], str | None] = lambda _: None,
) -> RegistryPlace:
    """Return the registry that `env` names, or else the `configured` one, or else the public one.

    The key is that of `env`, or else the one that `signed_in` knows for the URL.

    Raises:
        ConfigError: `PERSTACK_API_BASE_URL` is no URL that a key may be sent to.
    """
    named = env.get(URL_VARIABLE, "").strip()
    if named and (fault := fault_of_url(named)):
        raise ConfigError(
            f"{URL_VARIABLE} {fault}", hint=f"set it to an https:// URL, or unset it: {DEFAULT_URL}"
        )
    url = (named or configured or DEFAULT_URL).rstrip("/")
    return RegistryPlace(url, env.get(KEY_VARIABLE, "").strip() or signed_in(url))
