"""What a model vendor's stream looks like: both protocols' events for one reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import anyio

FaultKind = Literal[
    "refuse",
    "hang",
    "stall_mid",
    "reset_mid",
    "close_mid",
    "bad_chunk",
    "short_body",
    "sse_error",
    "bad_json",
    "invalid_utf8",
    "no_terminator",
    "unknown_events",
    "crlf",
    "fragments",
    "huge_text",
    "gzip",
    "gzip_bomb",
    "exception",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something going wrong. `after` events are sent first; `no_terminator` drops as many last."""

    kind: FaultKind
    after: int = 3
    megabytes: int = 25


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status instead of an answer."""

    status: int
    message: str = "no"
    kind: str = "invalid_request_error"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `args` as text is sent as it stands."""

    name: str
    args: Mapping[str, object] | str = field(default_factory=dict[str, object])
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `stop_reason` is the vendor's own word; by default it follows from `calls`.

    `latency_s` passes before the first byte; `gate`, where given, is waited for before the answer
    is begun. `blocks` are of tools that the vendor ran: they come whole, before the text.
    `encrypted`, `phase` and `refusal` are of OpenAI's Responses, `container` is Anthropic's;
    `signed` signs calls as Google does. `usage`, where given, is sent instead of the numbers.
    `id` is Anthropic's message id, by which its programs tell one answer from the next.
    """

    text: Sequence[str] = ()
    thinking: Sequence[str] = ()
    signature: str = "signed-by-vendor"
    redacted: str = ""
    calls: Sequence[Call] = ()
    input_tokens: int = 100
    output_tokens: int = 20
    cached_tokens: int = 0
    cache_written_tokens: int = 0
    reasoning_tokens: int = 0
    stop_reason: str | None = None
    blocks: Sequence[Mapping[str, object]] = ()
    encrypted: str = ""
    phase: str = ""
    refusal: str = ""
    container: str = ""
    signed: str = ""
    usage: Mapping[str, object] | None = None
    latency_s: float = 0.0
    gate: anyio.Event | None = None
    fault: Fault | None = None
    id: str = "msg_1"


HTML_502 = Refusal(502, headers={"content-type": "text/html"}, body=b"<html>Bad gateway</html>")


def anthropic_events(reply: Reply) -> Iterator[bytes]:
    """Return the reply as Messages events."""
    usage = {
        "input_tokens": reply.input_tokens,
        "cache_read_input_tokens": reply.cached_tokens,
        "cache_creation_input_tokens": reply.cache_written_tokens,
        "output_tokens": 1,
    }
    message: Mapping[str, object] = {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": "claude-fake",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage if reply.usage is None else reply.usage,
    }
    yield _event({"type": "message_start", "message": message})
    for index, (start, deltas) in enumerate(_blocks(reply)):
        yield _event({"type": "content_block_start", "index": index, "content_block": start})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    done = {
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"thinking_tokens": reply.reasoning_tokens},
    }
    stop: dict[str, object] = {
        "stop_reason": reply.stop_reason or ("tool_use" if reply.calls else "end_turn")
    }
    if reply.container:
        stop["container"] = {"id": reply.container, "expires_at": "2026-12-01T00:00:00Z"}
    last = done if reply.usage is None else {}
    yield _event({"type": "message_delta", "delta": stop, "usage": last})
    yield _event({"type": "message_stop"})


def _blocks(reply: Reply) -> Iterator[tuple[dict[str, object], list[dict[str, object]]]]:
    if reply.thinking:
        deltas: list[dict[str, object]] = [
            {"type": "thinking_delta", "thinking": piece} for piece in reply.thinking
        ]
        deltas.append({"type": "signature_delta", "signature": reply.signature})
        yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if reply.redacted:
        yield {"type": "redacted_thinking", "data": reply.redacted}, []
    for block in reply.blocks:
        if block["type"] == "server_tool_use":
            raw = json.dumps(block["input"])
            pieces: list[dict[str, object]] = [
                {"type": "input_json_delta", "partial_json": piece} for piece in (raw[:3], raw[3:])
            ]
            yield {**block, "input": {}}, pieces
        else:
            yield dict(block), []
    if reply.text:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": t} for t in reply.text]
    for place, call in enumerate(reply.calls):
        block_id = call_id(call, place)
        yield (
            {"type": "tool_use", "id": block_id, "name": call.name, "input": {}},
            [{"type": "input_json_delta", "partial_json": p} for p in halves(call)],
        )


def openai_events(reply: Reply) -> Iterator[bytes]:
    """Return the reply as chat completion chunks."""
    yield _chunk({"role": "assistant", "content": None})
    for piece in reply.thinking:
        yield _chunk({"reasoning_content": piece})
    for piece in reply.text:
        yield _chunk({"content": piece})
    for index, call in enumerate(reply.calls):
        first, *rest = halves(call)
        function = {"name": call.name, "arguments": first}
        head: dict[str, object] = {"index": index, "id": call_id(call, index), "type": "function"}
        if reply.signed and not index:
            head["extra_content"] = {"google": {"thought_signature": reply.signed}}
        yield _chunk({"tool_calls": [{**head, "function": function}]})
        for piece in rest:
            yield _chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield _chunk({}, reply.stop_reason or ("tool_calls" if reply.calls else "stop"))
    usage = {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
    }
    told = usage if reply.usage is None else reply.usage
    yield _data({"id": "c1", "object": "chat.completion.chunk", "choices": None, "usage": told})
    yield b"data: [DONE]\n\n"


def error_event(protocol: str) -> bytes:
    """Return an error inside the stream, of the kind that passes."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    if protocol == "anthropic":
        return _event({"type": "error", "error": error})
    return _data({"error": error})


def odd_events(protocol: str) -> list[bytes]:
    """Return events and comments that no client knows."""
    comment = b": a comment\n\n"
    if protocol == "anthropic":
        return [
            comment,
            _event({"type": "ping"}),
            _event({"type": "weather_report", "rain": True}),
            _event({"type": "content_block_start", "index": 77, "content_block": {"type": "hat"}}),
            _event({"type": "content_block_delta", "index": 77, "delta": {"type": "hat_delta"}}),
        ]
    return [comment, _data({"object": "weather.report", "choices": None}), _data({"choices": []})]


def _chunk(delta: Mapping[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]})


def call_id(call: Call, place: int) -> str:
    """Return the id of a call, made up where the test gives none."""
    return call.id or f"toolu_{call.name}_{place}"


def halves(call: Call) -> list[str]:
    """Return a call's arguments in two pieces."""
    raw = call.args if isinstance(call.args, str) else json.dumps(call.args)
    middle = len(raw) // 2
    return [raw[:middle], raw[middle:]]


def _event(value: Mapping[str, object]) -> bytes:
    return f"event: {value['type']}\n".encode() + _data(value)


def _data(value: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
