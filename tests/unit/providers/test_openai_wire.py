"""Messages to chat completions' JSON, and its chunks to an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perstack.domain.messages import (
    FileInlinePart,
    ImageInlinePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from perstack.domain.usage import Usage
from perstack.errors import ProviderError
from perstack.ports.model import Generation, Spoken
from perstack.providers.answer import MOST_BLOCKS
from perstack.providers.openai.chat_answer import ChatAnswer
from perstack.providers.openai.chat_wire import Dialect, to_body, to_messages
from tests.fakes.conversation import call, expert, request, result, system, tool, tools, user

PNG = ImageInlinePart(encoded_data="aW1n", mime_type="image/png")


def wire(message: Message) -> list[dict[str, Any]]:
    return [json.loads(one) for one in to_messages(message)]


def delta(finish: str | None = None, **said: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def piece(arguments: str = "", **said: object) -> dict[str, object]:
    name = said.pop("name", None)
    return {**said, "function": {"name": name, "arguments": arguments}}


def collected(*chunks: dict[str, object]) -> Generation:
    collector = ChatAnswer()
    for chunk in chunks:
        collector.feed(chunk)
    return collector.generation()


def calls_of(generation: Generation) -> list[ToolCallPart]:
    return [part for part in generation.parts if isinstance(part, ToolCallPart)]


def test_system_and_users_text_are_plain_strings() -> None:
    assert wire(system("S")) == [{"role": "system", "content": "S"}]
    assert wire(user("a", "b")) == [{"role": "user", "content": "a\nb"}]
    assert wire(user()) == [{"role": "user", "content": "(empty)"}]


def test_pictures_and_files_are_data_urls() -> None:
    pdf = FileInlinePart(encoded_data="cGRm", mime_type="application/pdf")
    ((said),) = wire(user("look", PNG, pdf))
    text, image, file = said["content"]
    assert text == {"type": "text", "text": "look"}
    assert image["image_url"]["url"] == "data:image/png;base64,aW1n"
    assert file["file"]["file_data"].startswith("data:application/pdf;base64,")


def test_an_experts_text_and_calls_are_replayed_without_its_thinking() -> None:
    said = expert(
        ThinkingPart(thinking="hm", signature="s"), "I read", call("read", "c1", path="x")
    )
    function = {"name": "read", "arguments": '{"path":"x"}'}
    assert wire(said) == [
        {
            "role": "assistant",
            "content": "I read",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        }
    ]
    assert wire(expert(call("read")))[0]["content"] is None
    assert wire(expert(ThinkingPart(thinking="hm"))) == []


def test_each_result_is_a_message_and_pictures_follow_as_the_users() -> None:
    said = tools(
        result("read", "c1", "text", PNG),
        result("rm", "c2", "denied", error=True),
        result("none", "c3"),
    )
    first, second, third, seen = wire(said)
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "text"}
    assert second["content"] == "Error:\ndenied"
    assert third["content"] == ""
    assert seen["role"] == "user"
    assert "read (c1)" in seen["content"][0]["text"]
    assert seen["content"][1]["type"] == "image_url"


def test_the_body_asks_for_usage_and_keeps_tools_defined() -> None:
    asked = request(offered=[tool("read")], use_tools=False)
    encoded = [one for message in asked.messages for one in to_messages(message)]
    dialect = Dialect(
        reasoning=lambda with_tools: {"reasoning_effort": "low"} if with_tools else {}
    )
    body = json.loads(to_body(asked, encoded, model="m", dialect=dialect))
    assert body["stream_options"] == {"include_usage": True}
    assert body["tools"][0]["function"]["name"] == "read"
    assert body["tool_choice"] == "none"
    assert body["reasoning_effort"] == "low"
    plain = json.loads(to_body(request(), [], model="m", dialect=dialect))
    assert not {"tools", "tool_choice", "reasoning_effort"} & set(plain)


def test_reasoning_text_and_calls_are_collected() -> None:
    collector = ChatAnswer()
    chunks = [
        delta(role="assistant", content=None),
        delta(reasoning_content="hm"),
        delta(content="I "),
        delta(content="read"),
        delta(tool_calls=[piece('{"pa', index=0, id="c1", name="read")]),
        delta(tool_calls=[piece('th":"x"}', index=0), piece("{}", index=1, id="c2", name="ls")]),
        delta("tool_calls"),
    ]
    shown = [said for chunk in chunks if (said := collector.feed(chunk))]
    assert shown == [Spoken("reasoning", "hm"), Spoken("text", "I "), Spoken("text", "read")]
    generation = collector.generation()
    assert generation.parts == (
        ThinkingPart(thinking="hm"),
        TextPart(text="I read"),
        call("read", "c1", path="x"),
        call("ls", "c2"),
    )
    assert generation.finish == "toolCalls"


def test_calls_without_an_index_are_told_apart_by_id_and_place() -> None:
    generation = collected(
        delta(tool_calls=[piece('{"a":1}', id="c1", name="x"), piece('{"b":', id="c2", name="y")]),
        delta(tool_calls=[piece("2}", id="c2", name="y")]),
        delta(tool_calls=[piece("{}", id="c3", name="z")]),
        delta("tool_calls"),
    )
    found = [(part.tool_call_id, part.tool_name, part.args) for part in calls_of(generation)]
    assert found == [("c1", "x", {"a": 1}), ("c2", "y", {"b": 2}), ("c3", "z", {})]


@pytest.mark.parametrize("numbered", [True, False])
def test_more_calls_than_anybody_means_are_an_error(numbered: bool) -> None:
    collector = ChatAnswer()

    def one_more(number: int) -> None:
        place: dict[str, object] = {"index": number} if numbered else {}
        collector.feed(delta(tool_calls=[piece("{}", id=f"c{number}", name="x", **place)]))

    for number in range(MOST_BLOCKS):
        one_more(number)
    with pytest.raises(ProviderError, match="larger"):
        one_more(MOST_BLOCKS)


def test_a_name_in_pieces_is_joined_and_a_repeated_one_is_not() -> None:
    generation = collected(
        delta(tool_calls=[piece("", index=0, id="c1", name="read")]),
        delta(tool_calls=[piece("", index=0, name="File")]),
        delta(tool_calls=[piece("{}", index=0, name="readFile")]),
        delta("tool_calls"),
    )
    assert calls_of(generation)[0].tool_name == "readFile"


def test_usage_is_read_from_the_chunk_without_choices() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 80},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    generation = collected(delta("stop", content="x"), {"choices": None, "usage": usage})
    assert generation.usage == Usage(
        input_tokens=100,
        output_tokens=20,
        reasoning_tokens=5,
        total_tokens=120,
        cached_input_tokens=80,
    )


def test_it_is_complete_with_a_finish_reason_and_done_with_the_usage() -> None:
    collector = ChatAnswer()
    collector.feed(delta(content="x"))
    assert not collector.complete
    collector.feed(delta("stop"))
    assert collector.complete
    assert not collector.done
    collector.feed({"choices": [], "usage": {"prompt_tokens": 1}})
    assert collector.done


@pytest.mark.parametrize(
    ("said", "finish"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "refusal"), ("odd", "other")],
)
def test_finish_reasons_are_told_apart(said: str, finish: str) -> None:
    assert collected(delta(said, content="x")).finish == finish


def test_a_refusal_is_shown_as_text() -> None:
    assert collected(delta("stop", refusal="I cannot")).parts == (TextPart(text="I cannot"),)


@pytest.mark.parametrize(
    "chunk",
    [
        None,
        "x",
        {},
        {"choices": [None]},
        {"choices": [{"delta": None}]},
        {"choices": [{"index": 1, "delta": {"content": "another choice"}}]},
        {"choices": [{"index": 0, "delta": {"content": 7, "tool_calls": "x"}}]},
    ],
)
def test_chunks_of_any_shape_are_skipped(chunk: object) -> None:
    collector = ChatAnswer()
    assert collector.feed(chunk) is None
    assert collector.generation().parts == ()


def test_arguments_that_are_not_an_object_are_marked() -> None:
    (part,) = calls_of(
        collected(delta(tool_calls=[piece("[1]", index=0, id="c", name="x")]), delta("tool_calls"))
    )
    assert (part.args, part.invalid_args) == ({}, "[1]")
