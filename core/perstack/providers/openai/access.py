"""Where OpenAI's protocols are spoken, and how one is let in there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from perstack.providers.failures import Endpoint, check_headers, read_key
from perstack.providers.google_token import GoogleToken
from perstack.providers.setup import Setup
from perstack.providers.urls import base_url

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

OPENAI_KEY: Final = "OPENAI_API_KEY"
OPENAI_URL: Final = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Access:
    """An address and a key for it. `key_name` is the variable that the key is read from."""

    vendor: str
    url: str
    key: str = field(repr=False)
    key_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def endpoint(self, setup: Setup) -> Endpoint:
        """Return what messages may say of it."""
        secrets = (self.key, *setup.settings.headers.values())
        return Endpoint(self.vendor, setup.model, self.key_name, secrets)

    def connect(self, http: httpx2.AsyncClient, *, timeout_s: float) -> AsyncOpenAI:
        """Import the SDK and make its client; blocks."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            api_key=self.key,
            base_url=self.url,
            timeout=timeout_s,
            max_retries=0,
            default_headers=self.headers,
            http_client=http,
        )


@dataclass(frozen=True, slots=True)
class AzureAccess(Access):
    """A resource of Azure OpenAI."""

    api_version: str = "v1"

    def connect(self, http: httpx2.AsyncClient, *, timeout_s: float) -> AsyncOpenAI:
        """Import the SDK and make its client; blocks."""
        from openai import AsyncAzureOpenAI

        return AsyncAzureOpenAI(
            api_key=self.key,
            base_url=self.url,
            api_version=self.api_version,
            timeout=timeout_s,
            max_retries=0,
            default_headers=self.headers,
            http_client=http,
        )


@dataclass(frozen=True, slots=True)
class TokenAccess(Access):
    """A project of Google Cloud, which wants a token that does not last."""

    token: GoogleToken | None = None

    def connect(self, http: httpx2.AsyncClient, *, timeout_s: float) -> AsyncOpenAI:
        """Import the SDK and make its client, which asks for a token with each request; blocks."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            api_key=self.token.get if self.token else self.key,
            base_url=self.url,
            timeout=timeout_s,
            max_retries=0,
            default_headers=self.headers,
            http_client=http,
        )


def openai_access(setup: Setup) -> Access:
    """Return the way to OpenAI, or to a server that imitates it.

    Raises:
        ConfigError: no key, or an address that no key may be sent to.
    """
    key = read_key(setup.env, OPENAI_KEY)
    settings, env = setup.settings, setup.env
    named = {
        "OpenAI-Organization": settings.organization or env.get("OPENAI_ORGANIZATION", ""),
        "OpenAI-Project": settings.project or env.get("OPENAI_PROJECT", ""),
    }
    headers = {name: value for name, value in named.items() if value} | settings.headers
    url = base_url(setup, "OPENAI_BASE_URL", OPENAI_URL)
    return Access(settings.client_name or "OpenAI", url, key, OPENAI_KEY, check_headers(headers))


def keyed_access(setup: Setup, vendor: str, *, key: str, url: str, usual: str) -> Access:
    """Return the way to a vendor with one key; `key` and `url` are variables' names.

    Raises:
        ConfigError: no key, or an address that no key may be sent to.
    """
    found = read_key(setup.env, key)
    headers = check_headers(setup.settings.headers)
    return Access(vendor, base_url(setup, url, usual), found, key, headers)
