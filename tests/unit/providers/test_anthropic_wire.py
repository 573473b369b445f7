"""Messages to Anthropic's JSON, and its events to an answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import (
    ExpertPart,
    FileInlinePart,
    ImageInlinePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from perstack.domain.usage import Usage
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest, Spoken
from perstack.providers.answer import MOST_BLOCKS
from perstack.providers.anthropic.answer import ClaudeAnswer
from perstack.providers.anthropic.wire import to_body, to_turns
from perstack.providers.models import Thinking
from tests.fakes.conversation import call, expert, request, result, system, tool, tools, user

EPHEMERAL = {"type": "ephemeral"}
PNG = ImageInlinePart(encoded_data="aW1n", mime_type="image/png")


def wire(message: Message) -> dict[str, Any]:
    (turn,) = to_turns(message)
    return json.loads(turn.encoded)


def body_of(asked: ModelRequest, thinking: Thinking | None = None) -> dict[str, Any]:
    turns = [turn for message in asked.messages for turn in to_turns(message)]
    thinking = thinking or Thinking()
    head = {"model": "m", "stream": True}
    return json.loads(to_body(asked, turns, head=head, max_tokens=99, thinking=thinking))


def collected(*events: dict[str, object]) -> Generation:
    collector = ClaudeAnswer()
    for event in events:
        collector.feed(event)
    return collector.generation()


def block(
    index: int, start: dict[str, object], *deltas: dict[str, object]
) -> list[dict[str, object]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
    ]


def ending(reason: str, **usage: object) -> list[dict[str, object]]:
    delta = {"stop_reason": reason}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def args_delta(raw: str) -> dict[str, object]:
    return {"type": "input_json_delta", "partial_json": raw}


def tool_use(call_id: str = "t1", **given: object) -> dict[str, object]:
    return {"type": "tool_use", "id": call_id, "name": "read", "input": given}


def test_a_users_text_and_picture_become_blocks() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "aW1n"}
    assert wire(user("look", PNG)) == {
        "role": "user",
        "content": [{"type": "text", "text": "look"}, {"type": "image", "source": source}],
    }


def test_a_pdf_is_a_document_and_a_text_file_is_its_text() -> None:
    pdf = FileInlinePart(encoded_data="cGRm", mime_type="application/pdf")
    note = FileInlinePart(encoded_data=base64.b64encode(b"note").decode(), mime_type="text/plain")
    odd = FileInlinePart(encoded_data="eA==", mime_type="application/zip")
    document, text, unread = wire(user(pdf, note, odd))["content"]
    assert document["type"] == "document"
    assert document["source"]["media_type"] == "application/pdf"
    assert text == {"type": "text", "text": "note"}
    assert "application/zip" in unread["text"]


def test_an_experts_thinking_text_and_calls_are_replayed_in_order() -> None:
    said = expert(
        ThinkingPart(thinking="hm", signature="sig"), "I read", call("read", "t1", path="x")
    )
    assert wire(said) == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "I read"},
            {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "x"}},
        ],
    }


def test_thinking_without_the_vendors_signature_is_left_out() -> None:
    content = wire(expert(ThinkingPart(thinking="from elsewhere"), "text"))["content"]
    assert content == [{"type": "text", "text": "text"}]


def test_an_empty_turn_of_the_expert_is_left_out_and_an_empty_one_of_the_user_filled() -> None:
    assert list(to_turns(expert("  "))) == []
    assert wire(user(" "))["content"] == [{"type": "text", "text": "(empty)"}]


def test_results_become_a_users_turn() -> None:
    said = tools(result("read", "t1", "content", PNG), result("rm", "t2", "denied", error=True))
    first, second = wire(said)["content"]
    assert first["tool_use_id"] == "t1"
    assert [part["type"] for part in first["content"]] == ["text", "image"]
    assert "is_error" not in first
    assert second["is_error"] is True


def test_ids_of_another_vendor_are_put_into_the_alphabet_on_both_sides() -> None:
    made = wire(expert(call("read", "functions.read:0")))["content"][0]["id"]
    answered = wire(tools(result("read", "functions.read:0")))["content"][0]["tool_use_id"]
    assert made == answered == "functions_read_0"


def test_the_system_prompt_and_the_last_two_user_turns_are_marked_for_caching() -> None:
    body = body_of(request(system("S"), user("1"), expert("2"), user("3"), expert("4"), user("5")))
    assert body["system"] == [{"type": "text", "text": "S", "cache_control": EPHEMERAL}]
    marked = ["cache_control" in message["content"][-1] for message in body["messages"]]
    assert marked == [False, False, True, False, True]


def test_marking_does_not_change_what_is_kept() -> None:
    asked = request(system("S"), user("1"))
    turns = [turn for message in asked.messages for turn in to_turns(message)]
    to_body(asked, turns, head={"model": "m"}, max_tokens=1, thinking=Thinking())
    assert b"cache_control" not in turns[0].encoded
    assert turns[0].content == [{"type": "text", "text": "1"}]


def test_tools_stay_defined_when_none_may_be_called() -> None:
    allowed = body_of(request(offered=[tool("read")]))
    assert "tool_choice" not in allowed
    silent = body_of(request(offered=[tool("read")], use_tools=False))
    assert silent["tools"] == allowed["tools"]
    assert silent["tool_choice"] == {"type": "none"}
    assert "tools" not in body_of(request())


def test_thinking_is_put_into_the_request() -> None:
    manual = body_of(request(), Thinking("enabled", 1024))
    assert manual["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    adaptive = body_of(request(), Thinking("adaptive", None, "low", summarized=True, bound=True))
    assert adaptive["thinking"]["block_binding"] == {"prefix_mismatch_behavior": "drop_block"}
    assert adaptive["output_config"] == {"effort": "low"}
    assert "thinking" not in body_of(request())


def test_a_lone_surrogate_does_not_stop_a_request() -> None:
    assert body_of(request(user("a\ud800b")))["messages"][0]["content"][0]["text"] == "a?b"


def test_thinking_text_and_calls_are_collected_in_order() -> None:
    thinking: dict[str, object] = {"type": "thinking", "thinking": "", "signature": ""}
    generation = collected(
        *block(0, thinking, {"type": "thinking_delta", "thinking": "hm"},
               {"type": "signature_delta", "signature": "sig"}),
        *block(1, {"type": "text", "text": "I "}, {"type": "text_delta", "text": "read"}),
        *block(2, tool_use(), args_delta('{"path"'), args_delta(':"x"}')),
        *ending("tool_use"),
    )  # fmt: skip
    assert generation.parts == (
        ThinkingPart(thinking="hm", signature="sig"),
        TextPart(text="I read"),
        call("read", "t1", path="x"),
    )
    assert generation.finish == "toolCalls"


def test_interleaved_blocks_keep_the_vendors_order_which_it_demands_back() -> None:
    thinking: dict[str, object] = {"type": "thinking", "thinking": "2", "signature": "s"}
    generation = collected(
        *block(0, {"type": "text", "text": "1"}), *block(1, thinking), *ending("end_turn")
    )
    assert generation.parts == (TextPart(text="1"), ThinkingPart(thinking="2", signature="s"))


def test_redacted_thinking_survives_the_round_trip() -> None:
    redacted: dict[str, object] = {"type": "redacted_thinking", "data": "ENCRYPTED"}
    generation = collected(*block(0, redacted), *block(1, tool_use()), *ending("tool_use"))
    assert wire(expert(*generation.parts))["content"][0] == redacted


def test_hidden_thinking_is_kept_for_its_signature() -> None:
    hidden: dict[str, object] = {"type": "thinking", "thinking": "", "signature": "s"}
    generation = collected(*block(0, hidden), *ending("end_turn"))
    assert generation.parts == (ThinkingPart(thinking="", signature="s"),)


@pytest.mark.parametrize(
    "raw",
    ['{"path": "x', "[1, 2]", '"text"', "null", "7", '{"a": NaN}', "{" * 5000, '{"a":' * 5000],
)
def test_arguments_that_are_not_an_object_are_marked_and_empty(raw: str) -> None:
    (part,) = collected(*block(0, tool_use(), args_delta(raw)), *ending("tool_use")).parts
    assert isinstance(part, ToolCallPart)
    assert (part.args, part.invalid_args) == ({}, raw)


def test_arguments_may_be_absent_or_come_with_the_start() -> None:
    generation = collected(
        *block(0, tool_use("a")),
        *block(1, tool_use("b", path="x")),
        *block(2, tool_use("c", path="old"), args_delta('{"path":"new"}')),
        *ending("tool_use"),
    )
    found = [part.args for part in generation.parts if isinstance(part, ToolCallPart)]
    assert found == [{}, {"path": "x"}, {"path": "new"}]


def test_a_call_cut_off_before_its_arguments_is_marked() -> None:
    (part,) = collected(*block(0, tool_use()), *ending("max_tokens")).parts
    assert isinstance(part, ToolCallPart)
    assert part.invalid_args == ""


def test_repeated_ids_are_made_unique() -> None:
    same = [event for index in range(3) for event in block(index, tool_use("t"))]
    generation = collected(*same, *ending("tool_use"))
    ids = [part.tool_call_id for part in generation.parts if isinstance(part, ToolCallPart)]
    assert ids == ["t", "t-2", "t-3"]


def test_a_missing_id_is_made_up() -> None:
    (part,) = collected(*block(0, tool_use("")), *ending("tool_use")).parts
    assert isinstance(part, ToolCallPart)
    assert part.tool_call_id.startswith("call_")


def test_surrogates_are_joined_or_replaced_in_text_and_arguments() -> None:
    rest: dict[str, object] = {"type": "text_delta", "text": "\ude00\ud800"}
    generation = collected(
        *block(0, {"type": "text", "text": "\ud83d"}, rest),
        *block(1, tool_use(), args_delta('{"a": "\\ud800"}')),
        *ending("tool_use"),
    )
    assert generation.parts == (
        TextPart(text="\U0001f600\ufffd"),
        ToolCallPart(tool_call_id=ToolCallId("t1"), tool_name="read", args={"a": "\ufffd"}),
    )


def test_usage_counts_cached_tokens_as_input_and_takes_the_last_word() -> None:
    start = {
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 10,
            "output_tokens": 1,
        }
    }
    generation = collected(
        {"type": "message_start", "message": start},
        *ending("end_turn", output_tokens=20, output_tokens_details={"thinking_tokens": 5}),
    )
    assert generation.usage == Usage(
        input_tokens=100,
        output_tokens=20,
        reasoning_tokens=5,
        total_tokens=120,
        cached_input_tokens=80,
        cache_write_tokens=10,
    )


@pytest.mark.parametrize("odd", [None, -5, "many", 1.5, True])
def test_odd_usage_counts_as_nothing(odd: object) -> None:
    assert collected(*ending("end_turn", output_tokens=odd)).usage.total_tokens == 0


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "paused"),
        ("tool_use", "other"),
        ("nonsense", "other"),
    ],
)
def test_stop_reasons_are_told_apart(said: str, finish: str) -> None:
    assert collected(*block(0, {"type": "text", "text": "x"}), *ending(said)).finish == finish


def test_calls_make_it_tool_calls_whatever_the_server_says() -> None:
    assert collected(*block(0, tool_use()), *ending("end_turn")).finish == "toolCalls"


def test_only_a_stop_reason_and_the_last_event_make_it_complete() -> None:
    collector = ClaudeAnswer()
    collector.feed({"type": "message_stop"})
    assert not collector.complete
    collector = ClaudeAnswer()
    collector.feed(ending("end_turn")[0])
    assert not collector.complete
    collector.feed(ending("end_turn")[1])
    assert collector.complete


@pytest.mark.parametrize(
    "event",
    [
        None,
        7,
        [],
        {},
        {"type": 3},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta"}},
        {"type": "content_block_delta", "index": None, "delta": None},
        {"type": "content_block_start", "index": "0", "content_block": {"type": "text"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "hat"}},
        {"type": "message_delta", "delta": None, "usage": 3},
    ],
)
def test_events_of_any_shape_are_skipped(event: object) -> None:
    assert ClaudeAnswer().feed(event) is None


def test_an_answer_beyond_all_bounds_is_an_error() -> None:
    collector = ClaudeAnswer()
    for event in block(0, {"type": "text", "text": ""}):
        collector.feed(event)
    (_, more) = block(0, {"type": "text"}, {"type": "text_delta", "text": "x" * 9_000_000})
    assert isinstance(collector.feed(more), Spoken)
    collector.feed(more)
    with pytest.raises(ProviderError, match="larger"):
        collector.feed(more)


def test_more_blocks_than_anybody_means_are_an_error() -> None:
    collector = ClaudeAnswer()
    begun: dict[str, object] = {"type": "content_block_start", "content_block": {"type": "text"}}
    for number in range(MOST_BLOCKS):
        collector.feed({**begun, "index": number})
    with pytest.raises(ProviderError, match="larger"):
        collector.feed({**begun, "index": MOST_BLOCKS})


def test_empty_parts_of_an_answer_are_left_out() -> None:
    empty: tuple[ExpertPart, ...] = collected(
        *block(0, {"type": "text", "text": ""}), *ending("end_turn")
    ).parts
    assert empty == ()
