"""Anthropic's Messages API, through the official SDK."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from perstack.domain.ids import RunId
from perstack.domain.settings import ProviderSettings
from perstack.domain.usage import ModelPrice
from perstack.errors import ProviderError
from perstack.ports.model import ModelRequest
from perstack.providers.anthropic_wire import AnthropicCollector, Turn, to_body, to_turns
from perstack.providers.conversations import Conversations
from perstack.providers.failures import Endpoint, check_headers, read_key
from perstack.providers.models import (
    ReasoningBudget,
    claude_thinking,
    context_window,
    max_output_tokens,
)
from perstack.providers.urls import check_base_url
from perstack.providers.vendor import EventStream, VendorModel

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

KEY: Final = "ANTHROPIC_API_KEY"
_BASE_URL: Final = "ANTHROPIC_BASE_URL"
_DEFAULT_URL: Final = "https://api.anthropic.com"
_DROP_BLOCKS: Final = {"anthropic-beta": "thinking-binding-controls-2026-08-01"}


class AnthropicModel(VendorModel["AsyncAnthropic"]):
    """One Claude model (or one behind a compatible endpoint).

    A model of the 5.5 generation checks that its earlier reasoning still follows the content it
    was made after. Where a resumed or forked run changed that, the vendor is asked to drop such
    reasoning rather than to refuse the request.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        model: str,
        *,
        env: Mapping[str, str],
        reasoning_budget: ReasoningBudget,
        timeout_s: float,
    ) -> None:
        """Read key and address; nothing is imported or connected yet.

        Raises:
            ConfigError: no key, or an address that no key may be sent to.
        """
        self._key = read_key(env, KEY)
        self._headers = check_headers(settings.headers)
        self._url = _base_url(settings.base_url, env)
        endpoint = Endpoint("Anthropic", model, KEY, (self._key, *self._headers.values()))
        super().__init__(endpoint, timeout_s=timeout_s)
        self._max_tokens = max_output_tokens(model)
        self._thinking = claude_thinking(model, reasoning_budget)
        self._conversations = Conversations[Turn](to_turns)

    @property
    def context_window(self) -> int | None:
        """The context window in tokens, None when unknown."""
        return context_window(self.name)

    @property
    def price(self) -> ModelPrice | None:
        """What tokens cost, None when no source states it."""
        return None

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        self._conversations.forget(run_id)

    def _connect(self) -> AsyncAnthropic:
        from anthropic import AsyncAnthropic

        from perstack.providers.http import hidden_environment, open_http

        with hidden_environment():
            return AsyncAnthropic(
                api_key=self._key,
                base_url=self._url,
                timeout=self._timeout_s,
                max_retries=0,
                default_headers=self._headers,
                http_client=open_http(timeout_s=self._timeout_s),
                open_telemetry=False,
            )

    def _body(self, request: ModelRequest) -> bytes:
        turns = self._conversations.take(request.run_id, request.messages)
        return to_body(
            request, turns, model=self.name, max_tokens=self._max_tokens, thinking=self._thinking
        )

    async def _post(self, client: AsyncAnthropic, body: bytes) -> EventStream:
        from anthropic import AsyncStream

        # The typed call walks every message of every request; the wire format is stable.
        return await client.post(
            "/v1/messages",
            content=body,
            cast_to=object,
            options={"headers": self._request_headers()},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _request_headers(self) -> dict[str, str]:
        extra = _DROP_BLOCKS if self._thinking.bound else {}
        return {"content-type": "application/json", **extra}

    def _collector(self) -> AnthropicCollector:
        return AnthropicCollector()

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        if "anthropic" not in sys.modules:
            return ()
        import anthropic
        import httpx2

        return (anthropic.AnthropicError, httpx2.HTTPError)

    def _translate(self, error: Exception) -> ProviderError:
        import anthropic
        import httpx2

        match error:
            case anthropic.APITimeoutError() | httpx2.TimeoutException():
                return self._endpoint.timed_out()
            case anthropic.APIStatusError():
                response = error.response
                return self._endpoint.refused(error.status_code, response.headers, error.body)
            case anthropic.APIConnectionError() | httpx2.HTTPError():
                return self._endpoint.unreachable(error.__cause__ or error)
            case _:
                return self._endpoint.garbled(error)


def _base_url(configured: str | None, env: Mapping[str, str]) -> str:
    if configured:
        url = check_base_url(configured)
    elif env.get(_BASE_URL):
        url = check_base_url(env[_BASE_URL], source=_BASE_URL)
    else:
        url = _DEFAULT_URL
    return url.removesuffix("/v1")
