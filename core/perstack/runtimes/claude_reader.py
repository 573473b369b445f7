"""Understands the records that Claude Code prints with `--output-format stream-json`.

What subagents do is part of the call that started them: it makes no steps, but its tokens count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import (
    ExpertPart,
    ImageInlinePart,
    ResultPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from perstack.domain.usage import NO_USAGE, Usage
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Report, Returned, Turn
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.records import child, children, count_at, number_at, text_at
from perstack.runtimes.running import Record

_LIMITS: Final = ("error_max_turns", "error_max_budget_usd")
_LOST: Final = ("No conversation found", "--resume requires a valid session")
_HINTS: Final[Mapping[str, str]] = {
    "authentication_failed": "run claude once and sign in, or let it have a key:"
    " --env ANTHROPIC_API_KEY",
    "oauth_org_not_allowed": "run claude once and sign in with another account",
    "billing_error": "see what the account that claude is signed in with may still spend",
    "rate_limit": "wait until the account that claude is signed in with may go on",
    "model_not_found": "name a model that claude knows with --model, or leave it out",
}
_AT_ROOT: Final = "cannot be used with root"
_NOT_AS_ROOT: Final = (
    'start it as another user, or set permissions = "edits" in [runtimes.claude-code]; in a'
    " container of its own IS_SANDBOX=1 with --env IS_SANDBOX lets it"
)


@dataclass
class _Message:
    """An answer of the model's that is not whole yet. `streamed`: an event will tell its end."""

    id: str
    streamed: bool
    counts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    parts: list[ExpertPart] = field(default_factory=list[ExpertPart])
    results: list[Returned] = field(default_factory=list[Returned])

    def add(self, block: Record) -> None:
        """Take in a block of its content."""
        match text_at(block, "type"):
            case "text" if text := text_at(block, "text"):
                self.parts.append(TextPart(text=text))
            case "thinking" if thinking := text_at(block, "thinking"):
                # Without its signature: answers are joined here, so it would not hold.
                self.parts.append(ThinkingPart(thinking=thinking))
            case "tool_use" if call := _call(block):
                if all(call.tool_call_id != id_ for id_ in self.calls):
                    self.parts.append(call)
            case _:
                return

    @property
    def calls(self) -> list[ToolCallId]:
        """The ids of the calls so far."""
        return [part.tool_call_id for part in self.parts if isinstance(part, ToolCallPart)]


class ClaudeReader:
    """Implements `runtimes.running.Reader`: one turn for each answer of the main model.

    `inside` has the ids of the calls that subagents made, which are told late.
    """

    def __init__(self) -> None:
        self.inside: set[ToolCallId] = set()
        self._subagents: set[str] = set()
        self._message: _Message | None = None
        self._ended_id = ""
        # What subagents' answers used by their ids, None once it is counted.
        self._beside: dict[str, Usage | None] = {}
        self._error = ""
        self._finished = False

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells.

        Raises:
            ProgramError: it tells that the program failed.
        """
        if text_at(record, "parent_tool_use_id"):
            self._of_subagent(child(record, "message"))
            return
        match text_at(record, "type"):
            case "system":
                yield from self._system(record)
            case "stream_event":
                yield from self._event(child(record, "event"))
            case "assistant":
                yield from self._said(record)
            case "user":
                yield from self._returned(child(record, "message"))
            case "result":
                yield from self._flush()
                yield self._result(record)
            case _:
                return

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Tell that nothing came of it, unless something did.

        Raises:
            ProgramError: there was no result.
        """
        if self._finished:
            return ()
        if failure is not None and _AT_ROOT in failure.message:
            raise ProgramError(
                'claude refuses permissions = "all" to the superuser', hint=_NOT_AS_ROOT
            )
        raise failure or ProgramError("claude ended without a result")

    @property
    def hears_subagents_only(self) -> bool:
        """Whether some work while the main model says nothing."""
        streams = self._message is not None and self._message.streamed
        return bool(self._subagents) and not streams

    def _system(self, record: Record) -> Iterable[Report]:
        task = text_at(record, "task_id")
        match text_at(record, "subtype"):
            case "init" if session := text_at(record, "session_id"):
                yield Began(session, _model(text_at(record, "model")))
            case "api_retry":
                yield Spoken("reasoning", _trying_again(record))
            case "task_started" if "agent" in text_at(record, "task_type"):
                self._subagents.add(task)
            case "task_notification":
                self._subagents.discard(task)
            case _:
                return

    # ---------------------------------------------------------------- answers

    def _event(self, event: Record) -> Iterable[Report]:
        match text_at(event, "type"):
            case "message_start":
                message = child(event, "message")
                # An answer that was broken off is asked for again: what was there of it is void.
                self._message = _Message(text_at(message, "id"), streamed=True)
                self._message.counts.update(child(message, "usage"))
            case "content_block_delta":
                delta = child(event, "delta")
                if text := text_at(delta, "text"):
                    yield Spoken("text", text)
                elif thinking := text_at(delta, "thinking"):
                    yield Spoken("reasoning", thinking)
            case "message_delta" if self._message is not None:
                told = child(event, "usage")
                known = {name: value for name, value in told.items() if value is not None}
                self._message.counts.update(known)
            case "message_stop":
                yield from self._flush()
            case _:
                return

    def _said(self, record: Record) -> Iterable[Report]:
        if error := text_at(record, "error"):
            # Its text is no answer; the result will say it again.
            self._error = error
            return
        message = child(record, "message")
        id_ = text_at(message, "id")
        if self._message is not None and self._message.id != id_:
            if self._message.streamed:
                self._message = None
            yield from self._flush()
        if self._message is None:
            late = id_ == self._ended_id
            self._message = _Message(id_, streamed=False)
            self._message.counts.update({} if late else child(message, "usage"))
        for block in children(message, "content"):
            self._message.add(block)

    def _returned(self, message: Record) -> Iterable[Report]:
        results = [
            Returned(ToolCallId(id_), _outcome(block))
            for block in children(message, "content")
            if text_at(block, "type") == "tool_result" and (id_ := text_at(block, "tool_use_id"))
        ]
        for result in results:
            # A tool may be done before the answer that calls it is whole.
            if self._message is not None and self._message.streamed:
                self._message.results.append(result)
            else:
                yield from self._flush()
                yield result

    def _flush(self) -> Iterable[Report]:
        message, self._message = self._message, None
        if message is None:
            return
        self._ended_id = message.id
        usage = _usage(message.counts).plus(self._uncounted())
        if message.parts or usage != NO_USAGE:
            yield Turn(tuple(message.parts), usage)
        yield from message.results

    # ---------------------------------------------------------------- subagents

    def _of_subagent(self, message: Record) -> None:
        for block in children(message, "content"):
            if text_at(block, "type") == "tool_use" and (id_ := text_at(block, "id")):
                self.inside.add(ToolCallId(id_))
        id_ = text_at(message, "id")
        if id_ and self._beside.get(id_, NO_USAGE) is not None:
            self._beside[id_] = _usage(child(message, "usage"))

    def _uncounted(self) -> Usage:
        total = NO_USAGE
        for id_, usage in self._beside.items():
            total = total.plus(usage or NO_USAGE)
            self._beside[id_] = None
        return total

    # ---------------------------------------------------------------- the end

    def _result(self, record: Record) -> Finished:
        subtype = text_at(record, "subtype")
        told = record.get("errors")
        errors = [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
        text = text_at(record, "result") or "; ".join(errors)
        is_limit = subtype in _LIMITS
        if any(words in one for one in errors for words in _LOST):
            raise SessionLostError(f"claude lost its session: {text}")
        if (record.get("is_error") is True or subtype.startswith("error")) and not is_limit:
            raise self._failure(subtype, text)
        self._finished = True
        return Finished(
            text or (subtype if is_limit else ""),
            usage=_total(record),
            cost_usd=number_at(record, "total_cost_usd"),
            limit=is_limit,
        )

    def _failure(self, subtype: str, text: str) -> ProgramError:
        kind = self._error
        if not kind and "/login" in text:
            kind = "authentication_failed"
        said = text or kind or subtype or "no message"
        return ProgramError(f"claude failed: {said}", hint=_HINTS.get(kind))


def _trying_again(record: Record) -> str:
    """Return what it waits for, for whoever looks on: it may be minutes."""
    error, status = text_at(record, "error") or "error", count_at(record, "error_status")
    why = f"{error} ({status})" if status else error
    attempt, most = count_at(record, "attempt"), count_at(record, "max_retries")
    wait_s = count_at(record, "retry_delay_ms") / 1000
    return f"\n[claude could not ask its model: {why}; try {attempt} of {most} in {wait_s:.0f} s]\n"


def _model(name: str) -> str | None:
    """Return the model without the options that the program writes after it, as in `x[1m]`."""
    return name.partition("[")[0] or None


def _call(block: Record) -> ToolCallPart | None:
    id_, name, args = text_at(block, "id"), text_at(block, "name"), child(block, "input")
    if not (id_ and name):
        return None
    return ToolCallPart(tool_call_id=ToolCallId(id_), tool_name=name, args={**args})


def _outcome(block: Record) -> ToolOutcome:
    return ToolOutcome(tuple(_parts(block.get("content"))), is_error=block.get("is_error") is True)


def _parts(content: JsonValue) -> Iterable[ResultPart]:
    blocks = content if isinstance(content, list) else [content]
    for block in blocks:
        if isinstance(block, str):
            yield TextPart(text=block)
        elif isinstance(block, dict):
            yield _part(block)
        elif block is not None:
            yield TextPart(text=json.dumps(block))


def _part(block: dict[str, JsonValue]) -> ResultPart:
    source = child(block, "source")
    data, kind = text_at(source, "data"), text_at(source, "media_type")
    if text_at(block, "type") == "image" and data and kind:
        return ImageInlinePart(encoded_data=data, mime_type=kind)
    if text_at(block, "type") == "text":
        return TextPart(text=text_at(block, "text"))
    return TextPart(text=json.dumps(block, ensure_ascii=False))


def _usage(counts: Record) -> Usage:
    """Return the counts of one answer, as the vendor's API names them."""
    cached = count_at(counts, "cache_read_input_tokens")
    written = count_at(counts, "cache_creation_input_tokens")
    given = count_at(counts, "input_tokens") + cached + written
    said = count_at(counts, "output_tokens")
    if not (given or said):
        return NO_USAGE
    return Usage(
        input_tokens=given,
        output_tokens=said,
        reasoning_tokens=count_at(child(counts, "output_tokens_details"), "thinking_tokens"),
        total_tokens=given + said,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    ).believable()


def _total(record: Record) -> Usage:
    """Return what all models used in the talk, or else what the main one did."""
    total = NO_USAGE
    models = child(record, "modelUsage")
    for name in models:
        counts = child(models, name)
        renamed: Record = {
            "input_tokens": count_at(counts, "inputTokens"),
            "output_tokens": count_at(counts, "outputTokens"),
            "cache_read_input_tokens": count_at(counts, "cacheReadInputTokens"),
            "cache_creation_input_tokens": count_at(counts, "cacheCreationInputTokens"),
        }
        total = total.plus(_usage(renamed))
    return total if total != NO_USAGE else _usage(child(record, "usage"))
