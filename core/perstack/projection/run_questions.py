"""What a run asks a person, and why it stands still, as a screen shows it."""

from __future__ import annotations

from functools import partial

from perstack.domain.ids import ExpertKey
from perstack.domain.messages import ToolCallPart
from perstack.domain.steering_events import PauseRun
from perstack.ports.desk import LIMITS
from perstack.projection.questions import asked_of, first_question
from perstack.projection.run_state import RunState
from perstack.projection.transcript import ENTRY_CHARACTERS
from perstack.projection.views import PauseView, QuestionView


def question_view(run: RunState, expert_key: ExpertKey, asked_at: int) -> QuestionView | None:
    """Return what waits for an answer; `asked_at` is Unix ms."""
    return first_question(run, partial(_asked, run, expert_key, asked_at))


def _asked(
    run: RunState, expert_key: ExpertKey, asked_at: int, call: ToolCallPart, position: int, of: int
) -> QuestionView:
    text, choices, several, args = asked_of(call, ENTRY_CHARACTERS)
    return QuestionView(
        job_id=run.job_id,
        run_id=run.run_id,
        expert_key=expert_key,
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        text=text,
        choices=choices,
        several=several,
        args=args,
        asked_at=asked_at,
        position=position,
        of=of,
    )


def pause_view(paused: PauseRun | None, at: int) -> PauseView | None:
    """Return why a run stands still, since `at` (Unix ms)."""
    if paused is None:
        return None
    return PauseView(paused.by, paused.reason, at, paused.by == LIMITS)
