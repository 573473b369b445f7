"""Messages to Anthropic's JSON. Knows no SDK."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perstack.domain.messages import (
    ExpertMessage,
    ExpertPart,
    FileInlinePart,
    ImageInlinePart,
    InstructionMessage,
    Message,
    ResourceLinkPart,
    ResultPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolMessage,
    ToolResultPart,
    link_text,
)
from perstack.ports.model import ModelRequest, ToolDefinition
from perstack.providers.models import Thinking
from perstack.providers.signatures import REDACTED, is_anthropics
from perstack.providers.wire import Kept, encode, file_text, with_array

Json = dict[str, object]

CACHED: Final[Json] = {"type": "ephemeral"}
PROVIDER: Final = "anthropic"
_EMPTY: Final = "(empty)"
_BAD_ID: Final = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as Anthropic wants it; `encoded` is all of it as JSON."""

    role: str
    content: list[Json]
    encoded: bytes


def to_turns(message: Message) -> Iterator[Turn]:
    """Return the message for the wire; the system prompt travels apart and gives none."""
    if isinstance(message, InstructionMessage):
        return
    if isinstance(message, ExpertMessage):
        role, content = "assistant", [block for part in message.contents for block in _said(part)]
        if not content:  # The vendor refuses an empty turn; its neighbours are joined instead.
            return
    elif isinstance(message, ToolMessage):
        role, content = "user", [_result(part) for part in message.contents]
    else:
        role, content = "user", _shown(message.contents)
    content = content or [_text(_EMPTY)]
    yield Turn(role, content, encode({"role": role, "content": content}))


def to_body(
    request: ModelRequest,
    turns: Sequence[Turn],
    *,
    head: Mapping[str, object],
    max_tokens: int,
    thinking: Thinking,
    server_tools: Sequence[Mapping[str, object]] = (),
) -> bytes:
    """Return the request's JSON; `head` is what the platform wants said first."""
    document: Json = {**head, "max_tokens": max_tokens}
    system = _system(request.messages[:1])
    if system:
        document["system"] = system
    if (request.tools or server_tools) and not request.use_tools:
        document["tool_choice"] = {"type": "none"}
    document.update(_thinking(thinking))
    encoded = encode(document)
    tools = [*_TOOLS.of(request.tools), *map(encode, server_tools)]
    if tools:
        encoded = with_array(encoded, "tools", tools)
    return with_array(encoded, "messages", _marked(turns))


def _system(first: Sequence[Message]) -> list[Json]:
    parts = [
        part
        for message in first
        if isinstance(message, InstructionMessage)
        for part in message.contents
    ]
    blocks = [_text(part.text) for part in parts if part.text.strip()]
    if blocks:
        blocks[-1]["cache_control"] = CACHED
    return blocks


def _thinking(thinking: Thinking) -> Json:
    found: Json = {}
    if thinking.kind is not None:
        setting: Json = {"type": thinking.kind}
        if thinking.budget is not None:
            setting["budget_tokens"] = thinking.budget
        if thinking.summarized:
            setting["display"] = "summarized"
        if thinking.bound:
            setting["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
        found["thinking"] = setting
    if thinking.effort is not None:
        found["output_config"] = {"effort": thinking.effort}
    return found


def _marked(turns: Sequence[Turn]) -> list[bytes]:
    """Return the turns, the last two of the user's marked as ends of what may be cached.

    The last mark writes what the next step reads; the one before finds what this step's wrote,
    however many blocks the step added.
    """
    encoded = [turn.encoded for turn in turns]
    ours = [place for place, turn in enumerate(turns) if turn.role == "user"]
    for place in ours[-2:]:
        *before, last = turns[place].content
        content = [*before, {**last, "cache_control": CACHED}]
        encoded[place] = encode({"role": "user", "content": content})
    return encoded


def _text(said: str) -> Json:
    return {"type": "text", "text": said}


def _tool(tool: ToolDefinition) -> Json:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def _encode_tools(tools: Sequence[ToolDefinition]) -> Sequence[bytes]:
    return [encode(_tool(tool)) for tool in tools]


_TOOLS: Final = Kept(_encode_tools)


def _said(part: ExpertPart) -> Iterator[Json]:
    if isinstance(part, TextPart):
        if part.text.strip():
            yield _text(part.text)
    elif isinstance(part, ToolCallPart):
        call_id = _safe_id(part.tool_call_id)
        yield {"type": "tool_use", "id": call_id, "name": part.tool_name, "input": part.args}
    elif isinstance(part, ThinkingPart):
        yield from _thought(part)
    elif part.provider == PROVIDER:
        yield dict(part.payload)


def _thought(part: ThinkingPart) -> Iterator[Json]:
    signature = part.signature
    if signature is None or not is_anthropics(signature):
        return  # Only what the vendor signed may go back to it.
    if signature.startswith(REDACTED):
        yield {"type": "redacted_thinking", "data": signature.removeprefix(REDACTED)}
    else:
        yield {"type": "thinking", "thinking": part.thinking, "signature": signature}


def _result(part: ToolResultPart) -> Json:
    block: Json = {
        "type": "tool_result",
        "tool_use_id": _safe_id(part.tool_call_id),
        "content": _shown(part.contents),
    }
    if part.is_error:
        block["is_error"] = True
    return block


def _shown(parts: Sequence[ResultPart]) -> list[Json]:
    return [block for part in parts for block in _show(part)]


def _show(part: ResultPart) -> Iterator[Json]:
    if isinstance(part, TextPart):
        if part.text.strip():
            yield _text(part.text)
    elif isinstance(part, ResourceLinkPart):
        yield _text(link_text(part))
    elif isinstance(part, ImageInlinePart):
        yield {"type": "image", "source": _base64(part)}
    elif part.mime_type == "application/pdf":
        yield {"type": "document", "source": _base64(part)}
    else:
        content = file_text(part.mime_type, part.encoded_data)
        yield _text(content or f"[a file of type {part.mime_type}, which this model cannot read]")


def _base64(part: ImageInlinePart | FileInlinePart) -> Json:
    return {"type": "base64", "media_type": part.mime_type, "data": part.encoded_data}


def _safe_id(call_id: str) -> str:
    """Return the id in the alphabet Anthropic accepts: a job may have begun with another vendor."""
    return _BAD_ID.sub("_", call_id)
