"""The project's model and embedder by themselves, without a run: nothing is recorded."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from perstack.config.secrets import redact
from perstack.domain.events import Delta
from perstack.domain.ids import ExpertKey, JobId, MessageId, RunId
from perstack.domain.messages import (
    ExpertMessage,
    InstructionMessage,
    Message,
    TextPart,
    UserMessage,
)
from perstack.domain.settings import is_of_plugin
from perstack.domain.usage import Usage
from perstack.engine.generation import Speech, generate
from perstack.engine.retry import delay_s
from perstack.errors import ProviderError, UsageError
from perstack.foreign import ForeignModel
from perstack.library import Parts
from perstack.ports.model import ChatModel, FinishReason, Generation, ModelRequest
from perstack.ports.system import RandomIds
from perstack.project import Project
from perstack.runtime import open_model, open_runtime

if TYPE_CHECKING:
    from perstack.ports.embeddings import Embedder

ROLES: Final = ("system", "user", "assistant")
CLOSING_S: Final = 3.0
_NO_PARTS: Final = Parts()
_CHAT: Final = ExpertKey("chat")
_IDS: Final = RandomIds()
_RNG: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model said. `content` is empty where it refused without a word."""

    content: str
    model: str
    finish: FinishReason
    usage: Usage


class Provider:
    """One model, asked as often as one likes, several times at once if need be."""

    def __init__(self, project: Project, model: ChatModel, embedder: Embedder | None) -> None:
        self._project = project
        self._model = model
        self._embedder = embedder

    @property
    def model(self) -> str:
        """The model's id at the vendor."""
        return self._model.name

    async def chat(
        self, messages: Sequence[Mapping[str, str]], *, max_tokens: int | None = None
    ) -> ChatAnswer:
        """Answer a conversation of `{"role": …, "content": …}`, roles system, user, assistant.

        What is worth asking again is, as often as the project's `maxRetries` says, each time for
        as long as its `timeout`. There are no tools. `max_tokens` lowers the model's own limit.

        Raises:
            UsageError: the conversation is empty or ends with an answer, or has another role.
            ProviderError: the vendor failed.
        """
        asked = tuple(_messages(messages))
        if not asked or not isinstance(asked[-1], UserMessage):
            raise UsageError("a conversation ends with what the user says")
        if max_tokens is not None and max_tokens < 1:
            raise UsageError("max_tokens must be 1 or more")
        request = ModelRequest(
            run_id=RunId(_IDS.new()),
            expert_key=_CHAT,
            messages=asked,
            tools=(),
            max_output_tokens=max_tokens,
        )
        try:
            answer = await self._asked(request)
        except ProviderError as error:
            said = redact(error.message, self._project.secrets)
            raise ProviderError(said, hint=error.hint, status=error.status) from error
        finally:
            self._model.forget(request.run_id)
        text = "".join(part.text for part in answer.parts if isinstance(part, TextPart))
        return ChatAnswer(text, self.model, answer.finish, answer.usage)

    async def embed(self, text: str) -> list[float]:
        """Return the text as a vector of length one.

        Raises:
            ProviderError: there is no such embedder, or its vendor failed.
        """
        if self._embedder is None:
            raise ProviderError("the project has no embedder")
        (row,) = (await self._embedder.embed([text])).tolist()
        return [float(number) for number in row]

    async def _asked(self, request: ModelRequest) -> Generation:
        settings = self._project.config.settings
        for attempt in range(1, settings.max_retries + 1):
            try:
                return await self._once(request)
            except ProviderError as error:
                if not error.retryable:
                    raise
                wait_s = delay_s(attempt, error.retry_after_s, rng=_RNG)
            await anyio.sleep(wait_s)
        return await self._once(request)

    async def _once(self, request: ModelRequest) -> Generation:
        timeout_s = self._project.config.settings.timeout / 1000
        unheard = Delta(
            job_id=JobId(request.run_id),
            run_id=request.run_id,
            expert_key=_CHAT,
            step_number=1,
            stream="text",
            kind="start",
        )
        speech = Speech(unheard, lambda _delta: None, False)
        return await generate(self._model, request, speech, timeout_s=timeout_s)


@asynccontextmanager
async def create_provider(
    project: Project, *, parts: Parts = _NO_PARTS
) -> AsyncGenerator[Provider]:
    """Open the project's model, or that of `parts`, and its embedder; the block's end closes both.

    Raises:
        ConfigError: the vendor's key is not set, or its settings cannot be used.
    """
    from perstack.embeddings.opener import open_embedder

    given = parts.model
    model = await open_model(project) if given is None else ForeignModel(given)
    # A plugin is at work as long as a runtime is, and its provider opens the model there.
    of_plugin = given is None and is_of_plugin(project.config.settings.provider.name)
    runtime = open_runtime(project, model=model) if of_plugin else nullcontext()
    search = project.config.settings.coordination.memory.vector_search
    # It looks on the disk for a model.
    embedder = await to_thread.run_sync(lambda: open_embedder(search, project.env, always=True))
    try:
        async with runtime:
            yield Provider(project, model, embedder)
    finally:
        with anyio.move_on_after(CLOSING_S, shield=True):
            await model.aclose()
            if embedder is not None:
                await embedder.aclose()


def _messages(said: Sequence[Mapping[str, str]]) -> Iterator[Message]:
    """Yield the instruction first, made of all that the system says, then what was said."""
    for one in said:
        if one.get("role") not in ROLES or not isinstance(one.get("content"), str):
            raise UsageError(
                f"a message has a role ({', '.join(ROLES)}) and a content, which is text"
            )
    told = tuple(TextPart(text=one["content"]) for one in said if one["role"] == "system")
    if told:
        yield InstructionMessage(id=_new_id(), contents=told)
    for one in said:
        part = (TextPart(text=one["content"]),)
        if one["role"] == "user":
            yield UserMessage(id=_new_id(), contents=part)
        elif one["role"] == "assistant":
            yield ExpertMessage(id=_new_id(), contents=part)


def _new_id() -> MessageId:
    return MessageId(_IDS.new())
