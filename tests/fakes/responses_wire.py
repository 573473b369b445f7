"""What OpenAI's Responses stream looks like: the typed events for one reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tests.fakes.model_wire import Call, Reply, call_id, halves

Json = dict[str, object]


def responses_events(reply: Reply) -> Iterator[bytes]:
    """Return the reply as Responses events."""
    yield _event("response.created", response={"id": "resp_1", "status": "in_progress"})
    yield _event("response.in_progress", response={"id": "resp_1", "status": "in_progress"})
    index = 0
    if reply.thinking or reply.encrypted:
        yield from _reasoning(reply, index)
        index += 1
    for item in reply.blocks:
        yield from _whole(item, index)
        index += 1
    if reply.text or reply.refusal:
        yield from _message(reply, index)
        index += 1
    for place, call in enumerate(reply.calls):
        yield from _call(call, place, index + place)
    yield _last(reply)


def responses_error() -> bytes:
    """Return an error inside the stream, of the kind that passes."""
    return _event("error", code="server_error", message="Overloaded", param=None)


def responses_odd() -> list[bytes]:
    """Return events and comments that no client knows."""
    return [
        b": a comment\n\n",
        _event("weather.report", rain=True),
        _event("response.output_item.added", output_index=77, item={"type": "hat"}),
        _event("response.hat.delta", output_index=77, delta="brim"),
    ]


def _reasoning(reply: Reply, index: int) -> Iterator[bytes]:
    item: Json = {"type": "reasoning", "id": "rs_1", "summary": []}
    yield _event("response.output_item.added", output_index=index, item=item)
    place: Json = {"output_index": index, "summary_index": 0}
    whole = "".join(reply.thinking)
    yield _event("response.reasoning_summary_part.added", **place)
    for said in reply.thinking:
        yield _event("response.reasoning_summary_text.delta", **place, delta=said)
    yield _event("response.reasoning_summary_text.done", **place, text=whole)
    summary = [{"type": "summary_text", "text": whole}]
    done: Json = {**item, "summary": summary, "encrypted_content": reply.encrypted or None}
    yield _event("response.output_item.done", output_index=index, item=done)


def _message(reply: Reply, index: int) -> Iterator[bytes]:
    item: Json = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    if reply.phase:
        item["phase"] = reply.phase
    yield _event("response.output_item.added", output_index=index, item=item)
    kind = "refusal" if reply.refusal else "output_text"
    pieces = [reply.refusal] if reply.refusal else reply.text
    for piece in pieces:
        yield _event(f"response.{kind}.delta", output_index=index, content_index=0, delta=piece)
    field = "refusal" if reply.refusal else "text"
    done: Json = {**item, "content": [{"type": kind, field: "".join(pieces)}]}
    yield _event("response.output_item.done", output_index=index, item=done)


def _call(call: Call, place: int, index: int) -> Iterator[bytes]:
    item: Json = {"type": "function_call", "id": f"fc_{place}", "call_id": call_id(call, place)}
    item |= {"name": call.name, "arguments": ""}
    yield _event("response.output_item.added", output_index=index, item=item)
    for piece in halves(call):
        yield _event("response.function_call_arguments.delta", output_index=index, delta=piece)
    done: Json = {**item, "arguments": "".join(halves(call))}
    yield _event("response.output_item.done", output_index=index, item=done)


def _whole(item: Mapping[str, object], index: int) -> Iterator[bytes]:
    begun: Json = {"type": item["type"], "id": item.get("id"), "status": "in_progress"}
    yield _event("response.output_item.added", output_index=index, item=begun)
    yield _event(f"response.{item['type']}.completed", output_index=index)
    yield _event("response.output_item.done", output_index=index, item=item)


def _last(reply: Reply) -> bytes:
    usage = {
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {
            "cached_tokens": reply.cached_tokens,
            "cache_write_tokens": reply.cache_written_tokens,
        },
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }
    said = reply.stop_reason
    status = "incomplete" if said else "completed"
    told = usage if reply.usage is None else reply.usage
    response: Json = {"id": "resp_1", "status": status, "usage": told}
    if said:
        response["incomplete_details"] = {"reason": said}
    return _event(f"response.{status}", response=response)


def _event(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()
