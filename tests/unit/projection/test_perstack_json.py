from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.domain.events import (
    CallInteractiveTool,
    Delta,
    Event,
    ResumeToolCalls,
    Retry,
    RunError,
    StopRunByError,
    StopRunByInteractiveTool,
    SuspendRun,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.jobs import ForkPoint
from perstack.projection.perstack_json import PerstackJson, to_line
from tests.unit.projection.builder import JOB, Run, call, chain, in_order, parallel, usage

Record = dict[str, JsonValue]
OURS = {"seq", "providerName", "costUsd", "costPartial"}


def perstack_keys() -> dict[str, tuple[set[str], set[str]]]:
    """The keys that Perstack's own output has, by event type, part or event type's member."""
    text = (Path(__file__).parent / "perstack_keys.txt").read_text()
    found: dict[str, tuple[set[str], set[str]]] = {}
    for line in text.splitlines()[1:]:
        name, always, sometimes = line.split("|")
        found[name.strip()] = (set(always.split()), set(sometimes.split()))
    return found


def nested(value: JsonValue) -> Iterator[Record]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nested(item)
    elif isinstance(value, list):
        for item in value:
            yield from nested(item)


def record_of(value: JsonValue) -> Record:
    assert isinstance(value, dict)
    return value


def records(events: Sequence[Event], *, full: bool) -> list[Record]:
    made = PerstackJson(full=full)
    return [made.event(event) for event in events]


@pytest.mark.parametrize("history", [chain, parallel])
def test_events_have_the_keys_that_perstack_gives_them(history: Callable[[], list[Event]]) -> None:
    known = perstack_keys()
    checked: set[str] = set()
    events = history()
    for record in records(events, full=True):
        name = str(record["type"])
        for member in (name, *(f"{name}.{key}" for key in record)):
            part = record if member == name else record[member.removeprefix(f"{name}.")]
            if member in known and isinstance(part, dict):
                always, sometimes = known[member]
                keys = set(part) - OURS
                assert always <= keys, member
                assert keys <= always | sometimes | {"delegatedBy"}, member
                checked.add(member)
        for part in nested(record):
            kind = part.get("type")
            if part is not record and isinstance(kind, str) and kind in known:
                assert known[kind][0] <= set(part), kind
                checked.add(kind)
    assert {"startRun.initialCheckpoint", "stopRunByDelegate.step", "completeRun"} <= checked
    assert {"toolCallPart", "userMessage", "textPart"} <= checked


def test_stopped_parent_shows_whom_it_waits_for_and_child_by_whom_it_was_called() -> None:
    by_type = {(str(r["type"]), r.get("expertKey")): r for r in records(chain(), full=False)}
    stopped = record_of(by_type["stopRunByDelegate", "chain"]["checkpoint"])
    assert stopped["status"] == "stoppedByDelegate"
    assert stopped["delegateTo"] == [
        {
            "expert": {"key": "worker-b", "name": "worker-b", "version": "1.0.0"},
            "toolCallId": "toolu_1",
            "toolName": "worker-b",
            "query": "Say hello",
        }
    ]
    child = record_of(by_type["startRun", "worker-b"]["initialCheckpoint"])
    assert record_of(child["delegatedBy"])["runId"] == "r-chain"
    assert record_of(child["delegatedBy"])["checkpointId"] == stopped["id"]


def test_resumed_parent_starts_with_the_results_it_waited_for() -> None:
    starts = [r for r in records(parallel(), full=False) if r["type"] == "startRun"]
    again = record_of(starts[-1]["initialCheckpoint"])
    assert again["status"] == "stoppedByDelegate"
    partial = again["partialToolResults"]
    assert isinstance(partial, list)
    assert [record_of(result)["toolName"] for result in partial] == ["worker-a", "worker-b"]
    assert "pendingToolCalls" not in again


def test_completed_run_says_its_text_and_what_the_last_step_added() -> None:
    done = [r for r in records(parallel(), full=False) if r["type"] == "completeRun"]
    assert [r["text"] for r in done] == ["Hello!", "Two lines.", "Both workers finished."]
    step = record_of(done[-1]["step"])
    new = step["newMessages"]
    assert isinstance(new, list)
    kinds = [record_of(message)["type"] for message in new]
    assert kinds == ["expertMessage", "toolMessage", "expertMessage"]
    assert record_of(step["usage"])["totalTokens"] == 4316 + 3 + 894 + 3
    assert record_of(done[-1]["usage"])["totalTokens"] == 894 + 3


def test_messages_are_left_out_of_checkpoints_unless_full() -> None:
    for record in records(parallel(), full=False):
        for key in ("checkpoint", "nextCheckpoint", "initialCheckpoint"):
            if key in record:
                assert "messages" not in record_of(record[key])
        assert record["type"] != "startGeneration" or "messages" not in record


def test_full_checkpoint_holds_the_whole_history() -> None:
    done = [r for r in records(parallel(), full=True) if r["type"] == "completeRun"]
    messages = record_of(done[-1]["checkpoint"])["messages"]
    assert isinstance(messages, list)
    kinds = [str(record_of(message)["type"]).removesuffix("Message") for message in messages]
    assert kinds == ["instruction", "user", "expert", "tool", "expert", "tool", "expert"]


def test_runtime_events_name_neither_expert_nor_step() -> None:
    for record in records(chain(), full=False):
        runtime = record["type"] in {"initializeRuntime", "skillConnected", "skillDisconnected"}
        assert ("expertKey" in record) is not runtime
        assert ("stepNumber" in record) is not runtime


def test_part_ids_are_unique_and_the_same_each_time() -> None:
    first, second = records(parallel(), full=True), records(parallel(), full=True)
    assert first == second
    done = [r for r in first if r["type"] == "completeRun"][-1]
    ids = [
        part["id"]
        for part in nested(record_of(done["checkpoint"])["messages"])
        if isinstance(part.get("type"), str)
    ]
    assert len(ids) == len(set(map(str, ids)))


def test_skipped_events_count_for_the_ones_that_follow() -> None:
    events = parallel()
    made = PerstackJson(full=True)
    for event in events[:-2]:
        made.skip(event)
    assert made.event(events[-2]) == records(events, full=True)[-2]


def test_question_names_the_call_and_what_is_still_to_come() -> None:
    run = Run("r", "asker")
    run.start("Go")
    look, ask = call("t1", "readTextFile", path="a"), call("t2", "askUser", question="Why?")
    run.tools(look, ask, kinds=["mcp", "interactive"], spent=usage(5, 2))
    run.returns(look, "text")
    run.add(CallInteractiveTool(tool_call_id=ask.tool_call_id))
    run.add(StopRunByInteractiveTool(checkpoint_id=run.point("s"), pending=(ask.tool_call_id,)))
    run.returns(ask, "Because")
    run.start(None, status="stoppedByInteractiveTool")
    run.add(ResumeToolCalls(pending=(), partial=(look.tool_call_id, ask.tool_call_id)))
    asked, stopped, _, started, resumed = records(run.events, full=False)[-5:]
    tool = record_of(asked["toolCall"])
    assert (tool["id"], tool["args"], tool["skillName"]) == ("t2", {"question": "Why?"}, "ask")
    assert record_of(asked["newMessage"])["type"] == "expertMessage"
    point = record_of(stopped["checkpoint"])
    assert len(list_of(point["pendingToolCalls"])) == 1
    assert len(list_of(point["partialToolResults"])) == 1
    assert record_of(started["initialCheckpoint"])["status"] == "stoppedByInteractiveTool"
    assert len(list_of(resumed["partialToolResults"])) == 2


def list_of(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list)
    return value


def test_error_and_retry_carry_why_and_ours_stay_as_they_are() -> None:
    run = Run("r", "x")
    run.start("Go")
    run.add(Retry(reason="Error: 529", attempt=1, delay_ms=1000, usage=usage(1, 0)))
    run.add(SuspendRun(checkpoint_id=run.point("s"), reason="signal"))
    error = RunError(name="ProviderError", message="overloaded", status_code=529)
    run.add(StopRunByError(checkpoint_id=run.point("e"), error=error))
    _, retry, suspended, failed = records(run.events, full=False)
    assert (retry["reason"], retry["newMessages"]) == ("Error: 529", [])
    assert (suspended["type"], suspended["reason"], suspended["seq"]) == ("suspendRun", "signal", 2)
    assert record_of(failed["error"])["statusCode"] == 529
    assert record_of(record_of(failed["checkpoint"])["error"])["name"] == "ProviderError"


def test_fork_begins_with_its_parents_messages() -> None:
    run = Run("r", "x")
    run.start("Go")
    look = call("t1", "readTextFile", path="a")
    run.tools(look)
    run.returns(look, "text")
    run.close_batch()
    made = run.next_step()
    run.complete("never mind")
    fork = Run("f", "x", run.clock, step=2)
    fork.start("Other", status="proceeding", parent=ForkPoint(run_id=run.id, checkpoint_id=made))
    fork.complete("Done")
    last = records(in_order(run, fork), full=True)[-1]
    messages = list_of(record_of(last["checkpoint"])["messages"])
    kinds = [str(record_of(message)["type"]).removesuffix("Message") for message in messages]
    assert kinds == ["instruction", "user", "expert", "tool", "user", "expert"]


def delta(stream: str, kind: str, text: str = "") -> Delta:
    return Delta.model_validate(
        {
            "jobId": JOB,
            "runId": "r",
            "expertKey": ExpertKey("x"),
            "stepNumber": 1,
            "stream": stream,
            "kind": kind,
            "text": text,
        }
    )


@pytest.mark.parametrize(
    ("stream", "names"),
    [
        ("reasoning", ["startStreamingReasoning", "streamReasoning", "completeStreamingReasoning"]),
        ("result", ["startStreamingRunResult", "streamRunResult", "completeStreamingRunResult"]),
        ("text", ["startStreamingText", "streamText", "completeStreamingText"]),
    ],
)
def test_streaming_text_is_named_as_perstack_names_it(stream: str, names: list[str]) -> None:
    made = PerstackJson(full=False, now_ms=lambda: 7)
    said = [delta(stream, "start"), delta(stream, "delta", "a"), delta(stream, "end", "ab")]
    found = [made.delta(one) for one in said]
    assert [record["type"] for record in found] == names
    assert (found[1]["delta"], found[2]["text"], found[0]["timestamp"]) == ("a", "ab", 7)
    assert len({str(record["id"]) for record in found}) == 3
    known = perstack_keys()
    for record in found:
        if str(record["type"]) in known:
            assert set(record) == known[str(record["type"])][0]


def test_lines_are_json_without_characters_that_a_terminal_acts_on() -> None:
    nasty = "\x1b[31m\x9b\x7f\x00\u202e\u200b \ud800 é 漢 \u2028"
    line = to_line({"text": nasty, "number": float("nan"), "deep": [{"n": float("inf")}]})
    assert json.loads(line) == {"text": nasty, "number": None, "deep": [{"n": None}]}
    assert "é 漢" in line
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)
    assert not set(nasty) & {"\u202e"} & set(line)
    line.encode("utf-8")
