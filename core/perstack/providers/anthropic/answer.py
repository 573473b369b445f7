"""The events of Anthropic's stream to an answer. Knows no SDK."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, Literal

from perstack.domain.usage import Usage
from perstack.ports.model import FinishReason, Generation, Spoken
from perstack.providers.answer import Answer, Block, settle
from perstack.providers.anthropic.wire import PROVIDER
from perstack.providers.signatures import REDACTED
from perstack.providers.wire import clean, count, obj, text

_FINISH: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "toolCalls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "pause_turn": "paused",
}
# Blocks of tools that the vendor runs, by their type or how that ends; they go back as they came.
_SERVER_BLOCKS: Final = ("server_tool_use", "container_upload", "_tool_result")


class ClaudeAnswer:
    """Reads the events of one answer; events and blocks it does not know are skipped.

    `in_container` is told the id of the container that the vendor's tools ran in.
    """

    def __init__(self, in_container: Callable[[str], None] = lambda _: None) -> None:
        self._in_container = in_container
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
                message = obj(read.get("message"))
                self._count(message.get("usage"))
                self._usage.pop("output_tokens", None)  # What it will be is told at the end.
                self._see_container(message)
            case "content_block_start":
                return self._begin(count(read.get("index")), obj(read.get("content_block")))
            case "content_block_delta":
                return self._grow(count(read.get("index")), obj(read.get("delta")))
            case "message_delta":
                self._count(read.get("usage"))
                delta = obj(read.get("delta"))
                self._stop_reason = text(delta.get("stop_reason")) or self._stop_reason
                self._see_container(delta)
            case "message_stop":
                self._stopped = True
            case _:
                pass
        return None

    def generation(self) -> Generation:
        """Return the finished answer."""
        finish = _FINISH.get(self._stop_reason, "other")
        parts = self._answer.parts(finish)
        return Generation(parts=parts, finish=settle(finish, parts), usage=to_usage(self._usage))

    def _see_container(self, said: Mapping[str, object]) -> None:
        if container := text(obj(said.get("container")).get("id")):
            self._in_container(container)

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
        case str(kind) if kind.endswith(_SERVER_BLOCKS):
            return Block("opaque", provider=PROVIDER, payload=said)
        case _:
            return None


def to_usage(counted: Mapping[str, int]) -> Usage:
    """Return the sums as Perstack counts: cached tokens are input tokens too.

    What is not `counted` is unknown; caches may be left out by servers that have none.
    """
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
        cache_write_tokens=written,
        partial=not {"input_tokens", "output_tokens"} <= counted.keys(),
    )
