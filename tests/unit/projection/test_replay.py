"""Looking at some records of a history says of each what looking at all of them would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.events import (
    CallInteractiveTool,
    CompleteRun,
    Event,
    Retry,
    StopRunByInteractiveTool,
    SuspendRun,
)
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, MessageId, RunId, ToolCallId
from perstack.domain.jobs import ForkPoint
from perstack.domain.messages import ExpertMessage, TextPart
from perstack.domain.server_events import SampleModel
from perstack.domain.usage import NO_USAGE
from perstack.projection.log_filter import LogFilter, parse_condition, parse_steps
from perstack.projection.log_scan import LogRequest, LogScan
from perstack.projection.log_text import EventLines
from perstack.projection.perstack_json import PerstackJson
from tests.unit.projection.builder import Clock, Run, call, chain, in_order, parallel, usage


@dataclass(frozen=True)
class Recorded:
    """A record that is in memory; `damaged` ones cannot be read."""

    kept: Event
    damaged: bool = False

    @property
    def job_id(self) -> JobId:
        return self.kept.job_id

    @property
    def run_id(self) -> RunId:
        return self.kept.run_id

    @property
    def expert_key(self) -> ExpertKey:
        return self.kept.expert_key

    @property
    def seq(self) -> int:
        return self.kept.seq

    @property
    def timestamp(self) -> int:
        return self.kept.timestamp

    @property
    def step_number(self) -> int:
        return self.kept.step_number

    @property
    def type(self) -> str:
        return self.kept.body.type

    def event(self) -> Event:
        assert not self.damaged
        return self.kept

    def peek(self) -> Mapping[str, JsonValue]:
        return self.kept.body.model_dump(mode="json", exclude_none=True)

    def mentions(self, text: str) -> bool:
        return text in self.kept.body.model_dump_json()


def steps() -> list[Event]:
    """One run of several steps: tools, a retry, a sampled answer, text that is repeated later."""
    run = Run("r-steps", "worker")
    run.init(query="Go")
    run.start("Go")
    for number in range(1, 5):
        one, two = call(f"t{number}a", "exec", command=f"ls {number}"), call(f"t{number}b", "think")
        run.tools(one, two, text=f"Step {number}." if number != 3 else "", spent=usage(100, number))
        run.returns(two, "ok")
        run.returns(one, f"files {number}", is_error=number == 2)
        run.close_batch()
        run.next_step()
        if number == 2:
            run.add(Retry(reason="rate limit", attempt=1, delay_ms=0, usage=usage(7, 0)))
        if number == 3:
            run.add(SampleModel(skill_name="s", usage=usage(11, 1)))
    done = call("t-done", "attemptCompletion")
    run.tools(done, spent=usage(200, 1))
    run.returns(done, "{}")
    run.complete(None)
    run.closed()
    return run.events


def forks() -> list[Event]:
    """A run that stops with a question, two runs forked from there and from a later point."""
    clock = Clock()
    first = Run("r-first", "worker", clock)
    first.init(query="Go")
    first.start("Go")
    tool = call("t1", "exec", command="ls")
    first.tools(tool, text="Looking.", spent=usage(10, 1))
    first.returns(tool, "a b")
    first.close_batch()
    first.next_step()
    ask = call("t2", "askUser", question="Which?")
    first.tools(ask, kinds=["interactive"], spent=usage(20, 2))
    first.add(CallInteractiveTool(tool_call_id=ToolCallId("t2")))
    made = first.point("ask")
    first.add(StopRunByInteractiveTool(checkpoint_id=made, pending=(ToolCallId("t2"),)))
    second = Run("r-second", "worker", clock, step=3)
    second.init()
    second.start(
        None,
        status="stoppedByInteractiveTool",
        parent=ForkPoint(run_id=first.id, checkpoint_id=made),
    )
    second.routes = first.routes
    second.returns(ask, "a")
    second.close_batch(resumed=True)
    end = second.next_step()
    second.add(SuspendRun(checkpoint_id=end, reason="user"))
    third = Run("r-third", "worker", clock, step=4)
    third.init()
    third.start("More", parent=ForkPoint(run_id=second.id, checkpoint_id=end), status="proceeding")
    message = ExpertMessage(id=MessageId("m"), contents=(TextPart(text="Done."),))
    third.add(CompleteRun(checkpoint_id=CheckpointId("c-end"), new_message=message, usage=NO_USAGE))
    return in_order(first, second, third)


HISTORIES: list[Callable[[], list[Event]]] = [chain, parallel, steps, forks]
POINTS = frozenset(
    event.body.parent.checkpoint_id
    for event in forks()
    if event.body.type == "startRun" and event.body.parent is not None
)


def every_line(events: Sequence[Event], *, as_json: bool) -> dict[str, list[str]]:
    """What each event looks like when all of them are shown, by its id."""
    if as_json:
        records = PerstackJson(full=False)
        return {event.id: [records.event_line(event)] for event in events}
    lines = EventLines(points=POINTS)
    return {event.id: lines.event(event) for event in events}


def scanned(records: Sequence[Recorded], want: LogRequest) -> tuple[LogScan, list[str]]:
    lines: list[str] = []
    scan = LogScan(want, lines.append)
    for record in records:
        scan.take(record)
    return scan, lines


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("history", HISTORIES)
def test_each_event_alone_looks_as_among_all(
    history: Callable[[], list[Event]], as_json: bool
) -> None:
    events = history()
    wanted = every_line(events, as_json=as_json)
    for number, event in enumerate(events):
        want = LogRequest(LogFilter(), offset=number, take=1, as_json=as_json, points=POINTS)
        _, lines = scanned([Recorded(each) for each in events], want)
        assert lines == wanted[event.id], (number, event.body.type)


@given(
    history=st.sampled_from(HISTORIES),
    as_json=st.booleans(),
    offset=st.integers(0, 30),
    take=st.integers(0, 6),
    context=st.integers(0, 4),
    chosen=st.sampled_from(["", "callTools", "toolReturned", "completeRun", "callDelegate"]),
    step=st.sampled_from([None, "2", ">2", "<=3", "1-2"]),
)
def test_any_page_shows_what_its_events_are(
    history: Callable[[], list[Event]],
    as_json: bool,
    offset: int,
    take: int,
    context: int,
    chosen: str,
    step: str | None,
) -> None:
    events = history()
    only = LogFilter(frozenset({chosen} if chosen else ()), parse_steps(step) if step else None)
    want = LogRequest(
        only, offset=offset, take=take, context=context, as_json=as_json, points=POINTS
    )
    records = [Recorded(event) for event in events]
    scan, lines = scanned(records, want)
    passing = [number for number, record in enumerate(records) if only.passes(record)]
    page = passing[offset : offset + take if take else None]
    around = {number for at in page for number in range(at - context, at + context + 1)}
    wanted = every_line(events, as_json=as_json)
    shown = [
        line for at in sorted(around) if 0 <= at < len(events) for line in wanted[events[at].id]
    ]
    assert [line for line in lines if line != "--"] == shown
    assert (scan.matched, scan.shown, scan.summary.total) == (len(passing), len(page), len(passing))


def test_records_that_cannot_matter_are_never_read() -> None:
    events = steps()
    last = events[-1].step_number
    records = [
        Recorded(event, damaged=event.body.type == "toolReturned" and event.step_number < last)
        for event in events
    ]
    want = LogRequest(LogFilter(), offset=len(events) - 1, as_json=True)
    _, lines = scanned(records, want)
    assert lines == every_line(events, as_json=True)[events[-1].id]
    everything = [Recorded(event, damaged=True) for event in events]
    scan, _ = scanned(everything, LogRequest(LogFilter(), summary_only=True))
    assert (scan.summary.total, scan.summary.tool_calls) == (len(events), 9)


def test_gaps_between_groups_of_context_are_marked() -> None:
    records = [Recorded(event) for event in steps()]
    want = LogRequest(LogFilter(frozenset({"callTools"})), take=2, context=1)
    _, lines = scanned(records, want)
    assert lines.count("--") == 1
    assert lines[0].startswith("[Step 1] startGeneration")


@pytest.mark.parametrize("expression", [".stepNumber > 2", ".toolCalls[].toolName == exec"])
def test_a_condition_is_one_whatever_decides_it(expression: str) -> None:
    events = steps()
    condition = parse_condition(expression)
    whole = PerstackJson(full=False)
    passing = [event for event in events if condition(whole.event(event))]
    want = LogRequest(LogFilter(), condition=condition, take=0, as_json=True)
    scan, lines = scanned([Recorded(event) for event in events], want)
    wanted = every_line(events, as_json=True)
    assert lines == [line for event in passing for line in wanted[event.id]]
    assert scan.matched == len(passing) > 0
