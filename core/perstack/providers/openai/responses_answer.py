"""The events of OpenAI's Responses to an answer. Knows no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from perstack.domain.usage import Usage
from perstack.ports.model import FinishReason, Generation, Spoken
from perstack.providers.answer import Answer, Block, settle
from perstack.providers.failures import Endpoint
from perstack.providers.openai.responses_wire import PROVIDER
from perstack.providers.signatures import sign_responses
from perstack.providers.wire import clean, count, items, obj, text

_REFUSED: Final = frozenset({"content_filter"})


class ResponsesAnswer:
    """Reads the events of one answer; events and items it does not know are skipped.

    An item is what its last event says it is; pieces before that are for showing.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answer = Answer()
        self._open: dict[int, Block] = {}
        self._response: Mapping[str, object] | None = None
        self._refused = False

    @property
    def complete(self) -> bool:
        """True once the terminal event was read."""
        return self._response is not None

    @property
    def done(self) -> bool:
        """The same: nothing follows the terminal event."""
        return self.complete

    def feed(self, event: object) -> Spoken | None:
        """Read one event; return what can be shown of it.

        Raises:
            ProviderError: the event says that the vendor failed.
        """
        read = obj(event)
        match read.get("type"):
            case "response.output_item.added":
                self._begin(_index(read), obj(read.get("item")))
            case "response.output_item.done":
                self._finish(_index(read), obj(read.get("item")))
            case "response.output_text.delta":
                return self._say(_index(read), "text", text(read.get("delta")))
            case "response.refusal.delta":
                self._refused = True
                return self._say(_index(read), "text", text(read.get("delta")))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._say(_index(read), "reasoning", text(read.get("delta")))
            case "response.reasoning_summary_part.added":
                return self._part(_index(read))
            case "response.function_call_arguments.delta":
                self._grow(_index(read), text(read.get("delta")))
            case "response.completed" | "response.incomplete":
                self._response = obj(read.get("response"))
            case "response.failed":
                raise self._endpoint.refused(200, {}, obj(read.get("response")))
            case "error":
                raise self._endpoint.refused(200, {}, read)
            case _:
                pass
        return None

    def generation(self) -> Generation:
        """Return the finished answer."""
        response = self._response or {}
        said = self._reason(response)
        parts = self._answer.parts(said)
        usage = to_usage(obj(response.get("usage")))
        return Generation(parts=parts, finish=settle(said, parts), usage=usage)

    def _reason(self, response: Mapping[str, object]) -> FinishReason:
        status = text(response.get("status"))
        if status == "incomplete":
            why = text(obj(response.get("incomplete_details")).get("reason"))
            if why == "max_output_tokens":
                return "length"
            return "refusal" if why in _REFUSED else "other"
        if status != "completed":
            return "other"
        return "refusal" if self._refused else "stop"

    def _begin(self, index: int | None, item: Mapping[str, object]) -> None:
        if index is None or index in self._open:
            return
        block = _new_block(item)
        if block is not None:
            self._open[index] = self._answer.begin(block)

    def _finish(self, index: int | None, item: Mapping[str, object]) -> None:
        self._begin(index, item)
        block = self._open.get(index) if index is not None else None
        if block is None:
            return
        match block.kind:
            case "thinking":
                self._answer.sign(block, sign_responses(item))
            case "call":
                _settle_call(self._answer, block, item)
            case "text":
                if not block.pieces:
                    self._answer.grow(block, _text_of(item))
                _note_phase(self._answer, block, item)
            case _:
                self._answer.replace(block, item)

    def _say(
        self, index: int | None, stream: Literal["reasoning", "text"], piece: str
    ) -> Spoken | None:
        block = self._open.get(index) if index is not None else None
        if block is None or not piece:
            return None
        self._answer.grow(block, piece)
        return Spoken(stream, clean(piece))

    def _part(self, index: int | None) -> Spoken | None:
        """Return the gap between two parts of a summary."""
        block = self._open.get(index) if index is not None else None
        return self._say(index, "reasoning", "\n\n") if block is not None and block.pieces else None

    def _grow(self, index: int | None, piece: str) -> None:
        block = self._open.get(index) if index is not None else None
        if block is not None:
            self._answer.grow(block, piece)


def _index(event: Mapping[str, object]) -> int | None:
    return count(event.get("output_index"))


def _new_block(item: Mapping[str, object]) -> Block | None:
    match item.get("type"):
        case "message":
            return Block("text")
        case "reasoning":
            return Block("thinking")
        case "function_call":
            block = Block("call")
            block.call_id, block.name = text(item.get("call_id")), text(item.get("name"))
            return block
        case str(kind) if kind.endswith("_call"):
            return Block("opaque", provider=PROVIDER)
        case _:
            return None


def _settle_call(answer: Answer, block: Block, item: Mapping[str, object]) -> None:
    """Take the call as its last event has it: its pieces may have been left out."""
    block.call_id = text(item.get("call_id")) or block.call_id
    block.name = text(item.get("name")) or block.name
    whole = text(item.get("arguments"))
    if whole and not block.pieces:
        answer.grow(block, whole)


def _note_phase(answer: Answer, block: Block, item: Mapping[str, object]) -> None:
    """Keep which phase a text is of: the vendor wants to be told again."""
    if phase := text(item.get("phase")):
        answer.before(block, Block("opaque", provider=PROVIDER, payload=_phase(phase)))


def _phase(phase: str) -> Mapping[str, object]:
    return {"type": "message", "phase": phase}


def _text_of(item: Mapping[str, object]) -> str:
    parts = map(obj, items(item.get("content")))
    return "".join(text(part.get("text")) or text(part.get("refusal")) for part in parts)


def to_usage(said: Mapping[str, object]) -> Usage:
    """Return the counts as Perstack has them, which are the vendor's own."""
    told = count(said.get("input_tokens")), count(said.get("output_tokens"))
    read, wrote = (tokens or 0 for tokens in told)
    details = obj(said.get("input_tokens_details"))
    reasoned = count(obj(said.get("output_tokens_details")).get("reasoning_tokens")) or 0
    return Usage(
        input_tokens=read,
        output_tokens=wrote,
        reasoning_tokens=min(reasoned, wrote),
        total_tokens=read + wrote,
        cached_input_tokens=min(count(details.get("cached_tokens")) or 0, read),
        cache_write_tokens=min(count(details.get("cache_write_tokens")) or 0, read),
        partial=None in told,
    )
