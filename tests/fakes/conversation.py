"""Short ways to write messages and requests in tests."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from pydantic import JsonValue

from perstack.domain.ids import ExpertKey, MessageId, RunId, ToolCallId
from perstack.domain.messages import (
    ExpertMessage,
    ExpertPart,
    InstructionMessage,
    Message,
    ResultPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    ToolResultPart,
    UserMessage,
)
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken, ToolDefinition

_numbers = itertools.count()

ANY_OBJECT: dict[str, JsonValue] = {"type": "object"}


def _id() -> MessageId:
    return MessageId(f"m{next(_numbers)}")


def system(text: str = "You test.") -> InstructionMessage:
    return InstructionMessage(id=_id(), contents=(TextPart(text=text),))


def user(*parts: str | ResultPart) -> UserMessage:
    return UserMessage(id=_id(), contents=_parts(parts))


def expert(*parts: str | ExpertPart) -> ExpertMessage:
    contents = tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
    return ExpertMessage(id=_id(), contents=contents)


def call(name: str, call_id: str = "c1", /, **args: JsonValue) -> ToolCallPart:
    return ToolCallPart(tool_call_id=ToolCallId(call_id), tool_name=name, args=args)


def result(
    name: str, call_id: str = "c1", /, *parts: str | ResultPart, error: bool | None = None
) -> ToolResultPart:
    return ToolResultPart(
        tool_call_id=ToolCallId(call_id), tool_name=name, contents=_parts(parts), is_error=error
    )


def tools(*results: ToolResultPart) -> ToolMessage:
    return ToolMessage(id=_id(), contents=results)


def tool(name: str) -> ToolDefinition:
    return ToolDefinition(name, f"does {name}", ANY_OBJECT)


def request(
    *messages: Message,
    run: str = "run1",
    key: str = "tester",
    offered: Sequence[ToolDefinition] = (),
    use_tools: bool = True,
) -> ModelRequest:
    said = messages or (system(), user("hello"))
    return ModelRequest(RunId(run), ExpertKey(key), said, offered, use_tools)


async def ask(model: ChatModel, asked: ModelRequest) -> tuple[list[Spoken], Generation]:
    """Return what was shown while it streamed, and the finished answer, which comes last."""
    stream: AsyncGenerator[Spoken | Generation, None] = model.stream(asked)
    async with aclosing(stream):
        pieces = [piece async for piece in stream]
    *shown, last = pieces
    assert isinstance(last, Generation)
    assert all(isinstance(piece, Spoken) for piece in shown)
    return [piece for piece in shown if isinstance(piece, Spoken)], last


def _parts(parts: Sequence[str | ResultPart]) -> tuple[ResultPart, ...]:
    return tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
