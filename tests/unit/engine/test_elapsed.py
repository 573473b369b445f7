"""For how long runs worked, told by their events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.events import (
    Body,
    Event,
    InitializeRuntime,
    RequestApproval,
    ResolveApproval,
    ResumeToolCalls,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    ToolResult,
    ToolReturned,
)
from perstack.domain.expert import ExpertRef
from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId, ToolCallId
from perstack.domain.server_events import RequestInput, ResolveInput
from perstack.engine.elapsed import covered_ms, working_spans

INITIALIZED = InitializeRuntime(
    runtime_version="1",
    expert_name="lead",
    experts=(),
    model="m",
    provider_name="scripted",
    max_steps=1,
    max_retries=1,
    timeout=1,
)
STARTED = StartRun(
    checkpoint_id=CheckpointId("c"),
    status="init",
    expert=ExpertRef(key=ExpertKey("lead"), name="lead", version="1.0.0"),
    input_messages=(),
)
DELEGATED = StopRunByDelegate(checkpoint_id=CheckpointId("c"), delegate_to=())
RETURNED = ToolReturned(
    result=ToolResult(id=ToolCallId("t"), skill_name="s", tool_name="t", result=())
)
ASKED = RequestApproval(
    consensus_id=ConsensusId("g"), risk_level="high", reason="", subtasks={}, expires_at=None
)
DECIDED = ResolveApproval(
    consensus_id=ConsensusId("g"), outcome="approved", approved=(), rejected=()
)
WANTED = RequestInput(
    kind="elicitation",
    consensus_id=ConsensusId("q"),
    skill_name="s",
    message="which?",
    answer_schema={},
    expires_at=None,
)
RESUMED = ResumeToolCalls(pending=(), partial=())


def story(*told: tuple[int, Body]) -> list[Event]:
    return [
        Event(
            seq=seq,
            timestamp=at,
            job_id=JobId("j"),
            run_id=RunId("r"),
            expert_key=ExpertKey("lead"),
            step_number=1,
            body=body,
        )
        for seq, (at, body) in enumerate(told)
    ]


def test_a_run_works_from_its_beginning_to_its_last_event() -> None:
    events = story((10, INITIALIZED), (11, STARTED), (12, StartGeneration()), (90, RETURNED))
    assert list(working_spans(events, since=0)) == [(10, 90)]


def test_waiting_for_delegates_is_no_work_though_their_results_come_in() -> None:
    events = story(
        (10, INITIALIZED), (20, DELEGATED), (50, RETURNED), (80, STARTED), (100, StartGeneration())
    )
    assert list(working_spans(events, since=0)) == [(10, 20), (80, 100)]


def test_waiting_for_a_decision_is_no_work_also_after_the_run_was_taken_up_again() -> None:
    events = story(
        *((10, INITIALIZED), (30, ASKED)),
        *((500, INITIALIZED), (505, STARTED), (510, RESUMED), (900, DECIDED), (950, RETURNED)),
    )
    assert list(working_spans(events, since=0)) == [(10, 30), (500, 510), (900, 950)]


def test_what_an_earlier_process_did_is_left_out() -> None:
    events = story((10, INITIALIZED), (30, RETURNED), (500, INITIALIZED), (550, RETURNED))
    assert list(working_spans(events, since=400)) == [(500, 550)]


SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda pair: (pair[0], sum(pair)))
)


@given(SPANS)
def test_time_that_several_runs_share_is_counted_once(spans: list[tuple[int, int]]) -> None:
    covered = {ms for start, end in spans for ms in range(start, end)}
    assert covered_ms(spans) == len(covered)


def test_what_a_killed_process_was_asked_keeps_nobody_waiting() -> None:
    events = story(
        (0, INITIALIZED),
        (10, WANTED),
        (100, INITIALIZED),
        (101, STARTED),
        (102, RESUMED),
        (300, RETURNED),
    )
    assert covered_ms(working_spans(events, since=0)) == 10 + 200


def test_an_answer_starts_the_time_only_when_no_other_question_is_open() -> None:
    other = WANTED.model_copy(update={"consensus_id": ConsensusId("q2")})
    answered = ResolveInput(consensus_id=WANTED.consensus_id, outcome="accepted", decided_by="ana")
    again = answered.model_copy(update={"consensus_id": other.consensus_id})
    events = story(
        (0, INITIALIZED), (10, WANTED), (20, other), (30, answered), (90, again), (95, RETURNED)
    )
    assert covered_ms(working_spans(events, since=0)) == 10 + 5
