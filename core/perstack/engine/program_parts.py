"""What a program says, made fit to be kept: no secrets, and nothing that cannot be written down."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ExpertPart, TextPart, ThinkingPart, ToolCallPart
from perstack.domain.program_events import BeginSession
from perstack.ports.model import Spoken

# Beyond this a program talks without end and does nothing; in characters.
MOST_SAID: Final = 8_000_000
_DEEPEST: Final = 64
_LONGEST_NAME: Final = 200
# A word longer than this is shown in pieces while it is said; a secret hardly is.
_LONGEST_WORD: Final = 4_096
_SPEAKABLE: Final = re.compile(r"[!-~]{1,200}")
_SESSION: Final = re.compile(r"(?!-)[!-~]{1,256}")

Redact = Callable[[str], str]


def cleaned(part: ExpertPart, redact: Redact) -> ExpertPart:
    """Return what a program said or called as it may be kept."""
    match part:
        case TextPart(text=text):
            return TextPart(text=_text(text, redact))
        case ThinkingPart(thinking=thinking):
            return part.model_copy(update={"thinking": _text(thinking, redact)})
        case ToolCallPart():
            return part.model_copy(
                update={
                    "tool_name": name_of(part.tool_name),
                    "args": {
                        _text(key, redact): _value(value, redact, 1)
                        for key, value in part.args.items()
                    },
                }
            )
        case _:
            return part


def name_of(name: str) -> str:
    """Return a name without control characters, of at most 200 characters."""
    shown = "".join(each for each in name[:_LONGEST_NAME] if each.isprintable()).strip()
    return shown or "unnamed"


def usable_session(session_id: str) -> bool:
    """Tell whether a session can be named again: as one word, which is no option."""
    return _SESSION.fullmatch(session_id) is not None


def session_of(begun: BeginSession | None, runtime: str) -> str | None:
    """Return the session that a program can go on with, None if there is none of its own.

    A history may be a stranger's, and have an option in that place.
    """
    if begun is None or begun.runtime != runtime or not usable_session(begun.session_id):
        return None
    return begun.session_id


def length_of(parts: Iterable[ExpertPart]) -> int:
    """Return how many characters of text and thoughts there are."""
    return sum(
        len(part.text) if isinstance(part, TextPart) else len(part.thinking)
        for part in parts
        if isinstance(part, TextPart | ThinkingPart)
    )


def joined(said: Sequence[ExpertPart], parts: Sequence[ExpertPart]) -> tuple[ExpertPart, ...]:
    """Return what was said before and what is said now, a paragraph apart."""
    first = parts[0] if parts else None
    before = said[-1] if said else None
    if isinstance(first, TextPart) and isinstance(before, TextPart) and before.text.strip():
        return (*said, TextPart(text=f"\n\n{first.text}"), *parts[1:])
    return (*said, *parts)


def _text(text: str, redact: Redact) -> str:
    clean = redact(text)
    # Half a character can be neither stored nor shown.
    return clean if clean.isascii() else clean.encode("utf-8", "replace").decode()


def _value(value: JsonValue, redact: Redact, depth: int) -> JsonValue:
    match value:
        case str():
            return _text(value, redact)
        case float() if not math.isfinite(value):
            return None
        case list() | dict() if depth >= _DEEPEST:
            return "…"
        case list():
            return [_value(one, redact, depth + 1) for one in value]
        case dict():
            return {
                _text(key, redact): _value(one, redact, depth + 1) for key, one in value.items()
            }
        case _:
            return value


class Words:
    """Takes secrets out of what is said in pieces: a word is passed on once it is whole."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._held = ""
        self._stream: Spoken | None = None
        self.heard = 0

    def hear(self, spoken: Spoken) -> Iterable[Spoken]:
        """Return what can be shown by now."""
        self.heard += len(spoken.text)
        if self._stream is not None and self._stream.stream != spoken.stream:
            yield from self.rest()
        self._stream = spoken
        self._held += spoken.text
        end = max(self._held.rfind(" "), self._held.rfind("\n")) + 1
        if end == 0 and len(self._held) > _LONGEST_WORD:
            end = len(self._held)
        yield from self._passed(end)

    def rest(self) -> Iterable[Spoken]:
        """Return what is left when nothing follows, and begin anew."""
        yield from self._passed(len(self._held))
        self._stream = None

    def _passed(self, end: int) -> Iterable[Spoken]:
        text, self._held = self._held[:end], self._held[end:]
        if text and self._stream is not None:
            yield Spoken(self._stream.stream, _text(text, self._redact))


class CallIds:
    """The ids of a program's calls: its own where they can be used, else fresh ones.

    Some programs count from 1 anew each time, some give none; in a run every call has its own.
    """

    def __init__(self, used: Iterable[ToolCallId], fresh: Callable[[], str]) -> None:
        self._used = set(used)
        self._fresh = fresh
        self._open: dict[str, deque[ToolCallId]] = {}

    def take(self, call: ToolCallPart) -> ToolCallPart:
        """Return a new call under the id that it is recorded by."""
        theirs = call.tool_call_id
        fits = _SPEAKABLE.fullmatch(theirs) is not None and theirs not in self._used
        ours = theirs if fits else ToolCallId(self._fresh())
        self._used.add(ours)
        self._open.setdefault(theirs, deque()).append(ours)
        return call if ours == theirs else call.model_copy(update={"tool_call_id": ours})

    def of(self, theirs: str) -> ToolCallId | None:
        """Return the first call without a result that the program calls so, None: there is none."""
        found = self._open.get(theirs)
        return found[0] if found else None

    def answered(self, theirs: str) -> None:
        """That call has its result."""
        found = self._open.get(theirs)
        if found:
            found.popleft()
        if not found:
            self._open.pop(theirs, None)

    def closed(self, ours: Iterable[ToolCallId]) -> None:
        """No result of these calls is waited for any more."""
        gone = frozenset(ours)
        for theirs, found in tuple(self._open.items()):
            left = deque(one for one in found if one not in gone)
            if left:
                self._open[theirs] = left
            else:
                del self._open[theirs]
