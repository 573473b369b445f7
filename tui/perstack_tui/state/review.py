"""Deciding a consensus checkpoint: what is kept, what was read, and what would happen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perstack.domain.ids import SubtaskId
from perstack.projection.inert import has_hidden
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import (
    RISK_ROLES,
    RISK_WORDS,
    Role,
    clock_time,
    decided_by,
    outcome_of,
    short_id,
    span_of_time,
)
from perstack_tui.text import cell, flat, wrap

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision, ProposedSubtask


@dataclass(slots=True)
class Review:
    """The sheet's state. Every subtask starts kept; `read` are those seen to their end."""

    gate: ConsensusCheckpoint
    dropped: set[SubtaskId] = field(default_factory=set[SubtaskId])
    read: set[SubtaskId] = field(default_factory=set[SubtaskId])
    selected: SubtaskId | None = None

    def __post_init__(self) -> None:
        if self.selected is None and self.gate.proposed_subtasks:
            self.selected = self.gate.proposed_subtasks[0].id

    @property
    def kept(self) -> tuple[ProposedSubtask, ...]:
        """The subtasks that an approval would let run."""
        return tuple(task for task in self.gate.proposed_subtasks if task.id not in self.dropped)

    def toggle(self) -> None:
        """Keep or drop the selected subtask."""
        if self.selected is not None:
            self.dropped ^= {self.selected}

    def why_not_approve(self) -> str | None:
        """Return why approving is not possible now, None when it is."""
        if (closed := self.why_closed()) is not None:
            return closed
        if self.gate.proposed_subtasks and not self.kept:
            return "nothing is kept: space keeps a subtask, r rejects all"
        unread = [task.id for task in self.kept if task.id not in self.read]
        if unread:
            return f"read {flat(unread[0])} to its end first (J scrolls)"
        return None

    def why_closed(self) -> str | None:
        """Return why no decision can be made any more."""
        if self.gate.status == "pending":
            return None
        _, word, _ = outcome_of(self.gate)
        return f"already {word} by {flat(decided_by(self.gate))}"

    def approval(self, feedback: str, reviewer: str) -> Decision:
        """Return the decision to let what is kept run."""
        from perstack.domain.consensus import Decision

        return Decision(
            approved=True,
            rejected_subtask_ids=tuple(
                task.id for task in self.gate.proposed_subtasks if task.id in self.dropped
            ),
            feedback=feedback or None,
            reviewed_by=reviewer,
        )

    def rejection(self, feedback: str, reviewer: str) -> Decision:
        """Return the decision to let nothing run."""
        from perstack.domain.consensus import Decision

        return Decision(approved=False, feedback=feedback or None, reviewed_by=reviewer)

    def consequence(self, feedback: str) -> Line:
        """Return in words what `a` would do."""
        if (closed := self.why_closed()) is not None:
            return line((closed, "fail"))
        blocked = self.why_not_approve()
        if blocked is not None:
            return line(("a is off: ", "muted"), (blocked, "need"))
        words = " with your note" if feedback else ""
        dropped = [flat(task.id) for task in self.gate.proposed_subtasks if task.id in self.dropped]
        if not dropped:
            count = len(self.kept)
            what = {1: "the subtask runs", 2: "both subtasks run"}.get(count, f"all {count} run")
            return line(("a approves: ", "done"), (self._then(f"{what}, ", words), "text"))
        told = f"{len(self.kept)} kept, {', '.join(dropped)} dropped"
        return line(("a approves in part: ", "done"), (self._then(f"{told}; ", words), "text"))

    def _then(self, what: str, words: str) -> str:
        """Return `what` with what comes of it: a run goes on, or tasks are made."""
        if self.gate.run_id is None:
            return f"{'the task is' if len(self.kept) == 1 else 'the tasks are'} made{words}"
        return f"{what}{flat(self.gate.expert_key)} goes on{words}"


def review_head(review: Review, now_ms: int) -> list[Line]:
    """Return who asks and why it was gated."""
    gate = review.gate
    level = "" if not gate.depth else f" · depth {gate.depth}"
    asked = span_of_time(now_ms - gate.created_at)
    job = f" · job {flat(short_id(gate.job_id))}" if gate.job_id else ""
    origin = f"asked by {flat(gate.expert_key)}{level}{job}"
    return [
        line((origin, "text"), (f" · {asked} ago at {clock_time(gate.created_at)}", "muted")),
        line(("why gated  ", "muted"), (flat(gate.reason), "text")),
        BLANK,
    ]


def review_lines(review: Review, width: int, now_ms: int) -> tuple[Line, ...]:
    """Return the whole of what is proposed, each subtask's text in full below it."""
    lines = [*review_head(review, now_ms), *_recommendation(review.gate, width)]
    if not review.gate.proposed_subtasks:
        return (*lines, note("No subtasks were proposed."))
    lines.append(note("  keep  risk  id"))
    for task in review.gate.proposed_subtasks:
        lines.extend(_subtask_lines(review, task, width))
    return (*lines, _hidden_note(review.gate))


def _recommendation(gate: ConsensusCheckpoint, width: int) -> Iterable[Line]:
    """Yield what a reviewing Expert said; its words are a model's."""
    from perstack.projection.gates import review_phrase

    said = review_phrase(gate)
    if said is None:
        return
    for at, text in enumerate(wrap(said, max(8, width - 11))):
        yield line(("           " if at else "reviewer   ", "muted"), (text, "text"))
    yield BLANK


def _subtask_lines(review: Review, task: ProposedSubtask, width: int) -> Iterable[Line]:
    from perstack.projection.gates import subtask_name, subtask_text

    chosen = task.id == review.selected
    kept = task.id not in review.dropped
    word: Role = "text" if kept else "muted"
    head: tuple[Span, ...] = (
        ("› " if chosen else "  ", "accent"),
        ("[x]   " if kept else "[ ]   ", "done" if kept else "fail"),
        (cell(RISK_WORDS[task.estimated_risk_level], 6), RISK_ROLES[task.estimated_risk_level]),
        (flat(f"{task.id}  "), "muted"),
        (flat(subtask_name(task)), "strong" if chosen else word),
    )
    yield Line(head, () if kept else ((" dropped", "fail"),), task.id)
    for text in wrap(subtask_text(task), max(8, width - 14)):
        yield Line(((" " * 14 + text, word),), key=task.id)
    yield BLANK


def _hidden_note(gate: ConsensusCheckpoint) -> Line:
    if any(has_hidden(task.tool_name + task.input) for task in gate.proposed_subtasks):
        return line(("! hidden or direction-changing characters are shown as ‹U+….›", "fail"))
    return note("every character shown · nothing hidden")
