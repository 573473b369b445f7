"""Cursor's command line program, `cursor-agent`, in its documented stream of JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ToolCallPart
from perstack.domain.runtimes import ProgramName, ProgramSettings
from perstack.errors import ProgramError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Hearing, Report, Returned, Talk, Turn
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.catalog import KNOWN, command_of
from perstack.runtimes.environment import program_environment
from perstack.runtimes.prompts import dropped_parts, one_prompt
from perstack.runtimes.records import child, content_text, text_at
from perstack.runtimes.running import Invocation, Record, running

_KNOWN: Final = KNOWN["cursor"]
_SUFFIX: Final = "ToolCall"


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
        return running(self.name, self.invocation(talk), CursorReader(), talk.workspace)

    def invocation(self, talk: Talk) -> Invocation:
        """Return how it is started: the prompt comes on its standard input."""
        argv = [*command_of(_KNOWN, self._settings), "--print"]
        argv += ["--output-format", "stream-json", "--stream-partial-output"]
        # Without this it can read only; it has no way of asking anybody.
        if (self._settings.permissions or "all") == "all":
            argv.append("--force")
        if talk.model is not None:
            argv += ["--model", talk.model]
        if talk.session is not None:
            argv += ["--resume", talk.session]
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
    """Understands `stream-json`: one tool call a turn, as it is started."""

    def __init__(self) -> None:
        self._finished = False

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells."""
        match text_at(record, "type"):
            case "system" if session := text_at(record, "session_id"):
                yield Began(session, text_at(record, "model") or None)
            case "assistant":
                yield from self._said(record)
            case "tool_call":
                yield from _tool(record)
            case "result":
                yield self._result(record)
            case _:
                return

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Tell that nothing came of it, unless something did."""
        if not self._finished:
            raise failure or ProgramError("cursor ended without a result")
        return ()

    def _said(self, record: Record) -> Iterable[Report]:
        text = content_text(child(record, "message").get("content"))
        if not text:
            return
        # With partial output, pieces come with a time and the whole comes without.
        if "timestamp_ms" in record:
            yield Spoken("text", text)
        else:
            yield Turn((TextPart(text=text),))

    def _result(self, record: Record) -> Report:
        self._finished = True
        if record.get("is_error") is True:
            raise ProgramError(f"cursor failed: {text_at(record, 'result') or 'no message'}")
        return Finished(text_at(record, "result"))


def _tool(record: Record) -> Iterable[Report]:
    id_ = ToolCallId(text_at(record, "call_id"))
    named = child(record, "tool_call")
    name = next((key for key in named if key.endswith(_SUFFIX)), next(iter(named), ""))
    call = child(named, name)
    if not (id_ and name):
        return
    if record.get("subtype") == "started":
        args = {**child(call, "args")}
        yield Turn(
            (ToolCallPart(tool_call_id=id_, tool_name=name.removesuffix(_SUFFIX), args=args),)
        )
    elif record.get("subtype") == "completed":
        result: JsonValue = call.get("result")
        error = isinstance(result, dict) and "error" in result
        yield Returned(id_, ToolOutcome((TextPart(text=content_text(result)),), is_error=error))
