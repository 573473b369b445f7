"""What codex's reader makes of records; those of the first test were printed by codex 0.169.0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.messages import TextPart, ThinkingPart, ToolCallPart, text_of
from perstack.domain.usage import NO_USAGE, Usage
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.programs import Began, Finished, Report, Returned, Turn
from perstack.runtimes.codex_reader import CodexReader
from tests.unit.runtimes.talking import read_all

Record = dict[str, JsonValue]
THREAD: Final = "01a2026b-b28c-7221-8a90-e27bee31eaac"
PRINTED: Final = f"""
{{"type":"thread.started","thread_id":"{THREAD}"}}
{{"type":"item.completed","item":{{"id":"item_0","type":"error","message":"Model metadata for `gpt-5` not found."}}}}
{{"type":"turn.started"}}
{{"type":"item.completed","item":{{"id":"item_1","type":"agent_message","text":"I look."}}}}
{{"type":"item.started","item":{{"id":"item_2","type":"file_change","changes":[{{"path":"/w/hello.txt","kind":"add"}}],"status":"in_progress"}}}}
{{"type":"item.completed","item":{{"id":"item_2","type":"file_change","changes":[{{"path":"/w/hello.txt","kind":"add"}}],"status":"completed"}}}}
{{"type":"item.started","item":{{"id":"item_3","type":"command_execution","command":"/bin/bash -lc 'echo par; exit 3'","aggregated_output":"","exit_code":null,"status":"in_progress"}}}}
{{"type":"item.completed","item":{{"id":"item_3","type":"command_execution","command":"/bin/bash -lc 'echo par; exit 3'","aggregated_output":"par\\n","exit_code":3,"status":"failed"}}}}
{{"type":"item.completed","item":{{"id":"item_7","type":"agent_message","text":"All done."}}}}
{{"type":"turn.completed","usage":{{"input_tokens":400,"cached_input_tokens":120,"cache_write_input_tokens":0,"output_tokens":80,"reasoning_output_tokens":20}}}}
"""  # noqa: E501  lines as they were printed


def records(printed: str = PRINTED) -> list[Record]:
    return [json.loads(line) for line in printed.splitlines() if line]


def item(kind: str, id_: str, of: str = "completed", **more: JsonValue) -> Record:
    return {"type": f"item.{of}", "item": {"id": id_, "type": kind, **more}}


def command(id_: str, of: str, **more: JsonValue) -> Record:
    return item("command_execution", id_, of, command=id_, **more)


def said(text: str) -> Record:
    return item("agent_message", "m", text=text)


def ended(**usage: JsonValue) -> Record:
    return {"type": "turn.completed", "usage": usage}


def turns(reports: list[Report]) -> list[Turn]:
    return [report for report in reports if isinstance(report, Turn)]


def called(reports: list[Report]) -> list[list[str]]:
    """The commands that were called, turn by turn."""
    found = [
        [str(part.args["command"]) for part in turn.parts if isinstance(part, ToolCallPart)]
        for turn in turns(reports)
    ]
    return [names for names in found if names]


def returned(reports: list[Report]) -> list[Returned]:
    return [report for report in reports if isinstance(report, Returned)]


def test_what_codex_printed_becomes_turns_and_results() -> None:
    told = read_all(CodexReader("gpt-5"), records())
    assert told[0] == Began(THREAD, "gpt-5")
    parts = [part for turn in turns(told) for part in turn.parts]
    assert [type(part) for part in parts] == [TextPart, ToolCallPart, ToolCallPart, TextPart]
    changed, ran = returned(told)
    assert text_of_outcome(changed) == "add /w/hello.txt"
    assert (text_of_outcome(ran), ran.outcome.is_error) == ("par\n[exit code 3]", True)
    assert told[-1] == Finished(
        "All done.",
        Usage(
            input_tokens=400,
            output_tokens=80,
            reasoning_tokens=20,
            total_tokens=480,
            cached_input_tokens=120,
        ),
    )


def text_of_outcome(report: Returned) -> str:
    return text_of(report.outcome.parts)


def test_calls_of_two_talks_never_share_an_id() -> None:
    first, second = (read_all(CodexReader(), records()) for _ in range(2))
    assert not {one.tool_call_id for one in returned(first)} & {
        one.tool_call_id for one in returned(second)
    }


def test_calls_made_at_once_all_have_their_results() -> None:
    told = read_all(
        CodexReader(),
        [
            command("a", "started"),
            command("b", "started"),
            command("c", "started"),
            command("b", "completed", aggregated_output="B", exit_code=0),
            command("a", "completed", aggregated_output="A", exit_code=0),
            command("c", "completed", aggregated_output="C", exit_code=0),
            said("Done."),
            ended(),
        ],
    )
    assert called(told) == [["a"], ["b", "c"]]
    assert [text_of_outcome(one) for one in returned(told)] == ["A", "B", "C"]


def test_a_command_in_the_background_holds_nothing_up() -> None:
    told = read_all(
        CodexReader(),
        [
            command("server", "started"),
            said("It is up."),
            command("ask", "started"),
            command("ask", "completed", aggregated_output="hi", exit_code=0),
            said("Done."),
            ended(),
        ],
    )
    assert called(told) == [["server"], ["ask"]]
    assert [text_of_outcome(one) for one in returned(told)] == ["hi"]


def test_messages_without_a_call_between_them_are_apart() -> None:
    told = read_all(CodexReader(), [said("One."), said("Two."), ended()])
    text = "".join(
        part.text for turn in turns(told) for part in turn.parts if isinstance(part, TextPart)
    )
    assert text == "One.\n\nTwo."
    assert isinstance(told[-1], Finished)
    assert told[-1].text == "Two."


def test_a_plan_is_a_call_each_time_that_it_changes() -> None:
    plan: list[JsonValue] = [{"text": "look", "completed": False}]
    told = read_all(
        CodexReader(),
        [
            item("todo_list", "p", "started", items=plan),
            item("todo_list", "p", "updated", items=plan),
            item("todo_list", "p", "completed", items=plan),
            said("Done."),
            ended(),
        ],
    )
    calls = [part for turn in turns(told) for part in turn.parts if isinstance(part, ToolCallPart)]
    assert [(call.tool_name, call.args) for call in calls] == [("todo_list", {"items": plan})] * 2
    assert len(returned(told)) == 2


def test_tools_of_servers_searches_and_kinds_yet_to_come_are_calls() -> None:
    result: JsonValue = {"content": [{"type": "text", "text": "42"}], "structured_content": None}
    told = read_all(
        CodexReader(),
        [
            item(
                "mcp_tool_call", "m", server="calc", tool="add", arguments={"a": 1}, result=result
            ),
            item("mcp_tool_call", "n", server="calc", tool="div", error={"message": "by zero"}),
            item("web_search", "w", query="weather"),
            item("dream", "d", about="sheep"),
            item("reasoning", "r", text="Hm."),
            said("Done."),
            ended(),
        ],
    )
    calls = [part for turn in turns(told) for part in turn.parts if isinstance(part, ToolCallPart)]
    assert [(call.tool_name, call.args) for call in calls] == [
        ("mcp__calc__add", {"a": 1}),
        ("mcp__calc__div", {}),
        ("web_search", {"query": "weather"}),
        ("dream", {"about": "sheep"}),
    ]
    added, divided, *_ = returned(told)
    assert text_of_outcome(added) == "42"
    assert (text_of_outcome(divided), divided.outcome.is_error) == ("by zero", True)
    assert Turn((ThinkingPart(thinking="Hm."),)) in told


def test_a_sandbox_that_cannot_be_made_is_told_with_what_to_do() -> None:
    out = "bwrap: Creating new namespace failed: nesting depth exceeded (ENOSPC)\n"
    failed = command("a", "completed", aggregated_output=out, exit_code=1, status="failed")
    fine = command("b", "completed", aggregated_output=out, exit_code=0, status="completed")
    unboxed, boxed = returned(read_all(CodexReader(), [failed, fine, said("Done."), ended()]))
    assert 'permissions = "all"' in text_of_outcome(unboxed)
    assert 'permissions = "all"' not in text_of_outcome(boxed)


# ---------------------------------------------------------------- usage


def test_what_earlier_talks_used_is_taken_off() -> None:
    before = Usage(input_tokens=300, output_tokens=60, total_tokens=360, cached_input_tokens=100)
    told = read_all(CodexReader(None, before), records())
    assert isinstance(told[-1], Finished)
    assert told[-1].usage == Usage(
        input_tokens=100,
        output_tokens=20,
        reasoning_tokens=20,
        total_tokens=120,
        cached_input_tokens=20,
    )


def test_nothing_is_counted_when_nobody_knows_what_was_used_before() -> None:
    told = read_all(CodexReader(None, None), records())
    assert isinstance(told[-1], Finished)
    assert told[-1].usage == NO_USAGE


# ---------------------------------------------------------------- failures


def test_a_failed_turn_is_an_error_in_its_words() -> None:
    reader = CodexReader()
    list(reader.read({"type": "error", "message": "Reconnecting... 1/5"}))
    with pytest.raises(ProgramError, match="quota exceeded") as caught:
        list(reader.read({"type": "turn.failed", "error": {"message": "quota exceeded"}}))
    assert caught.value.hint is None


def test_a_key_that_is_refused_says_how_to_sign_in() -> None:
    with pytest.raises(ProgramError) as caught:
        list(
            CodexReader().read(
                {"type": "turn.failed", "error": {"message": "unexpected status 401 Unauthorized"}}
            )
        )
    assert "codex login" in str(caught.value.hint)


def test_an_end_without_a_turn_tells_the_last_complaint_or_how_it_ended() -> None:
    reader = CodexReader()
    list(reader.read({"type": "error", "message": "stream disconnected"}))
    with pytest.raises(ProgramError, match="stream disconnected"):
        reader.ended(ProgramError("exit code 1"))
    with pytest.raises(ProgramError, match="exit code 1"):
        CodexReader().ended(ProgramError("exit code 1"))
    with pytest.raises(ProgramError, match="without a result"):
        CodexReader().ended(None)


def test_a_session_that_it_does_not_know_is_lost() -> None:
    words = "codex CLI failed with exit code 1: Error: no rollout found for thread id x"
    with pytest.raises(SessionLostError):
        CodexReader().ended(ProgramError(words))


# ---------------------------------------------------------------- anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
KINDS = st.sampled_from(
    [
        "agent_message",
        "reasoning",
        "command_execution",
        "file_change",
        "mcp_tool_call",
        "web_search",
        "todo_list",
        "error",
        "dream",
        "",
    ]
)
FIELDS = st.sampled_from(
    ["text", "items", "changes", "result", "error", "arguments", "exit_code", "status", "message"]
)


def an_item(kind: str, id_: JsonValue, more: Record) -> Record:
    return {"type": kind, "id": id_, **more}


def a_record(kind: str, one: JsonValue, more: Record) -> Record:
    return {"type": kind, "item": one, **more}


ITEM = st.builds(
    an_item,
    KINDS,
    st.sampled_from(["a", "b", "c", ""]) | JSON,
    st.dictionaries(FIELDS, JSON, max_size=4),
)
TYPES = st.sampled_from(
    [
        "thread.started",
        "turn.started",
        "turn.completed",
        "item.started",
        "item.updated",
        "item.completed",
        "error",
    ]
)
WILD = st.lists(
    st.builds(
        a_record,
        TYPES,
        ITEM | JSON,
        st.dictionaries(st.sampled_from(["usage", "thread_id", "error", "message"]), JSON),
    ),
    max_size=25,
)


@given(WILD)
def test_whatever_is_printed_no_result_comes_before_its_call_or_twice(
    wild: list[Mapping[str, JsonValue]],
) -> None:
    try:
        told = read_all(CodexReader(), wild)
    except ProgramError:
        return
    open_: set[str] = set()
    for report in told:
        if isinstance(report, Turn):
            open_ |= {p.tool_call_id for p in report.parts if isinstance(p, ToolCallPart)}
        elif isinstance(report, Returned):
            assert report.tool_call_id in open_
            open_.discard(report.tool_call_id)
    assert isinstance(told[-1], Finished)
    assert sum(isinstance(report, Finished) for report in told) == 1
