from __future__ import annotations

from dataclasses import replace

import pytest

from perstack.domain.events import (
    AttemptCompletion,
    RequestApproval,
    ResolveApproval,
    Retry,
    RunError,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
)
from perstack.domain.ids import CheckpointId, ConsensusId, MessageId, SubtaskId
from perstack.domain.jobs import ForkPoint
from perstack.domain.messages import TextPart, ToolMessage, UserMessage
from perstack.errors import NotFoundError
from perstack.ports.skills import Todo
from perstack.projection.messages import Messages
from perstack.projection.run_state import initial, start_from
from perstack.projection.state_fold import fold_all, state_at
from tests.unit.projection.builder import Run, call, chain, parallel, usage


def kinds(messages: Messages) -> list[str]:
    return [message.type.removesuffix("Message") for message in messages]


def user(text: str) -> UserMessage:
    return UserMessage(id=MessageId(text), contents=(TextPart(text=text),))


def test_messages_grow_without_changing_what_others_hold() -> None:
    first = Messages([user("a")])
    left, right = first.plus(user("b")), first.plus(user("c"), user("d"))
    assert [m.id for m in first] == ["a"]
    assert [m.id for m in left] == ["a", "b"]
    assert [m.id for m in right] == ["a", "c", "d"]
    assert left.plus(user("e"))[-1].id == "e"
    assert (right[0].id, right[-3].id, [m.id for m in right[1:]]) == ("a", "a", ["c", "d"])
    with pytest.raises(IndexError):
        left[2]


def test_messages_of_one_line_share_their_storage() -> None:
    history = Messages()
    seen: list[Messages] = []
    for number in range(1000):
        history = history.plus(user(str(number)))
        seen.append(history)
    assert len({id(one._shared) for one in seen}) == 1  # pyright: ignore[reportPrivateUsage]
    assert all(len(one) == number for number, one in enumerate(seen, start=1))


def test_nothing_happened_is_init() -> None:
    assert initial().status == "init"
    assert len(initial().messages) == 0


def test_batch_is_open_until_its_results_became_a_message() -> None:
    run = Run("r", "x")
    run.start("Go")
    one, two = call("t1", "readTextFile", path="a"), call("t2", "exec", command="ls")
    run.tools(one, two, spent=usage(10, 5))
    run.returns(two, "second")
    state = fold_all(run.events)
    assert [part.tool_call_id for part in state.pending_calls] == ["t1"]
    assert state.usage == state.last_usage == usage(10, 5)
    run.returns(one, "first", is_error=True)
    run.close_batch()
    state = fold_all(run.events)
    assert (state.calls, state.routes, state.results) == ((), {}, {})
    last = state.messages[-1]
    assert isinstance(last, ToolMessage)
    assert [part.tool_call_id for part in last.contents] == ["t1", "t2"]
    assert [part.is_error for part in last.contents] == [True, None]


def test_step_is_resumable_once_it_is_over() -> None:
    run = Run("r", "x")
    started = run.start("Go")
    look = call("t1", "readTextFile", path="a")
    run.tools(look)
    run.returns(look, "text")
    run.close_batch()
    assert fold_all(run.events).checkpoint_id is None
    made = run.next_step()
    state = fold_all(run.events)
    assert (state.checkpoint_id, state.step_number) == (made, 2)
    assert state.next_checkpoint_id not in (None, made)
    assert fold_all([started]).next_checkpoint_id is not None


def test_delegations_come_back_before_the_run_goes_on() -> None:
    events = [event for event in parallel() if event.run_id == "r-top"]
    stop = next(at for at, event in enumerate(events) if isinstance(event.body, StopRunByDelegate))
    waiting = fold_all(events[: stop + 1])
    assert waiting.status == "stoppedByDelegate"
    assert [child.run_id for child in waiting.pending_delegates] == ["r-a", "r-b"]
    one_back = fold_all(events[: stop + 2])
    assert [child.run_id for child in one_back.pending_delegates] == ["r-a"]
    resumed = fold_all(events[: stop + 4])
    assert (resumed.status, resumed.step_number) == ("proceeding", 5)
    assert set(resumed.results) == {"toolu_a", "toolu_b"}
    done = fold_all(events)
    assert (done.status, done.last_text) == ("completed", "Both workers finished.")
    assert done.usage == usage(4193 + 4316 + 894, 15 + 3 + 3)


def test_completion_puts_the_tool_message_before_the_result() -> None:
    top = [event for event in parallel() if event.run_id == "r-top"]
    a = [event for event in parallel() if event.run_id == "r-a"]
    expected = ["instruction", "user", "expert", "tool", "expert", "tool", "expert"]
    assert kinds(fold_all(top).messages) == expected
    worker = fold_all(a)
    assert kinds(worker.messages)[-2:] == ["expert", "tool"]
    assert worker.last_text == "Two lines."
    assert worker.todos == (Todo(0, "summarise", completed=True),)
    assert worker.messages[-1].id == fold_all(a).messages[-1].id


def test_declared_done_waits_only_for_its_text() -> None:
    run = Run("r", "x")
    run.start("Go")
    done = call("t1", "attemptCompletion")
    run.tools(done)
    run.returns(done, "{}")
    run.add(AttemptCompletion(tool_call_id=done.tool_call_id))
    state = fold_all(run.events)
    assert state.completing
    assert not state.calls
    assert kinds(state.messages) == ["instruction", "user", "expert", "tool"]
    run.complete("Text")
    state = fold_all(run.events)
    assert not state.completing
    assert kinds(state.messages)[-1] == "expert"


def test_answers_of_another_shape_leave_the_todo_list_alone() -> None:
    run = Run("r", "x")
    run.start("Go")
    first, second = call("t1", "todo", newTodos=["a"]), call("t2", "clearTodo")
    run.tools(first, second)
    run.returns(first, '{"todos":[{"id":0,"title":"a","completed":false}]}')
    assert fold_all(run.events).todos == (Todo(0, "a", completed=False),)
    run.returns(second, "Error: not JSON")
    assert fold_all(run.events).todos == (Todo(0, "a", completed=False),)
    run.returns(second, '{"todos":[]}')
    assert fold_all(run.events).todos == ()


def test_retries_count_until_something_succeeds() -> None:
    run = Run("r", "x")
    run.start("Go")
    run.add(Retry(reason="529", attempt=1, delay_ms=1, usage=usage(3, 0)))
    advice = (user("again"),)
    run.add(Retry(reason="empty", attempt=2, delay_ms=0, usage=usage(4, 0), new_messages=advice))
    state = fold_all(run.events)
    assert (state.retry_count, state.usage) == (2, usage(7, 0))
    assert state.messages[-1] == user("again")
    run.tools(call("t", "exec", command="ls"))
    assert fold_all(run.events).retry_count == 0


def gated() -> Run:
    run = Run("r", "x")
    run.start("Go")
    run.tools(call("t1", "deploy"), call("t2", "purge"), gated=True)
    run.add(
        RequestApproval(
            consensus_id=ConsensusId("c1"),
            risk_level="high",
            reason="risky",
            subtasks={
                SubtaskId("s1"): call("t1", "deploy").tool_call_id,
                SubtaskId("s2"): call("t2", "purge").tool_call_id,
            },
        )
    )
    return run


def test_gated_calls_wait_and_then_know_their_verdict() -> None:
    run = gated()
    state = fold_all(run.events)
    assert state.waiting_approval == ("t1", "t2")
    one, two = state.calls
    run.add(
        ResolveApproval(
            consensus_id=ConsensusId("c1"),
            outcome="approved",
            approved=(one.tool_call_id,),
            rejected=(two.tool_call_id,),
            feedback="docs only",
            decided_by="ana",
        )
    )
    state = fold_all(run.events)
    assert state.waiting_approval == ()
    kept, dropped = (state.approvals[part.tool_call_id] for part in state.calls)
    assert (kept.status, dropped.status) == ("approved", "rejected")
    assert (dropped.feedback, dropped.decided_by) == ("docs only", "ana")


def test_questions_are_pending_in_order_until_answered() -> None:
    run = Run("r", "x")
    run.start("Go")
    first, second = call("t1", "ask", question="A?"), call("t2", "ask", question="B?")
    run.tools(first, second, kinds=["interactive", "interactive"])
    ids = (first.tool_call_id, second.tool_call_id)
    run.add(StopRunByInteractiveTool(checkpoint_id=run.point("s"), pending=ids))
    state = fold_all(run.events)
    assert (state.status, state.pending_interactive) == ("stoppedByInteractiveTool", ids)
    run.returns(first, "yes")
    run.start(None, status="stoppedByInteractiveTool")
    state = fold_all(run.events)
    assert (state.status, state.pending_interactive) == ("proceeding", (second.tool_call_id,))


def test_a_stop_says_why_and_going_on_forgets_it() -> None:
    run = Run("r", "x")
    run.start("Go")
    error = RunError(name="ProviderError", message="no")
    made = run.point("e")
    run.add(StopRunByError(checkpoint_id=made, error=error))
    state = fold_all(run.events)
    assert (state.status, state.error, state.checkpoint_id) == ("stoppedByError", error, made)
    run.start("Again", status="stoppedByError")
    state = fold_all(run.events)
    assert (state.status, state.error) == ("proceeding", None)
    assert kinds(state.messages) == ["instruction", "user", "user"]
    run.add(StopRunByExceededMaxSteps(checkpoint_id=run.point("m")))
    assert fold_all(run.events).status == "stoppedByExceededMaxSteps"


def test_suspended_run_keeps_proceeding_and_says_why() -> None:
    run = Run("r", "x")
    run.start("Go")
    run.add(SuspendRun(checkpoint_id=run.point("s"), reason="signal"))
    state = fold_all(run.events)
    assert (state.status, state.suspended, state.suspend_reason) == ("proceeding", True, "signal")
    run.start(None, status="proceeding")
    assert not fold_all(run.events).suspended


def test_words_said_while_calls_are_open_follow_their_results() -> None:
    run = Run("r", "x")
    run.start("Go")
    look = call("t1", "readTextFile", path="a")
    run.tools(look)
    run.add(SuspendRun(checkpoint_id=run.point("s"), reason="user"))
    run.start("By the way", status="proceeding")
    run.returns(look, "text")
    run.close_batch(resumed=True)
    expected = ["instruction", "user", "expert", "tool", "user"]
    assert kinds(fold_all(run.events).messages) == expected


def test_state_at_a_checkpoint_knows_nothing_of_later() -> None:
    run = Run("r", "x")
    run.start("Go")
    points: list[CheckpointId] = []
    for number in range(5):
        look = call(f"t{number}", "readTextFile", path="a")
        run.tools(look, spent=usage(1, 1))
        run.returns(look, "text")
        run.close_batch()
        points.append(run.next_step())
    for number, point in enumerate(points, start=1):
        state = state_at(run.events, point)
        assert (state.checkpoint_id, state.step_number) == (point, number + 1)
        assert len(state.messages) == 2 + 2 * number
        assert state.usage == usage(number, number)
    with pytest.raises(NotFoundError, match="checkpoint not found: nope"):
        state_at(run.events, CheckpointId("nope"))


def test_checkpoint_named_again_by_a_suspension_is_the_first_one() -> None:
    run = Run("r", "x")
    run.start("Go")
    look = call("t1", "readTextFile", path="a")
    run.tools(look)
    run.returns(look, "text")
    run.close_batch()
    made = run.next_step()
    run.tools(call("t2", "exec", command="ls"))
    run.add(SuspendRun(checkpoint_id=made, reason="user"))
    assert state_at(run.events, made).calls == ()


def test_fork_has_the_messages_but_neither_usage_nor_approvals() -> None:
    run = gated()
    parent = replace(fold_all(run.events), usage=usage(9, 9))
    state = start_from(parent)
    assert state.messages == parent.messages
    assert (state.usage, state.approvals, state.run_id) == (initial().usage, {}, "")
    assert state.calls == parent.calls
    fork = Run("f", "x", run.clock)
    made = CheckpointId("c")
    fork.start("Other", status="proceeding", parent=ForkPoint(run_id=run.id, checkpoint_id=made))
    state = fold_all(fork.events, start=state)
    assert (state.run_id, state.status) == ("f", "proceeding")
    assert state.parent == ForkPoint(run_id=run.id, checkpoint_id=made)
    assert len(parent.messages) == 3


def test_folding_in_pieces_is_folding_at_once() -> None:
    for history in (chain(), parallel()):
        for run_id in {event.run_id for event in history}:
            events = [event for event in history if event.run_id == run_id]
            for cut in range(len(events)):
                first = fold_all(events[:cut])
                assert fold_all(events[cut:], start=first) == fold_all(events)
