"""Deciding what waits: all of it is read out first, then one deliberate word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from perstack.projection.inert import has_hidden
from perstack_tui.linear.commands import subtasks_left_out
from perstack_tui.linear.talk import Talk
from perstack_tui.state.review import Review
from perstack_tui.state.review_lines import detail_text, review_head
from perstack_tui.state.wording import RISK_WORDS, count_of
from perstack_tui.text import flat, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perstack.config.untrusted import Demand
    from perstack.domain.consensus import ConsensusCheckpoint, Decision, ProposedSubtask
    from perstack_tui.state.lines import Line

NOTHING: Final = "Nothing was decided."
_FOUND: Final = "This perstack.toml was found in this folder, not named by you. It would:"
_FETCHED: Final = "These Experts of the registry come from others. Starting this would:"
_HIDDEN: Final = ("Careful: characters that hide or change direction are given as ‹U+….›.",)


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who decides; `now_ms` is Unix milliseconds as it is read out."""

    name: str
    now_ms: int


async def read_gate(talk: Talk, review: Review, now_ms: int) -> bool:
    """Read all of an item out; say whether it was heard to its end."""
    gate, columns = review.gate, max(20, talk.size()[0] - 1)
    lines = [part for head in review_head(review, now_ms) for part in _words(head, columns)]
    for task in gate.proposed_subtasks:
        lines += _subtask(review, task, columns)
    lines += _reviewer_said(gate, columns)
    heard = await talk.read_lines(lines)
    if heard:
        review.reading.read |= {task.id for task in gate.proposed_subtasks}
    return heard


def _words(head: Line, columns: int) -> Sequence[str]:
    text = "".join(text for text, _ in (*head.left, *head.right))
    return wrap(text, columns) if text else ()


def _subtask(review: Review, task: ProposedSubtask, columns: int) -> Sequence[str]:
    left_out = ", left out" if task.id in review.dropped else ""
    head = f"Subtask {flat(task.id)}, risk {RISK_WORDS[task.estimated_risk_level]}{left_out}:"
    return (head, *detail_text(task, columns), *(_HIDDEN if _hides(task) else ()))


def _hides(task: ProposedSubtask) -> bool:
    return has_hidden(task.tool_name + task.input + task.agent_type)


def _reviewer_said(gate: ConsensusCheckpoint, columns: int) -> Sequence[str]:
    from perstack.projection.gates import review_phrase

    said = review_phrase(gate)
    return () if said is None else wrap(f"The reviewer: {said}", columns)


async def approval(
    talk: Talk, gate: ConsensusCheckpoint, reviewer: Reviewer, wish: str
) -> Decision | None:
    """Read an item out and ask; return the decision to let it run, None when there is none.

    `wish` is what was typed behind the number: `except s2,s3`, or `all` for those as well that a
    reviewer would not let run.
    """
    review = Review(gate)
    if (wrong := _leave_out(review, wish)) is not None:
        talk.say(wrong)
        return None
    if (closed := review.why_closed()) is not None:
        talk.say(closed)
        return None
    if not await read_gate(talk, review, reviewer.now_ms):
        talk.say(f"It was not read to its end. {NOTHING}")
        return None
    if (unready := review.why_unready()) is not None:
        kept = review.kept or not gate.proposed_subtasks
        talk.say(unready if kept else "Nothing would be left to approve: reject it instead.")
        return None
    word = review.word if review.wants_word else "yes"
    high = f" What is kept is HIGH, so the word is {word}." if review.wants_word else ""
    talk.say(f"{_consequence(review)}{high}")
    answer = await talk.ask(f"Type {word} to approve, or Enter not to: ")
    if answer is None or answer.lower() != word:
        talk.say(NOTHING)
        return None
    review.confirmed = review.kept_high
    if (refused := review.why_not_approve()) is not None:
        talk.say(refused)
        return None
    return review.approval("", reviewer.name)


def _leave_out(review: Review, wish: str) -> str | None:
    """Keep and drop as was typed; return what is wrong with it."""
    if not wish:
        return None
    if wish.lower() == "all":
        review.dropped.clear()
        return None
    named = subtasks_left_out(wish)
    if named is None:
        return "After the number there may be: except s2,s3 or all. A note goes with reject."
    ids = {task.id for task in review.gate.proposed_subtasks}
    if unknown := named - ids:
        return f"There is no subtask {flat(', '.join(sorted(unknown)))} in it."
    review.dropped |= {task_id for task_id in ids if task_id in named}
    return None


def _consequence(review: Review) -> str:
    kept, dropped = review.kept, sorted(flat(one) for one in review.dropped)
    what = f"{count_of(len(kept), 'subtask')} would run" if kept else "It would go on"
    return f"{what}, {', '.join(dropped)} would not." if dropped else f"{what}."


async def rejection(
    talk: Talk, gate: ConsensusCheckpoint, reviewer: Reviewer, note: str
) -> Decision | None:
    """Ask; return the decision to let nothing run, None when there is none."""
    review = Review(gate)
    if (closed := review.why_closed()) is not None:
        talk.say(closed)
        return None
    told = f" The agent reads: {flat(note)}" if note else ""
    talk.say(f"Nothing of it would run.{told}")
    if await talk.ask("Type yes to reject, or Enter not to: ") != "yes":
        talk.say(NOTHING)
        return None
    return review.rejection(note, reviewer.name)


async def accepts(
    talk: Talk,
    demands: Sequence[Demand],
    cards: Mapping[Demand, Sequence[str]] | None = None,
) -> bool:
    """Read out what is asked for; say whether the user accepts it.

    `cards` are all that Experts of the registry are, by what they ask for.
    """
    columns = max(20, talk.size()[0] - 1)
    own = [demand for demand in demands if demand.kind != "expert"]
    fetched = [demand for demand in demands if demand.kind == "expert"]
    lines: list[str] = []
    for intro, found in ((_FOUND, own), (_FETCHED, fetched)):
        lines += wrap(intro, columns) if found else ()
        for demand in found:
            lines += wrap(f"- {demand.text}", columns)
            for said in (cards or {}).get(demand, ()):
                lines += wrap(f"  {said}", columns)
    if not await talk.read_lines(lines):
        return False
    answer = await talk.ask("Type yes to accept all of it once, or Enter to start nothing: ")
    return answer == "yes"
