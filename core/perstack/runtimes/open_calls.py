"""Tool calls of a program that begins the next before the last has returned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.ports.programs import Report, Returned, Turn
from perstack.ports.skills import ToolOutcome

# One that never returns, such as a server in the background, holds back no more than these.
MOST_HELD: Final = 8


class OpenCalls:
    """Reports calls batch by batch: a step of a run ends before the next one begins.

    A call that begins while others are open is told once those have returned, together with what
    else began meanwhile; at the latest when the model was heard again (`moved_on`).
    """

    def __init__(self) -> None:
        # Told and not returned; told, and the model did not wait for them; begun and not told,
        # with what it gave if it returned already.
        self._open: set[ToolCallId] = set()
        self._left: set[ToolCallId] = set()
        self._held: dict[ToolCallId, tuple[ToolCallPart, ToolOutcome | None]] = {}

    def is_known(self, id_: ToolCallId) -> bool:
        """Tell whether the call began and its result was not told yet."""
        return id_ in self._open or id_ in self._left or id_ in self._held

    def begin(self, call: ToolCallPart) -> Iterable[Report]:
        """Return what is to be told as a call begins; one that began already is not told again."""
        if self.is_known(call.tool_call_id):
            return
        if self._open:
            self._held[call.tool_call_id] = (call, None)
            if len(self._held) >= MOST_HELD:
                yield from self.moved_on()
            return
        self._open.add(call.tool_call_id)
        yield Turn((call,))

    def end(self, id_: ToolCallId, outcome: ToolOutcome) -> Iterable[Report]:
        """Return what is to be told as a call returns; of an unknown one, nothing."""
        if id_ in self._held:
            self._held[id_] = (self._held[id_][0], outcome)
            return
        if id_ not in self._open and id_ not in self._left:
            return
        was_open = id_ in self._open
        self._open.discard(id_)
        self._left.discard(id_)
        yield Returned(id_, outcome)
        if was_open and not self._open:
            yield from self.rest()

    def moved_on(self) -> Iterable[Report]:
        """Return what is to be told as the model goes on without the results of what is open."""
        self._left |= self._open
        self._open = set()
        yield from self.rest()

    def rest(self) -> Iterable[Report]:
        """Return what was held back; calls that have not returned stay open."""
        held, self._held = self._held, {}
        if not held:
            return
        yield Turn(tuple(call for call, _ in held.values()))
        for id_, (_, outcome) in held.items():
            if outcome is None:
                self._open.add(id_)
            else:
                yield Returned(id_, outcome)
