"""What a gated call is called wherever it is shown. Raw text: whoever shows it makes it inert."""

from __future__ import annotations

import json
from typing import Final

from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint, ProposedSubtask
from perstack.domain.events import ResolveApproval
from perstack.domain.expert import delegate_tool_name
from perstack.domain.ids import ExpertKey
from perstack.domain.messages import ToolCallPart
from perstack.projection.cutting import one_line
from perstack.projection.phrases import call_phrase

# A phrase is made at every paint; arguments of this size are not read for it, only cut.
_READ_FOR_A_PHRASE: Final = 20_000


def is_tool_call(task: ProposedSubtask) -> bool:
    """Tell whether a tool would be called, rather than an Expert or a question answered."""
    if task.input_request is not None or not (task.tool_name and task.input.startswith("{")):
        return False
    delegate = delegate_tool_name(ExpertKey(task.agent_type))
    return task.tool_name not in (delegate, f"delegate__{delegate}")


def subtask_phrase(task: ProposedSubtask, limit: int = 120) -> str:
    """Return what would happen on one line: `deleteFile x.txt`, or what an Expert would be told."""
    if not is_tool_call(task):
        # A skill may be called as its tool is: what looks like arguments never stands alone.
        named = task.input.startswith("{") and task.input_request is None
        return one_line(f"{task.agent_type}: {task.input}" if named else task.input, limit)
    call = _call_of(task)
    return call_phrase(call, limit) if call else one_line(f"{task.tool_name} {task.input}", limit)


def subtask_name(task: ProposedSubtask) -> str:
    """Return whose work it is: `deleteFile (skill @perstack/base)`, or the Expert's key."""
    if is_tool_call(task):
        return f"{task.tool_name} (skill {task.agent_type})"
    return task.agent_type or task.tool_name


def subtask_text(task: ProposedSubtask) -> str:
    """Return all of it, nothing left out: a tool's name with its arguments, or a query."""
    return f"{task.tool_name} {task.input}" if is_tool_call(task) else task.input


def for_the_job(body: ResolveApproval) -> str:
    """Return ` for the rest of the job` where a standing approval let calls pass, else nothing."""
    return " for the rest of the job" if body.standing_id else ""


def review_phrase(gate: ConsensusCheckpoint) -> str | None:
    """Return what a reviewing Expert said of a checkpoint, None where none has."""
    review = gate.review
    if review is None:
        return None
    verdict = review.verdict
    if verdict is None:
        return f"{review.reviewer} could not judge it: {review.error}"
    said = "would approve" if verdict.approved else "rejects"
    if verdict.approved and verdict.rejected_subtask_ids:
        said += f" without {', '.join(verdict.rejected_subtask_ids)}"
    risk = f", risk {verdict.risk_assessment}" if verdict.risk_assessment else ""
    return f"{review.reviewer} {said}{risk}: {verdict.feedback or 'no reason given'}"


def _call_of(task: ProposedSubtask) -> ToolCallPart | None:
    """Return the call, None where its arguments cannot be read (secrets are struck out of them)."""
    if len(task.input) > _READ_FOR_A_PHRASE:
        return None
    try:
        args: JsonValue = json.loads(task.input)
    except (ValueError, RecursionError):
        return None
    if not isinstance(args, dict):
        return None
    return ToolCallPart(tool_call_id=task.tool_call_id, tool_name=task.tool_name, args=args)
