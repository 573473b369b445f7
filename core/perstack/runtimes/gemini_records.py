"""What the records of the Gemini CLI's `stream-json` tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from perstack.config.model_table import facts_of
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ToolCallPart
from perstack.domain.usage import NO_USAGE, ModelFacts, Usage, cost_of_several_usd
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Report, Returned, Turn
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.records import child, count_at, text_at
from perstack.runtimes.running import Record

# An answer longer than this is nonsense, and would be kept in memory and history.
MOST_SAID: Final = 4_000_000
_TRUST_HINT: Final = (
    "run gemini once in this folder and trust it, "
    "or pass GEMINI_CLI_TRUST_WORKSPACE=true with --env GEMINI_CLI_TRUST_WORKSPACE"
)
_KEY_HINT: Final = "check GEMINI_API_KEY"
_API_ERROR: Final = re.compile(r"\[API Error: (?P<said>.*)\]", re.DOTALL)
_KEY_TROUBLE: Final = re.compile(
    r"API key|UNAUTHENTICATED|PERMISSION_DENIED|\b40[13]\b", re.IGNORECASE
)
_FAILED: Final = re.compile(r"gemini CLI failed with exit code (?P<code>\d+): (?P<said>.*)", re.S)
# Remarks that it makes on standard error however it goes on, and where in itself it failed.
_REMARK: Final = re.compile(
    r"Warning: |\[STARTUP\]|Ripgrep is not available|YOLO mode is enabled|\s+at |\s*[{}]\s*$"
)
_LIMITS: Final = ("Loop detected", "Maximum session turns")


@dataclass(frozen=True, slots=True)
class _Failure:
    """One way of failing: the program's exit code and type for it, our words, what helps."""

    code: int
    type: str
    words: str
    hint: str | None = None


_FAILURES: Final = (
    _Failure(41, "FatalAuthenticationError", "gemini could not sign in", _KEY_HINT),
    _Failure(42, "FatalInputError", "gemini refused what it was given"),
    _Failure(44, "FatalSandboxError", "gemini's sandbox failed"),
    _Failure(52, "FatalConfigError", "gemini's own configuration is wrong"),
    _Failure(53, "FatalTurnLimitedError", "gemini reached its own limit of turns"),
    _Failure(54, "FatalToolExecutionError", "a tool of gemini's failed for good"),
    _Failure(55, "FatalUntrustedWorkspaceError", "gemini does not trust the folder", _TRUST_HINT),
    _Failure(130, "FatalCancellationError", "gemini was cancelled"),
)


class GeminiReader:
    """Understands `stream-json`: a turn for each tool call, with the text before it.

    `own` is what the user states of models, by name; `since` is when the session was begun or taken
    up, as the program writes times.
    """

    def __init__(self, own: Mapping[str, ModelFacts]) -> None:
        self.since = ""
        self._own = own
        self._pieces: list[str] = []
        self._length = 0
        self._has_said = False
        self._trouble = ""
        self._finished = False

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells.

        Raises:
            ProgramError: it tells that the program failed.
        """
        match text_at(record, "type"):
            case "init" if session := text_at(record, "session_id"):
                self.since = text_at(record, "timestamp")
                yield Began(session, text_at(record, "model") or None)
            case "message" if record.get("role") == "assistant":
                yield from self._spoken(text_at(record, "content"))
            case "tool_use":
                yield from self._tool(record)
            case "tool_result":
                yield from _result(record)
            case "error":
                self._trouble = text_at(record, "message") or self._trouble
            case "result":
                yield from self._end(record)
            case _:
                return

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Tell why nothing came of it, unless something did.

        Raises:
            ProgramError: nothing did; a `SessionLostError` if it does not know its session.
        """
        if not self._finished:
            raise _explained(failure) if failure else ProgramError("gemini ended without a result")
        return ()

    def _spoken(self, text: str) -> Iterable[Report]:
        if not text:
            return
        self._length += len(text)
        if self._length > MOST_SAID:
            raise ProgramError(f"gemini said more than {MOST_SAID} characters in one answer")
        self._pieces.append(text)
        self._has_said = True
        yield Spoken("text", text)

    def _text(self) -> tuple[TextPart, ...]:
        """Return what was said since the last turn."""
        text = "".join(self._pieces)
        self._pieces, self._length = [], 0
        return (TextPart(text=text),) if text else ()

    def _tool(self, record: Record) -> Iterable[Report]:
        id_, name = text_at(record, "tool_id"), text_at(record, "tool_name")
        if id_ and name:
            args = {**child(record, "parameters")}
            call = ToolCallPart(tool_call_id=ToolCallId(id_), tool_name=name, args=args)
            yield Turn((*self._text(), call))

    def _end(self, record: Record) -> Iterable[Report]:
        self._finished = True
        stats = child(record, "stats")
        usage, usd = used(stats), self._cost(stats)
        error = child(record, "error")
        kind, message = text_at(error, "type"), text_at(error, "message")
        if kind == "FatalTurnLimitedError":
            yield Finished(message, usage, usd, limit=True)
            return
        if record.get("status") == "error":
            raise _failed(kind, message or self._trouble)
        if text := self._text():
            yield Turn(text)
        if self._trouble.startswith(_LIMITS):
            yield Finished(self._trouble, usage, usd, limit=True)
            return
        if self._trouble and not self._has_said:
            raise _failed("", self._trouble)
        yield Finished("", usage, usd)

    def _cost(self, stats: Mapping[str, JsonValue]) -> float | None:
        """Return what the talk cost in USD, None where that does not follow from the totals.

        Models whose price depends on a request's length are such: what is told is the sum.
        """
        total = 0.0
        models = child(stats, "models")
        for name in models:
            usage = used(child(models, name))
            cost = cost_of_several_usd(usage, facts_of(name, self._own).price)
            if cost is None and usage != NO_USAGE:
                return None
            total += cost or 0.0
        return total if models else None


def used(stats: Mapping[str, JsonValue]) -> Usage:
    """Return the tokens of a program's or a model's figures.

    Its output leaves out thoughts, which are what is left of the total.
    """
    given, said = count_at(stats, "input_tokens"), count_at(stats, "output_tokens")
    total = max(count_at(stats, "total_tokens"), given + said)
    if not total:
        return NO_USAGE
    return Usage(
        input_tokens=given,
        output_tokens=total - given,
        reasoning_tokens=total - given - said,
        total_tokens=total,
        cached_input_tokens=min(count_at(stats, "cached"), given),
    )


def _result(record: Record) -> Iterable[Report]:
    """Return what a tool gave; of most tools the stream tells only that they succeeded."""
    id_ = text_at(record, "tool_id")
    if not id_:
        return
    failed = record.get("status") == "error"
    said = text_at(record, "output") or text_at(child(record, "error"), "message")
    text = said or ("failed" if failed else "succeeded")
    yield Returned(ToolCallId(id_), ToolOutcome((TextPart(text=text),), is_error=failed))


def _failed(kind: str, message: str) -> ProgramError:
    """Return the error of a failure that the program told in a record."""
    said = _api_message(message) or "no message"
    known = next((one for one in _FAILURES if one.type == kind), None)
    if known is not None:
        return ProgramError(f"{known.words}: {said}", hint=known.hint)
    hint = _KEY_HINT if _KEY_TROUBLE.search(said) else None
    return ProgramError(f"gemini failed: {said}", hint=hint)


def _explained(failure: ProgramError) -> ProgramError:
    """Return what an exit code means, with what was said on standard error."""
    found = _FAILED.fullmatch(failure.message)
    if found is None:
        return failure
    lines = [line for line in found["said"].splitlines() if not _REMARK.match(line)]
    said = _api_message("\n".join(lines).strip()) or "no message"
    code = int(found["code"])
    if code == 42 and "Error resuming session" in said:
        return SessionLostError(f"gemini does not know its session any more: {said}")
    known = next((one for one in _FAILURES if one.code == code), None)
    if known is not None:
        return ProgramError(f"{known.words}: {said}", hint=known.hint)
    hint = _KEY_HINT if _KEY_TROUBLE.search(said) else None
    return ProgramError(f"gemini CLI failed with exit code {code}: {said}", hint=hint)


def _api_message(message: str) -> str:
    """Return what Google said, without the wrapping that the program puts around it."""
    found = _API_ERROR.search(message)
    if found is None:
        return message
    said = found["said"]
    try:
        body: object = json.loads(said)
    except (ValueError, RecursionError):
        return said
    if not isinstance(body, dict):
        return said
    error = child(cast("Record", body), "error")
    code = count_at(error, "code")
    text = text_at(error, "message")
    return f"{text} ({code})" if text and code else text or said
