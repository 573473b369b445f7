"""What Cursor's reader makes of the records that its documentation shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.messages import TextPart, ThinkingPart, ToolCallPart, text_of
from perstack.domain.runtimes import ProgramSettings
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Report, Returned, Turn
from perstack.runtimes.cursor import CursorAgent, CursorReader
from tests.unit.runtimes.talking import read_all, talk_with

Record = dict[str, JsonValue]
SESSION: Final = "c6b62c6f-7ead-4fd6-9922-e952131177ff"
INIT: Final[Record] = {"type": "system", "subtype": "init", "session_id": SESSION, "model": "Auto"}
RESULT: Final[Record] = {"type": "result", "subtype": "success", "is_error": False, "result": "R"}


def said(text: str, **more: JsonValue) -> Record:
    content: JsonValue = [{"type": "text", "text": text}]
    return {"type": "assistant", "message": {"role": "assistant", "content": content}, **more}


def piece(text: str) -> Record:
    return said(text, timestamp_ms=1)


def tool(subtype: str, id_: str, named: JsonValue) -> Record:
    return {"type": "tool_call", "subtype": subtype, "call_id": id_, "tool_call": named}


def words(told: list[Report]) -> list[str]:
    return [
        part.text
        for turn in told
        if isinstance(turn, Turn)
        for part in turn.parts
        if isinstance(part, TextPart)
    ]


def test_a_session_is_told_with_its_model() -> None:
    assert read_all(CursorReader(), [INIT, RESULT]) == [Began(SESSION, "Auto"), Finished("R")]


def test_whole_messages_are_turns_even_when_they_say_the_same() -> None:
    told = read_all(CursorReader(), [said("OK."), said("OK."), RESULT])
    assert words(told) == ["OK.", "OK."]


def test_what_came_in_pieces_is_told_once_however_often_it_is_repeated() -> None:
    started = tool("started", "1", {"readToolCall": {"args": {"path": "a"}}})
    told = read_all(
        CursorReader(),
        [
            *(piece("I "), piece("look."), said("I look.", timestamp_ms=1, model_call_id="m")),
            started,
            *(piece("Do"), piece("ne.")),
            said("I look.Done."),
            RESULT,
        ],
    )
    assert words(told) == ["I look.", "Done."]
    assert [one.text for one in told if isinstance(one, Spoken)] == ["I ", "look.", "Do", "ne."]


@pytest.mark.parametrize("end", [tool("started", "1", {"lsToolCall": {"args": {}}}), RESULT])
def test_pieces_that_are_never_repeated_are_told_all_the_same(end: Record) -> None:
    assert words(read_all(CursorReader(), [piece("Hel"), piece("lo"), end, RESULT])) == ["Hello"]


def test_thoughts_are_part_of_the_turn_that_follows() -> None:
    thoughts: list[Record] = [{"type": "thinking", "text": text} for text in ("H", "m.")]
    told = read_all(CursorReader(), [*thoughts, said("Yes."), RESULT])
    assert Turn((ThinkingPart(thinking="Hm."), TextPart(text="Yes."))) in told


def test_results_are_text_and_what_is_no_success_is_an_error() -> None:
    results: list[JsonValue] = [
        {"success": {"content": "of a"}},
        {"success": {"stdout": "a"}},
        {"error": {"message": "gone"}},
        {"success": "done"},
        "plain",
        None,
    ]
    records = [
        tool(subtype, str(at), {"readToolCall": {"args": {}, "result": result}})
        for at, result in enumerate(results)
        for subtype in ("started", "completed")
    ]
    told = [
        one for one in read_all(CursorReader(), [*records, RESULT]) if isinstance(one, Returned)
    ]
    found = [(text_of(one.outcome.parts), one.outcome.is_error) for one in told]
    assert found == [
        ("of a", False),
        ('{"stdout": "a"}', False),
        ('{"error": {"message": "gone"}}', True),
        ("done", False),
        ("plain", False),
        ("", False),
    ]


def test_a_function_has_its_name_and_arguments_inside() -> None:
    functions: list[JsonValue] = ['{"q": 1}', '{"q"', "", {"q": 2}, "[]"]
    records = [
        tool("started", str(at), {"function": {"name": "find", "arguments": given_}})
        for at, given_ in enumerate(functions)
    ]
    ended = [tool("completed", str(at), {"function": {"name": "find"}}) for at in range(5)]
    calls = [
        part
        for turn in read_all(CursorReader(), [*records, *ended, RESULT])
        if isinstance(turn, Turn)
        for part in turn.parts
        if isinstance(part, ToolCallPart)
    ]
    assert {call.tool_name for call in calls} == {"find"}
    wanted = [{"q": 1}, {"arguments": '{"q"'}, {}, {"q": 2}, {"arguments": "[]"}]
    assert [call.args for call in calls] == wanted


def test_an_error_is_told_in_its_words_and_an_end_without_a_result_is_one() -> None:
    with pytest.raises(ProgramError, match="cursor failed: usage limit"):
        list(CursorReader().read({"type": "result", "is_error": True, "result": "usage limit"}))
    with pytest.raises(ProgramError, match="without a result"):
        CursorReader().ended(None)
    with pytest.raises(ProgramError, match="exit code 1"):
        CursorReader().ended(ProgramError("exit code 1"))


def test_a_chat_is_lost_when_the_program_ends_before_it_names_it() -> None:
    with pytest.raises(SessionLostError):
        CursorReader(resumed=True).ended(ProgramError("exit code 1"))
    known = CursorReader(resumed=True)
    list(known.read(INIT))
    with pytest.raises(ProgramError) as caught:
        known.ended(ProgramError("exit code 1"))
    assert not isinstance(caught.value, SessionLostError)


def test_it_may_do_everything_unless_the_project_says_otherwise() -> None:
    usual = CursorAgent(ProgramSettings()).invocation(talk_with())
    asking = CursorAgent(ProgramSettings(permissions="ask")).invocation(talk_with())
    assert "--force" in usual.argv
    assert "--force" not in asking.argv


# ---------------------------------------------------------------- anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
TEXTS = st.text(max_size=5)
WILD = st.one_of(
    st.builds(said, TEXTS),
    st.builds(piece, TEXTS),
    st.builds(said, TEXTS, timestamp_ms=st.just(1), model_call_id=st.just("m")),
    st.builds(
        tool,
        st.sampled_from(["started", "completed"]),
        st.sampled_from(["a", "b", "c", ""]),
        st.dictionaries(st.sampled_from(["readToolCall", "function", "x"]), JSON, max_size=2),
    ),
    st.dictionaries(
        st.sampled_from(["type", "message", "tool_call", "text", "result", "session_id"]), JSON
    ),
    st.just(RESULT),
)


@given(st.lists(WILD, max_size=25))
def test_whatever_is_printed_no_result_comes_before_its_call_or_twice(
    wild: list[Mapping[str, JsonValue]],
) -> None:
    try:
        told = read_all(CursorReader(), wild)
    except ProgramError:
        return
    open_: set[str] = set()
    for report in told:
        if isinstance(report, Turn):
            open_ |= {p.tool_call_id for p in report.parts if isinstance(p, ToolCallPart)}
        elif isinstance(report, Returned):
            assert report.tool_call_id in open_
            open_.discard(report.tool_call_id)


@given(st.lists(st.lists(TEXTS.filter(str.strip), min_size=1, max_size=4), min_size=1, max_size=4))
def test_partial_output_is_never_doubled_nor_lost(answers: list[list[str]]) -> None:
    records: list[Record] = []
    for at, pieces in enumerate(answers):
        whole = "".join(pieces)
        records += [piece(text) for text in pieces]
        records.append(said(whole, timestamp_ms=1, model_call_id="m"))
        records.append(tool("started", str(at), {"lsToolCall": {"args": {}}}))
        records.append(tool("completed", str(at), {"lsToolCall": {"result": "x"}}))
    records.append(said("".join("".join(pieces) for pieces in answers)))
    told = read_all(CursorReader(), [*records, RESULT])
    assert words(told) == ["".join(pieces) for pieces in answers]


def test_no_model_and_no_session_is_an_option_of_its() -> None:
    argv = CursorAgent(ProgramSettings(permissions="ask")).invocation(
        talk_with(model="--force", session="--force")
    )
    assert "--force" not in argv.argv
    assert argv.argv[-2:] == ("--model=--force", "--resume=--force")
