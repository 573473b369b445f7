"""A model that follows a scenario: no key, no network, the same every time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final, Literal

import anyio
from pydantic import JsonValue

from perstack.domain.ids import RunId, ToolCallId
from perstack.domain.messages import (
    ExpertMessage,
    ExpertPart,
    InstructionMessage,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolMessage,
    text_of,
)
from perstack.domain.usage import ModelPrice, Usage
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest, Spoken
from perstack.providers.answer import settle
from perstack.providers.conversations import Conversations
from perstack.providers.http_rules import is_retryable
from perstack.providers.scenario import Scenario, ScriptedCall, ScriptedTurn
from perstack.providers.wire import parse_args

_CHARS_PER_TOKEN: Final = 4
_PIECES_PER_S: Final = 20
_TURN: Final = "{{turn}}"


class ScriptedModel:
    """A `ChatModel` whose answers stand in a scenario.

    It keeps nothing that matters: which turn it is follows from the messages, so that a resumed
    or forked run goes on where it was. Only how often a turn has failed is counted here.
    """

    def __init__(self, scenario: Scenario, *, pace: float = 1.0, alias: str | None = None) -> None:
        """Follow `scenario`; every wait is multiplied by `pace`, 0 answers at once.

        `alias` is the name that it goes by, in place of the scenario's own.
        """
        self._scenario = scenario
        self._pace = pace
        self._alias = alias
        self._failures: dict[tuple[RunId, int], int] = {}
        self._lengths = Conversations[int](_length)

    @property
    def scenario(self) -> Scenario:
        """The scenario it follows."""
        return self._scenario

    @property
    def name(self) -> str:
        """Say that it is scripted, and by what."""
        return f"scripted:{self._alias or self._scenario.path.stem}"

    @property
    def context_window(self) -> int | None:
        """The context window the scenario pretends, None if it does not say."""
        return self._scenario.defaults.context_window

    @property
    def price(self) -> ModelPrice | None:
        """The price the scenario pretends, None if it does not say."""
        said = self._scenario.defaults.price
        return ModelPrice(**said.model_dump()) if said else None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Say what the scenario has for this turn; see `ports.model.ChatModel.stream`.

        Raises:
            ProviderError: the scenario has a failure here, or nothing at all.
        """
        number = 1 + sum(isinstance(message, ExpertMessage) for message in request.messages)
        turn = self._find(request, number)
        await self._wait(_first(turn.latency_ms, self._scenario.defaults.latency_ms) / 1000)
        self._fail_if_scripted(turn, request.run_id, number)
        for piece in _pieces(turn, number, self._chars_per_s(turn)):
            yield piece
            await self._wait(1 / _PIECES_PER_S if self._chars_per_s(turn) else 0.0)
        yield self._generation(turn, request, number)

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        self._lengths.forget(run_id)
        for key in [key for key in self._failures if key[0] == run_id]:
            del self._failures[key]

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def _find(self, request: ModelRequest, number: int) -> ScriptedTurn:
        turn = self._scenario.turn_for(request.expert_key, number, _latest(request.messages))
        if turn is not None:
            return turn
        path, expert = self._scenario.path, request.expert_key
        raise ProviderError(
            f"the scenario {path.name} has nothing for Expert {expert!r} at turn {number}",
            hint=f"add [[turns]] with expert = {json.dumps(expert)} and turn = {number} to {path}",
        )

    def _fail_if_scripted(self, turn: ScriptedTurn, run_id: RunId, number: int) -> None:
        error = turn.error
        if error is None:
            return
        failed = self._failures.get((run_id, number), 0)
        if failed >= error.times:
            return
        self._failures[run_id, number] = failed + 1
        raise ProviderError(
            f"{error.message} (HTTP {error.status})",
            retryable=is_retryable(error.status),
            retry_after_s=None if error.retry_after_s is None else error.retry_after_s * self._pace,
            status=error.status,
        )

    def _chars_per_s(self, turn: ScriptedTurn) -> float:
        if not self._pace:
            return 0
        return _first(turn.chars_per_s, self._scenario.defaults.chars_per_s)

    async def _wait(self, seconds: float) -> None:
        await anyio.sleep(seconds * self._pace)

    def _generation(self, turn: ScriptedTurn, request: ModelRequest, number: int) -> Generation:
        parts = tuple(_parts(turn, number))
        finish = turn.finish or settle("stop", parts)
        return Generation(parts=parts, finish=finish, usage=self._usage(turn, request))

    def _usage(self, turn: ScriptedTurn, request: ModelRequest) -> Usage:
        said = turn.usage
        if said is not None:
            return Usage(**said.model_dump(), total_tokens=said.input_tokens + said.output_tokens)
        read = sum(self._lengths.take(request.run_id, request.messages)) // _CHARS_PER_TOKEN
        reasoned = -(-len(turn.reasoning) // _CHARS_PER_TOKEN)
        called = sum(len(call.tool) + len(json.dumps(call.args)) for call in turn.calls)
        wrote = reasoned - (-(len(turn.text) + called) // _CHARS_PER_TOKEN)
        return Usage(
            input_tokens=read,
            output_tokens=wrote,
            reasoning_tokens=reasoned,
            total_tokens=read + wrote,
        )


def _pieces(turn: ScriptedTurn, number: int, chars_per_s: float) -> Iterator[Spoken]:
    size = max(1, round(chars_per_s / _PIECES_PER_S))
    said: tuple[tuple[Literal["reasoning", "text"], str], ...] = (
        ("reasoning", _filled(turn.reasoning, number)),
        ("text", _filled(turn.text, number)),
    )
    for stream, whole in said:
        step = size if chars_per_s else max(1, len(whole))
        for start in range(0, len(whole), step):
            yield Spoken(stream, whole[start : start + step])


def _parts(turn: ScriptedTurn, number: int) -> Iterator[ExpertPart]:
    if turn.reasoning:
        yield ThinkingPart(thinking=_filled(turn.reasoning, number))
    if turn.text:
        yield TextPart(text=_filled(turn.text, number))
    for place, call in enumerate(turn.calls, start=1):
        yield _call(call, number, ToolCallId(f"call_{number}_{place}"))


def _call(call: ScriptedCall, number: int, call_id: ToolCallId) -> ToolCallPart:
    args: dict[str, JsonValue] | None = {
        name: _filled(value, number) if isinstance(value, str) else value
        for name, value in call.args.items()
    }
    if call.raw_args is not None:
        args = parse_args(call.raw_args)
    return ToolCallPart(
        tool_call_id=call_id,
        tool_name=call.tool,
        args=args if args is not None else {},
        invalid_args=None if args is not None else call.raw_args,
    )


def _filled(said: str, number: int) -> str:
    return said.replace(_TURN, str(number))


def _latest(messages: Sequence[Message]) -> str:
    """Return the text of the latest message that is not the Expert's own."""
    for message in reversed(messages):
        if not isinstance(message, ExpertMessage | InstructionMessage):
            return _text(message)
    return ""


def _text(message: Message) -> str:
    if isinstance(message, ToolMessage):
        return "\n".join(text_of(result.contents) for result in message.contents)
    return "\n".join(part.text for part in message.contents if isinstance(part, TextPart))


def _length(message: Message) -> tuple[int]:
    """Return how many characters the message costs, its calls and pictures roughly included."""
    if isinstance(message, ExpertMessage):
        calls = sum(len(json.dumps(call.args)) for call in message.tool_calls)
        return (len(message.text) + calls,)
    return (len(_text(message)),)


def _first(own: float | None, default: float) -> float:
    return default if own is None else own
