"""Records of Claude Code, in the shapes that the program was seen to print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.messages import ImageInlinePart, TextPart, ThinkingPart, ToolCallPart
from perstack.domain.usage import Usage
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Report, Returned, Turn
from perstack.runtimes.claude_reader import ClaudeReader

Json = dict[str, Any]
COUNTS: Final[Json] = {
    "input_tokens": 100,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 3,
    "output_tokens": 1,
}
PICTURE: Final[Json] = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
}
USED: Final = Usage(
    input_tokens=108,
    output_tokens=20,
    total_tokens=128,
    cached_input_tokens=5,
    cache_write_tokens=3,
)


def read(reader: ClaudeReader, records: Iterable[Mapping[str, Any]]) -> list[Report]:
    return [report for record in records for report in reader.read(record)]


def reports(*records: Mapping[str, Any]) -> list[Report]:
    return read(ClaudeReader(), records)


def event(type_: str, **more: object) -> Json:
    return {
        "type": "stream_event",
        "event": {"type": type_, **more},
        "session_id": "s",
        "parent_tool_use_id": None,
    }


def starts(id_: str = "msg_1", **counts: int) -> Json:
    return event("message_start", message={"id": id_, "usage": {**COUNTS, **counts}})


def ends(output: int = 20) -> list[Json]:
    delta = {"stop_reason": "tool_use"}
    return [
        event("message_delta", delta=delta, usage={"output_tokens": output, "input_tokens": None}),
        event("message_stop"),
    ]


def says(*blocks: Json, id_: str = "msg_1", parent: str | None = None, **more: Any) -> Json:
    message = {"id": id_, "role": "assistant", "content": list(blocks), "usage": COUNTS}
    return {"type": "assistant", "message": message, "parent_tool_use_id": parent, **more}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def call(id_: str, name: str = "Bash") -> Json:
    return {"type": "tool_use", "id": id_, "name": name, "input": {"command": "ls"}}


def gives(id_: str, content: object = "done", *, parent: str | None = None, **more: Any) -> Json:
    block = {"type": "tool_result", "tool_use_id": id_, "content": content, **more}
    message = {"role": "user", "content": [block]}
    return {"type": "user", "message": message, "parent_tool_use_id": parent}


def result(**more: Any) -> Json:
    return {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": "All done.",
        "total_cost_usd": 0.25,
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "modelUsage": {"claude-x[1m]": {"inputTokens": 400, "outputTokens": 80}},
        **more,
    }


def turns(found: Iterable[Report]) -> list[Turn]:
    return [one for one in found if isinstance(one, Turn)]


def ids(turn: Turn) -> list[str]:
    return [part.tool_call_id for part in turn.parts if isinstance(part, ToolCallPart)]


def test_its_session_and_model_are_told() -> None:
    init = {"type": "system", "subtype": "init", "session_id": "s1", "model": "claude-x[1m]"}
    assert reports(init) == [Began("s1", "claude-x")]


def test_the_blocks_of_one_answer_are_one_turn_with_what_it_really_used() -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "signed"}
    found = reports(
        starts(), says(thinking), says(text("I look.")), says(call("t1")), says(call("t2")), *ends()
    )
    (turn,) = turns(found)
    assert turn.parts[:2] == (ThinkingPart(thinking="Hm."), TextPart(text="I look."))
    assert ids(turn) == ["t1", "t2"]
    assert turn.usage == USED


def test_what_is_said_and_thought_is_heard_as_it_comes() -> None:
    found = reports(
        starts(),
        event("content_block_delta", delta={"type": "thinking_delta", "thinking": "Hm"}),
        event("content_block_delta", delta={"type": "signature_delta", "signature": "x"}),
        event("content_block_delta", delta={"type": "text_delta", "text": "He"}),
        event("content_block_delta", delta={"type": "input_json_delta", "partial_json": "{"}),
    )
    assert found == [Spoken("reasoning", "Hm"), Spoken("text", "He")]


def test_whoever_looks_on_sees_that_it_asks_its_model_again() -> None:
    retry = {"type": "system", "subtype": "api_retry", "attempt": 2, "max_retries": 5}
    (said,) = read(
        ClaudeReader(),
        [{**retry, "retry_delay_ms": 4200, "error_status": 401, "error": "authentication_failed"}],
    )
    assert isinstance(said, Spoken)
    assert said.stream == "reasoning"
    assert "authentication_failed (401); try 2 of 5 in 4 s" in said.text
    (unknown,) = read(ClaudeReader(), [{**retry, "error_status": None}])
    assert isinstance(unknown, Spoken)
    assert "its model: error; try 2" in unknown.text


def test_a_result_that_comes_before_its_answer_is_whole_follows_it() -> None:
    found = reports(starts(), says(call("t1")), gives("t1"), says(call("t2")), *ends())
    assert [type(one) for one in found] == [Turn, Returned]
    assert ids(turns(found)[0]) == ["t1", "t2"]


def test_an_answer_that_was_broken_off_is_void() -> None:
    found = reports(starts("msg_1"), says(text("Half")), starts("msg_2"), *ends())
    assert [turn.parts for turn in turns(found)] == [()]
    found = reports(starts("msg_1"), says(text("Half")), says(text("Whole"), id_="msg_2"), result())
    assert [turn.parts for turn in turns(found)] == [(TextPart(text="Whole"),)]


def test_without_stream_events_answers_are_told_apart_by_their_ids() -> None:
    first = [says(text("One."), id_="m1"), says(call("t1"), id_="m1")]
    found = reports(*first, gives("t1"), says(text("Two."), id_="m2"), result())
    assert [type(one) for one in found] == [Turn, Returned, Turn, Finished]
    assert ids(turns(found)[0]) == ["t1"]


def test_a_late_block_of_an_answer_is_not_counted_twice() -> None:
    found = reports(starts(), says(call("t1")), *ends(), says(call("t2")), gives("t2"))
    first, second = turns(found)
    assert first.usage == USED
    assert second.usage == Usage()
    assert ids(second) == ["t2"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("plain", (TextPart(text="plain"),)),
        ([text("a"), text("b")], (TextPart(text="a"), TextPart(text="b"))),
        (None, ()),
        ([{"type": "odd", "n": 1}], (TextPart(text='{"type": "odd", "n": 1}'),)),
        ([PICTURE], (ImageInlinePart(encoded_data="aGk=", mime_type="image/png"),)),
    ],
)
def test_results_are_texts_and_pictures(content: object, parts: tuple[object, ...]) -> None:
    (found,) = reports(gives("t1", content, is_error=True))
    assert isinstance(found, Returned)
    assert found.outcome.parts == parts
    assert found.outcome.is_error


def test_what_subagents_do_makes_no_steps_but_counts() -> None:
    reader = ClaudeReader()
    found = read(
        reader,
        [
            starts(),
            says(call("t1", "Task")),
            *ends(),
            says(call("inner"), id_="sub_1", parent="t1"),
            gives("inner", parent="t1"),
            says(text("Sub done."), id_="sub_2", parent="t1"),
            says(text("more of it"), id_="sub_2", parent="t1"),
            gives("t1", "Sub done."),
            starts("msg_2"),
            says(text("Done."), id_="msg_2"),
            *ends(),
        ],
    )
    assert [type(one) for one in found] == [Turn, Returned, Turn]
    inner = USED.model_copy(update={"output_tokens": 1, "total_tokens": 109})
    assert turns(found)[1].usage == USED.plus(inner).plus(inner)
    assert reader.inside == {"inner"}


def test_it_knows_when_only_subagents_can_be_at_work() -> None:
    reader = ClaudeReader()
    task = {"type": "system", "task_id": "a1", "task_type": "local_agent"}
    read(reader, [{**task, "task_type": "local_bash", "subtype": "task_started"}])
    assert not reader.hears_subagents_only
    read(reader, [starts(), {**task, "subtype": "task_started"}])
    assert not reader.hears_subagents_only
    read(reader, ends())
    assert reader.hears_subagents_only
    read(reader, [{**task, "subtype": "task_notification", "status": "completed"}])
    assert not reader.hears_subagents_only


def test_the_result_has_the_cost_and_usage_of_all_models() -> None:
    finished = Finished(
        "All done.", Usage(input_tokens=400, output_tokens=80, total_tokens=480), cost_usd=0.25
    )
    assert reports(result()) == [finished]
    (plain,) = reports(result(modelUsage={}, total_cost_usd="free"))
    assert plain == Finished(
        "All done.", Usage(input_tokens=1, output_tokens=1, total_tokens=2), cost_usd=None
    )


def test_once_there_was_a_result_its_end_does_not_matter() -> None:
    reader = ClaudeReader()
    read(reader, [result()])
    assert list(reader.ended(ProgramError("exit code 1"))) == []


@pytest.mark.parametrize("subtype", ["error_max_turns", "error_max_budget_usd"])
def test_a_limit_of_its_own_is_a_limit(subtype: str) -> None:
    told = result(subtype=subtype, is_error=True, result=None, errors=["Reached it"])
    (found,) = reports(told)
    assert isinstance(found, Finished)
    assert found.limit
    assert found.text == "Reached it"


def test_without_a_login_it_says_what_to_do() -> None:
    synthetic = says(text("Not logged in · Please run /login"), error="authentication_failed")
    told = result(is_error=True, result="Not logged in · Please run /login")
    with pytest.raises(ProgramError, match="Not logged in") as raised:
        reports(synthetic, told)
    assert "sign in" in (raised.value.hint or "")
    assert turns(reports(synthetic)) == []


def test_a_failure_says_what_the_program_said() -> None:
    told = result(subtype="error_during_execution", result=None, errors=["It", "broke"])
    with pytest.raises(ProgramError, match="claude failed: It; broke"):
        reports(told)


@pytest.mark.parametrize(
    "why",
    [
        "No conversation found with session ID: 00000000",
        "Error: --resume requires a valid session ID or session title",
    ],
)
def test_a_session_that_it_does_not_know_is_lost(why: str) -> None:
    with pytest.raises(SessionLostError):
        reports(result(subtype="error_during_execution", is_error=True, errors=[why]))


def test_words_of_its_model_lose_no_session() -> None:
    told = result(is_error=True, result="No conversation found with session ID: 1")
    with pytest.raises(ProgramError) as raised:
        reports(told)
    assert not isinstance(raised.value, SessionLostError)


def test_the_superuser_is_told_what_it_needs() -> None:
    said = "claude-code CLI failed with exit code 1: --dangerously-skip-permissions cannot be used"
    with pytest.raises(ProgramError, match="superuser") as raised:
        ClaudeReader().ended(ProgramError(f"{said} with root/sudo privileges"))
    assert "IS_SANDBOX" in (raised.value.hint or "")


def test_without_a_result_it_failed() -> None:
    with pytest.raises(ProgramError, match="exit code 3"):
        ClaudeReader().ended(ProgramError("exit code 3"))
    with pytest.raises(ProgramError, match="without a result"):
        ClaudeReader().ended(None)


# ---------------------------------------------------------------- whatever it prints

_KEYS: Final = st.sampled_from(
    [
        "type",
        "subtype",
        "message",
        "content",
        "event",
        "delta",
        "usage",
        "id",
        "name",
        "input",
        "text",
        "thinking",
        "session_id",
        "model",
        "parent_tool_use_id",
        "tool_use_id",
        "is_error",
        "result",
        "errors",
        "modelUsage",
        "total_cost_usd",
        "source",
        "data",
        "media_type",
        "input_tokens",
        "output_tokens",
        "output_tokens_details",
        "error",
    ]
)
_WORDS: Final = st.sampled_from(
    [
        "system",
        "init",
        "stream_event",
        "assistant",
        "user",
        "result",
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_delta",
        "tool_use",
        "tool_result",
        "image",
        "thinking",
        "error_max_turns",
        "success",
    ]
)
_LEAVES: Final = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS
)
_VALUES: Final = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=25,
)
_RECORDS: Final = st.dictionaries(_KEYS, _VALUES, max_size=8)


@given(st.lists(_RECORDS, max_size=12))
def test_whatever_it_prints_is_understood_or_said_to_have_failed(records: list[Json]) -> None:
    reader = ClaudeReader()
    try:
        found = read(reader, records)
        found += reader.ended(None)
    except ProgramError:
        return
    assert all(isinstance(one, Report) for one in found)


_PIECES: Final = st.sampled_from(
    [
        starts("m1"),
        starts("m2"),
        *ends(),
        says(text("a"), id_="m1"),
        says(call("t1"), id_="m1"),
        says(call("t2"), id_="m2"),
        says(call("t3"), id_="m3", parent="t1"),
        gives("t1"),
        gives("t2"),
        gives("t3", parent="t1"),
    ]
)


@given(st.lists(_PIECES, max_size=25))
def test_in_whatever_order_records_come_no_call_of_a_subagents_is_told(
    records: list[Json],
) -> None:
    for report in reports(*records):
        if isinstance(report, Turn):
            assert len(ids(report)) == len(set(ids(report)))
            assert "t3" not in ids(report)
        elif isinstance(report, Returned):
            assert report.tool_call_id != "t3"
