"""What programs say is made fit to be kept, whatever it is."""

from __future__ import annotations

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.domain.program_events import BeginSession
from perstack.domain.runtimes import ProgramName
from perstack.engine.program_parts import CallIds, Words, cleaned, session_of
from perstack.ports.model import Spoken

SECRET = "sk-canary"


def redact(text: str) -> str:
    return text.replace(SECRET, "[redacted]")


ANY_TEXT = st.text(st.characters(), max_size=20)
ANY_JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
)


@given(ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4))
def test_any_call_can_be_written_and_read_back(name: str, args: dict[str, JsonValue]) -> None:
    part = ToolCallPart.model_construct(
        type="toolCallPart",
        tool_call_id=ToolCallId("a"),
        tool_name=name,
        args=args,
        invalid_args=None,
    )
    kept = cleaned(part, redact)
    assert isinstance(kept, ToolCallPart)
    assert ToolCallPart.model_validate_json(kept.model_dump_json()) == kept
    assert kept.tool_name.isprintable()
    json.dumps(kept.args, allow_nan=False).encode()


@given(st.lists(st.sampled_from(["my ", "key", " is", " sk-", "canary", "\n", "sk-canary", "x"])))
def test_a_secret_is_not_said_wherever_it_is_cut(pieces: list[str]) -> None:
    words = Words(redact)
    said = [one.text for piece in pieces for one in words.hear(Spoken("text", piece))]
    said += [one.text for one in words.rest()]
    assert "".join(said) == redact("".join(pieces))


def test_thoughts_and_text_are_not_mixed() -> None:
    words = Words(redact)
    said = [
        one
        for spoken in (Spoken("text", "a b"), Spoken("reasoning", "hm"), Spoken("text", "c"))
        for one in words.hear(spoken)
    ]
    said += words.rest()
    assert said == [
        Spoken("text", "a "),
        Spoken("text", "b"),
        Spoken("reasoning", "hm"),
        Spoken("text", "c"),
    ]


def test_a_word_without_end_is_shown_in_the_end() -> None:
    words = Words(redact)
    assert [one.text for one in words.hear(Spoken("text", "x" * 10_000))] == ["x" * 10_000]


@given(st.lists(st.sampled_from(["", "1", "2", "ok", "\x00"]), max_size=12))
def test_every_call_has_an_id_of_its_own_and_results_find_them_in_order(theirs: list[str]) -> None:
    numbers = count()
    ids = CallIds([ToolCallId("ok")], lambda: f"fresh-{next(numbers)}")
    taken = [
        ids.take(ToolCallPart(tool_call_id=ToolCallId(one), tool_name="t", args={}))
        for one in theirs
    ]
    assert len({call.tool_call_id for call in taken}) == len(theirs)
    for one, call in zip(theirs, taken, strict=True):
        assert ids.of(one) == call.tool_call_id
        ids.answered(one)
    assert all(ids.of(one) is None for one in theirs)


def test_calls_that_are_closed_are_not_found_any_more() -> None:
    ids = CallIds([], lambda: "fresh")
    first, second = (
        ids.take(ToolCallPart(tool_call_id=ToolCallId("1"), tool_name="t", args={}))
        for _ in range(2)
    )
    ids.closed([first.tool_call_id])
    assert ids.of("1") == second.tool_call_id
    ids.closed([second.tool_call_id])
    assert ids.of("1") is None


@pytest.mark.parametrize(
    ("runtime", "session", "goes_on"),
    [
        ("cursor", "chat-1", "chat-1"),
        ("gemini", "chat-1", None),
        ("cursor", "--force", None),
        ("cursor", "two words", None),
        ("cursor", "", None),
    ],
)
def test_a_history_names_a_session_of_the_program_and_no_option(
    runtime: ProgramName, session: str, goes_on: str | None
) -> None:
    begun = BeginSession(runtime=runtime, session_id=session, model=None)
    assert session_of(begun, "cursor") == goes_on
    assert session_of(None, "cursor") is None
