"""Answering what an Expert asks: which question is at hand, what was chosen, what came before."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from perstack.projection.views import QuestionView, RunView
from perstack_tui.state.inbox import ItemKey, question_key
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.markdown import markdown_lines
from perstack_tui.text import flat, wrap

RECENT_LINES: Final = 10
_SEPARATOR: Final = ", "
_READ_OF_AN_ENTRY: Final = 4_000


@dataclass(slots=True)
class Answering:
    """The questions of one run, in order. `taken` are the answers that were entered."""

    questions: tuple[QuestionView, ...]
    at: int = 0
    taken: dict[ItemKey, str] = field(default_factory=dict[ItemKey, str])
    unfolded: bool = False
    cursor: int = 0

    @property
    def question(self) -> QuestionView:
        """The one at hand."""
        return self.questions[self.at]

    def turn(self, by: int) -> None:
        """Go to the question `by` tabs away, around the ends."""
        self.at = (self.at + by) % len(self.questions)
        self.cursor = 0

    def move(self, by: int) -> None:
        """Move among the choices."""
        self.cursor = max(0, min(len(self.question.choices) - 1, self.cursor + by))

    def chosen(self, text: str, number: int) -> str:
        """Return the field's text once choice `number`, from 0, was taken, or left again."""
        asked = self.question
        choice = asked.choices[number]
        if not asked.several:
            return choice
        have = picked(asked, text)
        left = [one for one in have if one != choice]
        return _SEPARATOR.join(left if choice in have else _in_order(asked, [*have, choice]))

    def take(self, text: str) -> bool:
        """Keep the answer to the question at hand; say whether all are answered now."""
        self.taken[question_key(self.question)] = text
        unanswered = [
            at for at, one in enumerate(self.questions) if question_key(one) not in self.taken
        ]
        if unanswered:
            later = [at for at in unanswered if at > self.at]
            self.at, self.cursor = (later or unanswered)[0], 0
        return not unanswered

    def given(self) -> list[tuple[QuestionView, str]]:
        """Return each question with its answer."""
        return [(one, self.taken[question_key(one)]) for one in self.questions]


def all_of(first: QuestionView, others: Sequence[QuestionView]) -> tuple[QuestionView, ...]:
    """Return the open questions of the run that asks `first`, in their order."""
    found = {one.tool_call_id: one for one in (first, *first.later)}
    for other in others:
        if other.run_id == first.run_id:
            found.update({one.tool_call_id: one for one in (other, *other.later)})
    return tuple(sorted(found.values(), key=lambda one: one.position))


def picked(asked: QuestionView, text: str) -> list[str]:
    """Return the choices that stand in the field's text, whatever commas they hold themselves."""
    left, found = _SEPARATOR.join(text.split(_SEPARATOR)), list[str]()
    while left:
        match = next(
            (c for c in asked.choices if left == c or left.startswith(c + _SEPARATOR)), None
        )
        if match is None:
            return []
        found.append(match)
        left = left[len(match) + len(_SEPARATOR) :]
    return found


def _in_order(asked: QuestionView, chosen: Sequence[str]) -> list[str]:
    return [choice for choice in asked.choices if choice in chosen]


def command(asked: QuestionView, expert_key: str, text: str) -> str:
    """Return the shell command that answers the same."""
    words = ["perstack", "run", expert_key, text or "<answer>"]
    return shlex.join([*words, "--continue-job", asked.job_id, "-i"])


# ------------------------------------------------------------------ lines


def tabs_line(answering: Answering, drafts: Mapping[Hashable, str]) -> Line:
    """Return a tab a question: answered, begun or open; the one at hand in brackets."""
    spans: list[Span] = []
    for at, one in enumerate(answering.questions):
        key = question_key(one)
        mark = "✓" if key in answering.taken else "…" if drafts.get(key) else "○"
        here = at == answering.at
        text = f"[{at + 1} {mark}]" if here else f" {at + 1} {mark} "
        spans.append((text, "accent" if here else "muted"))
    return Line((*spans, ("  ←/→ other question", "muted")))


def answer_lines(
    answering: Answering,
    run: RunView | None,
    drafts: Mapping[Hashable, str],
    width: int,
    height: int,
) -> list[Line]:
    """Return what came before, as far as there is room; the question whole; how it was asked."""
    asked, lines = answering.question, list[Line]()
    if len(answering.questions) > 1:
        lines += [tabs_line(answering, drafts), BLANK]
    lines += markdown_lines(asked.text, width)
    if asked.choices:
        lines.append(BLANK)
    lines += _choice_lines(answering, drafts.get(question_key(asked), ""), width)
    lines += [BLANK, *_args_lines(answering, width)]
    # The question is what is read first: what came before takes only the lines that are left.
    return [*recent_lines(run, width, height - len(lines) - 2), *lines]


def _choice_lines(answering: Answering, text: str, width: int) -> list[Line]:
    asked, lines = answering.question, list[Line]()
    have = picked(asked, text)
    for number, choice in enumerate(asked.choices, 1):
        head, *rest = wrap(choice, max(8, width - 8))
        key = str(number) if number <= 9 else " "
        box = ("[x] " if choice in have else "[ ] ") if asked.several else ""
        here = "›" if number - 1 == answering.cursor else " "
        spans: tuple[Span, ...] = ((f"{here}{key}  ", "accent"), (box, "done"), (head, "text"))
        lines.append(Line(spans, key=number - 1))
        lines += [line(("    " + more, "text")) for more in rest]
    return lines


def _args_lines(answering: Answering, width: int) -> list[Line]:
    asked = answering.question
    fold = "▾" if answering.unfolded else "▸"
    lines = [note(f"{fold} asked with {flat(asked.tool_name)}  (^o)")]
    if answering.unfolded:
        lines += [note("  " + text) for text in wrap(asked.args, width - 2)]
    return lines


def recent_lines(run: RunView | None, width: int, room: int = RECENT_LINES) -> tuple[Line, ...]:
    """Return the last lines of the run's transcript, at most `room` of them, above a rule."""
    most = min(room, RECENT_LINES)
    if run is None or most <= 0:
        return ()
    found: list[str] = []
    for entry in reversed(run.entries):
        if entry.kind == "question" and entry.status == "waiting":
            continue
        text = entry.text[-_READ_OF_AN_ENTRY:].strip()
        head = (entry.title,) if entry.title else ()
        found = [*head, *(f"  {one}" for one in wrap(text, max(8, width - 2)) if one), *found]
        if len(found) >= most:
            break
    shown = [note(flat(text)) for text in found[-most:]]
    return (*shown, note("─" * min(width, 40)), BLANK) if shown else ()
