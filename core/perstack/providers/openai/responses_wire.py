"""Messages to the JSON of OpenAI's Responses. Knows no SDK.

Nothing is stored at the vendor: each request holds the whole conversation, and what the model
reasoned goes back encrypted, as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.messages import (
    ExpertMessage,
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
from perstack.providers.models import Effort
from perstack.providers.signatures import read_responses
from perstack.providers.wire import Kept, encode, file_text, text, with_array

Json = dict[str, object]

PROVIDER: Final = "openai"
_LEAST_TOKENS: Final = 16


def to_items(message: Message) -> Iterator[bytes]:
    """Return the message as items for the wire; the system prompt travels apart."""
    for item in _items(message):
        yield encode(item)


def to_body(
    request: ModelRequest,
    items: Sequence[bytes],
    *,
    model: str,
    effort: Effort | None,
    summary: bool,
    server_tools: Sequence[Json] = (),
    max_calls: int | None = None,
) -> bytes:
    """Return the request's JSON; `summary` asks for a summary of what is reasoned."""
    head: Json = {"model": model, "stream": True, "store": False}
    # Requests with one key are sent where that conversation's beginning is cached.
    head["prompt_cache_key"] = request.run_id
    if instructions := _instructions(request.messages[:1]):
        head["instructions"] = instructions
    if effort is not None:
        head["include"] = ["reasoning.encrypted_content"]
        head["reasoning"] = {"effort": effort, **({"summary": "auto"} if summary else {})}
    if request.max_output_tokens is not None:
        head["max_output_tokens"] = max(_LEAST_TOKENS, request.max_output_tokens)
    if max_calls is not None and server_tools:
        head["max_tool_calls"] = max_calls
    tools = [*_TOOLS.of(request.tools), *map(encode, server_tools)]
    if tools and not request.use_tools:
        head["tool_choice"] = "none"
    document = encode(head)
    if tools:
        document = with_array(document, "tools", tools)
    return with_array(document, "input", items)


def _instructions(first: Sequence[Message]) -> str:
    parts = [
        part.text
        for message in first
        if isinstance(message, InstructionMessage)
        for part in message.contents
    ]
    return "\n\n".join(parts)


def _items(message: Message) -> Iterator[Json]:
    if isinstance(message, InstructionMessage):
        return
    if isinstance(message, ExpertMessage):
        yield from _said(message)
    elif isinstance(message, ToolMessage):
        yield from map(_result, message.contents)
    else:
        content = [_show(part) for part in message.contents]
        yield {"role": "user", "content": content or [_input_text("(empty)")]}


def _said(message: ExpertMessage) -> Iterator[Json]:
    phase: Json = {}
    for part in message.contents:
        if isinstance(part, TextPart):
            yield {"role": "assistant", "content": part.text, **phase}
            phase = {}
        elif isinstance(part, ToolCallPart):
            yield {
                "type": "function_call",
                "call_id": part.tool_call_id,
                "name": part.tool_name,
                "arguments": encode(part.args).decode(),
            }
        elif isinstance(part, ThinkingPart):
            yield from _thought(part)
        elif part.provider == PROVIDER:
            if part.payload.get("type") == "message":  # Says which phase the next text is of.
                phase = {"phase": part.payload["phase"]} if "phase" in part.payload else {}
            else:
                yield dict(part.payload)


def _thought(part: ThinkingPart) -> Iterator[Json]:
    signed = read_responses(part.signature)
    if signed is None:  # Only what the vendor encrypted may go back to it.
        return
    item_id, content = signed
    summary = [{"type": "summary_text", "text": part.thinking}] if part.thinking else []
    named: Json = {"id": item_id} if item_id else {}
    yield {"type": "reasoning", **named, "summary": summary, "encrypted_content": content}


def _result(part: ToolResultPart) -> Json:
    content = [_show(one) for one in part.contents]
    if part.is_error:
        content.insert(0, _input_text("Error:"))
    return {"type": "function_call_output", "call_id": part.tool_call_id, "output": _short(content)}


def _short(content: list[Json]) -> object:
    if all(part["type"] == "input_text" for part in content):
        return "\n".join(text(part["text"]) for part in content)
    return content


def _show(part: ResultPart) -> Json:
    if isinstance(part, TextPart):
        return _input_text(part.text)
    if isinstance(part, ResourceLinkPart):
        return _input_text(link_text(part))
    data = f"data:{part.mime_type};base64,{part.encoded_data}"
    if isinstance(part, ImageInlinePart):
        return {"type": "input_image", "image_url": data, "detail": "auto"}
    if part.mime_type == "application/pdf":
        return {"type": "input_file", "filename": "file.pdf", "file_data": data}
    content = file_text(part.mime_type, part.encoded_data)
    return _input_text(
        content or f"[a file of type {part.mime_type}, which this model cannot read]"
    )


def _input_text(said: str) -> Json:
    return {"type": "input_text", "text": said}


def _tool(tool: ToolDefinition) -> Json:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
        "strict": False,
    }


def _encode_tools(tools: Sequence[ToolDefinition]) -> Sequence[bytes]:
    return [encode(_tool(tool)) for tool in tools]


_TOOLS: Final = Kept(_encode_tools)
