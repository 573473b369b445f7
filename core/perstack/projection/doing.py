"""What a run does right now, or why it stands still, in a phrase."""

from __future__ import annotations

from typing import Final

from perstack.domain.ids import ExpertKey
from perstack.projection.cutting import one_line
from perstack.projection.phrases import calls_phrase, request_phrase
from perstack.projection.run_questions import question_view
from perstack.projection.run_state import RunState
from perstack.projection.transcript import why_stopped
from perstack.projection.views import ScreenState

PHRASE: Final = 120


def doing_phrase(
    run: RunState, state: ScreenState, expert_key: ExpertKey, *, working: str, limit: str
) -> str:
    """Return what to say of a run, at most about `PHRASE` characters.

    `working` says what it is at while nothing holds it up, `limit` which limit it has reached.
    """
    match state:
        case "done":
            return "done"
        case "fail":
            return one_line(run.error.message if run.error else "failed", PHRASE)
        case "limit":
            return f"stopped: {limit}"
        case "stop":
            return why_stopped(run)
        case "lost":
            return "no process drives it"
        case "asks":
            return _requested(run) or f"asks: {question_text(run, expert_key)}"
        case "gate":
            return f"gate: {_gated(run)}"
        case "waits":
            return _waiting_on(run)
        case _:
            return working


def question_text(run: RunState, expert_key: ExpertKey) -> str:
    """Return what the run asks its user, on one line."""
    question = question_view(run, expert_key, 0)
    return one_line(question.text, PHRASE) if question else "an answer"


def _waiting_on(run: RunState) -> str:
    pending = run.pending_delegates
    if len(pending) == 1:
        return f"waiting on {pending[0].expert.key}"
    return f"waiting on {len(pending)} delegates" if pending else "waiting"


def _gated(run: RunState) -> str:
    waiting = set(run.waiting_approval)
    calls = [call for call in run.calls if call.tool_call_id in waiting]
    return calls_phrase(calls, PHRASE) if calls else _requested(run) or "a decision"


def _requested(run: RunState) -> str:
    """What a tool server wants of a person, "" for nothing."""
    asked = next(iter(run.inputs.values()), None)
    return one_line(request_phrase(asked), PHRASE) if asked else ""
