"""Messages to chat completions' JSON, and its stream's chunks to an answer. Knows no SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from perstack.domain.messages import (
    ExpertMessage,
    ImageInlinePart,
    InstructionMessage,
    Message,
    ResourceLinkPart,
    ResultPart,
    TextPart,
    ToolMessage,
    ToolResultPart,
    link_text,
)
from perstack.domain.usage import Usage
from perstack.ports.model import FinishReason, Generation, ModelRequest, Spoken, ToolDefinition
from perstack.providers.answer import Answer, Block, settle
from perstack.providers.models import Effort
from perstack.providers.wire import (
    Kept,
    clean,
    count,
    encode,
    file_text,
    items,
    obj,
    text,
    with_array,
)

Json = dict[str, object]

_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "tool_calls": "toolCalls",
    "function_call": "toolCalls",
    "length": "length",
    "content_filter": "refusal",
}


def to_messages(message: Message) -> Iterator[bytes]:
    """Return the message for the wire as JSON: one for each tool result, none if it is empty."""
    for value in _messages(message):
        yield encode(value)


def to_body(
    request: ModelRequest, messages: Sequence[bytes], *, model: str, effort: Effort | None
) -> bytes:
    """Return the request's JSON."""
    head: Json = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    if request.tools and not request.use_tools:
        head["tool_choice"] = "none"
    if effort is not None:
        head["reasoning_effort"] = effort
    document = encode(head)
    if request.tools:
        document = with_array(document, "tools", _TOOLS.of(request.tools))
    return with_array(document, "messages", messages)


def _messages(message: Message) -> Iterator[Json]:
    if isinstance(message, InstructionMessage):
        said = "\n\n".join(part.text for part in message.contents)
        yield {"role": "system", "content": said}
    elif isinstance(message, ExpertMessage):
        yield from _assistant(message)
    elif isinstance(message, ToolMessage):
        yield from (_result(part) for part in message.contents)
        yield from _seen(message.contents)
    else:
        content = [_show(part) for part in message.contents]
        yield {"role": "user", "content": _shortest(content)}


def _assistant(message: ExpertMessage) -> Iterator[Json]:
    """Return text and calls; reasoning is the vendor's own and never sent back."""
    calls = [
        {
            "id": call.tool_call_id,
            "type": "function",
            "function": {"name": call.tool_name, "arguments": encode(call.args).decode()},
        }
        for call in message.tool_calls
    ]
    if not (message.text or calls):
        return
    value: Json = {"role": "assistant", "content": message.text or None}
    if calls:
        value["tool_calls"] = calls
    yield value


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


class OpenAICollector:
    """Reads the chunks of one answer, also those of servers that are merely compatible."""

    def __init__(self) -> None:
        self._thinking = Block("thinking")
        self._text = Block("text")
        self._calls: dict[int, Block] = {}
        self._answer = Answer()
        self._finish = ""
        self._usage: Mapping[str, object] | None = None

    @property
    def complete(self) -> bool:
        """True once a finish reason was read."""
        return bool(self._finish)

    @property
    def done(self) -> bool:
        """True once the usage, which follows the finish reason, was read too."""
        return self.complete and self._usage is not None

    def feed(self, event: object) -> Spoken | None:
        """Read one chunk; return what can be shown of it."""
        chunk = obj(event)
        self._usage = obj(chunk.get("usage")) or self._usage
        for choice in map(obj, items(chunk.get("choices"))):
            if count(choice.get("index")) in {0, None}:
                self._finish = text(choice.get("finish_reason")) or self._finish
                return self._read(obj(choice.get("delta")))
        return None

    def generation(self) -> Generation:
        """Return the finished answer: reasoning, text, calls."""
        for block in (self._thinking, self._text):
            if block.pieces:
                self._answer.blocks.append(block)
        self._answer.blocks.extend(self._calls[index] for index in sorted(self._calls))
        finish = _FINISH.get(self._finish, "other")
        parts = self._answer.parts(finish)
        usage = _usage(self._usage or {})
        return Generation(parts=parts, finish=settle(finish, parts), usage=usage)

    def _read(self, delta: Mapping[str, object]) -> Spoken | None:
        for position, call in enumerate(map(obj, items(delta.get("tool_calls")))):
            self._grow_call(position, call)
        reasoning = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        if reasoning:
            return self._say(self._thinking, "reasoning", reasoning)
        said = text(delta.get("content")) or text(delta.get("refusal"))
        return self._say(self._text, "text", said) if said else None

    def _say(self, block: Block, stream: Literal["reasoning", "text"], piece: str) -> Spoken:
        self._answer.grow(block, piece)
        return Spoken(stream, clean(piece))

    def _grow_call(self, position: int, said: Mapping[str, object]) -> None:
        function = obj(said.get("function"))
        call_id = text(said.get("id"))
        block = self._find_call(count(said.get("index")), position, call_id)
        block.call_id = block.call_id or call_id
        name = text(function.get("name"))
        if name != block.name:  # Some servers repeat the whole name with every piece.
            block.name += name
        self._answer.grow(block, text(function.get("arguments")))

    def _find_call(self, index: int | None, position: int, call_id: str) -> Block:
        """Return the call a piece belongs to; without an index, its id or its place says so."""
        if index is None:
            known = [
                at for at, block in self._calls.items() if call_id and block.call_id == call_id
            ]
            index = known[0] if known else position
            if not known and call_id and index in self._calls:
                index = len(self._calls)
        return self._calls.setdefault(index, Block("call"))


def _usage(said: Mapping[str, object]) -> Usage:
    read = count(said.get("prompt_tokens")) or 0
    wrote = count(said.get("completion_tokens")) or 0
    cached = count(obj(said.get("prompt_tokens_details")).get("cached_tokens")) or 0
    reasoned = count(obj(said.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    return Usage(
        input_tokens=read,
        output_tokens=wrote,
        reasoning_tokens=min(reasoned, wrote),
        total_tokens=read + wrote,
        cached_input_tokens=min(cached, read),
    )
