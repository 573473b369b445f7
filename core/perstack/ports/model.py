"""What the engine asks of a model vendor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from perstack.domain.expert import ProviderSkill, ProviderToolOptions
from perstack.domain.ids import ExpertKey, RunId
from perstack.domain.messages import ExpertPart, Message
from perstack.domain.usage import ModelPrice, Usage

FinishReason = Literal["stop", "toolCalls", "length", "refusal", "paused", "other"]


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as the model sees it. `input_schema` is a JSON Schema of type object."""

    name: str
    description: str
    input_schema: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ProviderTools:
    """What the provider itself is to offer the model: tools it runs, skills in its container."""

    names: tuple[str, ...] = ()
    options: ProviderToolOptions | None = None
    skills: tuple[ProviderSkill, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One generation. `messages` begins with the instruction message.

    The same run's requests share their leading messages (the very same objects), so that an
    adapter can keep what it made of them, under `run_id`. `use_tools` False offers no tool choice
    but keeps the definitions where the vendor needs them for earlier calls. `max_output_tokens`
    lowers the model's own limit.
    """

    run_id: RunId
    expert_key: ExpertKey
    messages: Sequence[Message]
    tools: Sequence[ToolDefinition]
    use_tools: bool = True
    provider_tools: ProviderTools | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of what the model is saying, as it arrives."""

    stream: Literal["reasoning", "text"]
    text: str


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished response: thinking, then text, then tool calls (ids unique within it).

    Where it took several requests, `requests` says what each used, and `usage` is their sum.
    """

    parts: tuple[ExpertPart, ...]
    finish: FinishReason
    usage: Usage
    requests: tuple[Usage, ...] = ()


class ChatModel(Protocol):
    """One model of one vendor, ready to be asked any number of times concurrently."""

    @property
    def name(self) -> str:
        """The model's id at the vendor."""
        ...

    @property
    def context_window(self) -> int | None:
        """The context window in tokens, None when unknown."""
        ...

    @property
    def price(self) -> ModelPrice | None:
        """What tokens cost, None when no source states it."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask once; yield pieces as they come and, last, the `Generation`.

        Never retries and never bounds time: the engine does both. A stream that ends without the
        vendor's terminal event raises.

        Raises:
            ProviderError: anything that went wrong, `retryable` if asking again may help.
        """
        ...

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
