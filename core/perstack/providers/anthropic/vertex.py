"""Claude on Google's Vertex AI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from perstack.providers.anthropic.platform import API_VERSION, BETA_HEADER, Json, Platform
from perstack.providers.anthropic.tools import ToolSet
from perstack.providers.failures import Endpoint, check_headers
from perstack.providers.google_cloud import VENDOR, read_google_cloud
from perstack.providers.google_token import VARIABLE, GoogleToken
from perstack.providers.setup import Setup

if TYPE_CHECKING:
    import httpx2
    from anthropic.lib.vertex import AsyncAnthropicVertex


class ClaudeOnVertex(Platform):
    """Claude in one project and place of Vertex."""

    def __init__(self, setup: Setup) -> None:
        """Read project, place and token.

        Raises:
            ConfigError: one of them is missing or no such thing.
        """
        self._cloud = read_google_cloud(setup)
        self._token = GoogleToken(setup.env)
        self._headers = check_headers(setup.settings.headers)
        secrets = (*self._token.secrets, *self._headers.values())
        tools = ToolSet(VENDOR, ("webSearch",), basic=True)
        super().__init__(setup, Endpoint(VENDOR, setup.model, VARIABLE, secrets), tools)

    def connect(self, http: httpx2.AsyncClient) -> AsyncAnthropicVertex:
        """Make the SDK's client."""
        from anthropic.lib.vertex import AsyncAnthropicVertex

        return AsyncAnthropicVertex(
            region=self._cloud.location,
            project_id=self._cloud.project,
            base_url=self._cloud.root,
            timeout=self.setup.timeout_s,
            max_retries=0,
            default_headers=self._headers,
            http_client=http,
            open_telemetry=False,
        )

    @property
    def path(self) -> str:
        """The model's own path."""
        model = quote(self.setup.model.removeprefix("anthropic/"), safe="@")
        return f"{self._cloud.path}/publishers/anthropic/models/{model}:streamRawPredict"

    def head(self, betas: Sequence[str]) -> Json:
        """Return the protocol's version; the path names the model."""
        del betas
        return {"anthropic_version": API_VERSION, "stream": True}

    async def headers(self, betas: Sequence[str]) -> Mapping[str, str]:
        """Return the token, which the SDK then does not look for, and the betas."""
        headers = {"Authorization": f"Bearer {await self._token.get()}"}
        if betas:
            headers[BETA_HEADER] = ",".join(betas)
        return headers
