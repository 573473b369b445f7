"""What tool servers tell and ask, as JSON, calm lines, the log, a transcript and live text."""

from __future__ import annotations

import pytest

from perstack.domain.events import Body, Delta, Event, SuspendRun
from perstack.domain.ids import ConsensusId, ExpertKey, ToolCallId
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillLog,
    SkillProgress,
)
from perstack.ports.history import FeedBatch
from perstack.projection.live_text import OUTPUT_CHARACTERS
from perstack.projection.log_text import EventLines
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.plain import PlainLines
from perstack.projection.state_fold import fold_all
from perstack.projection.views import RunView
from perstack.projection.workspace import WorkspaceFold
from tests.unit.projection.builder import JOB, Run, call, usage

CALL = call("t1", "search", query="x")
GATE = ConsensusId("gate1")
ASKED = RequestInput(
    kind="elicitation",
    consensus_id=GATE,
    skill_name="exa",
    message="Which region?",
    answer_schema={
        "type": "object",
        "properties": {"region": {"type": "string", "enum": ["eu", "us"]}},
        "required": ["region"],
    },
    expires_at=5,
)
SAMPLING = RequestInput(
    kind="sampling", consensus_id=GATE, skill_name="exa", message="at most 100 tokens"
)
ACCEPTED = ResolveInput(consensus_id=GATE, outcome="accepted", decided_by="ana")
SAMPLED = SampleModel(skill_name="exa", usage=usage(10, 5), cost_usd=0.01)
LOG = SkillLog(skill_name="exa", level="warning", message="slow\x1b[2J")
PROGRESS = SkillProgress(
    skill_name="exa", tool_call_id=ToolCallId("t1"), progress=3, total=10, message="reading"
)


def calling(*bodies: Body) -> Run:
    """A run with one call at work, and what its server told and asked meanwhile."""
    run = Run("r", "x")
    run.start("Go")
    run.tools(CALL)
    for body in bodies:
        run.add(body)
    return run


def shown(run: Run) -> RunView:
    fold = WorkspaceFold()
    fold.apply(FeedBatch(events=tuple(run.events), caught_up=True))
    [job] = fold.view().jobs
    return job.runs[0]


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (LOG, {"skillName": "exa", "level": "warning", "message": "slow\x1b[2J"}),
        (
            PROGRESS,
            {
                "skillName": "exa",
                "toolCallId": "t1",
                "progress": 3,
                "total": 10,
                "message": "reading",
            },
        ),
        (
            ASKED,
            {
                "kind": "elicitation",
                "consensusId": "gate1",
                "skillName": "exa",
                "message": "Which region?",
                "answerSchema": ASKED.answer_schema,
                "expiresAt": 5,
            },
        ),
        (ACCEPTED, {"consensusId": "gate1", "outcome": "accepted", "decidedBy": "ana"}),
        (SAMPLED, {"skillName": "exa", "costUsd": 0.01}),
    ],
)
def test_json_holds_each_event_as_it_is(body: Body, members: dict[str, object]) -> None:
    made = PerstackJson(full=False)
    record = [made.event(event) for event in calling(body).events][-1]
    assert record["type"] == body.type
    assert {key: record.get(key) for key in members} == members
    assert ("expertKey" in record) == (body not in (LOG, PROGRESS))


def test_what_a_server_sampled_counts_in_its_steps_usage() -> None:
    run = calling(SAMPLED)
    run.returns(CALL, "found")
    run.close_batch()
    run.next_step()
    made = PerstackJson(full=False)
    [step] = [made.event(event).get("step") for event in run.events][-1:]
    assert isinstance(step, dict)
    assert isinstance(step["usage"], dict)
    assert (step["usage"]["inputTokens"], step["usage"]["outputTokens"]) == (10, 5)
    assert fold_all(run.events).usage == SAMPLED.usage
    assert fold_all(run.events).cost.usd == 0.01


def test_live_output_is_streamed_with_its_calls_id() -> None:
    delta = Delta(
        job_id=JOB,
        run_id=calling().id,
        expert_key=ExpertKey("x"),
        step_number=1,
        stream="tool",
        kind="delta",
        text="line\n",
        tool_call_id=ToolCallId("t1"),
    )
    record = PerstackJson(full=False).delta(delta)
    assert (record["type"], record["delta"], record["toolCallId"]) == (
        "streamToolOutput",
        "line\n",
        "t1",
    )


def plain(*bodies: Body) -> list[str]:
    lines = PlainLines()
    told = [line for event in calling(*bodies).events for line in lines.event(event)]
    return told[1:]


def test_plain_lines_tell_each_once_and_how_to_answer() -> None:
    assert plain(LOG, PROGRESS, ASKED, ACCEPTED, SAMPLED) == [
        "[x] step 1 · exa (warning): slow‹U+001B›[2J",
        "[x] step 1 · search … 3 of 10: reading",
        "[x] step 1 · exa asks: Which region?",
        "    region: eu | us",
        "    perstack consensus answer gate1 ANSWER",
        "    perstack consensus reject gate1",
        "[x] step 1 · accepted by ana",
        "[x] step 1 · exa asked the model: 15 tokens",
    ]


def test_plain_lines_tell_how_to_agree_to_a_request_to_the_model() -> None:
    closed = ResolveInput(consensus_id=GATE, outcome="expired")
    assert plain(SAMPLING, closed) == [
        "[x] step 1 · exa wants to ask the model, at most 100 tokens",
        "    perstack consensus approve gate1",
        "    perstack consensus reject gate1",
        "[x] step 1 · closed unanswered",
    ]


def test_the_log_has_a_line_for_each() -> None:
    lines = EventLines()
    told = [lines.event(event)[1:] for event in calling(LOG, PROGRESS, ASKED, ACCEPTED).events]
    assert told[-4:] == [
        ["    exa (warning): slow‹U+001B›[2J"],
        ["    3 of 10: reading"],
        ["    exa asks: Which region?", "    Consensus checkpoint: gate1"],
        ["    accepted by ana"],
    ]


def test_a_running_calls_entry_shows_its_latest_progress_until_the_result_takes_its_place() -> None:
    run = calling(PROGRESS, PROGRESS.model_copy(update={"progress": 9, "message": None}))
    [entry] = [one for one in shown(run).entries if one.kind == "tool"]
    assert (entry.text, entry.status) == ("9 of 10", "running")
    run.returns(CALL, "found it")
    run.add(PROGRESS)
    [entry] = [one for one in shown(run).entries if one.kind == "tool"]
    assert (entry.text, entry.status) == ("found it", "ok")


def test_a_question_is_an_entry_that_says_what_became_of_it() -> None:
    waiting = shown(calling(ASKED)).entries[-1]
    assert (waiting.kind, waiting.title, waiting.status) == (
        "question",
        "exa asks: Which region?",
        "waiting",
    )
    closed = shown(calling(ASKED, ACCEPTED)).entries[-1]
    assert (closed.text, closed.status) == ("region: eu | us\n› accepted by ana", "ok")


def test_a_run_that_waits_for_a_person_says_for_what() -> None:
    asks, gated = shown(calling(ASKED)), shown(calling(SAMPLING))
    assert (asks.state, asks.doing, asks.consensus_id) == (
        "asks",
        "exa asks: Which region?",
        GATE,
    )
    assert (gated.state, gated.doing) == (
        "gate",
        "gate: exa wants to ask the model, at most 100 tokens",
    )
    assert shown(calling(ASKED, ACCEPTED)).state == "run"


def test_a_stopped_run_waits_for_nobody() -> None:
    run = calling(ASKED)
    run.add(SuspendRun(checkpoint_id=run.point("p"), reason="signal"))
    assert shown(run).state == "stop"
    assert fold_all(run.events).inputs == {}


def test_a_run_that_goes_on_after_a_crash_no_longer_asks() -> None:
    run = calling(ASKED)
    assert fold_all(run.events).inputs
    run.start("Go on")
    assert fold_all(run.events).inputs == {}


# ---------------------------------------------------------------- live output


def prints(text: str, call_id: str = "t1") -> Delta:
    return Delta(
        job_id=JOB,
        run_id=calling().id,
        expert_key=ExpertKey("x"),
        step_number=1,
        stream="tool",
        kind="delta",
        text=text,
        tool_call_id=ToolCallId(call_id),
    )


def heard(events: list[Event], *deltas: Delta) -> WorkspaceFold:
    fold = WorkspaceFold()
    fold.apply(FeedBatch(events=tuple(events), caught_up=True))
    fold.apply(FeedBatch(deltas=deltas))
    return fold


def test_what_a_call_prints_is_kept_apart_from_what_the_model_says_and_bounded() -> None:
    run = calling()
    fold = heard(run.events, prints("a" * 10), prints("b" * OUTPUT_CHARACTERS, "t2"), prints("!"))
    live = fold.live(run.id)
    assert (live.text, live.reasoning) == ("", "")
    assert live.output[ToolCallId("t1")] == "a" * 10 + "!"
    assert len(live.output[ToolCallId("t2")]) == OUTPUT_CHARACTERS
    many = [prints("x", f"call-{number}") for number in range(500)]
    assert len(heard(run.events, *many).live(run.id).output) <= 32


def test_what_a_call_printed_goes_when_its_result_comes() -> None:
    run = calling()
    fold = heard(run.events, prints("working"))
    assert fold.live(run.id).output
    fold.apply(FeedBatch(events=(run.returns(CALL, "found"),)))
    fold.apply(FeedBatch(deltas=(prints("too late"),)))
    assert fold.live(run.id).output == {}
