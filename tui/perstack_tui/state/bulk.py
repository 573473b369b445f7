"""Deciding several consensus checkpoints at once: grouped, and nothing of high risk among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from perstack_tui.state.held import Choice
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.state.review import Review
from perstack_tui.state.review_lines import detail_text
from perstack_tui.state.wording import RISK_ROLES, RISK_WORDS, count_of, countdown
from perstack_tui.text import flat, wrap

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, ProposedSubtask
    from perstack.domain.settings import RiskLevel


@dataclass(frozen=True, slots=True)
class Group:
    """The items of one Expert and risk."""

    expert_key: str
    risk: RiskLevel
    gates: tuple[ConsensusCheckpoint, ...]


def grouped(gates: Sequence[ConsensusCheckpoint]) -> tuple[Group, ...]:
    """Return what can be decided together, medium risk first."""
    found: dict[tuple[str, RiskLevel], list[ConsensusCheckpoint]] = {}
    for gate in gates:
        if may_be_bulk(gate):
            found.setdefault((gate.expert_key, gate.risk_level), []).append(gate)
    order = sorted(found, key=lambda key: (key[1] != "medium", key[0]))
    return tuple(Group(expert, risk, tuple(found[expert, risk])) for expert, risk in order)


def may_be_bulk(gate: ConsensusCheckpoint) -> bool:
    """Tell whether a checkpoint may be decided beside others: it waits, and is not of high risk."""
    high = any(task.estimated_risk_level == "high" for task in gate.proposed_subtasks)
    return gate.status == "pending" and gate.risk_level != "high" and not high


def choices(groups: Sequence[Group], note_: str, reviewer: str, *, approve: bool) -> list[Choice]:
    """Return the same decision for each of them."""
    made: list[Choice] = []
    for gate in (gate for group in groups for gate in group.gates):
        # Nothing is dropped behind the reader's back: what is shown is what is decided.
        review = Review(gate)
        review.dropped.clear()
        decision = (
            review.approval(note_, reviewer) if approve else review.rejection(note_, reviewer)
        )
        made.append(Choice(gate, decision))
    return made


def bulk_lines(
    groups: Sequence[Group], left_out: Sequence[ConsensusCheckpoint], width: int, now_ms: int
) -> tuple[Line, ...]:
    """Return every item whole, below the Expert that asks; then what is not among them, and why."""
    lines: list[Line] = []
    for group in groups:
        risk = RISK_WORDS[group.risk]
        head = f"{flat(group.expert_key)} · {count_of(len(group.gates), 'item')}"
        lines.append(line((f"{risk:<5}", RISK_ROLES[group.risk]), (head, "strong")))
        for gate in group.gates:
            lines.extend(_gate_lines(gate, width, now_ms))
        lines.append(BLANK)
    lines += [
        line(("not among them  ", "fail"), (f"{_first(gate)}: {_why(gate)}", "text"))
        for gate in left_out
    ]
    return tuple(lines) or (note("Nothing is left that can be decided together."),)


def _why(gate: ConsensusCheckpoint) -> str:
    if gate.status != "pending":
        return "decided meanwhile"
    part = "a part of it is dropped, decided by itself"
    return part if may_be_bulk(gate) else "HIGH, decided one by one"


def _gate_lines(gate: ConsensusCheckpoint, width: int, now_ms: int) -> list[Line]:
    left = countdown(gate.expires_at, now_ms)
    lines = [line(("  ", "text"), (flat(gate.reason), "muted"), right=((" " + left, "need"),))]
    for task in gate.proposed_subtasks:
        lines += _task_lines(task, max(8, width - 4))
    said = gate.review.verdict.feedback if gate.review and gate.review.verdict else None
    if said:
        lines += [line(("    " + text, "need")) for text in wrap(f"reviewer: {said}", width - 4)]
    return lines


def _task_lines(task: ProposedSubtask, width: int) -> tuple[Line, ...]:
    return _set_in(detail_text(task, width))


@lru_cache(maxsize=64)
def _set_in(texts: tuple[str, ...]) -> tuple[Line, ...]:
    return tuple(Line((("    " + text, "text"),), exact=True) for text in texts)


def _first(gate: ConsensusCheckpoint) -> str:
    from perstack.projection.gates import subtask_phrase

    tasks = gate.proposed_subtasks
    return flat(subtask_phrase(tasks[0], 60)) if tasks else flat(gate.id)
