"""What a run that waits for the user asks: its first question, the others behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

from perstack.domain.messages import ToolCallPart
from perstack.projection.cutting import cut
from perstack.projection.phrases import question_of
from perstack.projection.pretty import pretty_json
from perstack.projection.run_state import RunState
from perstack.projection.views import QuestionView

# What tools call it when several of the choices may be taken.
_SEVERAL_ARGS: Final = ("multiple", "multi", "multiSelect", "allowMultiple", "several")

View = Callable[[ToolCallPart, int, int], QuestionView]


def first_question(run: RunState, view: View) -> QuestionView | None:
    """Return the first question that waits, None when the run asks nothing.

    `view` makes one of a call, its position and how many there are; the others stand in `later`.
    """
    waiting = run.pending_interactive
    if run.status != "stoppedByInteractiveTool" or not waiting:
        return None
    calls = {call.tool_call_id: call for call in run.calls}
    asked = sum(1 for route in run.routes.values() if route.kind == "interactive")
    first = asked - len(waiting) + 1
    made = [view(calls[id_], first + at, asked) for at, id_ in enumerate(waiting)]
    return made[0].with_later(tuple(made[1:]))


def asked_of(call: ToolCallPart, limit: int) -> tuple[str, tuple[str, ...], bool, str]:
    """Return text, choices, whether several may be taken, and the arguments as JSON."""
    text, choices = question_of(call)
    args = cut(pretty_json(call.args), limit)
    return cut(text, limit), choices, bool(choices) and takes_several(call.args), args


def takes_several(args: Mapping[str, JsonValue]) -> bool:
    """Tell whether the call says that several of its choices may be taken."""
    return any(args.get(name) is True for name in _SEVERAL_ARGS)
