"""Messages to Responses' JSON, and its events to an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from perstack.domain.messages import (
    FileInlinePart,
    ImageInlinePart,
    Message,
    ProviderPart,
    ResourceLinkPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from perstack.domain.usage import Usage
from perstack.errors import ProviderError
from perstack.ports.model import Generation, Spoken
from perstack.providers.failures import Endpoint
from perstack.providers.openai.responses_answer import ResponsesAnswer
from perstack.providers.openai.responses_wire import to_body, to_items
from perstack.providers.signatures import RESPONSES
from tests.fakes.conversation import call, expert, request, result, system, tool, tools, user

ENDPOINT = Endpoint("OpenAI", "gpt-5.5", "OPENAI_API_KEY", ("sk-canary",))
PNG = ImageInlinePart(encoded_data="aW1n", mime_type="image/png")
PDF = FileInlinePart(encoded_data="cGRm", mime_type="application/pdf")
USAGE = {"input_tokens": 10, "output_tokens": 4}
COMPLETED = {"type": "response.completed", "response": {"status": "completed", "usage": USAGE}}


def wire(message: Message) -> list[dict[str, Any]]:
    return [json.loads(one) for one in to_items(message)]


def added(index: int, **item: object) -> dict[str, object]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: object) -> dict[str, object]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, index: int, piece: str) -> dict[str, object]:
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": piece}


def collected(*events: dict[str, object]) -> tuple[list[Spoken], Generation]:
    answer = ResponsesAnswer(ENDPOINT)
    shown = [piece for event in (*events, COMPLETED) if (piece := answer.feed(event))]
    assert answer.complete
    return shown, answer.generation()


def test_the_system_prompt_travels_apart_and_the_users_words_as_parts() -> None:
    assert wire(system("S")) == []
    ((said),) = wire(user("a", PNG, PDF))
    assert [part["type"] for part in said["content"]] == [
        "input_text",
        "input_image",
        "input_file",
    ]
    assert wire(user())[0]["content"] == [{"type": "input_text", "text": "(empty)"}]


def test_links_are_told_in_words() -> None:
    link = ResourceLinkPart(uri="db://x", name="x")
    assert wire(user(link))[0]["content"][0]["text"] == "[resource x at db://x]"


def test_results_are_text_where_they_can_be_and_say_that_they_are_errors() -> None:
    plain, seen, failed = wire(
        tools(
            result("read", "c1", "one", "two"),
            result("look", "c2", PNG),
            result("rm", "c3", "no", error=True),
        )
    )
    assert plain == {"type": "function_call_output", "call_id": "c1", "output": "one\ntwo"}
    assert seen["output"][0]["type"] == "input_image"
    assert failed["output"] == "Error:\nno"


def test_encrypted_reasoning_goes_back_as_it_came() -> None:
    _, generation = collected(
        added(0, type="reasoning", id="rs_1"),
        delta("reasoning_summary_text", 0, "hm"),
        done(0, type="reasoning", id="rs_1", encrypted_content="gAAA"),
        added(1, type="function_call", call_id="c1", name="read", arguments=""),
        delta("function_call_arguments", 1, '{"path": "x"}'),
        done(1, type="function_call", call_id="c1", name="read", arguments='{"path": "x"}'),
    )
    thinking, asked = generation.parts
    assert isinstance(thinking, ThinkingPart)
    assert (thinking.signature or "").startswith(RESPONSES)
    assert asked == call("read", "c1", path="x")
    reasoning, function = wire(expert(*generation.parts))
    assert reasoning == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "gAAA",
    }
    assert function["type"] == "function_call"


@pytest.mark.parametrize(
    "signature", [None, "signed-by-anthropic", RESPONSES + "{", RESPONSES + '{"id": "x"}']
)
def test_reasoning_that_is_not_ours_stays_here(signature: str | None) -> None:
    said = expert(ThinkingPart(thinking="hm", signature=signature), "text")
    assert wire(said) == [{"role": "assistant", "content": "text"}]


def test_a_text_goes_back_with_its_phase() -> None:
    _, generation = collected(
        added(0, type="message", phase="commentary"),
        delta("output_text", 0, "I will look."),
        done(0, type="message", phase="commentary"),
        added(1, type="message"),
        delta("output_text", 1, "Done."),
        done(1, type="message"),
    )
    assert wire(expert(*generation.parts)) == [
        {"role": "assistant", "content": "I will look.", "phase": "commentary"},
        {"role": "assistant", "content": "Done."},
    ]


def test_what_the_vendors_tools_did_goes_back_unchanged() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": "x"}}
    _, generation = collected(
        added(0, type="web_search_call", id="ws_1", status="in_progress"), done(0, **item)
    )
    assert generation.parts == (
        ProviderPart(provider="openai", payload=json.loads(json.dumps(item))),
    )
    assert wire(expert(*generation.parts)) == [item]
    assert wire(expert(ProviderPart(provider="anthropic", payload={"type": "x"}))) == []


def test_the_body_stores_nothing_and_asks_for_what_has_to_come_back() -> None:
    asked = replace(request(system("S"), user("go"), offered=[tool("read")]), max_output_tokens=1)
    body = json.loads(to_body(asked, [], model="m", effort="low", summary=True))
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["instructions"] == "S"
    assert body["prompt_cache_key"] == "run1"
    assert body["max_output_tokens"] == 16
    assert body["tools"][0] == {
        "type": "function",
        "name": "read",
        "description": "does read",
        "parameters": {"type": "object"},
        "strict": False,
    }
    assert "tool_choice" not in body


def test_a_model_that_does_not_reason_is_asked_for_nothing_encrypted() -> None:
    asked = request(offered=[tool("read")], use_tools=False)
    body = json.loads(to_body(asked, [], model="gpt-4.1", effort=None, summary=True))
    assert not {"include", "reasoning", "max_output_tokens"} & set(body)
    assert body["tool_choice"] == "none"


def test_parts_of_a_summary_are_told_apart() -> None:
    part: dict[str, object] = {
        "type": "response.reasoning_summary_part.added",
        "output_index": 0,
    }
    shown, generation = collected(
        added(0, type="reasoning"),
        part,
        delta("reasoning_summary_text", 0, "one"),
        part,
        delta("reasoning_summary_text", 0, "two"),
    )
    assert "".join(piece.text for piece in shown) == "one\n\ntwo"
    assert generation.parts == (ThinkingPart(thinking="one\n\ntwo"),)


def test_a_refusal_is_one() -> None:
    shown, generation = collected(added(0, type="message"), delta("refusal", 0, "I cannot."))
    assert shown == [Spoken("text", "I cannot.")]
    assert (generation.finish, generation.parts) == ("refusal", (TextPart(text="I cannot."),))


def test_items_without_pieces_are_taken_whole() -> None:
    _, generation = collected(
        done(0, type="message", content=[{"type": "output_text", "text": "whole"}]),
        done(1, type="function_call", call_id="c1", name="ls", arguments='{"a": 1}'),
    )
    assert generation.parts == (TextPart(text="whole"), call("ls", "c1", a=1))
    assert generation.finish == "toolCalls"


def test_a_call_that_the_limit_cut_off_is_marked() -> None:
    answer = ResponsesAnswer(ENDPOINT)
    answer.feed(added(0, type="function_call", call_id="c1", name="rm", arguments=""))
    answer.feed(delta("function_call_arguments", 0, '{"path": "prec'))
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    answer.feed({"type": "response.incomplete", "response": cut})
    generation = answer.generation()
    (asked,) = generation.parts
    assert isinstance(asked, ToolCallPart)
    assert (generation.finish, asked.invalid_args) == ("length", '{"path": "prec')


@pytest.mark.parametrize(
    ("event", "retryable"),
    [
        ({"type": "error", "code": "server_error", "message": "oh"}, True),
        ({"type": "error", "code": "invalid_prompt", "message": "oh"}, False),
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, True),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}},
            True,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "insufficient_quota"}}},
            False,
        ),
    ],
)
def test_a_failure_in_the_stream_goes_by_its_code(
    event: dict[str, object], retryable: bool
) -> None:
    with pytest.raises(ProviderError) as caught:
        ResponsesAnswer(ENDPOINT).feed(event)
    assert caught.value.retryable == retryable


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {"type": 7},
        {"type": "response.output_item.added"},
        {"type": "response.output_item.added", "output_index": "x", "item": {"type": "message"}},
        {"type": "response.output_text.delta", "output_index": 9, "delta": "x"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": 7},
        {"type": "response.function_call_arguments.delta", "output_index": 3},
        {"type": "response.output_item.done", "output_index": 5, "item": {"type": "hat"}},
    ],
)
def test_events_of_odd_shape_are_skipped(event: object) -> None:
    assert ResponsesAnswer(ENDPOINT).feed(event) is None


def test_usage_is_the_vendors_own() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 5},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 120,
    }
    answer = ResponsesAnswer(ENDPOINT)
    answer.feed({"type": "response.completed", "response": {"status": "completed", "usage": usage}})
    assert answer.generation().usage == Usage(
        input_tokens=100,
        output_tokens=20,
        reasoning_tokens=12,
        total_tokens=120,
        cached_input_tokens=80,
        cache_write_tokens=5,
    )
