"""Messages to chat completions' JSON, in each vendor's dialect. Knows no SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from perstack.domain.messages import (
    ExpertMessage,
    ImageInlinePart,
    InstructionMessage,
    Message,
    ProviderPart,
    ResourceLinkPart,
    ResultPart,
    TextPart,
    ThinkingPart,
    ToolMessage,
    ToolResultPart,
    link_text,
)
from perstack.ports.model import ModelRequest, ToolDefinition
from perstack.providers.wire import Kept, encode, file_text, text, with_array

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the vendors that speak this protocol differ.

    `reasoning` returns the fields that say how much to reason, given whether there are tools.
    `limit` is the name of the field that bounds the answer. `returns_reasoning`: what was reasoned
    before a call has to go back with it. `tagged_thoughts`: reasoning comes as text in tags.
    `signs_calls` is who calls' signatures belong to, and `unsigned` what a call goes back with
    that has none, as another vendor's model made it.
    """

    reasoning: Callable[[bool], Json] = lambda _: {}
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    returns_reasoning: bool = False
    tagged_thoughts: bool = False
    signs_calls: str = ""
    unsigned: Json | None = None


PLAIN: Final = Dialect()


def to_messages(message: Message, dialect: Dialect = PLAIN) -> Iterator[bytes]:
    """Return the message for the wire as JSON: one for each tool result, none if it is empty."""
    for value in _messages(message, dialect):
        yield encode(value)


def to_body(
    request: ModelRequest, messages: Sequence[bytes], *, model: str, dialect: Dialect = PLAIN
) -> bytes:
    """Return the request's JSON."""
    head: Json = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    if request.tools and not request.use_tools:
        head["tool_choice"] = "none"
    if request.max_output_tokens is not None:
        head[dialect.limit] = request.max_output_tokens
    head.update(dialect.reasoning(bool(request.tools)))
    document = encode(head)
    if request.tools:
        document = with_array(document, "tools", _TOOLS.of(request.tools))
    return with_array(document, "messages", messages)


def _messages(message: Message, dialect: Dialect) -> Iterator[Json]:
    if isinstance(message, InstructionMessage):
        said = "\n\n".join(part.text for part in message.contents)
        yield {"role": "system", "content": said}
    elif isinstance(message, ExpertMessage):
        yield from _assistant(message, dialect)
    elif isinstance(message, ToolMessage):
        yield from (_result(part) for part in message.contents)
        yield from _seen(message.contents)
    else:
        content = [_show(part) for part in message.contents]
        yield {"role": "user", "content": _shortest(content)}


def _assistant(message: ExpertMessage, dialect: Dialect) -> Iterator[Json]:
    """Return text and calls; reasoning goes back only to who wants it."""
    calls = _calls(message, dialect)
    if not (message.text or calls):
        return
    value: Json = {"role": "assistant", "content": message.text or None}
    if calls:
        value["tool_calls"] = calls
        if dialect.returns_reasoning:
            value["reasoning_content"] = "".join(
                part.thinking
                for part in message.contents
                if isinstance(part, ThinkingPart) and part.signature is None
            )
    yield value


def _calls(message: ExpertMessage, dialect: Dialect) -> list[Json]:
    signed = _signatures(message, dialect) if dialect.signs_calls else {}
    calls: list[Json] = []
    for call in message.tool_calls:
        function = {"name": call.tool_name, "arguments": encode(call.args).decode()}
        value: Json = {"id": call.tool_call_id, "type": "function", "function": function}
        if call.tool_call_id in signed:
            value["extra_content"] = signed[call.tool_call_id]
        elif dialect.unsigned is not None and not signed and not calls:
            value["extra_content"] = dialect.unsigned
        calls.append(value)
    return calls


def _signatures(message: ExpertMessage, dialect: Dialect) -> dict[str, object]:
    """Return what has to go back with each call; of calls made at once only the first has it."""
    return {
        text(part.payload.get("call_id")): part.payload.get("extra_content")
        for part in message.contents
        if isinstance(part, ProviderPart) and part.provider == dialect.signs_calls
    }


def _result(part: ToolResultPart) -> Json:
    lines = [shown for content in part.contents if (shown := _as_text(content))]
    if part.is_error:
        lines.insert(0, "Error:")
    return {"role": "tool", "tool_call_id": part.tool_call_id, "content": "\n".join(lines)}


def _seen(parts: Sequence[ToolResultPart]) -> Iterator[Json]:
    """Return what tools gave to look at: a tool's message may hold text only."""
    content: list[Json] = []
    for part in parts:
        looked_at = [_show(one) for one in part.contents if _as_text(one) is None]
        if looked_at:
            content.append(_text(f"What {part.tool_name} ({part.tool_call_id}) returned:"))
            content.extend(looked_at)
    if content:
        yield {"role": "user", "content": content}


def _as_text(part: ResultPart) -> str | None:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, ResourceLinkPart):
        return link_text(part)
    if isinstance(part, ImageInlinePart) or part.mime_type == "application/pdf":
        return None
    content = file_text(part.mime_type, part.encoded_data)
    return content or f"[a file of type {part.mime_type}, which this model cannot read]"


def _show(part: ResultPart) -> Json:
    said = _as_text(part)
    if said is not None or isinstance(part, TextPart | ResourceLinkPart):
        return _text(said or "")
    data = f"data:{part.mime_type};base64,{part.encoded_data}"
    if isinstance(part, ImageInlinePart):
        return {"type": "image_url", "image_url": {"url": data}}
    return {"type": "file", "file": {"filename": "file.pdf", "file_data": data}}


def _shortest(content: list[Json]) -> object:
    """Return the parts, or the bare text where all are text: every compatible server reads that."""
    if all(part["type"] == "text" for part in content):
        return "\n".join(text(part["text"]) for part in content) or "(empty)"
    return content


def _text(said: str) -> Json:
    return {"type": "text", "text": said}


def _tool(tool: ToolDefinition) -> Json:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        },
    }


def _encode_tools(tools: Sequence[ToolDefinition]) -> Sequence[bytes]:
    return [encode(_tool(tool)) for tool in tools]


_TOOLS: Final = Kept(_encode_tools)
