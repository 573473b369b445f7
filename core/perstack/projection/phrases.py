"""Short phrases for calls, results and questions. Raw text: whoever shows it makes it inert."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.events import StopRunByExceededBudget, StopRunByExceededMaxSteps, ToolResult
from perstack.domain.jobs import Limits
from perstack.domain.messages import (
    ImageInlinePart,
    ResourceLinkPart,
    TextPart,
    ToolCallPart,
    link_text,
    text_of,
)
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillLog,
    SkillProgress,
)
from perstack.domain.steering_events import (
    ChangeModel,
    JudgeDrift,
    PauseRun,
    RaiseBudget,
    RefuseOrder,
    ResumeRun,
    RetryDelegate,
    Steering,
    SteerRun,
    TakeDefinition,
)
from perstack.projection.cutting import one_line
from perstack.projection.program_tools import spoken

COMPLETION_TOOL: Final = "attemptCompletion"
_ORDER_WORDS: Final[Mapping[str, str]] = {
    "steer": "to say something",
    "model": "another model",
    "definition": "the definition as it is now",
    "budget": "a larger budget",
    "retry": "a delegation done again",
}
_SPOKEN_ARGS: Final = ("path", "query", "question", "url", "name", "title", "text", "message")
_QUESTION_ARGS: Final = ("question", "text", "message", "prompt", "query", "title")
_CHOICE_ARGS: Final = ("choices", "options", "answers")
_READABLE_KEYS: Final = ("content", "output", "text", "message")


def call_phrase(call: ToolCallPart, limit: int = 120) -> str:
    """Return a call as one would say it: `readTextFile notes.txt`."""
    if call.invalid_args is not None:
        return one_line(f"{call.tool_name} (invalid arguments)", limit)
    spoken = _spoken_args(call.tool_name, call.args, limit)
    return one_line(f"{call.tool_name} {spoken}", limit)


def calls_phrase(calls: Sequence[ToolCallPart], limit: int = 120) -> str:
    """Return several calls: `3 tools: exec, readTextFile`."""
    if len(calls) == 1:
        return call_phrase(calls[0], limit)
    names = ", ".join(dict.fromkeys(call.tool_name for call in calls))
    return one_line(f"{len(calls)} tools: {names}", limit)


def result_text(result: ToolResult) -> str:
    """Return what a reader wants of a result: a file's content, a command's output, a list.

    Base tools answer in JSON; what matters of it is taken out, other answers stay as they are.
    """
    texts: list[str] = []
    for part in result.result:
        if isinstance(part, TextPart):
            texts.append(_readable(part.text))
        elif isinstance(part, ResourceLinkPart):
            texts.append(link_text(part))
        else:
            kind = "image" if isinstance(part, ImageInlinePart) else "file"
            texts.append(f"({kind}, {part.mime_type}, {len(part.encoded_data) * 3 // 4} bytes)")
    return "\n".join(texts)


def progress_phrase(body: SkillProgress) -> str:
    """Return how far a call has come: `3 of 10: reading`."""
    done = f"{body.progress:g}"
    if body.total is not None:
        done += f" of {body.total:g}"
    return f"{done}: {body.message}" if body.message else done


def log_phrase(body: SkillLog) -> str:
    """Return what a tool server logged: `exa (warning): slow today`."""
    return f"{body.skill_name} ({body.level}): {body.message}"


def request_phrase(body: RequestInput) -> str:
    """Return what a tool server wants: `exa asks: which region?`."""
    if body.kind == "sampling":
        return f"{body.skill_name} wants to ask the model, {body.message}"
    return f"{body.skill_name} asks: {body.message}"


def resolution_phrase(body: ResolveInput) -> str:
    """Return what became of such a request; never what was answered."""
    by = f" by {body.decided_by}" if body.decided_by else ""
    words = {"accepted": "accepted", "declined": "declined", "expired": "closed unanswered"}
    return f"{words[body.outcome]}{by}"


def sampled_phrase(body: SampleModel) -> str:
    """Return that a tool server asked the model."""
    return f"{body.skill_name} asked the model: {body.usage.total_tokens} tokens"


def steering_phrase(body: Steering) -> str:
    """Return what somebody did to a run at work: `paused by ana: too many files`."""
    match body:
        case PauseRun():
            return f"paused by {body.by}" + (f": {body.reason}" if body.reason else "")
        case ResumeRun():
            return f"resumed by {body.by}"
        case SteerRun():
            return f"{body.by} says: {text_of(body.message.contents)}"
        case ChangeModel():
            return f"model changed by {body.by}: {body.before} → {body.model}"
        case TakeDefinition():
            versions = f"{body.before.version} → {body.expert.version}"
            changed = f": {', '.join(body.changes)}" if body.changes else ""
            return f"definition {versions} taken by {body.by}{changed}"
        case RaiseBudget():
            return f"budget raised by {body.by}: {limits_phrase(body.limits)}"
        case RetryDelegate():
            return f"delegation done again, as {body.by} wanted"
        case RefuseOrder():
            return f"{body.by} wanted {_ORDER_WORDS.get(body.order, body.order)}: {body.reason}"
        case JudgeDrift():
            like = f" ({body.similarity:.2f} like task {body.task_id})" if body.task_id else ""
            why = f": {body.reason}" if body.reason else ""
            return f"drift {body.action}{like}{why}"


def limits_phrase(limits: Limits) -> str:
    """Say what a job may use in all: `200 steps, 50,000 tokens`."""
    budget = limits.budget
    said = [f"{limits.max_steps:,} steps"]
    said += [f"{budget.max_tokens:,} tokens"] if budget.max_tokens is not None else []
    said += [f"${budget.max_cost_usd:,.2f}"] if budget.max_cost_usd is not None else []
    if budget.max_duration is not None:
        said.append(f"{budget.max_duration / 1000:,.0f} s")
    return ", ".join(said)


def is_quiet(body: Steering) -> bool:
    """Tell whether a view for people leaves it out: a delegation that nobody need look at."""
    return isinstance(body, JudgeDrift) and body.action == "allowed"


def limit_phrase(body: StopRunByExceededMaxSteps | StopRunByExceededBudget) -> str:
    """Say which limit of the job was reached, and with a budget how much was used of how much."""
    if isinstance(body, StopRunByExceededMaxSteps):
        return "max steps"
    match body.budget:
        case "tokens":
            return f"budget: {body.used:,.0f} of {body.allowed:,.0f} tokens"
        case "cost":
            return f"budget: ${body.used:.4f} of ${body.allowed:.4f}"
        case "duration":
            return f"budget: {body.used / 1000:,.1f} of {body.allowed / 1000:,.1f} s"


def question_of(call: ToolCallPart) -> tuple[str, tuple[str, ...]]:
    """Return what an interactive call asks, and the choices it offers."""
    text = _first_text(call.args, _QUESTION_ARGS) or _any_text(call.args) or call.tool_name
    for key in _CHOICE_ARGS:
        if isinstance(offered := call.args.get(key), list):
            return text, tuple(_choice(item) for item in offered)
    return text, ()


def _choice(item: JsonValue) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, dict):
        return _first_text(item, ("label", "title", "text", "name", "value")) or json.dumps(item)
    return json.dumps(item)


def _spoken_args(tool_name: str, args: Mapping[str, JsonValue], limit: int) -> str:
    match args:
        case {"source": str(source), "destination": str(destination)}:
            return f"{source} → {destination}"
        case {"command": str(command), "args": [*rest]}:
            return " ".join([command, *(str(word) for word in rest[:limit])])
        case {"command": str(command)}:
            return command
        case {"newTodos": [*todos]} if todos:
            return "+ " + ", ".join(str(todo) for todo in todos[:limit])
        case {"completedTodos": [*done]}:
            return "done: " + ", ".join(f"#{number}" for number in done[:limit])
        case _:
            known = spoken(args) or _first_text(args, _SPOKEN_ARGS)
            return known or _any_text(args) or ""


def _first_text(args: Mapping[str, JsonValue], keys: Sequence[str]) -> str | None:
    for key in keys:
        value = args.get(key)
        if isinstance(value, str) and value.strip():
            return value
    return None


def _any_text(args: Mapping[str, JsonValue]) -> str | None:
    for value in args.values():
        if isinstance(value, str) and value.strip():
            return value
    return None


def _readable(text: str) -> str:
    if not text.startswith("{"):
        return text
    try:
        answer: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(answer, dict):
        return text
    todos = answer.get("todos")
    if isinstance(todos, list):
        return "\n".join(_todo(item) for item in todos)
    if isinstance(items := answer.get("items"), list):
        return "\n".join(_item(item) for item in items)
    if isinstance(error := answer.get("error"), str):
        told = [answer.get(name) for name in ("stdout", "stderr")]
        said = f"{error}: {answer.get('message', '')}".rstrip(": ")
        return "\n".join([said, *(text for text in told if isinstance(text, str) and text)])
    return _first_text(answer, _READABLE_KEYS) or text


def _item(item: JsonValue) -> str:
    """A folder's entry as `listDirectory` answers it, or anything else as JSON."""
    if not isinstance(item, dict) or not isinstance(name := item.get("name"), str):
        return json.dumps(item)
    return f"{name}/" if item.get("type") == "directory" else name


def _todo(item: JsonValue) -> str:
    if not isinstance(item, dict):
        return str(item)
    return f"[{'x' if item.get('completed') is True else ' '}] {item.get('title', '')}"
