"""A fork begins with the same state wherever it is folded."""

from __future__ import annotations

from perstack.domain.events import Event, SuspendRun
from perstack.domain.ids import ToolCallId
from perstack.domain.jobs import ForkPoint
from perstack.projection.event_facts import made_checkpoint
from perstack.projection.folding import Folds
from perstack.projection.run_fold import RunFold
from tests.unit.projection.builder import Run, call, in_order


def forked_where_it_was_suspended_later() -> list[Event]:
    """A fork of a checkpoint that its run, suspended in the next step's midst, names again."""
    run = Run("r", "x")
    run.init(query="Go")
    run.start("Go")
    first = call("t1", "readTextFile")
    run.tools(first)
    run.returns(first, "text")
    run.close_batch()
    made = run.next_step()
    run.tools(call("t2", "exec"))
    run.add(SuspendRun(checkpoint_id=made, reason="user"))
    fork = Run("f", "x", run.clock)
    fork.init()
    fork.start(None, parent=ForkPoint(run_id=run.id, checkpoint_id=made))
    return in_order(run, fork)


def test_a_fork_has_no_calls_of_the_step_after_its_checkpoint() -> None:
    events = forked_where_it_was_suspended_later()
    run_id = events[-1].run_id
    folds = Folds(points=frozenset(filter(None, map(made_checkpoint, events))), keep_messages=True)
    states = [folds.step(event)[1] for event in events]
    assert states[-1].pending_calls == ()
    shown = {
        key: RunFold(key, events[0].job_id, events[0].expert_key)
        for key in dict.fromkeys(event.run_id for event in events)
    }
    for event in events:
        shown[event.run_id].apply(event, shown[events[0].run_id])
    assert shown[run_id].state.pending_calls == ()
    waiting = shown[events[0].run_id].state.pending_calls
    assert [part.tool_call_id for part in waiting] == [ToolCallId("t2")]
