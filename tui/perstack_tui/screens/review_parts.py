"""What the review sheet is put together from, and how much room each part has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.containers import Horizontal
from textual.widget import Widget

from perstack_tui.state.inbox import gate_headline
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.state.review import Review
from perstack_tui.state.review_lines import (
    HEADS,
    detail_lines,
    detail_text,
    detail_title,
    review_lines,
    row_shows_all,
)
from perstack_tui.state.wording import RISK_WORDS, Role, countdown, outcome_of
from perstack_tui.text import width_of
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import LongField, TypedWord
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_SOON_MS: Final = 60_000
_FRAMED_FROM: Final = 16
_NOTE: Final = "e: a note to the agent (goes back with the decision)"


class ReviewParts:
    """The list, one subtask in full, the note, what would happen, the word, the keys."""

    def __init__(self, monotonic: Callable[[], float], draft: str) -> None:
        self.rows = Pane(id="review", heads=HEADS)
        self.detail = Pane(id="detail")
        self.field = LongField(id="feedback", placeholder=_NOTE)
        self.field.put(draft)
        self.word = TypedWord(id="review-word", monotonic=monotonic)
        self._label = Bar(id="review-word-label")
        self._word_row = Horizontal(self._label, self.word, id="review-word-row")
        self._word_row.display = False
        self._asks_word = False
        self._consequence = Bar(id="consequence")
        self._keys = Bar(id="review-keys")

    @property
    def widgets(self) -> tuple[Widget, ...]:
        """All of them, from top to bottom."""
        below = (self.field, self._consequence, self._word_row, self._keys)
        return (self.rows, self.detail, *below)

    def ask_word(self) -> None:
        """Give the keyboard to the word's field, which is there only while it is asked for."""
        self._asks_word = True
        self._word_row.display = True
        self.word.focus()

    def leave_word(self) -> None:
        """Take the field away again, empty."""
        self._asks_word = False
        self.word.value = ""

    def paint(self, review: Review, height: int, now: int) -> None:
        """Show the item in a sheet of `height` lines."""
        lines = review_lines(review, self.rows.inner_width, now)
        self._lay_out(review, height, len(lines))
        self.rows.show(lines, selected=review.selected, frame=_frame(review, now))
        below = detail_lines(review, self.detail.inner_width)
        hints = "J/K scroll" if len(below) > self.detail.inner_height else ""
        self.detail.show(below, frame=Frame(detail_title(review), "", hints))

    def _lay_out(self, review: Review, height: int, rows: int) -> None:
        """Give the list what it needs, at most half; the note a frame where there is room."""
        framed = height >= _FRAMED_FROM
        self.field.styles.height = 3 if framed else 1
        self.field.set_class(not framed, "-flat")
        may_ask = review.wants_word and review.why_unready() is None
        self._word_row.display = self._asks_word and may_ask
        # Its line is kept free, so that nothing moves as the word is asked for.
        rest = height - (3 if framed else 1) - 2 - (1 if may_ask else 0)
        self.rows.styles.height = max(3, min(rows + 2, rest * 11 // 20))

    def paint_bars(self, review: Review, consequence: Line) -> None:
        """Say what would happen, and which keys count."""
        label = f" type {review.word} to confirm ▸ "
        self._label.show(line((label, "need")))
        self._label.styles.width = width_of(label)
        self._consequence.show(consequence)
        if self.field.has_focus:
            self._keys.show(_FIELD_KEYS)
        else:
            self._keys.show(_WORD_KEYS if self.word.has_focus else _keys(review))

    def note_read(self, review: Review) -> bool:
        """Remember what is painted: lines of the subtask in full, and rows that say it all.

        Say whether anything was read to its end by that.
        """
        detail, rows, reading = self.detail, self.rows, review.reading
        task, width, before = review.task, detail.inner_width, len(reading.read)
        if task is not None and detail.inner_height > 0 and width > 0:
            seen = range(detail.top, detail.top + detail.inner_height)
            reading.saw(task.id, width, len(detail_text(task, width)), seen)
        tasks = {task.id: task for task in review.gate.proposed_subtasks}
        for at in map(rows.line_in, range(rows.inner_height)):
            key = rows.lines[at].key if 0 <= at < len(rows.lines) else None
            one = next((task for id_, task in tasks.items() if id_ == key), None)
            if one is not None and row_shows_all(one, rows.inner_width):
                reading.read.add(one.id)
        return len(reading.read) != before


def _frame(review: Review, now: int) -> Frame:
    gate = review.gate
    left = countdown(gate.expires_at, now) if gate.status == "pending" else outcome_of(gate)[1]
    soon = gate.expires_at is not None and gate.expires_at - now <= _SOON_MS
    role: Role = "fail" if soon else "need"
    badge = f"▲ {RISK_WORDS[gate.risk_level]} · {left}"
    return Frame(f"Review · {gate_headline(gate)}", badge, "j/k select", badge_role=role)


def _keys(review: Review) -> Line:
    keys = [("a", "approve kept"), ("r", "reject all"), ("space", "keep"), ("e", "note")]
    if review.why_not_standing() is None:
        keys.insert(1, ("A", "for the rest of the job"))
    if review.held is not None:
        keys = [("u", "undo")]
    elif review.why_closed() is not None:
        keys = [("F", "fork from before it")]
    spans: list[Span] = []
    for key, text in (*keys, ("[ ]", "items"), ("y", "copy"), ("esc", "back")):
        spans.append((f" {key}", "accent"))
        spans.append((f" {text} ", "muted"))
    return Line(tuple(spans))


_FIELD_KEYS = line(
    (" esc", "accent"),
    (" back to the list; a and r decide there  ", "muted"),
    ("^g", "accent"),
    (" $EDITOR", "muted"),
)
_WORD_KEYS = line(
    (" esc", "accent"), (" back; the word opens a, it decides nothing by itself", "muted")
)
