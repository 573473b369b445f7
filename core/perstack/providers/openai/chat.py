"""Chat completions, as OpenAI and all who imitate it speak them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from perstack.ports.model import ModelRequest, ProviderTools
from perstack.providers.models import openai_effort
from perstack.providers.offers import NOTHING, refuse_all
from perstack.providers.openai.access import Access, openai_access
from perstack.providers.openai.base import OpenAISdkModel
from perstack.providers.openai.chat_answer import ChatAnswer
from perstack.providers.openai.chat_wire import PLAIN, Dialect, Json, to_body, to_messages
from perstack.providers.setup import Setup
from perstack.providers.vendor import EventStream

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class ChatCompletionsModel(OpenAISdkModel):
    """One model over chat completions, `model` under the name it has there.

    `no_tools` says why the vendor runs no tools itself over this protocol.
    """

    def __init__(
        self,
        setup: Setup,
        access: Access,
        dialect: Dialect = PLAIN,
        *,
        model: str | None = None,
        no_tools: str = "",
    ) -> None:
        """Take all that the requests need; nothing is imported or connected yet."""
        super().__init__(setup, access, partial(to_messages, dialect=dialect))
        self._dialect = dialect
        self._model = model or setup.model
        self._no_tools = no_tools

    def check_tools(self, asked: ProviderTools) -> None:
        """Refuse every tool: over this protocol the vendor runs none."""
        refuse_all(self._access.vendor, asked, self._no_tools)

    async def _send(self, client: AsyncOpenAI, request: ModelRequest) -> EventStream:
        self.check_tools(request.provider_tools or NOTHING)
        messages = self._conversations.take(request.run_id, request.messages)
        body = to_body(request, messages, model=self._model, dialect=self._dialect)
        return await self._post(client, "/chat/completions", body)

    def _collector(self, request: ModelRequest) -> ChatAnswer:
        del request
        return ChatAnswer(self._dialect)


def effort_fields(setup: Setup, *, with_tools: bool) -> Json:
    """Return how OpenAI's own models are told to reason.

    From GPT-5.4 on this protocol takes function tools only with reasoning off, so these models
    do not reason here while they have tools.
    """
    effort = openai_effort(setup.model, setup.reasoning_budget, with_tools=with_tools)
    return {} if effort is None else {"reasoning_effort": effort}


def openai_dialect(setup: Setup) -> Dialect:
    """Return the protocol as OpenAI speaks it."""
    return Dialect(reasoning=lambda with_tools: effort_fields(setup, with_tools=with_tools))


def open_openai_chat(setup: Setup) -> ChatCompletionsModel:
    """Return a model of OpenAI, or of a server that imitates it.

    Raises:
        ConfigError: no key, or an address that no key may be sent to.
    """
    why = 'the older protocol has none; set api = "responses"'
    return ChatCompletionsModel(setup, openai_access(setup), openai_dialect(setup), no_tools=why)
