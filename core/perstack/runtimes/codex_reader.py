"""Understands what `codex exec --json` prints: items of a turn, as they begin and end."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from typing import Final

from pydantic import JsonValue

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ThinkingPart, ToolCallPart
from perstack.domain.usage import NO_USAGE, Usage
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Report, Turn
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.codex_sessions import usage_told
from perstack.runtimes.open_calls import OpenCalls
from perstack.runtimes.records import child, children, content_text, number_at, text_at
from perstack.runtimes.running import Record

_LOST: Final = re.compile(r"no rollout found|thread not found|no saved session")
_UNAUTHORIZED: Final = re.compile(r"\b401\b")
_LOGIN: Final = "run codex login, or pass a key with --env OPENAI_API_KEY"
# What its sandbox says itself, before any command has begun.
_UNBOXED: Final = re.compile(r"\A\s*(?:bwrap: |error applying .*sandbox|.*codex-linux-sandbox)")
_BOX_HINT: Final = (
    '\n[codex cannot make its sandbox here: permissions = "all" under [runtimes.codex] in '
    "perstack.toml does without one]"
)
# Of an item that is a tool call, what is no argument of the call.
_NO_ARGUMENTS: Final = frozenset(
    {"id", "type", "status", "aggregated_output", "exit_code", "result", "error"}
)
_LOG: Final = logging.getLogger(__name__)


class CodexReader:
    """`before` is what earlier talks of the session used and told, None if nobody knows."""

    def __init__(self, model: str | None = None, before: Usage | None = NO_USAGE) -> None:
        self._model = model
        self._before = before
        # Its item ids begin anew with each talk; those of calls may not.
        self._mark = secrets.token_hex(4)
        self._calls = OpenCalls()
        self._plans = 0
        self._spoke = False
        self._text = ""
        self._finished: Finished | None = None
        self._complaint = ""

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells.

        Raises:
            ProgramError: the turn failed.
        """
        match text_at(record, "type"):
            case "thread.started" if session := text_at(record, "thread_id"):
                yield Began(session, self._model)
            case "item.started":
                yield from self._begun(child(record, "item"))
            case "item.updated":
                yield from self._updated(child(record, "item"))
            case "item.completed":
                yield from self._completed(child(record, "item"))
            case "turn.completed":
                self._finished = Finished(self._text, self._used(child(record, "usage")))
            case "turn.failed":
                raise _failed(text_at(child(record, "error"), "message") or self._complaint)
            case "error":
                # It tries again after most of them, and says so in a turn that failed if not.
                self._complaint = text_at(record, "message")
            case _:
                return

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Return the end; it is told once all that it keeps of the session is on the disk."""
        if self._finished is not None:
            return (*self._calls.rest(), self._finished)
        if failure is not None and _LOST.search(failure.message):
            raise SessionLostError("codex does not know its session any more")
        if self._complaint:
            raise _failed(self._complaint)
        raise failure or ProgramError("codex ended without a result")

    def _used(self, told: Record) -> Usage:
        if self._before is None:
            # The figures hold earlier talks, too, and nobody knows how much.
            return NO_USAGE
        return usage_told(told).less(self._before)

    # ---------------------------------------------------------------- items

    def _begun(self, item: Record) -> Iterable[Report]:
        match text_at(item, "type"):
            case "agent_message" | "reasoning" | "error":
                return
            case "todo_list":
                yield from self._planned(item)
            case _:
                yield from self._called(item)

    def _updated(self, item: Record) -> Iterable[Report]:
        if text_at(item, "type") == "todo_list":
            yield from self._planned(item)

    def _completed(self, item: Record) -> Iterable[Report]:
        match text_at(item, "type"):
            case "agent_message":
                yield from self._said(text_at(item, "text"))
            case "reasoning" if text := text_at(item, "text"):
                yield from self._calls.moved_on()
                yield Spoken("reasoning", text)
                yield Turn((ThinkingPart(thinking=text),))
            case "error":
                _LOG.warning("codex: %s", text_at(item, "message"))
            case "reasoning" | "todo_list" | "":
                return
            case _:
                yield from self._called(item)
                yield from self._calls.end(self._id(item), _outcome(item))

    def _said(self, text: str) -> Iterable[Report]:
        if not text:
            return
        yield from self._calls.moved_on()
        self._text = text
        # Messages without a call between them become one.
        apart = "\n\n" if self._spoke else ""
        self._spoke = True
        yield Spoken("text", apart + text)
        yield Turn((TextPart(text=apart + text),))

    def _called(self, item: Record) -> Iterable[Report]:
        if self._calls.is_known(self._id(item)) or not text_at(item, "id"):
            return
        name, args = _call(item)
        self._spoke = False
        yield from self._calls.begin(
            ToolCallPart(tool_call_id=self._id(item), tool_name=name, args=args)
        )

    def _planned(self, item: Record) -> Iterable[Report]:
        """Report a plan as a call of its own each time that it changes."""
        self._plans += 1
        id_ = ToolCallId(f"{self._mark}-plan_{self._plans}")
        items: list[JsonValue] = [{**one} for one in children(item, "items")]
        self._spoke = False
        yield from self._calls.begin(
            ToolCallPart(tool_call_id=id_, tool_name="todo_list", args={"items": items})
        )
        yield from self._calls.end(id_, ToolOutcome((TextPart(text="noted"),)))

    def _id(self, item: Record) -> ToolCallId:
        return ToolCallId(f"{self._mark}-{text_at(item, 'id')}")


def _failed(message: str) -> ProgramError:
    hint = _LOGIN if _UNAUTHORIZED.search(message) else None
    return ProgramError(f"codex failed: {message or 'no message'}", hint=hint)


def _call(item: Record) -> tuple[str, dict[str, JsonValue]]:
    """Return the name of a tool and its arguments; items of tools yet to come fit, too."""
    kind = text_at(item, "type")
    if kind == "mcp_tool_call":
        name = f"mcp__{text_at(item, 'server')}__{text_at(item, 'tool')}"
        return name, {**child(item, "arguments")}
    return kind, {key: value for key, value in item.items() if key not in _NO_ARGUMENTS}


def _outcome(item: Record) -> ToolOutcome:
    kind = text_at(item, "type")
    is_error = text_at(item, "status") in ("failed", "declined")
    match kind:
        case "command_execution":
            text = text_at(item, "aggregated_output")
            code = number_at(item, "exit_code")
            if code:
                is_error = True
                text = f"{text.rstrip()}\n[exit code {code:g}]".lstrip()
            if is_error and _UNBOXED.search(text):
                text += _BOX_HINT
        case "file_change":
            changes = children(item, "changes")
            text = "\n".join(f"{text_at(one, 'kind')} {text_at(one, 'path')}" for one in changes)
        case _:
            complaint = text_at(child(item, "error"), "message")
            is_error = is_error or bool(complaint)
            result = item.get("result")
            held = result.get("content") if isinstance(result, dict) else None
            text = complaint or content_text(held or result)
    return ToolOutcome((TextPart(text=text),), is_error=is_error)
