"""Pieces of Perstack's JSON: messages, parts, tool calls, results, checkpoints.

Perstack gives every part an id. Ours have none, so they are derived from the message's id and the
part's place, and are the same each time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.events import ToolResult
from perstack.domain.ids import CheckpointId, ToolCallId
from perstack.domain.jobs import RunStatus
from perstack.domain.messages import Message, ToolCallPart, ToolMessage
from perstack.domain.usage import Cost
from perstack.projection.messages import derived_id
from perstack.projection.run_state import RunState

Json = dict[str, JsonValue]

_UNSAFE: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def to_line(record: Json) -> str:
    """Return `record` as one line of JSON without a character that a terminal acts on.

    Numbers that JSON does not know (NaN, infinities) become null.
    """
    try:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        line = json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":"))
    if line.isascii() and "\x7f" not in line:
        return line
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", line)


def plain(model: Model) -> Json:
    """Return the model's own JSON, absent values left out."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def message_json(message: Message) -> Json:
    """Return the message with an id in each part."""
    record = plain(message)
    if isinstance(message, ToolMessage):
        record["contents"] = [
            {
                **plain(part),
                "contents": _parts(part.contents, message.id, at),
                "id": derived_id(message.id, at),
            }
            for at, part in enumerate(message.contents)
        ]
        return record
    record["contents"] = _parts(message.contents, message.id)
    return record


def messages_json(messages: Iterable[Message]) -> list[JsonValue]:
    """Return the messages with an id in each part."""
    return [message_json(message) for message in messages]


def call_json(call: ToolCallPart, state: RunState) -> Json:
    """Return a tool call as `{id, skillName, toolName, args}`."""
    route = state.routes.get(call.tool_call_id)
    return {
        "id": call.tool_call_id,
        "skillName": route.skill_name if route else "",
        "toolName": call.tool_name,
        "args": call.args,
    }


def calls_json(state: RunState, only: Sequence[ToolCallId] | None = None) -> list[JsonValue]:
    """Return the calls of the open batch, or those among them that `only` names."""
    return [
        call_json(call, state) for call in state.calls if only is None or call.tool_call_id in only
    ]


def result_json(result: ToolResult) -> Json:
    """Return a result as `{id, skillName, toolName, result}`."""
    return {**plain(result), "result": _parts(result.result, result.id)}


def results_json(results: Iterable[ToolResult]) -> list[JsonValue]:
    """Return the results in the order given."""
    return [result_json(result) for result in results]


def cost_json(cost: Cost) -> Json:
    """Return what was spent as `{costUsd}`, null where unknown; `costPartial`: it was more."""
    unknown = cost.partial and not cost.usd
    record: Json = {"costUsd": None if unknown else round(cost.usd, 10)}
    if cost.partial and not unknown:
        record["costPartial"] = True
    return record


def checkpoint_json(
    state: RunState,
    *,
    checkpoint_id: CheckpointId,
    step_number: int,
    status: RunStatus,
    messages: list[JsonValue] | None,
) -> Json:
    """Return a Perstack checkpoint of `state`; without `messages` that key is left out."""
    record: Json = {
        "id": checkpoint_id,
        "jobId": state.job_id,
        "runId": state.run_id,
        "status": status,
        "stepNumber": step_number,
        "expert": plain(state.expert),
        "usage": plain(state.usage),
        **cost_json(state.cost),
    }
    if messages is not None:
        record["messages"] = messages
    return (
        record
        | _delegation(state)
        | _context(state)
        | _metadata(state)
        | _open_batch(state, status)
        | _ending(state, status)
    )


def _metadata(state: RunState) -> Json:
    """What only the runtime that executed it needs to know, under upstream's name."""
    if (session := state.session) is None:
        return {}
    return {"metadata": {"runtime": session.runtime, "sessionId": session.session_id}}


def _delegation(state: RunState) -> Json:
    record: Json = {}
    if state.delegate_to:
        record["delegateTo"] = [
            {
                "expert": plain(child.expert),
                "toolCallId": child.tool_call_id,
                "toolName": child.tool_name,
                "query": child.query,
            }
            for child in state.delegate_to
        ]
    if (by := state.delegated_by) is not None:
        record["delegatedBy"] = {
            "expert": _expert_of_key(by.expert_key),
            "toolCallId": by.tool_call_id,
            "toolName": by.tool_name,
            "checkpointId": by.checkpoint_id,
            "runId": by.run_id,
        }
    return record


def _expert_of_key(key: str) -> Json:
    """The delegating Expert as Perstack writes it; a key without a version leaves that out."""
    at = key.find("@", 1)
    if at < 0:
        return {"key": key, "name": key}
    return {"key": key, "name": key[:at], "version": key[at + 1 :]}


def _context(state: RunState) -> Json:
    record: Json = {}
    if state.context_window is not None:
        record["contextWindow"] = state.context_window
        record["contextWindowUsage"] = 0
    if state.context_window_usage is not None:
        record["contextWindowUsage"] = state.context_window_usage
    return record


def _open_batch(state: RunState, status: RunStatus) -> Json:
    if not state.calls:
        return {}
    record: Json = {"partialToolResults": results_json(ordered_results(state))}
    delegated = {child.tool_call_id for child in state.delegate_to}
    if pending := [
        call_json(call, state)
        for call in state.pending_calls
        if status != "stoppedByDelegate" or call.tool_call_id not in delegated
    ]:
        record["pendingToolCalls"] = list(pending)
    return record


def _ending(state: RunState, status: RunStatus) -> Json:
    record: Json = {} if status == "init" else {"retryCount": state.retry_count}
    if state.error is not None:
        record["error"] = plain(state.error)
    return record


def ordered_results(state: RunState) -> list[ToolResult]:
    """Return the open batch's results in the order of its calls."""
    found = (state.results.get(call.tool_call_id) for call in state.calls)
    return [result for result in found if result is not None]


def _parts(parts: Iterable[Model], *owner: str | int) -> list[JsonValue]:
    return [{**plain(part), "id": derived_id(*owner, at)} for at, part in enumerate(parts)]


def _finite(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
