"""A run as its skills see it: it remembers what they show and declines what they ask."""

from __future__ import annotations

from perstack.domain.ids import ToolCallId
from perstack.ports.skills import (
    Elicitation,
    ElicitationAnswer,
    Sampling,
    SamplingAnswer,
    SkillHost,
)


class ShowingHost(SkillHost):
    """`updates` is what calls showed, piece by piece, each with the id of its call."""

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
