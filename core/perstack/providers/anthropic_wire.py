"""Messages to Anthropic's JSON, and its stream's events to an answer. Knows no SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

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
from perstack.domain.usage import Usage
from perstack.ports.model import FinishReason, Generation, ModelRequest, Spoken, ToolDefinition
from perstack.providers.answer import Answer, Block, settle
from perstack.providers.models import Thinking
from perstack.providers.wire import Kept, clean, count, encode, file_text, obj, text, with_array

Json = dict[str, object]

CACHED: Final[Json] = {"type": "ephemeral"}
# The vendor cuts some reasoning out and sends it encrypted; it is kept as a signature.
REDACTED: Final = "redacted_thinking:"
_EMPTY: Final = "(empty)"
_BAD_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_FINISH: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "toolCalls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "pause_turn": "paused",
}


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
    request: ModelRequest, turns: Sequence[Turn], *, model: str, max_tokens: int, thinking: Thinking
) -> bytes:
    """Return the request's JSON."""
    head: Json = {"model": model, "max_tokens": max_tokens, "stream": True}
    system = _system(request.messages[:1])
    if system:
        head["system"] = system
    if request.tools and not request.use_tools:
        head["tool_choice"] = {"type": "none"}
    head.update(_thinking(thinking))
    document = encode(head)
    if request.tools:
        document = with_array(document, "tools", _TOOLS.of(request.tools))
    return with_array(document, "messages", _marked(turns))


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
    elif part.provider == "anthropic":
        yield dict(part.payload)


def _thought(part: ThinkingPart) -> Iterator[Json]:
    signature = part.signature
    if signature is None:  # Only what the vendor signed may go back to it.
        return
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


class AnthropicCollector:
    """Reads the events of one answer; events and blocks it does not know are skipped."""

    def __init__(self) -> None:
        self._answer = Answer()
        self._open: dict[int, Block] = {}
        self._usage: dict[str, int] = {}
        self._stop_reason = ""
        self._stopped = False

    @property
    def complete(self) -> bool:
        """True once a stop reason and the terminal event were read."""
        return self._stopped and bool(self._stop_reason)

    @property
    def done(self) -> bool:
        """The same: nothing follows the terminal event."""
        return self.complete

    def feed(self, event: object) -> Spoken | None:
        """Read one event; return what can be shown of it."""
        read = obj(event)
        match read.get("type"):
            case "message_start":
                self._count(obj(read.get("message")).get("usage"))
            case "content_block_start":
                return self._begin(count(read.get("index")), obj(read.get("content_block")))
            case "content_block_delta":
                return self._grow(count(read.get("index")), obj(read.get("delta")))
            case "message_delta":
                self._count(read.get("usage"))
                self._stop_reason = (
                    text(obj(read.get("delta")).get("stop_reason")) or self._stop_reason
                )
            case "message_stop":
                self._stopped = True
            case _:
                pass
        return None

    def generation(self) -> Generation:
        """Return the finished answer."""
        finish = _FINISH.get(self._stop_reason, "other")
        parts = self._answer.parts(finish)
        return Generation(parts=parts, finish=settle(finish, parts), usage=_usage(self._usage))

    def _begin(self, index: int | None, said: Mapping[str, object]) -> Spoken | None:
        block = _new_block(said)
        if block is None or index is None:
            return None
        self._open[index] = self._answer.begin(block)
        first = block.whole if block.kind in {"text", "thinking"} else ""
        return Spoken("text" if block.kind == "text" else "reasoning", first) if first else None

    def _grow(self, index: int | None, delta: Mapping[str, object]) -> Spoken | None:
        block = self._open.get(index) if index is not None else None
        if block is None:
            return None
        match delta.get("type"):
            case "text_delta":
                return self._say(block, "text", text(delta.get("text")))
            case "thinking_delta":
                return self._say(block, "reasoning", text(delta.get("thinking")))
            case "signature_delta":
                self._answer.sign(block, text(delta.get("signature")))
            case "input_json_delta":
                self._answer.grow_args(block, text(delta.get("partial_json")))
            case _:
                pass
        return None

    def _say(self, block: Block, stream: Literal["reasoning", "text"], piece: str) -> Spoken | None:
        if not piece:
            return None
        self._answer.grow(block, piece)
        return Spoken(stream, clean(piece))

    def _count(self, usage: object) -> None:
        """Keep the newest of each number: those at the end replace those at the start."""
        read = obj(usage)
        details = obj(read.get("output_tokens_details"))
        for name, value in (*read.items(), *details.items()):
            tokens = count(value)
            if tokens is not None:
                self._usage[name] = tokens


def _new_block(said: Mapping[str, object]) -> Block | None:
    match said.get("type"):
        case "text":
            return Block("text", [text(said.get("text"))])
        case "thinking":
            return Block("thinking", [text(said.get("thinking"))], text(said.get("signature")))
        case "redacted_thinking":
            return Block("redacted", signature=REDACTED + text(said.get("data")))
        case "tool_use":
            given = obj(said.get("input"))
            block = Block("call", [json.dumps(given)] if given else [], prefilled=bool(given))
            block.call_id, block.name = text(said.get("id")), text(said.get("name"))
            return block
        case _:
            return None


def _usage(counted: Mapping[str, int]) -> Usage:
    """Return the sums as Perstack counts: cached tokens are input tokens too."""
    cached = counted.get("cache_read_input_tokens", 0)
    written = counted.get("cache_creation_input_tokens", 0)
    read = counted.get("input_tokens", 0) + cached + written
    said = counted.get("output_tokens", 0)
    return Usage(
        input_tokens=read,
        output_tokens=said,
        reasoning_tokens=min(counted.get("thinking_tokens", 0), said),
        total_tokens=read + said,
        cached_input_tokens=cached,
    )
