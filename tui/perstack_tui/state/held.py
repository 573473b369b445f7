"""Decisions that were made and are not written yet: `u` takes them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perstack_tui.state.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perstack.domain.consensus import ConsensusCheckpoint, Decision
    from perstack.domain.ids import ConsensusId


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody decided about a consensus checkpoint; `standing`: for the rest of the job."""

    gate: ConsensusCheckpoint
    decision: Decision
    standing: bool = False

    @property
    def word(self) -> str:
        """What it does, in a word."""
        if not self.decision.approved:
            return "reject"
        return "approve in part" if self.decision.rejected_subtask_ids else "approve"


@dataclass(frozen=True, slots=True)
class Held:
    """Choices made with one key; they are written at `until`, by the clock that never goes back.

    `until_ms` is the same moment in Unix milliseconds, to be shown.
    """

    choices: tuple[Choice, ...]
    until: float
    until_ms: int


def held_choice(held: Sequence[Held], consensus_id: ConsensusId) -> Choice | None:
    """Return what is held for a checkpoint."""
    choices = (choice for one in held for choice in one.choices)
    return next((choice for choice in choices if choice.gate.id == consensus_id), None)


def held_words(held: Sequence[Held], now_ms: int) -> str:
    """Return what `u` would take back: `undo approve 2s`; nothing while nothing is held."""
    if not held:
        return ""
    newest = held[-1]
    left = max(0, -(-(newest.until_ms - now_ms) // 1000))
    count = len(newest.choices)
    what = newest.choices[0].word + (f" {count_of(count, 'item')}" if count > 1 else "")
    return f"undo {what} {left}s"
