"""A consensus checkpoint as lines: who asks, a row a subtask, and one of them in full."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from perstack.projection.inert import has_hidden
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.review import Review
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
from perstack_tui.text import cell, flat, width_of, wrap, wrap_long

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, ProposedSubtask

HEADS: Final = 4
_FIXED: Final = 19
_RUNS_AS: Final = 18
_TOUCHES: Final = 22
_TOUCHED_ARGS: Final = (
    "path",
    "paths",
    "source",
    "destination",
    "oldPath",
    "newPath",
    "directory",
    "cwd",
    "url",
    "uri",
    "host",
    "command",
)
_READ_FOR_A_CELL: Final = 20_000


def review_lines(review: Review, width: int, now_ms: int) -> tuple[Line, ...]:
    """Return who asks, why it waits, and a row for each subtask."""
    gate = review.gate
    lines = [*review_head(review, now_ms), _heading(width)]
    if not gate.proposed_subtasks:
        return (*lines, note("No subtasks were proposed."))
    return (*lines, *(_row(review, task, width) for task in gate.proposed_subtasks))


def review_head(review: Review, now_ms: int) -> list[Line]:
    """Return who asks and why it was gated; of what was decided, who did and what they said."""
    gate = review.gate
    level = "" if not gate.depth else f" · depth {gate.depth}"
    asked = span_of_time(now_ms - gate.created_at)
    job = f" · job {flat(short_id(gate.job_id))}" if gate.job_id else ""
    origin = f"asked by {flat(gate.expert_key)}{level}{job}"
    return [
        line((origin, "text"), (f" · {asked} ago at {clock_time(gate.created_at)}", "muted")),
        line(("why gated  ", "muted"), (flat(gate.reason), "text")),
        _outcome(gate),
    ]


def _outcome(gate: ConsensusCheckpoint) -> Line:
    if gate.status == "pending":
        return BLANK
    glyph, word, role = outcome_of(gate)
    at = f" at {clock_time(gate.decided_at)}" if gate.decided_at else ""
    said = gate.decision.feedback if gate.decision else None
    spans: list[Span] = [(f"{glyph} {word}", role), (f" by {flat(decided_by(gate))}{at}", "text")]
    return line(*spans, (f": {flat(said)}" if said else "", "muted"))


def _heading(width: int) -> Line:
    room, runs_as, touches = _columns(width)
    text = "  keep  risk  id   " + cell("subtask", room)
    text += (" " + cell("runs as", runs_as - 1)) if runs_as else ""
    return note(text + (" touches" if touches else ""))


def _columns(width: int) -> tuple[int, int, int]:
    """Return the widths of subtask, runs as and touches; 0 leaves a column out."""
    runs_as = _RUNS_AS if width >= 70 else 0
    touches = _TOUCHES if width >= 100 else 0
    return max(8, width - _FIXED - runs_as - touches), runs_as, touches


def _row(review: Review, task: ProposedSubtask, width: int) -> Line:
    room, runs_as, touches = _columns(width)
    chosen, kept = task.id == review.selected, task.id not in review.dropped
    word: Role = "text" if kept else "muted"
    spans: list[Span] = [
        ("› " if chosen else "  ", "accent"),
        ("[x]   " if kept else "[ ]   ", "done" if kept else "fail"),
        (cell(RISK_WORDS[task.estimated_risk_level], 6), RISK_ROLES[task.estimated_risk_level]),
        (cell(task.id, 4) + " ", "muted"),
        (cell(_phrase(task), room), "strong" if chosen else word),
    ]
    if runs_as:
        spans.append((" " + cell(_runs_as(review.gate, task), runs_as - 1), "muted"))
    if touches:
        spans.append((" " + cell(", ".join(touched(task)) or "not said", touches - 1), "muted"))
    return Line(tuple(spans), key=task.id)


def _phrase(task: ProposedSubtask) -> str:
    from perstack.projection.gates import subtask_phrase

    return subtask_phrase(task, 400)


def row_shows_all(task: ProposedSubtask, width: int) -> bool:
    """Tell whether the row has every character that would be run, so that it need not be opened."""
    room, runs_as, _ = _columns(width)
    named = bool(runs_as) and width_of(flat(task.agent_type)) < runs_as
    whole = _phrase(task) == task.input and width_of(flat(task.input)) <= room
    return named and whole and not has_hidden(task.input + task.agent_type)


def _runs_as(gate: ConsensusCheckpoint, task: ProposedSubtask) -> str:
    from perstack.projection.gates import is_tool_call

    return gate.expert_key if is_tool_call(task) else task.agent_type


def touched(task: ProposedSubtask) -> Sequence[str]:
    """Return the files, addresses and commands that a tool's arguments name."""
    from perstack.projection.gates import is_tool_call

    if not is_tool_call(task) or len(task.input) > _READ_FOR_A_CELL:
        return ()
    try:
        args: JsonValue = json.loads(task.input)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(args, dict):
        return ()
    found: list[str] = []
    for name in _TOUCHED_ARGS:
        given = args.get(name)
        some = given if isinstance(given, list) else [given]
        found += [one for one in some if isinstance(one, str) and one]
    return found


# ------------------------------------------------------------------ one in full


def detail_title(review: Review) -> str:
    """Return what the lower pane shows."""
    from perstack.projection.gates import subtask_name

    task = review.task
    if task is None:
        return ""
    return f"{flat(task.id)} in full · {flat(subtask_name(task))}"


def detail_text(task: ProposedSubtask, width: int) -> tuple[str, ...]:
    """Return every line that has to be seen before the subtask can be approved."""
    from perstack.projection.gates import subtask_name, subtask_text

    return (*wrap(subtask_name(task), width), *wrap_long(subtask_text(task), width))


def detail_lines(review: Review, width: int) -> tuple[Line, ...]:
    """Return the selected subtask in full, and what a reviewing Expert said below it."""
    from perstack.projection.gates import subtask_name, subtask_text

    task = review.task
    if task is None:
        return ()
    role: Role = "muted" if task.id in review.dropped else "text"
    lines = [Line(((part, "muted"),), exact=True) for part in wrap(subtask_name(task), width)]
    text = _exact_lines(subtask_text(task), width, role)
    return (*lines, *text, BLANK, _hidden_note(task), *_verdict(review.gate, width))


@lru_cache(maxsize=16)
def _exact_lines(text: str, width: int, role: Role) -> tuple[Line, ...]:
    """Return a text as lines; those of a long one are made once, not at every paint."""
    return tuple(Line(((part, role),), exact=True) for part in wrap_long(text, width))


@lru_cache(maxsize=256)
def _hides(text: str) -> bool:
    return has_hidden(text)


def _hidden_note(task: ProposedSubtask) -> Line:
    if any(map(_hides, (task.tool_name, task.input, task.agent_type))):
        return line(("! hidden or direction-changing characters are shown as ‹U+….›", "fail"))
    return note("every character shown · nothing hidden")


def _verdict(gate: ConsensusCheckpoint, width: int) -> list[Line]:
    """Return what a reviewing Expert said; its words are a model's."""
    from perstack.projection.gates import review_phrase

    said = review_phrase(gate)
    if said is None:
        return []
    lines = [BLANK]
    for at, text in enumerate(wrap(said, max(8, width - 11))):
        lines.append(line(("           " if at else "reviewer   ", "muted"), (text, "text")))
    return lines
