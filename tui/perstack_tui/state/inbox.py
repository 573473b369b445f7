"""The inbox as lines: what waits for a person, then what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from perstack.domain.ids import RunId
from perstack.projection.inert import has_hidden
from perstack.projection.views import InboxView, QuestionView, RunView, WorkspaceView
from perstack_tui.state.form import asked_text
from perstack_tui.state.inbox_detail import detail_lines
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.markdown import markdown_lines
from perstack_tui.state.wording import (
    RISK_ROLES,
    RISK_WORDS,
    Role,
    clock_time,
    count_of,
    countdown,
    decided_by,
    outcome_of,
    span_of_time,
)
from perstack_tui.text import crop, flat, width_of

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint

_HEADLINE: Final = 400

EMPTY = (
    BLANK,
    note("Nothing needs you."),
    note("Risky delegations and questions wait"),
    note("here; they never take the keyboard."),
)


@dataclass(frozen=True, slots=True)
class ItemKey:
    """Which item of the inbox. "input" is a tool server's question, "ask" the Expert's."""

    kind: Literal["gate", "ask", "input", "pause", "decided"]
    id: str
    run_id: RunId | None = None


def question_key(asked: QuestionView) -> ItemKey:
    """Return the question's key: models number their calls anew in every run."""
    return ItemKey("ask", asked.tool_call_id, asked.run_id)


@dataclass(frozen=True, slots=True)
class Item:
    """One item; exactly one of `gate`, `question` and `pause` is set.

    `run_id` None: no run waits at it. `pause` is a run that limits have paused.
    """

    key: ItemKey
    run_id: RunId | None
    gate: ConsensusCheckpoint | None = None
    question: QuestionView | None = None
    pause: RunView | None = None


def pauses_of(view: WorkspaceView) -> list[Item]:
    """Return the runs that stand still because a limit was reached, the longest first."""
    runs = [run for job in view.jobs for run in job.runs if run.paused is not None]
    held = [(run.paused.at, run) for run in runs if run.paused and run.paused.by_limits]
    held.sort(key=lambda entry: entry[0])
    return [
        Item(ItemKey("pause", run.run_id, run.run_id), run.run_id, pause=run) for _, run in held
    ]


def items_of(inbox: InboxView) -> list[Item]:
    """Return what is pending, most urgent first, then what was decided, newest first."""
    found = [_gate_item(gate, "input" if gate.form else "gate") for gate in inbox.pending]
    found += [Item(question_key(asked), asked.run_id, question=asked) for asked in inbox.questions]
    return found + [_gate_item(gate, "decided") for gate in inbox.decided]


def _gate_item(gate: ConsensusCheckpoint, kind: Literal["gate", "input", "decided"]) -> Item:
    return Item(ItemKey(kind, gate.id), gate.run_id, gate=gate)


def inbox_lines(
    items: Sequence[Item], width: int, now_ms: int, *, opened: ItemKey | None = None
) -> tuple[Line, ...]:
    """Return two lines for what is pending and one for what was decided; `opened` in full."""
    if not items:
        return EMPTY
    lines: list[Line] = []
    headed = False
    for item in items:
        if item.key.kind == "decided" and not headed:
            headed = True
            lines.extend(
                (BLANK, note("┄ decided ┄"))
                if lines
                else (note("Nothing needs you."), BLANK, note("┄ decided ┄"))
            )
        lines.extend(_item_lines(item, width, now_ms))
        if item.key == opened:
            lines.extend(detail_lines(item, width, now_ms))
    return tuple(lines)


def headline(item: Item) -> str:
    """Return what the item is about, in one line."""
    if item.question is not None:
        return _in_a_line(item.question.text)
    if item.pause is not None:
        pause = item.pause.paused
        return flat((pause.reason if pause else None) or "a limit was reached")
    return "nothing proposed" if item.gate is None else gate_headline(item.gate)


def _in_a_line(text: str) -> str:
    """Return Markdown as one line of plain text."""
    rows = markdown_lines(text[: 2 * _HEADLINE], _HEADLINE)
    plain = ("".join(piece for piece, _ in row.left).strip() for row in rows)
    return flat(" ".join(row for row in plain if row))


def item_words(item: Item) -> str:
    """Return what a filter looks for in an item."""
    gate, question = item.gate, item.question
    words = [item.key.kind, item.key.id, headline(item)]
    if gate is not None:
        words += [gate.expert_key, gate.risk_level, RISK_WORDS[gate.risk_level], gate.status]
        words += [gate.job_id or "", outcome_of(gate)[1]]
    if item.pause is not None:
        words += [item.pause.expert_key, item.pause.job_id, "limit"]
    if question is not None:
        words += [question.expert_key, question.job_id]
    return " ".join(words)


def gate_headline(gate: ConsensusCheckpoint) -> str:
    """Return what the consensus checkpoint is about: its first subtask, a tool's name first."""
    if not gate.proposed_subtasks:
        return "nothing proposed"
    first = gate.proposed_subtasks[0]
    if first.input_request is not None:
        return flat(asked_text(gate).strip())
    from perstack.projection.gates import subtask_phrase

    return flat(subtask_phrase(first, _HEADLINE))


def _item_lines(item: Item, width: int, now_ms: int) -> Iterable[Line]:
    if item.question is not None:
        yield from _question_lines(item, item.question, width, now_ms)
    elif item.pause is not None:
        yield from _pause_lines(item, item.pause, width, now_ms)
    elif item.gate is not None and item.key.kind == "gate":
        yield from _gate_lines(item, item.gate, width, now_ms)
    elif item.gate is not None and item.key.kind == "input":
        yield from _input_lines(item, item.gate, width, now_ms)
    elif item.gate is not None:
        yield _decided_line(item, item.gate, width)


def _gate_lines(item: Item, gate: ConsensusCheckpoint, width: int, now_ms: int) -> Iterable[Line]:
    left, role = _time_left(gate, now_ms)
    risk = RISK_WORDS[gate.risk_level]
    head: tuple[Span, ...] = (
        ("▲ ", "need"),
        (f"{risk:<5}", RISK_ROLES[gate.risk_level]),
        (crop(headline(item), _room(gate, width, now_ms)), "text"),
    )
    yield Line(head, ((" " + left, role),), item.key)
    yield Line(((crop(_gate_detail(gate), width), "muted"),), key=item.key)


def _room(gate: ConsensusCheckpoint, width: int, now_ms: int) -> int:
    return width - 8 - width_of(_time_left(gate, now_ms)[0])


def _gate_detail(gate: ConsensusCheckpoint) -> str:
    return f"  {flat(gate.expert_key)}{_for_whom(gate)}"


def shows_all(gate: ConsensusCheckpoint, width: int, now_ms: int) -> bool:
    """Tell whether the two lines of the list have every character of what would be run, and who."""
    if len(gate.proposed_subtasks) != 1:
        return False
    task = gate.proposed_subtasks[0]
    if has_hidden(task.input + task.tool_name + task.agent_type):
        return False
    said = gate_headline(gate)
    whole = said == task.input and width_of(said) <= _room(gate, width, now_ms)
    return whole and width_of(_gate_detail(gate)) <= width


def _input_lines(item: Item, gate: ConsensusCheckpoint, width: int, now_ms: int) -> Iterable[Line]:
    left, role = _time_left(gate, now_ms)
    head: tuple[Span, ...] = (
        ("▲ ", "need"),
        ("ASK  ", "need"),
        (crop(headline(item), width - 8 - width_of(left)), "text"),
    )
    yield Line(head, ((" " + left, role),), item.key)
    asked = gate.input_request
    detail = f"  {flat(gate.expert_key)} · skill {flat(asked.skill_name) if asked else ''}"
    yield Line(((crop(detail, width), "muted"),), key=item.key)


def _time_left(gate: ConsensusCheckpoint, now_ms: int) -> tuple[str, Role]:
    if gate.expires_at is None or gate.expires_at - now_ms > 60_000:
        return countdown(gate.expires_at, now_ms), "need"
    return f" {countdown(gate.expires_at, now_ms)} ", "warn-chip"


def _for_whom(gate: ConsensusCheckpoint) -> str:
    """Return which Expert or skill would work, and how many subtasks there are."""
    from perstack.projection.gates import is_tool_call

    tools = [task.agent_type for task in gate.proposed_subtasks if is_tool_call(task)]
    experts = [task.agent_type for task in gate.proposed_subtasks if not is_tool_call(task)]
    whom = f" → {flat(', '.join(dict.fromkeys(experts)))}" if experts else ""
    whom += f" · skill {flat(', '.join(dict.fromkeys(tools)))}" if tools else ""
    count = len(gate.proposed_subtasks)
    return whom if count == 1 else f"{whom} · {count_of(count, 'subtask')}"


def _question_lines(item: Item, question: QuestionView, width: int, now_ms: int) -> Iterable[Line]:
    age = span_of_time(now_ms - question.asked_at)
    head: tuple[Span, ...] = (
        ("▲ ", "need"),
        ("ASK  ", "need"),
        (crop(headline(item), width - 8 - len(age)), "text"),
    )
    yield Line(head, ((" " + age, "muted"),), item.key)
    which = f" · question {question.position} of {question.of}" if question.of > 1 else ""
    detail = f"  {flat(question.expert_key)}{which}"
    yield Line(((crop(detail, width), "muted"),), key=item.key)


def _pause_lines(item: Item, run: RunView, width: int, now_ms: int) -> Iterable[Line]:
    age = span_of_time(now_ms - (run.paused.at if run.paused else run.last_event_at))
    head: tuple[Span, ...] = (
        ("■ ", "stop"),
        ("LIMIT ", "stop"),
        (crop(headline(item), width - 9 - len(age)), "text"),
    )
    yield Line(head, ((" " + age, "muted"),), item.key)
    detail = f"  {flat(run.expert_key)} · z resumes, b raises the budget"
    yield Line(((crop(detail, width), "muted"),), key=item.key)


def _decided_line(item: Item, gate: ConsensusCheckpoint, width: int) -> Line:
    glyph, word, role = outcome_of(gate)
    when = clock_time(gate.decided_at)[:5] if gate.decided_at else ""
    who = crop(flat(decided_by(gate)), 12)
    right = f"{who} {when}".strip() if width >= 36 else who
    what = headline(item)
    if gate.status == "expired":
        what = f"nobody decided, not done: {what}"
    head: tuple[Span, ...] = (
        (f"{glyph} {word:<9}", role),
        (crop(what, width - 13 - width_of(right)), "muted"),
    )
    return Line(head, ((" " + right, "muted"),), item.key)
