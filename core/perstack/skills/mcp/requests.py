"""Answers what a server asks during its calls, and holds the calls' clocks while it waits.

Importing this imports the SDK.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from mcp.client.session import (
    ClientRequestContext,
    ElicitationFnT,
    ListRootsFnT,
    SamplingFnT,
)
from mcp_types import (
    INVALID_REQUEST,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ImageContent,
    ListRootsResult,
    LoggingMessageNotificationParams,
    Root,
    SamplingMessage,
    TextContent,
)
from pydantic import FileUrl, JsonValue, TypeAdapter

from perstack.domain.expert import RemoteSkill
from perstack.domain.ids import MessageId
from perstack.domain.messages import (
    ExpertMessage,
    ImageInlinePart,
    TextPart,
    UserMessage,
)
from perstack.ports.skills import Elicitation, Sampling, SkillHost
from perstack.skills.mcp.launch import Launch
from perstack.skills.mcp.redact import cleaned_object
from perstack.skills.mcp.reports import Reports

_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])
# What the protocol has a client say whose user refused.
_USER_REFUSED: Final = -1
_UNNUMBERED: Final = MessageId("")
Clean = Callable[[str], str]


@dataclass(slots=True, eq=False)
class _Clock:
    scope: anyio.CancelScope
    left_s: float


@dataclass(slots=True)
class Patience:
    """The time that a server's calls have. It stands still while the server waits for us."""

    _waiting: int = 0
    _clocks: set[_Clock] = field(default_factory=set[_Clock])

    @contextmanager
    def of_call(self, within_s: float) -> Generator[None]:
        """Let the block take `within_s` seconds, without the time that it is held up by us.

        Raises:
            TimeoutError: it took longer.
        """
        clock = _Clock(anyio.CancelScope(), within_s)
        self._clocks.add(clock)
        if not self._waiting:
            _start(clock)
        try:
            with clock.scope:
                yield
        finally:
            self._clocks.discard(clock)
        if clock.scope.cancelled_caught:
            raise TimeoutError

    @contextmanager
    def held(self) -> Generator[None]:
        """Stop all clocks during the block."""
        self._waiting += 1
        if self._waiting == 1:
            for clock in self._clocks:
                _stop(clock)
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                for clock in self._clocks:
                    _start(clock)


def _start(clock: _Clock) -> None:
    clock.scope.deadline = anyio.current_time() + clock.left_s


def _stop(clock: _Clock) -> None:
    clock.left_s = max(0.0, clock.scope.deadline - anyio.current_time())
    clock.scope.deadline = math.inf


@dataclass(frozen=True, slots=True)
class Requests:
    """What one server may ask for. A callback that is None is a capability we do not offer."""

    launch: Launch
    patience: Patience
    reports: Reports

    @property
    def sampling(self) -> SamplingFnT | None:
        """The callback for questions to the model."""
        host = self.launch.host
        if host is None or self.launch.skill.sampling == "deny":
            return None

        async def sample(
            context: ClientRequestContext, params: CreateMessageRequestParams
        ) -> CreateMessageResult | ErrorData:
            return await self._sample(host, params)

        return sample

    @property
    def elicitation(self) -> ElicitationFnT | None:
        """The callback for questions to the user."""
        host = self.launch.host
        if host is None or self.launch.skill.elicitation == "deny":
            return None

        async def elicit(
            context: ClientRequestContext, params: ElicitRequestParams
        ) -> ElicitResult | ErrorData:
            return await self._elicit(host, params)

        return elicit

    @property
    def roots(self) -> ListRootsFnT | None:
        """The callback for the folders to work in; one elsewhere has no use for ours."""
        if isinstance(self.launch.skill, RemoteSkill):
            return None
        root = Root(uri=FileUrl(self.launch.workspace.absolute().as_uri()), name="workspace")

        async def list_roots(context: ClientRequestContext) -> ListRootsResult | ErrorData:
            return ListRootsResult(roots=[root])

        return list_roots

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        """Tell of a log message."""
        origin = f"{params.logger}: " if params.logger else ""
        self.reports.log(params.level, f"{origin}{params.data}")

    async def _elicit(self, host: SkillHost, params: ElicitRequestParams) -> ElicitResult:
        if not isinstance(params, ElicitRequestFormParams):
            # A page to open is where a person would be led astray; nothing is opened for a server.
            return ElicitResult(action="decline")
        asked = Elicitation(
            skill_name=self.launch.skill_name,
            message=self.launch.clean(params.message),
            answer_schema=cleaned_object(
                _OBJECT.validate_python(params.requested_schema), self.launch.clean
            ),
        )
        with self.patience.held():
            answer = await host.elicit(asked)
        # A form's values are texts, numbers, booleans or lists of texts, as the host has checked.
        return ElicitResult.model_validate({"action": answer.action, "content": answer.content})

    async def _sample(
        self, host: SkillHost, params: CreateMessageRequestParams
    ) -> CreateMessageResult | ErrorData:
        messages = [_message(one, self.launch.clean) for one in params.messages]
        if params.tools or any(one is None for one in messages):
            return ErrorData(code=INVALID_REQUEST, message="only texts and images can be sent")
        asked = Sampling(
            skill_name=self.launch.skill_name,
            system=self.launch.clean(params.system_prompt) if params.system_prompt else None,
            messages=tuple(one for one in messages if one is not None),
            max_tokens=params.max_tokens,
            consent=self.launch.skill.sampling,
        )
        with self.patience.held():
            answer = await host.sample(asked)
        if answer.refused is not None:
            return ErrorData(code=_USER_REFUSED, message=answer.refused)
        return CreateMessageResult(
            role="assistant",
            content=TextContent(text=answer.text),
            model=answer.model,
            stop_reason=answer.stop_reason,
        )


def _message(given: SamplingMessage, clean: Clean) -> UserMessage | ExpertMessage | None:
    """Return the message as ours, None when it holds what cannot be sent."""
    texts = [
        TextPart(text=clean(part.text))
        for part in given.content_as_list
        if isinstance(part, TextContent)
    ]
    images = [
        ImageInlinePart(encoded_data=part.data, mime_type=part.mime_type)
        for part in given.content_as_list
        if isinstance(part, ImageContent) and given.role == "user"
    ]
    if len(texts) + len(images) == 0 or len(texts) + len(images) < len(given.content_as_list):
        return None
    if given.role == "user":
        return UserMessage(id=_UNNUMBERED, contents=(*images, *texts))
    return ExpertMessage(id=_UNNUMBERED, contents=tuple(texts))
