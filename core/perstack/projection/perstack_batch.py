"""What Perstack's events begin with, and what those of a step say of calls and results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perstack.domain.events import (
    AttemptCompletion,
    CallDelegate,
    CallInteractiveTool,
    CallTools,
    Event,
    FinishAllToolCalls,
    FinishToolCall,
    ResolveToolResults,
    ResumeToolCalls,
    Retry,
    ToolResult,
)
from perstack.domain.ids import ToolCallId
from perstack.projection.perstack_parts import (
    Json,
    calls_json,
    message_json,
    messages_json,
    ordered_results,
    plain,
    result_json,
    results_json,
)
from perstack.projection.run_state import RunState

# Perstack's runtime events: they have neither Expert nor step.
RUNTIME: Final = frozenset(
    {
        "initializeRuntime",
        "skillStarting",
        "skillConnected",
        "skillStderr",
        "skillLog",
        "skillProgress",
        "skillDisconnected",
        "startProgram",
        "beginSession",
    }
)


def head_json(event: Event) -> Json:
    """Return what every event of Perstack begins with: type, ids, time and place."""
    record: Json = {"type": event.body.type, "id": event.id}
    if event.body.type not in RUNTIME:
        record["expertKey"] = event.expert_key
    record |= {"timestamp": event.timestamp, "jobId": event.job_id, "runId": event.run_id}
    if event.body.type not in RUNTIME:
        record["stepNumber"] = event.step_number
    record["seq"] = event.seq
    return record


def asked_json(
    state: RunState, body: Retry | CallTools | CallDelegate | CallInteractiveTool
) -> Json:
    """Return what an event says of a model's answer; `state` is the run's after it."""
    match body:
        case Retry():
            return {**plain(body), "newMessages": messages_json(body.new_messages)}
        case CallTools():
            return {
                "newMessage": message_json(body.new_message),
                "toolCalls": calls_json(state),
                "usage": plain(body.usage),
                "costUsd": body.cost_usd,
            }
        case CallDelegate(tool_call_ids=ids):
            return {**_calling(state), "toolCalls": calls_json(state, ids)}
        case CallInteractiveTool(tool_call_id=id_):
            asked = calls_json(state, [id_])
            return {**_calling(state), "toolCall": asked[0] if asked else {"id": id_}}


def _calling(state: RunState) -> Json:
    """The message that asked for the open batch: the last one, as a batch closes with the next."""
    record: Json = {"usage": plain(state.last_usage)}
    if state.calls:
        record["newMessage"] = message_json(state.messages[-1])
    return record


def answered_json(
    before: RunState,
    state: RunState,
    body: AttemptCompletion
    | ResolveToolResults
    | FinishToolCall
    | FinishAllToolCalls
    | ResumeToolCalls,
) -> Json:
    """Return what an event says of the open batch's results; `before` is the state it met."""
    match body:
        case AttemptCompletion(tool_call_id=id_):
            found = before.results.get(id_)
            return {"toolResult": result_json(found) if found else {"id": id_}}
        case ResolveToolResults():
            return {"toolResults": results_json(ordered_results(state))}
        case FinishToolCall() | FinishAllToolCalls():
            return {"newMessages": messages_json(state.messages.since(len(before.messages)))}
        case ResumeToolCalls(pending=pending, partial=partial):
            return {
                "pendingToolCalls": calls_json(state, pending),
                "partialToolResults": results_json(_results_of(state, partial)),
            }


def _results_of(state: RunState, ids: Iterable[ToolCallId]) -> list[ToolResult]:
    return [state.results[id_] for id_ in ids if id_ in state.results]
