"""Where Claude is asked: Anthropic's own API, or a cloud that serves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from perstack.providers.anthropic.tools import EVERYTHING, ToolSet
from perstack.providers.failures import Endpoint, check_headers, read_key
from perstack.providers.setup import Setup
from perstack.providers.urls import base_url

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic
    from anthropic.lib.bedrock import AsyncAnthropicBedrock
    from anthropic.lib.vertex import AsyncAnthropicVertex

    ClaudeClient = AsyncAnthropic | AsyncAnthropicBedrock | AsyncAnthropicVertex

Json = dict[str, object]

KEY: Final = "ANTHROPIC_API_KEY"
# What the clouds want in the body, and Anthropic's own API gets as a header from the SDK.
API_VERSION: Final = "2026-10-21"
BETA_HEADER: Final = "anthropic-beta"


class Platform(ABC):
    """How one place that serves Claude is reached. Made without importing or connecting."""

    def __init__(self, setup: Setup, endpoint: Endpoint, tools: ToolSet) -> None:
        self.setup = setup
        self.endpoint = endpoint
        self.tools = tools

    @abstractmethod
    def connect(self, http: httpx2.AsyncClient) -> ClaudeClient:
        """Import the SDK and make its client; blocks."""

    @property
    @abstractmethod
    def path(self) -> str:
        """The path that requests are posted to."""

    @abstractmethod
    def head(self, betas: Sequence[str]) -> Json:
        """Return what stands first in the body; `betas` are what the request makes use of."""

    @abstractmethod
    async def headers(self, betas: Sequence[str]) -> Mapping[str, str]:
        """Return the request's own headers."""


class AnthropicApi(Platform):
    """Anthropic's own API, and what imitates it."""

    def __init__(self, setup: Setup) -> None:
        """Read key and address.

        Raises:
            ConfigError: no key, or an address that no key may be sent to.
        """
        self._key = read_key(setup.env, KEY)
        self._headers = check_headers(setup.settings.headers)
        url = base_url(setup, "ANTHROPIC_BASE_URL", "https://api.anthropic.com")
        self._url = url.removesuffix("/v1")
        secrets = (self._key, *self._headers.values())
        super().__init__(setup, Endpoint("Anthropic", setup.model, KEY, secrets), EVERYTHING)

    def connect(self, http: httpx2.AsyncClient) -> AsyncAnthropic:
        """Make the SDK's client."""
        from anthropic import AsyncAnthropic

        return AsyncAnthropic(
            api_key=self._key,
            base_url=self._url,
            timeout=self.setup.timeout_s,
            max_retries=0,
            default_headers=self._headers,
            http_client=http,
            open_telemetry=False,
        )

    @property
    def path(self) -> str:
        """The path of Messages."""
        return "/v1/messages"

    def head(self, betas: Sequence[str]) -> Json:
        """Return model and that the answer is streamed; betas travel as a header."""
        del betas
        return {"model": self.setup.model, "stream": True}

    async def headers(self, betas: Sequence[str]) -> Mapping[str, str]:
        """Return the betas, those that were configured among them."""
        given = [value for name, value in self._headers.items() if name.lower() == BETA_HEADER]
        return {BETA_HEADER: ",".join([*given, *betas])} if betas else {}
