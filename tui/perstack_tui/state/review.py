"""Deciding a consensus checkpoint: what is kept, what was read, and what would happen."""

from __future__ import annotations

import shlex
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from perstack.domain.ids import ConsensusId, SubtaskId
from perstack_tui.state.held import Choice
from perstack_tui.state.lines import Line, line
from perstack_tui.state.reading import Reading
from perstack_tui.state.wording import decided_by, outcome_of
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision, ProposedSubtask

# Plain words that nobody types by habit; which one it is changes from item to item.
WORDS: Final = (
    "amber",
    "birch",
    "cobalt",
    "dune",
    "ember",
    "fjord",
    "garnet",
    "harbor",
    "indigo",
    "juniper",
    "kelp",
    "lagoon",
    "maple",
    "nectar",
    "onyx",
    "pebble",
)


_MOST_REVIEWS: Final = 100
OBSERVES: Final = "this cockpit only observes; open it without --observe to act"


@dataclass(slots=True)
class Review:
    """The sheet's state. Subtasks start kept, those of high risk that a reviewer rejects dropped.

    `confirmed` are the kept ones of high risk for which the word was typed; `held` is what this
    cockpit decided about it a moment ago. `objected` are those that a reviewer has been heard on.
    `observing`: nobody may decide in this cockpit.
    """

    gate: ConsensusCheckpoint
    dropped: set[SubtaskId] = field(default_factory=set[SubtaskId])
    reading: Reading = field(default_factory=Reading)
    selected: SubtaskId | None = None
    confirmed: frozenset[SubtaskId] = frozenset()
    held: Choice | None = None
    objected: frozenset[SubtaskId] = frozenset()
    observing: bool = False

    def __post_init__(self) -> None:
        tasks = self.gate.proposed_subtasks
        if self.selected is None and tasks:
            self.selected = tasks[0].id
        self.take(self.gate)

    def take(self, gate: ConsensusCheckpoint) -> frozenset[SubtaskId]:
        """Go on with the checkpoint as it is now; drop and return what a reviewer newly objects to.

        Only what is of high risk is dropped, once: what was kept again after that stays kept.
        """
        self.gate = gate
        if gate.status != "pending":
            self.dropped = set(left_out(gate))
            return frozenset()
        fresh = objected_to(gate) - self.objected
        self.objected |= fresh
        self.confirmed -= fresh
        newly = fresh - self.dropped
        self.dropped |= fresh
        return newly

    @property
    def task(self) -> ProposedSubtask | None:
        """The selected subtask."""
        tasks = self.gate.proposed_subtasks
        return next((task for task in tasks if task.id == self.selected), None)

    @property
    def kept(self) -> tuple[ProposedSubtask, ...]:
        """The subtasks that an approval would let run."""
        return tuple(task for task in self.gate.proposed_subtasks if task.id not in self.dropped)

    @property
    def kept_high(self) -> frozenset[SubtaskId]:
        """Those of them that are of high risk."""
        return high_tasks(self.gate) - self.dropped

    @property
    def word(self) -> str:
        """What has to be typed before something of high risk is approved."""
        return WORDS[zlib.crc32(self.gate.id.encode("utf-8", "replace")) % len(WORDS)]

    @property
    def wants_word(self) -> bool:
        """Whether the word is still to be typed."""
        return bool(self.kept_high) and not self.kept_high <= self.confirmed

    def toggle(self) -> None:
        """Keep or drop the selected subtask."""
        if self.selected is not None:
            self.dropped ^= {self.selected}

    def why_not_approve(self) -> str | None:
        """Return why approving is not possible now, None when it is."""
        if (unready := self.why_unready()) is not None:
            return unready
        if self.wants_word:
            count = len(self.kept_high)
            what = "a kept subtask is" if count == 1 else f"{count} kept subtasks are"
            return f"{what} HIGH: press a, and it asks for a word"
        return None

    def why_unready(self) -> str | None:
        """Return what stands in the way before a word is asked for."""
        if (closed := self.why_closed()) is not None:
            return closed
        if self.gate.proposed_subtasks and not self.kept:
            return "nothing is kept: space keeps a subtask, r rejects all"
        read = self.reading.read
        if unread := [task.id for task in self.kept if task.id not in read]:
            how = "J scrolls" if unread[0] == self.selected else "j selects it"
            return f"read {flat(unread[0])} to its end first ({how})"
        return None

    def why_closed(self) -> str | None:
        """Return why no decision can be made any more, or here."""
        if self.held is not None:
            return f"{self.held.word}: about to be written; u undoes"
        if self.gate.status == "pending":
            return OBSERVES if self.observing else None
        _, word, _ = outcome_of(self.gate)
        if self.gate.status == "expired":
            return "expired: nobody decided in time, the agent was told so"
        return f"already {word} by {flat(decided_by(self.gate))}"

    def why_not_standing(self) -> str | None:
        """Return why what is kept cannot be approved for the rest of the job."""
        from perstack.projection.gates import is_tool_call

        if self.gate.job_id is None:
            return "no job waits here"
        if not all(is_tool_call(task) for task in self.kept):
            return "only a tool's exact call can be approved for the rest of the job"
        if self.kept_high:
            return "what is HIGH is decided each time"
        return self.why_not_approve()

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

    def command(self, feedback: str) -> str:
        """Return the shell command that decides the same."""
        words = ["perstack", "consensus", "approve" if self.kept else "reject", self.gate.id]
        if self.kept:
            dropped = [task.id for task in self.gate.proposed_subtasks if task.id in self.dropped]
            words += [word for id_ in dropped for word in ("--reject-subtask", id_)]
        words += ["--feedback", feedback] if feedback else []
        return shlex.join(words)

    def consequence(self, feedback: str) -> Line:
        """Return in words what `a` would do."""
        if (closed := self.why_closed()) is not None:
            return line((closed, "fail" if self.held is None else "need"))
        if (blocked := self.why_not_approve()) is not None:
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


def high_tasks(gate: ConsensusCheckpoint) -> frozenset[SubtaskId]:
    """Return the subtasks of high risk; all, where only the checkpoint as a whole is of it."""
    tasks = gate.proposed_subtasks
    high = frozenset(task.id for task in tasks if task.estimated_risk_level == "high")
    if high or gate.risk_level != "high":
        return high
    return frozenset(task.id for task in tasks)


def objected_to(gate: ConsensusCheckpoint) -> frozenset[SubtaskId]:
    """Return what is of high risk and the reviewing Expert would not let run."""
    return high_tasks(gate) & rejected_by_reviewer(gate)


def review_of(reviews: dict[ConsensusId, Review], gate: ConsensusCheckpoint) -> Review:
    """Return the review of a checkpoint as it was left: what was dropped stays so, what was read.

    The word is typed anew. Of those in `reviews` the last few are kept.
    """
    review = reviews.pop(gate.id, None)
    if review is None or review.gate.proposed_subtasks != gate.proposed_subtasks:
        review = Review(gate)
    review.take(gate)
    review.confirmed = frozenset()
    reviews[gate.id] = review
    while len(reviews) > _MOST_REVIEWS:
        del reviews[next(iter(reviews))]
    return review


def left_out(gate: ConsensusCheckpoint) -> frozenset[SubtaskId]:
    """Return the subtasks that do not run: of what was approved, those rejected; else all."""
    if gate.status == "approved":
        return frozenset(gate.decision.rejected_subtask_ids if gate.decision else ())
    return frozenset(task.id for task in gate.proposed_subtasks)


def rejected_by_reviewer(gate: ConsensusCheckpoint) -> frozenset[SubtaskId]:
    """Return the subtasks that the reviewing Expert would not let run."""
    verdict = gate.review.verdict if gate.review else None
    if verdict is None:
        return frozenset()
    if verdict.approved or verdict.rejected_subtask_ids:
        return frozenset(verdict.rejected_subtask_ids)
    return frozenset(task.id for task in gate.proposed_subtasks)
