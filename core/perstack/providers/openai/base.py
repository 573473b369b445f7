"""What both of OpenAI's protocols share: the SDK and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from perstack.domain.messages import Message
from perstack.providers.failures import SdkErrors
from perstack.providers.openai.access import Access
from perstack.providers.setup import Setup
from perstack.providers.vendor import EventStream, VendorModel

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI


class OpenAISdkModel(VendorModel["AsyncOpenAI", bytes]):
    """A model asked through OpenAI's SDK."""

    def __init__(
        self, setup: Setup, access: Access, convert: Callable[[Message], Iterable[bytes]]
    ) -> None:
        super().__init__(setup, access.endpoint(setup), convert)
        self._access = access

    @property
    def sdk(self) -> str:
        """The SDK's module."""
        return "openai"

    def _errors(self) -> SdkErrors:
        import openai

        return SdkErrors(
            openai.OpenAIError,
            openai.APITimeoutError,
            openai.APIStatusError,
            openai.APIConnectionError,
            openai.APIError,
        )

    def _new_client(self, http: httpx2.AsyncClient) -> AsyncOpenAI:
        return self._access.connect(http, timeout_s=self._setup.timeout_s)

    async def _post(self, client: AsyncOpenAI, path: str, body: bytes) -> EventStream:
        from openai import AsyncStream

        # The typed call walks every message of every request: 76 ms for 400 of them, not 3.
        return await client.post(
            path,
            content=body,
            cast_to=object,
            options={"headers": {"content-type": "application/json"}},
            stream=True,
            stream_cls=AsyncStream[object],
        )
