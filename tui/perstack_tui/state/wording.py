"""States, ages, counts and countdowns in words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from perstack.projection.money import cost_words
from perstack.projection.views import ScreenState

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint
    from perstack.domain.settings import RiskLevel
    from perstack.domain.usage import Cost, Usage

Role = Literal[
    "text",
    "strong",
    "muted",
    "accent",
    "run",
    "need",
    "stall",
    "fail",
    "done",
    "idle",
    "stop",
    "line",
    "chip",
    "warn-chip",
    "heading",
    "emphasis",
    "code",
    "link",
    "added",
    "removed",
    "match",
]


@dataclass(frozen=True, slots=True)
class StateLook:
    """How a state is drawn: always a glyph, a word and a colour."""

    glyph: str
    word: str
    role: Role
    urgency: int


LOOKS: Final[dict[ScreenState, StateLook]] = {
    "gate": StateLook("▲", "gate", "need", 0),
    "asks": StateLook("▲", "asks", "need", 0),
    "stall": StateLook("!", "stall", "stall", 1),
    "lost": StateLook("✗", "lost", "fail", 2),
    "run": StateLook("●", "run", "run", 3),
    "waits": StateLook("●", "waits", "run", 3),
    "fail": StateLook("✗", "fail", "fail", 4),
    "limit": StateLook("■", "limit", "stop", 5),
    "stop": StateLook("■", "stop", "stop", 5),
    "idle": StateLook("○", "idle", "idle", 6),
    "done": StateLook("✓", "done", "done", 7),
}
LIVE: Final[frozenset[ScreenState]] = frozenset({"run", "waits", "gate", "asks", "stall"})
ENDED: Final[frozenset[ScreenState]] = frozenset({"done", "fail", "limit"})
RISK_WORDS: Final[dict[RiskLevel, str]] = {"low": "low", "medium": "med", "high": "HIGH"}
RISK_ROLES: Final[dict[RiskLevel, Role]] = {"low": "muted", "medium": "need", "high": "fail"}


def short_id(value: str) -> str:
    """Return enough of an id to tell it by eye."""
    return value[:8]


def span_of_time(milliseconds: int) -> str:
    """Return a duration in at most five cells: `0.3s`, `44s`, `9m42`, `3h05`, `12d`."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 60:
        return f"{seconds}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}"
    hours, minutes = divmod(minutes, 60)
    if hours < 100:
        return f"{hours}h{minutes:02}"
    return f"{hours // 24}d"


def precise_span(milliseconds: int) -> str:
    """Return a short duration to the tenth of a second."""
    if milliseconds < 60_000:
        return f"{max(0, milliseconds) / 1000:.1f}s"
    return span_of_time(milliseconds)


def countdown(expires_at: int | None, now_ms: int) -> str:
    """Return the time left as `4:12 left`, `no limit` or `expired`."""
    if expires_at is None:
        return "no limit"
    left = (expires_at - now_ms) // 1000
    if left < 0:
        return "expired"
    minutes, seconds = divmod(left, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds:02} left"
    return f"{minutes}:{seconds:02} left"


def tokens(usage: Usage) -> str:
    """Return total tokens in at most five cells: `0`, `812`, `9.6k`, `61k`, `1.2M`, `?`."""
    if usage.partial and not usage.total_tokens:
        return "?"
    return amount(usage.total_tokens or usage.input_tokens + usage.output_tokens)


def spent(cost: Cost) -> str:
    """Return ` · $0.12`, ` · ≥ $0.12` or ` · $?` for what stands after a count of tokens."""
    if not (cost.usd or cost.partial):
        return ""
    return f" · {cost_words(cost)}" if cost.usd else " · $?"


def amount(count: int) -> str:
    """Return a count in at most five cells."""
    if count < 1000:
        return str(count)
    if count < 9_950:
        return f"{count / 1000:.1f}k"
    if count < 999_500:
        return f"{count / 1000:.0f}k"
    return f"{count / 1_000_000:.1f}M"


def clock_time(timestamp_ms: int) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(timestamp_ms / 1000))


def count_of(number: int, noun: str) -> str:
    """Return `1 subtask`, `3 subtasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def versioned(key: str, version: str) -> str:
    """Return an Expert's key with its version: one of the registry may have one, or a tag."""
    name = key[:1] + key[1:].partition("@")[0]
    return f"{name}@{version}"


def outcome_of(checkpoint: ConsensusCheckpoint) -> tuple[str, str, Role]:
    """Return glyph, word and colour of a decided consensus checkpoint."""
    if checkpoint.status == "approved":
        decision = checkpoint.decision
        if decision is not None and decision.rejected_subtask_ids:
            return "◩", "partial", "done"
        return "✓", "approved", "done"
    if checkpoint.status == "rejected":
        return "✗", "rejected", "fail"
    if checkpoint.status == "expired":
        return "○", "expired", "idle"
    return "▲", "pending", "need"


def decided_by(checkpoint: ConsensusCheckpoint) -> str:
    """Return who decided, or `auto`."""
    return checkpoint.decision.reviewed_by if checkpoint.decision else "auto"
