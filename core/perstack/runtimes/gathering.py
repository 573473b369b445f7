"""Joins tool calls that a program tells one by one into the answer that they are of."""

from __future__ import annotations

from collections import deque
from typing import Final

import anyio

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.errors import ProgramError
from perstack.ports.programs import Hearing, Report, Returned, Spoken, Turn

# Calls of one answer are told in one breath; what is called is to be seen while it is done.
BREATH_S: Final = 0.2
MOST_CALLS: Final = 500


class Gathering:
    """Implements `ports.programs.Hearing` over one whose every turn has at most one call.

    Calls that are told one after another are one turn. One that is told later, though the calls
    before it are still being done, becomes a turn of its own once they have returned, so that
    none is lost.
    """

    def __init__(self, heard: Hearing, *, breath_s: float = BREATH_S) -> None:
        self._heard = heard
        self._breath_s = breath_s
        self._ready: deque[Report] = deque()
        self._gathered: Turn | None = None
        # Calls that were handed out and have not returned; what came of later ones meanwhile.
        self._open: set[ToolCallId] = set()
        self._is_returning = False
        self._held: dict[ToolCallId, Returned] = {}
        self._failure: ProgramError | None = None

    async def next(self) -> Report:
        """Return the next report.

        Raises:
            ProgramError: as the port says, or it calls more tools at once than can be meant.
        """
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            await self._hear()
        return self._ready.popleft()

    async def _hear(self) -> None:
        report: Report | None = None
        # A breath ends only what may be handed out; otherwise the next report is waited for.
        breath_s = self._breath_s if self._gathered and not self._open else None
        try:
            with anyio.move_on_after(breath_s):
                report = await self._heard.next()
        except ProgramError as error:
            # What was called before that is told first.
            self._failure = error
        if report is None:
            self._hand_out()
        else:
            self._take(report)

    def _take(self, report: Report) -> None:
        match report:
            case Turn() if _ids(report):
                self._gather(report)
            case Returned():
                self._returned(report)
            case Spoken():
                self._ready.append(report)
            case _:
                self._open.clear()
                self._hand_out()
                self._ready.append(report)

    def _gather(self, turn: Turn) -> None:
        if self._is_returning:
            # Its model has answered to the results: those that are lacking will not come.
            self._open.clear()
        so_far = self._gathered or Turn(())
        self._gathered = Turn(so_far.parts + turn.parts, so_far.usage.plus(turn.usage))
        if len(self._gathered.parts) > MOST_CALLS:
            raise ProgramError(f"the program calls more than {MOST_CALLS} tools at once")

    def _returned(self, report: Returned) -> None:
        if not self._open:
            self._hand_out()
        id_ = report.tool_call_id
        if self._gathered is not None and id_ in _ids(self._gathered):
            self._held[id_] = report
            return
        self._is_returning = self._is_returning or id_ in self._open
        self._open.discard(id_)
        self._ready.append(report)
        if not self._open:
            self._hand_out()

    def _hand_out(self) -> None:
        """Hand out the turn that was gathered, and what has returned of it already."""
        turn, self._gathered = self._gathered, None
        if turn is None:
            return
        self._ready.append(turn)
        self._ready.extend(self._held.values())
        self._open = _ids(turn) - self._held.keys()
        self._is_returning = bool(self._held)
        self._held = {}


def _ids(turn: Turn) -> set[ToolCallId]:
    return {part.tool_call_id for part in turn.parts if isinstance(part, ToolCallPart)}
