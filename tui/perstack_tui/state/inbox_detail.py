"""The selected item of the inbox in full, where there is room for it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from perstack.projection.views import QuestionView
from perstack_tui.state.lines import Line
from perstack_tui.state.wording import RISK_ROLES, RISK_WORDS, Role, clock_time, short_id
from perstack_tui.text import cell, flat, wrap, wrap_long

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint
    from perstack_tui.state.inbox import Item


def detail_lines(item: Item, width: int, now_ms: int) -> Iterable[Line]:
    """Yield what stands below an item's own lines."""
    key = item.key
    yield Line((("", "muted"),), key=key)
    if item.question is not None:
        yield from _question(item.question, width, key)
    elif item.gate is not None:
        yield from _gate(item.gate, width, key)
    yield Line((("", "muted"),), key=key)


def _question(question: QuestionView, width: int, key: Hashable) -> Iterable[Line]:
    yield from _told(question.text, "text", width, key)
    for number, choice in enumerate(question.choices, 1):
        yield from _told(f"{number} {choice}", "strong", width, key)
    asked = f"asked {clock_time(question.asked_at)} · job {short_id(question.job_id)}"
    yield from _told(asked, "muted", width, key)


def _gate(gate: ConsensusCheckpoint, width: int, key: Hashable) -> Iterable[Line]:
    job = f" · job {short_id(gate.job_id)}" if gate.job_id else ""
    yield from _told(
        f"depth {gate.depth} · asked {clock_time(gate.created_at)}{job}", "muted", width, key
    )
    yield from _told(f"why: {gate.reason}", "muted", width, key)
    for task in gate.proposed_subtasks:
        risk = task.estimated_risk_level
        first, rest = _folded(task.input, max(8, width - 9), key)
        head = ("  " + cell(RISK_WORDS[risk], 5), RISK_ROLES[risk])
        yield Line((head, (cell(task.id, 4) + " ", "muted"), (first, "text")), key=key)
        yield from rest
    decision = gate.decision
    if decision is not None and decision.feedback:
        yield from _told(f"note: {decision.feedback}", "text", width, key)


@lru_cache(maxsize=32)
def _folded(text: str, width: int, key: Hashable) -> tuple[str, tuple[Line, ...]]:
    """Return a text's first line, and the others set in; made once, however often painted."""
    first, *rest = wrap_long(text, width) or ("",)
    return first, tuple(Line(((" " * 12, "muted"), (one, "text")), key=key) for one in rest)


def _told(text: str, role: Role, width: int, key: Hashable) -> Iterable[Line]:
    for part in wrap(flat(text) if "\n" not in text else text, max(8, width - 2)):
        yield Line((("  ", "muted"), (part, role)), key=key)
