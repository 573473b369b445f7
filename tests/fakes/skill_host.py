"""Runs as their skills see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import anyio

from perstack.domain.ids import ToolCallId
from perstack.ports.skills import (
    Elicitation,
    ElicitationAnswer,
    Sampling,
    SamplingAnswer,
    SkillHost,
)

DECLINED: Final = ElicitationAnswer("decline")
REFUSED: Final = SamplingAnswer(refused="no")


class ShowingHost(SkillHost):
    """Remembers what skills show and declines what they ask.

    `updates` is what calls showed, piece by piece, each with the id of its call.
    """

    def __init__(self) -> None:
        self.updates: list[tuple[ToolCallId, str]] = []

    def shown(self, tool_call_id: str) -> str:
        """Return all that one call showed."""
        return "".join(text for shown_by, text in self.updates if shown_by == tool_call_id)

    def output(self, tool_call_id: ToolCallId, text: str) -> None:
        """Remember it."""
        self.updates.append((tool_call_id, text))

    async def elicit(self, asked: Elicitation) -> ElicitationAnswer:
        """Decline."""
        del asked
        return ElicitationAnswer("decline")

    async def sample(self, asked: Sampling) -> SamplingAnswer:
        """Refuse."""
        del asked
        return SamplingAnswer(refused="nobody is here to agree")


@dataclass
class Answering(SkillHost):
    """A host that answers as it is told to; `holds` makes it take its time."""

    answer: ElicitationAnswer = DECLINED
    sampled: SamplingAnswer = REFUSED
    holds: anyio.Event | None = None
    asked: list[Elicitation | Sampling] = field(default_factory=list[Elicitation | Sampling])
    is_left: anyio.Event = field(default_factory=anyio.Event)
    is_asked: anyio.Event = field(default_factory=anyio.Event)

    @property
    def questions(self) -> list[Elicitation]:
        """The questions to the user among what was asked."""
        return [one for one in self.asked if isinstance(one, Elicitation)]

    def output(self, tool_call_id: ToolCallId, text: str) -> None:
        """Nothing prints here."""

    async def elicit(self, asked: Elicitation) -> ElicitationAnswer:
        self.asked.append(asked)
        await self._hold()
        return self.answer

    async def sample(self, asked: Sampling) -> SamplingAnswer:
        self.asked.append(asked)
        await self._hold()
        return self.sampled

    async def _hold(self) -> None:
        self.is_asked.set()
        try:
            if self.holds is not None:
                await self.holds.wait()
        except anyio.get_cancelled_exc_class():
            self.is_left.set()
            raise
