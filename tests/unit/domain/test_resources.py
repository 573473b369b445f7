"""What events count as, how limits are judged, and what becomes of an agent that uses much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.coordination import ResourceSettings, ResourceThresholds
from perstack.domain.events import Body, Retry, SampleModel, SkillStderr
from perstack.domain.exhaustion import deliver, judge, pause, terminate
from perstack.domain.ids import AgentId
from perstack.domain.metering import apply
from perstack.domain.resources import (
    COUNTERS,
    PHASES,
    THRESHOLD_KEYS,
    ResourceMetrics,
    begin,
    evaluate,
    resumed,
)
from perstack.domain.steering_events import PauseRun
from tests.fakes.consensus import NOW_MS
from tests.fakes.events import (
    called_tools,
    completed,
    delegated,
    generation,
    make_event,
    resumed_by,
    tokens,
    tool_returned,
)

A1 = AgentId("a1")
LIMITS = ResourceSettings(
    enabled=True,
    thresholds=ResourceThresholds(
        max_files_accessed=10,
        max_api_calls=10,
        max_subtasks_spawned=10,
        max_tokens_consumed=1_000,
        max_time_without_deliverable_ms=60_000,
    ),
)


def fresh(**values: object) -> ResourceMetrics:
    return begin(A1, "coder", at=NOW_MS).model_copy(update=values)


def fold(*bodies: Body, start: ResourceMetrics | None = None) -> ResourceMetrics:
    metrics = start or fresh()
    for seq, body in enumerate(bodies):
        metrics = apply(metrics, make_event(body, seq))
    return metrics


@pytest.mark.parametrize(
    ("tool", "counter"),
    [
        ("readTextFile", "files_read"),
        ("readImageFile", "files_read"),
        ("readPdfFile", "files_read"),
        ("writeTextFile", "files_written"),
        ("appendTextFile", "files_modified"),
        ("editTextFile", "files_modified"),
        ("moveFile", "files_modified"),
        ("deleteFile", "files_modified"),
        ("deleteDirectory", "files_modified"),
    ],
)
def test_a_base_tool_counts_as_what_it_does_to_a_file(tool: str, counter: str) -> None:
    used = fold(tool_returned(tool)).counters.model_dump(by_alias=False)
    assert {name for name, value in used.items() if value} == {counter}


@pytest.mark.parametrize(
    "tool", ["exec", "listDirectory", "getFileInfo", "createDirectory", "todo"]
)
def test_what_touches_no_file_content_counts_as_nothing(tool: str) -> None:
    assert fold(tool_returned(tool)).counters.files_accessed == 0


def test_a_failed_call_and_another_servers_tool_count_as_no_file() -> None:
    used = fold(
        tool_returned("readTextFile", is_error=True), tool_returned("readTextFile", skill="files")
    )
    assert used.files_accessed == 0


def test_generations_count_with_their_retries_and_samplings() -> None:
    used = fold(
        generation(),
        Retry(reason="busy", attempt=1, delay_ms=5, usage=tokens(7)),
        generation(),
        called_tools(20),
        SampleModel(skill_name="s", usage=tokens(3)),
        delegated(3),
        completed(10),
    )
    assert (used.api_calls_count, used.tokens_consumed, used.subtasks_spawned) == (3, 40, 3)


def test_an_event_that_comes_again_counts_once() -> None:
    event = make_event(generation(), 4)
    once = apply(fresh(), event)
    assert apply(once, event) == once


def test_events_of_a_new_run_count_from_its_first_on() -> None:
    first = apply(fresh(), make_event(generation(), 40, run="run1"))
    assert apply(first, make_event(generation(), 0, run="run2")).api_calls_count == 2


def test_a_completed_run_and_a_completed_delegation_restart_the_clock() -> None:
    for body in (completed(), tool_returned("child", skill="delegate/child")):
        done = apply(fresh(), make_event(body, at=NOW_MS + 9))
        assert done.last_deliverable_at == NOW_MS + 9
    failed = tool_returned("child", skill="delegate/child", is_error=True)
    assert apply(fresh(), make_event(failed)).last_deliverable_at is None


def test_waiting_for_a_person_does_not_count_as_time() -> None:
    working = apply(fresh(), make_event(generation(), 0, at=NOW_MS + 10_000))
    waiting = apply(working, make_event(PauseRun(by="ana"), 1, at=NOW_MS + 20_000))
    assert waiting.without_deliverable_ms(NOW_MS + 900_000) == 20_000
    noise = make_event(SkillStderr(skill_name="s", message="hm"), 2, at=NOW_MS + 950_000)
    assert apply(waiting, noise) == waiting
    on = apply(waiting, make_event(resumed_by(), 3, at=NOW_MS + 1_000_000))
    assert on.without_deliverable_ms(NOW_MS + 1_000_500) == 20_500


def test_ratios_are_shares_of_each_limit_in_order() -> None:
    used = fresh(
        files_read=1, files_written=2, files_modified=1, api_calls_count=5, tokens_consumed=100
    )
    found = evaluate(used, LIMITS, NOW_MS + 6_000)
    assert list(found.ratios) == list(THRESHOLD_KEYS)
    assert list(found.ratios.values()) == [0.4, 0.5, 0.0, 0.1, 0.1]
    assert (found.phase, found.triggered_by) == ("normal", None)


def test_agentstack_row_110_seven_tenths_of_a_limit_is_a_warning() -> None:
    judged = judge(fresh(api_calls_count=7), LIMITS, NOW_MS)
    assert judged.metrics.phase == "warning"
    assert judged.transition is not None
    assert judged.transition.triggered_by == "maxApiCalls"
    assert judged.transition.action == "warned"
    assert judge(fresh(api_calls_count=6), LIMITS, NOW_MS).transition is None


def test_agentstack_row_111_a_limit_that_is_used_up_pauses_and_names_the_key() -> None:
    judged = judge(fresh(subtasks_spawned=10), LIMITS, NOW_MS)
    assert judged.metrics.phase == "intervention"
    assert judged.metrics.pause_reason == "Resource threshold exceeded: maxSubtasksSpawned"
    assert judged.verdict.action == "pause"
    lenient = LIMITS.model_copy(update={"pause_on_intervention": False})
    let_be = judge(fresh(subtasks_spawned=10), lenient, NOW_MS)
    assert let_be.metrics.phase == "intervention"
    assert let_be.metrics.paused_at is None
    assert let_be.verdict.action == "go"


def test_agentstack_row_112_the_worst_limit_decides() -> None:
    judged = judge(fresh(files_read=8, tokens_consumed=1_200), LIMITS, NOW_MS)
    assert judged.metrics.phase == "intervention"
    assert judged.verdict.triggered_by == "maxTokensConsumed"


def test_a_resumed_agent_is_not_paused_again_at_once() -> None:
    held = judge(fresh(api_calls_count=12, files_read=3), LIMITS, NOW_MS).metrics
    on = resumed(held, NOW_MS + 500)
    assert on is not None
    assert (on.phase, on.paused_at, on.api_calls_count) == ("warning", None, 12)
    assert judge(on, LIMITS, NOW_MS + 501).verdict.phase == "normal"
    nine_more = on.model_copy(update={"api_calls_count": 21})
    assert judge(nine_more, LIMITS, NOW_MS + 501).metrics.phase == "warning"
    ten_more = on.model_copy(update={"api_calls_count": 22})
    assert judge(ten_more, LIMITS, NOW_MS + 501).verdict.action == "pause"


def test_a_pause_by_hand_gives_no_new_allowance() -> None:
    held = pause(fresh(api_calls_count=6), "a look", NOW_MS + 1_000)
    assert judge(held, LIMITS, NOW_MS + 999_000).verdict.action == "pause"
    on = resumed(held, NOW_MS + 999_000)
    assert on is not None
    assert on.without_deliverable_ms(NOW_MS + 999_500) == 1_500
    assert evaluate(on, LIMITS, NOW_MS + 999_500).ratios["maxApiCalls"] == 0.6


def test_the_first_reason_of_a_pause_stays() -> None:
    held = pause(fresh(), "first", NOW_MS)
    assert pause(held, "second", NOW_MS + 1) == held


def test_without_confirmation_the_allowance_is_raised_once() -> None:
    settings = LIMITS.model_copy(update={"require_confirmation_on_intervention": False})
    first = judge(fresh(api_calls_count=10), settings, NOW_MS)
    assert first.verdict.action == "go"
    assert first.transition is not None
    assert (first.transition.phase, first.transition.action) == ("intervention", "allowed")
    again = first.metrics.model_copy(update={"api_calls_count": 20})
    assert judge(again, settings, NOW_MS).verdict.action == "pause"


def test_with_automatic_termination_a_used_up_limit_ends_the_agent() -> None:
    settings = LIMITS.model_copy(update={"auto_terminate": True})
    ended = judge(fresh(api_calls_count=10), settings, NOW_MS)
    assert ended.verdict.action == "stop"
    assert ended.verdict.reason == "Resource threshold exceeded: maxApiCalls"


def test_a_terminated_agent_stays_terminated() -> None:
    ended = terminate(fresh(), evaluate(fresh(), LIMITS, NOW_MS), "manual")
    assert ended.transition is not None
    assert judge(ended.metrics, LIMITS, NOW_MS).verdict.action == "stop"
    again = terminate(ended.metrics, evaluate(fresh(), LIMITS, NOW_MS), "manual")
    assert again.transition is None


def test_agentstack_row_115_a_deliverable_ends_a_warning_and_restarts_the_clock() -> None:
    warned = judge(fresh(), LIMITS, NOW_MS + 50_000).metrics
    assert warned.phase == "warning"
    calm, changed = deliver(warned, NOW_MS + 50_000)
    assert (calm.phase, calm.without_deliverable_ms(NOW_MS + 50_001)) == ("normal", 1)
    assert changed is not None
    assert changed.triggered_by == "maxTimeWithoutDeliverableMs"


BODIES = st.sampled_from(
    [
        generation(),
        called_tools(11),
        completed(5),
        delegated(2),
        tool_returned("readTextFile"),
        tool_returned("writeTextFile"),
        tool_returned("editTextFile", is_error=True),
        tool_returned("child", skill="delegate/child"),
        PauseRun(by="ana"),
        resumed_by(),
        SkillStderr(skill_name="s", message="x"),
    ]
)


@given(st.lists(st.tuples(BODIES, st.integers(0, 90_000), st.booleans()), max_size=60))
def test_metrics_add_up_to_the_events_in_whatever_order_phases_come(
    story: list[tuple[Body, int, bool]],
) -> None:
    metrics, now = fresh(), NOW_MS
    expected = dict.fromkeys(COUNTERS, 0)
    for seq, (body, pause_ms, looked) in enumerate(story):
        now += pause_ms
        event = make_event(body, seq, at=now)
        before = metrics
        metrics = apply(apply(metrics, event), event)
        for name in COUNTERS:
            one = getattr(apply(fresh(), make_event(body)), name)
            expected[name] += one
            assert getattr(metrics, name) >= getattr(before, name)
        if looked:
            judged = judge(metrics, LIMITS, now)
            assert judged.metrics.phase in PHASES
            changed = judged.transition
            if changed is None:
                assert judged.metrics == metrics
            else:
                assert changed.triggered_by
            assert (judged.metrics.phase == "normal") or judged.metrics.triggered_by
            assert judge(judged.metrics, LIMITS, now).verdict.action == judged.verdict.action
            metrics = judged.metrics
        assert 0 <= metrics.without_deliverable_ms(now) <= now - NOW_MS
    assert {name: getattr(metrics, name) for name in COUNTERS} == expected


@given(st.lists(st.integers(0, 30_000), min_size=2, max_size=20), st.data())
def test_time_without_a_deliverable_is_the_time_at_work(
    gaps: list[int], data: st.DataObject
) -> None:
    metrics, now, worked, waiting = fresh(), NOW_MS, 0, False
    for seq, gap in enumerate(gaps):
        now += gap
        worked += 0 if waiting else gap
        waiting = not waiting and data.draw(st.booleans())
        body: Body = PauseRun(by="ana") if waiting else generation()
        metrics = apply(metrics, make_event(body, seq, at=now))
        assert metrics.without_deliverable_ms(now) == worked


def test_time_stamps_in_the_wrong_order_do_no_harm() -> None:
    metrics = fresh()
    for seq, at in enumerate((NOW_MS + 10, NOW_MS - 500, NOW_MS + 3)):
        metrics = apply(metrics, make_event(completed(), seq, at=at))
    assert metrics.last_activity_at == NOW_MS + 10
    assert metrics.last_deliverable_at == NOW_MS + 10
