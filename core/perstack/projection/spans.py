"""A job as spans, named by OpenTelemetry's conventions for generative AI.

A run is `invoke_agent`, a generation `chat`, a tool call `execute_tool`; a delegated run lies in
the call that it answers. What models, tools and users said is left out unless asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import JsonValue

from perstack.domain.events import (
    CallTools,
    CompleteRun,
    DelegateTo,
    Event,
    InitializeRuntime,
    ResolveApproval,
    Retry,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    ToolResult,
    ToolReturned,
)
from perstack.domain.ids import ExpertKey, JobId, RunId, ToolCallId
from perstack.domain.messages import (
    ExpertMessage,
    InstructionMessage,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    text_of,
)
from perstack.domain.program_events import BeginSession
from perstack.domain.runtimes import PROGRAMS
from perstack.domain.server_events import SampleModel
from perstack.domain.usage import NO_USAGE, Usage
from perstack.projection.log_messages import part_text

Attribute = str | int | float | tuple[str, ...]
Attributes = dict[str, Attribute]
Redact = Callable[[str], str]

_PROVIDERS: Final = {
    "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "amazon-bedrock": "aws.bedrock",
    "azure-openai": "azure.ai.openai",
}

# Whose models other agents' programs ask.
_VENDORS: Final = {
    "claude-code": "anthropic",
    "gemini": "google",
    "codex": "openai",
    "cursor": "cursor",
}


@dataclass(frozen=True, slots=True)
class SpanView:
    """One span. Times are Unix ms. `key` names it within the job, `parent` and `links` others.

    `is_client`: it is a request to somebody else. `error` is why it failed, "" if it did not.
    """

    key: str
    name: str
    start_ms: int
    end_ms: int
    attributes: Attributes
    parent: str | None = None
    links: tuple[str, ...] = ()
    is_client: bool = False
    error: str = ""


@dataclass(slots=True)
class _Call:
    part: ToolCallPart
    start_ms: int


@dataclass(slots=True)
class _Run:
    run_id: RunId
    job_id: JobId
    expert_key: ExpertKey
    start_ms: int
    end_ms: int
    provider: str = ""
    model: str = ""
    version: str = ""
    runtime: str = ""
    parent: str | None = None
    links: tuple[str, ...] = ()
    usage: Usage = NO_USAGE
    error: str = ""
    chat_ms: int | None = None
    calls: dict[ToolCallId, _Call] = field(default_factory=dict[ToolCallId, _Call])
    content: Attributes = field(default_factory=dict[str, Attribute])


def run_key(run_id: RunId) -> str:
    """Return the key of a run's span."""
    return f"run:{run_id}"


def call_key(run_id: RunId, tool_call_id: ToolCallId) -> str:
    """Return the key of a tool call's span."""
    return f"call:{run_id}:{tool_call_id}"


class Spans:
    """Turns a job's events, in order within each run, into spans, each when it has ended.

    With `redact` the spans hold what was said, with secrets taken out by it; without it, nothing.
    """

    def __init__(self, *, redact: Redact | None = None) -> None:
        self._redact = redact
        self._runs: dict[RunId, _Run] = {}

    def event(self, event: Event) -> list[SpanView]:
        """Take in an event; return the spans that it ends."""
        run = self._runs.get(event.run_id)
        if run is None:
            at = event.timestamp
            run = _Run(event.run_id, event.job_id, event.expert_key, at, at)
            self._runs[event.run_id] = run
        run.end_ms = max(run.end_ms, event.timestamp)
        return list(self._spans(run, event))

    def end(self) -> Iterator[SpanView]:
        """Return the spans of calls that never returned, and of the runs."""
        for run in self._runs.values():
            for call in run.calls.values():
                yield self._call_span(run, call, run.end_ms, None)
            yield self._run_span(run)
        self._runs.clear()

    def _spans(self, run: _Run, event: Event) -> Iterator[SpanView]:
        body, at = event.body, event.timestamp
        match body:
            case InitializeRuntime():
                run.runtime = body.runtime
                named = _VENDORS.get(body.runtime) or body.provider_name
                run.provider = _PROVIDERS.get(named, named)
                run.model = body.model
            case StartRun():
                self._started(run, body)
            case BeginSession():
                run.model = body.model or run.model
            case StartGeneration():
                run.chat_ms = at
            case ToolReturned():
                call = run.calls.pop(body.result.id, None)
                if call is not None:
                    yield self._call_span(run, call, at, body.result)
            case ResolveApproval():
                for id_ in body.approved:
                    if id_ in run.calls:
                        run.calls[id_].start_ms = at
            case StopRunByDelegate():
                self._delegated(run, body.delegate_to, at)
            case _:
                yield from self._generated(run, event)

    def _generated(self, run: _Run, event: Event) -> Iterator[SpanView]:
        body = event.body
        match body:
            case CallTools():
                yield self._chat(run, event, body.usage, body.new_message, "tool_call")
                for part in body.new_message.tool_calls:
                    run.calls[part.tool_call_id] = _Call(part, event.timestamp)
            case CompleteRun():
                self._finished(run, body)
                if run.chat_ms is not None or body.new_message is not None:
                    yield self._chat(run, event, body.usage, body.new_message, "stop")
            case Retry():
                yield self._chat(run, event, body.usage, None, "error", error="retry")
            case SampleModel():
                yield self._chat(run, event, body.usage, None, "stop", own=False)
            case StopRunByError(error=error, usage=usage):
                run.error = error.name
                if run.chat_ms is not None:
                    yield self._chat(run, event, usage, None, "error", error=error.name)
            case StopRunByExceededMaxSteps():
                run.error = "max_steps"
            case StopRunByExceededBudget(budget=budget):
                run.error = f"budget_{budget}"
            case _:
                pass

    def _started(self, run: _Run, body: StartRun) -> None:
        run.version = body.expert.version
        run.error = ""
        if body.delegated_by is not None:
            run.parent = call_key(body.delegated_by.run_id, body.delegated_by.tool_call_id)
        if body.parent is not None:
            run.links = (run_key(body.parent.run_id),)
        for message in body.input_messages:
            if isinstance(message, InstructionMessage):
                text = "".join(part.text for part in message.contents)
                system: JsonValue = [{"type": "text", "content": text}]
                self._say(run.content, "gen_ai.system_instructions", system)
            else:
                part: JsonValue = {"type": "text", "content": text_of(message.contents)}
                asked: JsonValue = [{"role": "user", "parts": [part]}]
                self._say(run.content, "gen_ai.input.messages", asked)

    def _delegated(self, run: _Run, children: tuple[DelegateTo, ...], at: int) -> None:
        for child in children:
            if child.tool_call_id in run.calls:
                run.calls[child.tool_call_id].start_ms = at

    def _finished(self, run: _Run, body: CompleteRun) -> None:
        if body.new_message is not None:
            self._say(run.content, "gen_ai.output.messages", _output(body.new_message, "stop"))

    def _chat(
        self,
        run: _Run,
        event: Event,
        usage: Usage,
        message: ExpertMessage | None,
        finish: Literal["stop", "tool_call", "error"],
        *,
        error: str = "",
        own: bool = True,
    ) -> SpanView:
        """A generation's span; one that is not the run's `own` has no known beginning."""
        start_ms = event.timestamp
        if own:
            start_ms, run.chat_ms = run.chat_ms or event.timestamp, None
        run.usage = run.usage.plus(usage)
        attributes = self._common(run, "chat") | _tokens(usage)
        attributes["gen_ai.response.finish_reasons"] = (finish,)
        if message is not None:
            self._say(attributes, "gen_ai.output.messages", _output(message, finish))
        return SpanView(
            key=f"chat:{run.run_id}:{event.seq}",
            name=f"chat {run.model}".rstrip(),
            start_ms=start_ms,
            end_ms=event.timestamp,
            attributes=_failed(attributes, error),
            parent=run_key(run.run_id),
            is_client=True,
            error=error,
        )

    def _call_span(
        self, run: _Run, call: _Call, end_ms: int, result: ToolResult | None
    ) -> SpanView:
        part = call.part
        attributes = self._common(run, "execute_tool") | {
            "gen_ai.tool.name": part.tool_name,
            "gen_ai.tool.call.id": part.tool_call_id,
            "gen_ai.tool.type": "function",
        }
        self._say(attributes, "gen_ai.tool.call.arguments", dict(part.args))
        error = "unfinished"
        if result is not None:
            error = "in_doubt" if result.in_doubt else "tool_error" if result.is_error else ""
            text = "\n".join(part_text(each) for each in result.result)
            self._say(attributes, "gen_ai.tool.call.result", text)
        return SpanView(
            key=call_key(run.run_id, part.tool_call_id),
            name=f"execute_tool {part.tool_name}",
            start_ms=call.start_ms,
            end_ms=end_ms,
            attributes=_failed(attributes, error),
            parent=run_key(run.run_id),
            error=error,
        )

    def _run_span(self, run: _Run) -> SpanView:
        attributes = self._common(run, "invoke_agent") | _tokens(run.usage)
        attributes["gen_ai.agent.id"] = run.run_id
        if run.version:
            attributes["gen_ai.agent.version"] = run.version
        return SpanView(
            key=run_key(run.run_id),
            name=f"invoke_agent {run.expert_key}",
            start_ms=run.start_ms,
            end_ms=run.end_ms,
            attributes=_failed(attributes | run.content, run.error),
            parent=run.parent,
            links=run.links,
            error=run.error,
        )

    def _common(self, run: _Run, operation: str) -> Attributes:
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.agent.name": run.expert_key,
            "gen_ai.conversation.id": run.job_id,
        }
        if run.provider:
            attributes["gen_ai.provider.name"] = run.provider
        if run.model:
            attributes["gen_ai.request.model"] = run.model
        if run.runtime in PROGRAMS:
            attributes["perstack.runtime"] = run.runtime
        return attributes

    def _say(self, attributes: Attributes, name: str, content: JsonValue) -> None:
        if self._redact is None:
            return
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        attributes[name] = self._redact(text)


def _tokens(usage: Usage) -> Attributes:
    found = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    if usage == NO_USAGE:
        return {}
    # Where something was not counted, no count does not mean none.
    return {name: tokens for name, tokens in found.items() if tokens or not usage.partial}


def _failed(attributes: Attributes, error: str) -> Attributes:
    return attributes | {"error.type": error} if error else attributes


def _output(message: ExpertMessage, finish: str) -> JsonValue:
    parts: list[JsonValue] = []
    for part in message.contents:
        match part:
            case TextPart():
                parts.append({"type": "text", "content": part.text})
            case ThinkingPart():
                parts.append({"type": "reasoning", "content": part.thinking})
            case ToolCallPart():
                parts.append(
                    {
                        "type": "tool_call",
                        "id": part.tool_call_id,
                        "name": part.tool_name,
                        "arguments": dict(part.args),
                    }
                )
            case _:
                pass
    return [{"role": "assistant", "parts": parts, "finish_reason": finish}]
