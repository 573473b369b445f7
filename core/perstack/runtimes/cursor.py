"""Cursor's command line program, `cursor-agent`, in its documented stream of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ExpertPart, TextPart, ThinkingPart, ToolCallPart
from perstack.domain.runtimes import ProgramName, ProgramSettings
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Hearing, Report, Talk, Turn
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.catalog import KNOWN, command_of
from perstack.runtimes.environment import program_environment
from perstack.runtimes.open_calls import OpenCalls
from perstack.runtimes.prompts import dropped_parts, one_prompt
from perstack.runtimes.records import child, content_text, text_at
from perstack.runtimes.running import Invocation, Record, running

_KNOWN: Final = KNOWN["cursor"]
_SUFFIX: Final = "ToolCall"
# What tools are called under that have no name of their own in the format.
_FUNCTION: Final = "function"


def open_program(settings: ProgramSettings) -> CursorAgent:
    """Return the program, started as `settings` say."""
    return CursorAgent(settings)


class CursorAgent:
    """Implements `ports.programs.Program`."""

    name: ProgramName = "cursor"

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        """Say what of the definition it cannot honour."""
        return dropped_parts(talk, asks=False)

    def questions(self, expert: Expert) -> Mapping[str, str]:
        """It is given no tools of ours."""
        del expert
        return {}

    def talk(self, talk: Talk) -> AbstractAsyncContextManager[Hearing]:
        """Start it for one talk."""
        reader = CursorReader(resumed=talk.session is not None)
        return running(self.name, self.invocation(talk), reader, talk.workspace)

    def invocation(self, talk: Talk) -> Invocation:
        """Return how it is started: the prompt comes on its standard input."""
        argv = [*command_of(_KNOWN, self._settings), "--print"]
        argv += ["--output-format", "stream-json", "--stream-partial-output"]
        # Without this it can read only; it has no way of asking anybody.
        if (self._settings.permissions or "all") == "all":
            argv.append("--force")
        if talk.model is not None:
            argv.append(f"--model={talk.model}")
        if talk.session is not None:
            argv.append(f"--resume={talk.session}")
        env = program_environment(
            talk.env,
            usual=(*_KNOWN.needs, *_KNOWN.usual),
            asked=self._settings.env,
            job_id=talk.job_id,
            run_id=talk.run_id,
        )
        prompt = talk.prompt if talk.session is not None else one_prompt(talk)
        return Invocation(tuple(argv), env, stdin=prompt)


class CursorReader:
    """Understands `stream-json`: one tool call a turn, as it is started.

    With partial output a text comes in pieces that have a time; whole again, with a time and the id
    of a model's call, before a tool is called; and once more at the end without a time. Without
    partial output it comes once, without a time.
    """

    def __init__(self, *, resumed: bool = False) -> None:
        self._resumed = resumed
        self._known = False
        self._finished = False
        self._calls = OpenCalls()
        self._streams = False
        # What came in pieces since the last turn.
        self._pieces = ""
        self._thoughts = ""

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells.

        Raises:
            ProgramError: it says that it failed.
        """
        match text_at(record, "type"):
            case "system" if session := text_at(record, "session_id"):
                self._known = True
                yield Began(session, text_at(record, "model") or None)
            case "assistant":
                yield from self._said(record)
            case "thinking" if text := text_at(record, "text"):
                self._thoughts += text
                yield Spoken("reasoning", text)
            case "tool_call":
                yield from self._tool(record)
            case "result":
                yield from self._result(record)
            case _:
                return

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Tell that nothing came of it, unless something did."""
        if self._finished:
            return ()
        if failure is not None and self._resumed and not self._known:
            # It names no reason that could be relied on; without the session it is tried once more.
            raise SessionLostError(failure.message)
        raise failure or ProgramError("cursor ended without a result")

    def _said(self, record: Record) -> Iterable[Report]:
        text = content_text(child(record, "message").get("content"))
        if not text:
            return
        if "timestamp_ms" in record and "model_call_id" not in record:
            self._streams = True
            self._pieces += text
            yield Spoken("text", text)
            return
        if self._streams and not self._pieces:
            # Told already, whole or as the end of what was told.
            return
        yield from self._turn(self._pieces or text)

    def _turn(self, text: str) -> Iterable[Report]:
        """Tell what was thought and said since the last turn."""
        thoughts, self._thoughts, self._pieces = self._thoughts, "", ""
        parts: tuple[ExpertPart, ...] = (ThinkingPart(thinking=thoughts),) if thoughts else ()
        parts += (TextPart(text=text),) if text else ()
        if parts:
            yield from self._calls.moved_on()
            yield Turn(parts)

    def _tool(self, record: Record) -> Iterable[Report]:
        id_ = ToolCallId(text_at(record, "call_id"))
        name, args, result = _call(child(record, "tool_call"))
        if not (id_ and name):
            return
        if record.get("subtype") == "started":
            yield from self._turn(self._pieces)
            yield from self._calls.begin(ToolCallPart(tool_call_id=id_, tool_name=name, args=args))
        elif record.get("subtype") == "completed":
            yield from self._calls.end(id_, _outcome(result))

    def _result(self, record: Record) -> Iterable[Report]:
        said = text_at(record, "result")
        self._finished = True
        if record.get("is_error") is True:
            raise ProgramError(f"cursor failed: {said or 'no message'}")
        yield from self._turn(self._pieces)
        yield from self._calls.rest()
        yield Finished(said)


def _call(named: Record) -> tuple[str, dict[str, JsonValue], JsonValue]:
    """Return the name of a tool, its arguments and, once it is over, what came of it."""
    key = next((key for key in named if key.endswith(_SUFFIX)), next(iter(named), ""))
    call = child(named, key)
    if key == _FUNCTION:
        return text_at(call, "name"), _arguments(call.get("arguments")), call.get("result")
    return key.removesuffix(_SUFFIX), {**child(call, "args")}, call.get("result")


def _arguments(given: JsonValue) -> dict[str, JsonValue]:
    if isinstance(given, dict):
        return given
    if not isinstance(given, str) or not given:
        return {}
    try:
        read: JsonValue = json.loads(given)
    except (ValueError, RecursionError):
        read = None
    return read if isinstance(read, dict) else {"arguments": given}


def _outcome(result: JsonValue) -> ToolOutcome:
    """Return a result: `success` holds it, any other word says why there is none."""
    if not isinstance(result, dict):
        return ToolOutcome((TextPart(text=content_text(result)),))
    told = result.get("success", result)
    text = told.get("content") if isinstance(told, dict) else told
    shown = text if isinstance(text, str) else content_text(told)
    return ToolOutcome((TextPart(text=shown),), is_error="success" not in result and bool(result))
