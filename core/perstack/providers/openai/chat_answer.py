"""Chat completions' chunks to an answer. Knows no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from perstack.domain.usage import Usage
from perstack.ports.model import FinishReason, Generation, Spoken
from perstack.providers.answer import MOST_BLOCKS, Answer, Block, settle
from perstack.providers.http_rules import too_large
from perstack.providers.openai.chat_wire import PLAIN, Dialect
from perstack.providers.openai.thoughts import Thoughts
from perstack.providers.wire import clean, count, items, obj, text

_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "tool_calls": "toolCalls",
    "function_call": "toolCalls",
    "length": "length",
    "content_filter": "refusal",
}


class ChatAnswer:
    """Reads the chunks of one answer, also those of servers that are merely compatible."""

    def __init__(self, dialect: Dialect = PLAIN) -> None:
        self._dialect = dialect
        self._thoughts = Thoughts() if dialect.tagged_thoughts else None
        self._refused = False
        self._thinking = Block("thinking")
        self._text = Block("text")
        self._calls: dict[int, Block] = {}
        self._places: dict[str, int] = {}
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
        if self._thoughts is not None:
            self._heard(self._thoughts.rest())
        for block in (self._thinking, self._text):
            if block.pieces:
                self._answer.blocks.append(block)
        self._answer.blocks.extend(self._calls[index] for index in sorted(self._calls))
        finish = _FINISH.get(self._finish, "other")
        if self._refused and finish == "stop":
            finish = "refusal"
        parts = self._answer.parts(finish)
        usage = to_usage(self._usage or {}, hidden_reasoning=self._dialect.tagged_thoughts)
        return Generation(parts=parts, finish=settle(finish, parts), usage=usage)

    def _read(self, delta: Mapping[str, object]) -> Spoken | None:
        for position, call in enumerate(map(obj, items(delta.get("tool_calls")))):
            self._grow_call(position, call)
        reasoning = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        if reasoning:
            return self._say(self._thinking, "reasoning", reasoning)
        refusal = text(delta.get("refusal"))
        self._refused = self._refused or bool(refusal)
        said = text(delta.get("content")) or refusal
        if self._thoughts is not None:
            marked = any(obj(mark).get("thought") is True for mark in _extra(delta).values())
            return self._heard(self._thoughts.read(said, thought=marked))
        return self._say(self._text, "text", said) if said else None

    def _heard(self, spoken: Spoken | None) -> Spoken | None:
        if spoken is None:
            return None
        block = self._thinking if spoken.stream == "reasoning" else self._text
        return self._say(block, spoken.stream, spoken.text)

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
        if extra := _extra(said):
            self._answer.keep(block, {"extra_content": extra}, self._dialect.signs_calls)
        self._answer.grow(block, text(function.get("arguments")))

    def _find_call(self, index: int | None, position: int, call_id: str) -> Block:
        """Return the call a piece belongs to; without an index, its id or its place says so.

        Raises:
            ProviderError: there are more calls than anybody means.
        """
        if index is None:
            known = self._places.get(call_id)
            index = position if known is None else known
            if known is None and call_id and index in self._calls:
                index = len(self._calls)
        if index not in self._calls:
            if len(self._calls) >= MOST_BLOCKS:
                raise too_large()
            self._calls[index] = Block("call")
        if call_id:
            self._places.setdefault(call_id, index)
        return self._calls[index]


def _extra(said: Mapping[str, object]) -> Mapping[str, object]:
    """Return what Google adds to a chunk or a call, by name of its platform."""
    return obj(said.get("extra_content"))


def to_usage(said: Mapping[str, object], *, hidden_reasoning: bool = False) -> Usage:
    """Return the counts as Perstack has them: reasoning is output, cached tokens are input.

    `hidden_reasoning`: the vendor leaves reasoning out of the output, but not out of the total.
    """
    told = count(said.get("prompt_tokens")), count(said.get("completion_tokens"))
    read, wrote = (tokens or 0 for tokens in told)
    details = obj(said.get("prompt_tokens_details"))
    cached = count(details.get("cached_tokens")) or count(said.get("prompt_cache_hit_tokens")) or 0
    written = count(details.get("cache_write_tokens")) or 0
    reasoned = count(obj(said.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    hidden = (count(said.get("total_tokens")) or 0) - read - wrote if hidden_reasoning else 0
    if hidden > 0:
        wrote, reasoned = wrote + hidden, max(reasoned, hidden)
    return Usage(
        input_tokens=read,
        output_tokens=wrote,
        reasoning_tokens=min(reasoned, wrote),
        total_tokens=read + wrote,
        cached_input_tokens=min(cached, read),
        cache_write_tokens=min(written, read),
        partial=None in told,
    )
