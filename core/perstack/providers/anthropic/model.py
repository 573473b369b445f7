"""Claude through the official SDK, wherever it is served."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from perstack.domain.ids import MessageId, RunId
from perstack.domain.messages import ExpertMessage
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest, ProviderTools, Spoken
from perstack.providers.anthropic.answer import ClaudeAnswer
from perstack.providers.anthropic.platform import Json, Platform
from perstack.providers.anthropic.skills import ContainerSkills, check_skills
from perstack.providers.anthropic.tools import SKILLS_BETA, server_tools
from perstack.providers.anthropic.wire import Turn, to_body, to_turns
from perstack.providers.failures import SdkErrors
from perstack.providers.models import claude_thinking, max_output_tokens
from perstack.providers.offers import NOTHING
from perstack.providers.vendor import EventStream, VendorModel

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

    from perstack.providers.anthropic.platform import ClaudeClient

MOST_PAUSES: Final = 20
_DROP_BLOCKS_BETA: Final = "thinking-binding-controls-2026-08-01"


class ClaudeModel(VendorModel["ClaudeClient", Turn]):
    """One Claude model (or one behind a compatible endpoint).

    A model of the 5.5 generation checks that its earlier reasoning still follows the content it
    was made after. Where a resumed or forked run changed that, the vendor is asked to drop such
    reasoning rather than to refuse the request.
    """

    def __init__(self, platform: Platform) -> None:
        """Take where the model is asked; nothing is imported or connected yet."""
        setup = platform.setup
        super().__init__(setup, platform.endpoint, to_turns)
        self._platform = platform
        self._most_tokens = setup.facts.max_output_tokens or max_output_tokens(setup.model)
        self._containers: dict[RunId, str] = {}
        self._skills = ContainerSkills()

    def check_tools(self, asked: ProviderTools) -> None:
        """Check that the platform offers the tools and skills."""
        check_skills(asked.skills, self._platform.tools)
        server_tools(asked, self.name, self._platform.tools)

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        super().forget(run_id)
        self._containers.pop(run_id, None)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask, and again while the vendor pauses a long turn of its own tools."""
        before: Generation | None = None
        asked = request
        for _ in range(MOST_PAUSES):
            async with aclosing(super().stream(asked)) as pieces:
                async for piece in pieces:
                    if not isinstance(piece, Generation):
                        yield piece
                        continue
                    before = piece if before is None else _joined(before, piece)
            if before is None or before.finish != "paused":
                break
            said = ExpertMessage(id=MessageId("paused"), contents=before.parts)
            asked = replace(request, messages=(*request.messages, said))
        if before is None or before.finish == "paused":
            raise ProviderError(f"{self.name} paused {MOST_PAUSES} times without an answer")
        yield before

    @property
    def sdk(self) -> str:
        """The SDK's module."""
        return "anthropic"

    def _errors(self) -> SdkErrors:
        import anthropic

        return SdkErrors(
            anthropic.AnthropicError,
            anthropic.APITimeoutError,
            anthropic.APIStatusError,
            anthropic.APIConnectionError,
            anthropic.APIError,
        )

    def _new_client(self, http: httpx2.AsyncClient) -> ClaudeClient:
        return self._platform.connect(http)

    async def _send(self, client: ClaudeClient, request: ModelRequest) -> EventStream:
        from anthropic import AsyncStream

        asked = request.provider_tools or NOTHING
        self.check_tools(asked)
        container = await self._container(client, request, asked)
        betas = self._betas(request)
        headers = await self._platform.headers(betas)
        # The typed call walks every message of every request; the wire format is stable.
        return await client.post(
            self._platform.path,
            content=self._body(request, {**self._platform.head(betas), **container}),
            cast_to=object,
            options={"headers": {"content-type": "application/json", **headers}},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _body(self, request: ModelRequest, head: Json) -> bytes:
        most = min(self._most_tokens, request.max_output_tokens or self._most_tokens)
        return to_body(
            request,
            self._conversations.take(request.run_id, request.messages),
            head=head,
            max_tokens=most,
            thinking=claude_thinking(self.name, self._setup.reasoning_budget).within(most),
            server_tools=server_tools(
                request.provider_tools or NOTHING, self.name, self._platform.tools
            ),
        )

    def _betas(self, request: ModelRequest) -> list[str]:
        thinking = claude_thinking(self.name, self._setup.reasoning_budget)
        betas = [_DROP_BLOCKS_BETA] if thinking.bound else []
        if request.provider_tools and request.provider_tools.skills:
            betas.append(SKILLS_BETA)
        return betas

    async def _container(
        self, client: ClaudeClient, request: ModelRequest, asked: ProviderTools
    ) -> Json:
        """Return the container to run code in: the one that this run's earlier steps ran in."""
        container: Json = {}
        if request.run_id in self._containers and asked != NOTHING:
            container["id"] = self._containers[request.run_id]
        if asked.skills:
            # Only Anthropic's own API has skills, and its client is that of the SDK.
            own = cast("AsyncAnthropic", client)
            container["skills"] = await self._skills.listed(own, asked.skills)
        return {"container": container} if container else {}

    def _collector(self, request: ModelRequest) -> ClaudeAnswer:
        return ClaudeAnswer(partial(self._containers.__setitem__, request.run_id))


def _joined(first: Generation, second: Generation) -> Generation:
    """Return both halves of a turn that was paused."""
    return Generation(
        parts=(*first.parts, *second.parts),
        finish=second.finish,
        usage=first.usage.plus(second.usage),
        requests=(*(first.requests or (first.usage,)), second.usage),
    )
