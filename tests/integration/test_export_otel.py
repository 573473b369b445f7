"""A job as OpenTelemetry spans, received over OTLP/HTTP."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from perstack.domain.events import Event, Retry, RunError, StopRunByError
from perstack.domain.messages import ToolCallPart
from perstack.domain.usage import Usage
from perstack.errors import ConfigError, PerstackError, UsageError
from perstack.export.otlp import traces_url
from tests.fakes.collector import Collector, attributes, collector
from tests.fakes.stored import store, typed
from tests.unit.projection.builder import Run, call, chain, parallel, usage
from tests.unit.projection.test_replay import forks

NS = 1_000_000


def sent(workspace: Path, received: Collector, *words: str) -> str:
    options = ("--otel", "--otel-endpoint", received.url, "--workspace", str(workspace))
    return typed("export", "job1", *options, *words).stderr


def test_a_delegation_lies_in_the_call_that_it_answers(tmp_path: Path) -> None:
    store(tmp_path, parallel())
    with collector() as received:
        assert sent(tmp_path, received) == f"Sent {len(received.spans)} spans.\n"
    assert received.paths == ["/v1/traces"]
    lead, child = (
        received.named("invoke_agent coordinator"),
        received.named("invoke_agent worker-a"),
    )
    asked = received.named("execute_tool worker-a")
    read = received.named("execute_tool readTextFile")
    assert lead.parent_span_id == b""
    assert asked.parent_span_id == lead.span_id
    assert child.parent_span_id == asked.span_id
    assert read.parent_span_id == child.span_id
    assert {span.trace_id for span in received.spans} == {lead.trace_id}
    assert len({span.span_id for span in received.spans}) == len(received.spans)
    assert received.resources[0]["service.name"] == "perstack"


def test_spans_carry_what_the_conventions_name(tmp_path: Path) -> None:
    store(tmp_path, chain())
    with collector() as received:
        sent(tmp_path, received)
    common = {
        "gen_ai.agent.name": "worker-b",
        "gen_ai.conversation.id": "job1",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted-1",
    }
    agent = received.named("invoke_agent worker-b")
    assert attributes(agent) == common | {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": "r-b",
        "gen_ai.agent.version": "1.0.0",
        **tokens(4094, 1),
    }
    (chat,) = [span for span in received.spans if span.parent_span_id == agent.span_id]
    assert chat.name == "chat scripted-1"
    assert chat.kind == chat.SPAN_KIND_CLIENT
    assert attributes(chat) == common | {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.finish_reasons": ["stop"],
        **tokens(4094, 1),
    }
    tool = attributes(received.named("execute_tool worker-b"))
    assert tool["gen_ai.operation.name"] == "execute_tool"
    assert (tool["gen_ai.tool.name"], tool["gen_ai.tool.call.id"]) == ("worker-b", "toolu_1")


def tokens(read: int, written: int) -> Mapping[str, int]:
    return {
        "gen_ai.usage.input_tokens": read,
        "gen_ai.usage.output_tokens": written,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
    }


def test_tokens_that_the_vendor_did_not_count_are_left_out(tmp_path: Path) -> None:
    run = Run("r-x", "worker")
    run.init()
    run.start("go")
    run.complete("Done", Usage(input_tokens=7, total_tokens=7, partial=True))
    store(tmp_path, run.events)
    with collector() as received:
        sent(tmp_path, received)
    told = attributes(received.named("chat scripted-1"))
    assert {name: value for name, value in told.items() if "usage" in name} == {
        "gen_ai.usage.input_tokens": 7
    }


def test_times_are_the_events_own(tmp_path: Path) -> None:
    events = chain()
    store(tmp_path, events)
    with collector() as received:
        sent(tmp_path, received)
    own = [event.timestamp * NS for event in events if event.run_id == "r-b"]
    agent = received.named("invoke_agent worker-b")
    assert (agent.start_time_unix_nano, agent.end_time_unix_nano) == (own[0], own[-1])
    chat = next(span for span in received.spans if span.parent_span_id == agent.span_id)
    by_type = {event.body.type: event.timestamp * NS for event in events if event.run_id == "r-b"}
    assert chat.start_time_unix_nano == by_type["startGeneration"]
    assert chat.end_time_unix_nano == by_type["completeRun"]


def failing() -> list[Event]:
    run = Run("r-x", "worker")
    run.init()
    run.start("the question")
    part: ToolCallPart = call("t1", "exec", command="the argument")
    run.tools(part, text="the answer", thinking="the thought", spent=usage(3, 4))
    run.returns(part, "the result", is_error=True)
    run.add(Retry(reason="the reason", attempt=1, delay_ms=0, usage=usage(1, 0)))
    run.tools(call("t2", "think"), spent=usage(3, 4))
    error = RunError(name="ProviderError", message="the message")
    run.add(StopRunByError(checkpoint_id=run.point("stop"), error=error))
    return run.events


SAID = ("the question", "the argument", "the answer", "the thought", "the result", "the message")


def test_failures_are_errors_with_a_type(tmp_path: Path) -> None:
    store(tmp_path, failing(), status="stoppedByError")
    with collector() as received:
        sent(tmp_path, received)
    kinds = {span.name: attributes(span).get("error.type") for span in received.spans}
    assert kinds["invoke_agent worker"] == "ProviderError"
    assert kinds["execute_tool exec"] == "tool_error"
    assert kinds["execute_tool think"] == "unfinished"
    retried = [span for span in received.spans if attributes(span).get("error.type") == "retry"]
    assert [span.name for span in retried] == ["chat scripted-1"]
    for span in received.spans:
        failed = "error.type" in attributes(span)
        assert (span.status.code == span.status.STATUS_CODE_ERROR) is failed


def test_what_was_said_is_sent_only_when_asked_for(tmp_path: Path) -> None:
    store(tmp_path, failing(), status="stoppedByError")
    with collector() as received:
        sent(tmp_path, received)
        silent = str(received.spans)
        received.spans.clear()
        sent(tmp_path, received, "--otel-content")
        telling = str(received.spans)
    assert not [words for words in (*SAID, "the reason") if words in silent]
    assert [words for words in SAID if words in telling] == list(SAID[:-1])


def test_secrets_are_not_among_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "the result")
    store(tmp_path, failing(), status="stoppedByError")
    with collector() as received:
        sent(tmp_path, received, "--otel-content")
    assert "the result" not in str(received.spans)


def test_a_job_that_is_sent_again_is_the_same_trace(tmp_path: Path) -> None:
    store(tmp_path, forks())
    with collector() as received:
        sent(tmp_path, received)
        first = [(span.trace_id, span.span_id) for span in received.spans]
        received.spans.clear()
        sent(tmp_path, received)
    assert [(span.trace_id, span.span_id) for span in received.spans] == first
    runs = {
        attributes(span)["gen_ai.agent.id"]: span
        for span in received.spans
        if span.name.startswith("invoke")
    }
    assert runs["r-second"].links[0].span_id == runs["r-first"].span_id


def test_a_collector_that_refuses_is_an_error(tmp_path: Path) -> None:
    store(tmp_path, chain())
    with collector() as received:
        received.refuse = 400
        with pytest.raises(PerstackError, match="did not take the spans"):
            sent(tmp_path, received)


def test_without_the_extra_the_command_to_install_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, chain())
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)  # pyright: ignore[reportArgumentType]  as it was called

    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="not installed") as caught:
        typed("export", "job1", "--otel", "--workspace", str(tmp_path))
    assert caught.value.hint == "pip install 'perstack[otel]'"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example.com/custom/v1/traces", "https://otel.example.com/custom/v1/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_that_of_traces(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize("endpoint", ["", "localhost:4318", "ftp://x", "http://", "http://[::1"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: Sequence[str]) -> None:
    with pytest.raises(UsageError):
        traces_url(str(endpoint))
