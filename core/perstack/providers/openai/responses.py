"""OpenAI's Responses, which reason and call functions at once and run tools of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from perstack.errors import ProviderError
from perstack.ports.model import ModelRequest, ProviderTools
from perstack.providers.models import Effort, openai_effort
from perstack.providers.offers import NOTHING
from perstack.providers.openai.access import Access, openai_access
from perstack.providers.openai.base import OpenAISdkModel
from perstack.providers.openai.chat import open_openai_chat
from perstack.providers.openai.responses_answer import ResponsesAnswer
from perstack.providers.openai.responses_wire import to_body, to_items
from perstack.providers.openai.tools import OPENAI_TOOLS, ToolSet, max_calls, server_tools
from perstack.providers.setup import Setup
from perstack.providers.vendor import EventStream

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_OWN_HOST: Final = "api.openai.com"


class ResponsesModel(OpenAISdkModel):
    """One model over Responses; the vendor keeps nothing of the conversation."""

    def __init__(self, setup: Setup, access: Access, tools: ToolSet) -> None:
        """Take all that the requests need; nothing is imported or connected yet."""
        super().__init__(setup, access, to_items)
        self._tools = tools
        self._summary = True

    def check_tools(self, asked: ProviderTools) -> None:
        """Check that the vendor offers the tools."""
        server_tools(asked, self._tools)

    async def _send(self, client: AsyncOpenAI, request: ModelRequest) -> EventStream:
        asked = request.provider_tools or NOTHING
        body = to_body(
            request,
            self._conversations.take(request.run_id, request.messages),
            model=self.name,
            effort=self._effort(asked),
            summary=self._summary,
            server_tools=server_tools(asked, self._tools),
            max_calls=max_calls(asked),
        )
        return await self._post(client, "/responses", body)

    def _effort(self, asked: ProviderTools) -> Effort | None:
        effort = openai_effort(self.name, self._setup.reasoning_budget, with_tools=False)
        # The vendor's own tools are not to be had with less.
        return "low" if effort == "minimal" and asked.names else effort

    def _gives_way(self, error: ProviderError) -> bool:
        """Do without summaries where the account may not have them."""
        if error.status != 400 or "summar" not in error.message or not self._summary:
            return False
        self._summary = False
        return True

    def _collector(self, request: ModelRequest) -> ResponsesAnswer:
        del request
        return ResponsesAnswer(self._endpoint)


def open_openai(setup: Setup) -> OpenAISdkModel:
    """Return a model of OpenAI's, over the protocol that the settings or the address ask for.

    Raises:
        ConfigError: no key, or an address that no key may be sent to.
    """
    access = openai_access(setup)
    host = urlsplit(access.url).hostname or ""
    is_own = host == _OWN_HOST or host.endswith(f".{_OWN_HOST}")
    api = setup.settings.api
    if api == "responses" or (api == "auto" and is_own):
        return ResponsesModel(setup, access, OPENAI_TOOLS)
    return open_openai_chat(setup)
