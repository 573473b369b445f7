from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.events import ToolResult
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ImageInlinePart, ResultPart, TextPart, ToolCallPart
from perstack.projection.cutting import cut, one_line
from perstack.projection.phrases import call_phrase, calls_phrase, question_of, result_text
from tests.unit.projection.builder import call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("name", "args", "phrase"),
    [
        ("readTextFile", {"path": "a b.txt"}, "readTextFile a b.txt"),
        ("moveFile", {"source": "a", "destination": "b"}, "moveFile a → b"),
        ("exec", {"command": "git", "args": ["log", "-1"]}, "exec git log -1"),
        ("todo", {"newTodos": ["one", "two"]}, "todo + one, two"),
        ("todo", {"completedTodos": [0, 2]}, "todo done: #0, #2"),
        ("todo", {"newTodos": [], "completedTodos": [1]}, "todo done: #1"),
        ("clearTodo", {}, "clearTodo"),
        ("search", {"limit": 5, "terms": "cats"}, "search cats"),
    ],
)
def test_calls_are_said_in_a_phrase(name: str, args: dict[str, JsonValue], phrase: str) -> None:
    assert call_phrase(call("t", name, **args)) == phrase


def test_several_calls_are_counted_and_named_once() -> None:
    many = [call("1", "exec"), call("2", "exec"), call("3", "todo")]
    assert calls_phrase(many) == "3 tools: exec, todo"


def test_invalid_arguments_are_said_to_be() -> None:
    part = ToolCallPart(
        tool_call_id=ToolCallId("t"), tool_name="exec", args={}, invalid_args="{broken"
    )
    assert call_phrase(part) == "exec (invalid arguments)"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ('{"path":"a","content":"one\\ntwo","from":0,"to":2}', "one\ntwo"),
        ('{"output":"done"}', "done"),
        ('{"todos":[{"id":0,"title":"a","completed":true}]}', "[x] a"),
        ('{"error":"NotFound","message":"no such file"}', "NotFound: no such file"),
        (
            '{"path":".","items":[{"name":"a","type":"directory"},{"name":"b","type":"file"},1]}',
            "a/\nb\n1",
        ),
        ('{"other":1}', '{"other":1}'),
        ("plain", "plain"),
        ("{broken", "{broken"),
        ("[" * 100_000, "[" * 100_000),
        ('{"a":' * 100_000, '{"a":' * 100_000),
    ],
)
def test_results_are_shown_as_a_reader_wants_them(answer: str, shown: str) -> None:
    assert result_text(result(TextPart(text=answer))) == shown


def test_images_are_named_not_shown() -> None:
    image = ImageInlinePart(encoded_data="AAAA" * 100, mime_type="image/png")
    assert result_text(result(image)) == "(image, image/png, 300 bytes)"


def result(part: ResultPart) -> ToolResult:
    return ToolResult(
        id=ToolCallId("t"), skill_name="@perstack/base", tool_name="x", result=(part,)
    )


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["choices", "command"]), JSON))
def test_any_arguments_can_be_said(args: dict[str, JsonValue]) -> None:
    part = call("t", "tool").model_copy(update={"args": args})
    assert len(call_phrase(part, 40)) <= 40
    text, _ = question_of(part)
    assert text


@given(st.text(), st.integers(2, 50))
def test_one_line_is_one_line_and_short(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


def test_cut_text_says_that_it_was_cut() -> None:
    assert cut("short", 20) == "short"
    assert cut("x" * 100, 20) == "x" * 13 + "… (cut)"
