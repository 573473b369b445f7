"""OpenAI's chat completions, through the official SDK; also the endpoints that imitate them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from perstack.domain.ids import RunId
from perstack.domain.settings import ProviderSettings
from perstack.domain.usage import ModelPrice
from perstack.errors import ProviderError
from perstack.ports.model import ModelRequest
from perstack.providers.conversations import Conversations
from perstack.providers.failures import Endpoint, check_headers, read_key
from perstack.providers.models import ReasoningBudget, context_window, openai_effort
from perstack.providers.openai_wire import OpenAICollector, to_body, to_messages
from perstack.providers.urls import check_base_url
from perstack.providers.vendor import EventStream, VendorModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI

KEY: Final = "OPENAI_API_KEY"
_BASE_URL: Final = "OPENAI_BASE_URL"
_DEFAULT_URL: Final = "https://api.openai.com/v1"


class OpenAIModel(VendorModel["AsyncOpenAI"]):
    """One model over chat completions.

    From GPT-5.4 on that endpoint takes function tools only with reasoning off, so these models do
    not reason here while they have tools.
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
        self._headers = _headers(settings, env)
        self._url = _base_url(settings.base_url, env)
        endpoint = Endpoint("OpenAI", model, KEY, (self._key, *settings.headers.values()))
        super().__init__(endpoint, timeout_s=timeout_s)
        self._reasoning_budget: ReasoningBudget = reasoning_budget
        self._conversations = Conversations[bytes](to_messages)

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

    def _connect(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        from perstack.providers.http import hidden_environment, open_http

        with hidden_environment():
            return AsyncOpenAI(
                api_key=self._key,
                base_url=self._url,
                timeout=self._timeout_s,
                max_retries=0,
                default_headers=self._headers,
                http_client=open_http(timeout_s=self._timeout_s),
            )

    def _body(self, request: ModelRequest) -> bytes:
        messages = self._conversations.take(request.run_id, request.messages)
        effort = openai_effort(self.name, self._reasoning_budget, with_tools=bool(request.tools))
        return to_body(request, messages, model=self.name, effort=effort)

    async def _post(self, client: AsyncOpenAI, body: bytes) -> EventStream:
        from openai import AsyncStream

        # The typed call walks every message of every request: 76 ms for 400 of them, not 3.
        return await client.post(
            "/chat/completions",
            content=body,
            cast_to=object,
            options={"headers": {"content-type": "application/json"}},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _collector(self) -> OpenAICollector:
        return OpenAICollector()

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        if "openai" not in sys.modules:
            return ()
        import httpx2
        import openai

        return (openai.OpenAIError, httpx2.HTTPError)

    def _translate(self, error: Exception) -> ProviderError:
        import httpx2
        import openai

        match error:
            case openai.APITimeoutError() | httpx2.TimeoutException():
                return self._endpoint.timed_out()
            case openai.APIStatusError():
                response = error.response
                return self._endpoint.refused(error.status_code, response.headers, error.body)
            case openai.APIConnectionError() | httpx2.HTTPError():
                return self._endpoint.unreachable(error.__cause__ or error)
            case openai.APIError():  # An error inside the stream.
                return self._endpoint.refused(200, {}, error.body)
            case _:
                return self._endpoint.garbled(error)


def _headers(settings: ProviderSettings, env: Mapping[str, str]) -> dict[str, str]:
    named = {
        "OpenAI-Organization": settings.organization or env.get("OPENAI_ORGANIZATION", ""),
        "OpenAI-Project": settings.project or env.get("OPENAI_PROJECT", ""),
    }
    return check_headers({name: value for name, value in named.items() if value} | settings.headers)


def _base_url(configured: str | None, env: Mapping[str, str]) -> str:
    if configured:
        return check_base_url(configured)
    if env.get(_BASE_URL):
        return check_base_url(env[_BASE_URL], source=_BASE_URL)
    return _DEFAULT_URL
