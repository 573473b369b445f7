from __future__ import annotations

from collections.abc import Sequence

from perstack.domain.events import (
    Event,
    RequestApproval,
    ResolveApproval,
    Retry,
    RunError,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
)
from perstack.domain.ids import ConsensusId, SubtaskId
from perstack.projection.plain import PlainLines
from perstack.projection.state_fold import fold_all
from tests.unit.projection.builder import Run, call, chain, parallel, usage


def lines(events: Sequence[Event], *, width: int = 100) -> list[str]:
    plain = PlainLines(width=width)
    return [line for event in events for line in plain.event(event)]


def test_delegation_is_told_in_order_and_indented() -> None:
    assert lines(chain()) == [
        "[chain] › Do the job",
        "[chain] step 1 · delegates to worker-b",
        "  [worker-b] › Say hello",
        "  [worker-b] step 2 · done: Hello!",
        "[chain] step 3 · worker-b Say hello … ok",
        "[chain] step 4 · done",
        "All done.",
    ]


def test_tools_are_told_once_they_returned() -> None:
    told = lines(parallel())
    assert "  [worker-a] step 2 · readTextFile notes.txt … ok" in told
    assert told.count("  [worker-a] step 4 · done: Two lines.") == 1
    assert not any("attemptCompletion" in line for line in told)
    assert told[-2:] == ["[coordinator] step 6 · done", "Both workers finished."]


def test_failures_say_why() -> None:
    run = Run("r", "x")
    run.start("Go")
    part = call("t1", "readTextFile", path="a.txt")
    run.tools(part)
    run.returns(part, "File a.txt does not exist.", is_error=True)
    run.add(Retry(reason="Error: 529", attempt=2, delay_ms=4000, usage=usage(0, 0)))
    error = RunError(name="ProviderError", message="overloaded")
    run.add(StopRunByError(checkpoint_id=run.point("e"), error=error))
    assert lines(run.events)[1:] == [
        "[x] step 1 · readTextFile a.txt … failed",
        "    File a.txt does not exist.",
        "[x] step 1 · retry 2 in 4 s: Error: 529",
        "[x] step 1 · failed: overloaded",
    ]


def test_question_ends_with_the_command_that_answers_it() -> None:
    run = Run("r", "my expert")
    run.start("Go")
    part = call("t1", "askUser", question="Skip it?", choices=["yes", "no"])
    run.tools(part, kinds=["interactive"])
    ids = (part.tool_call_id,)
    run.add(StopRunByInteractiveTool(checkpoint_id=run.point("s"), pending=ids))
    assert lines(run.events)[1:] == [
        "[my expert] asks:",
        "    Skip it?",
        "    1 yes",
        "    2 no",
        "    to answer: perstack run 'my expert' '…' --continue-job job1 -i",
    ]


def test_gate_ends_with_the_commands_that_decide_it() -> None:
    run = Run("r", "x")
    run.start("Go")
    part = call("t1", "devops", query="deploy docs")
    run.tools(part, kinds=["delegate"], gated=True)
    run.add(
        RequestApproval(
            consensus_id=ConsensusId("c1"),
            risk_level="high",
            reason="deploys",
            subtasks={SubtaskId("s1"): part.tool_call_id},
        )
    )
    run.add(
        ResolveApproval(
            consensus_id=ConsensusId("c1"),
            outcome="rejected",
            approved=(),
            rejected=(part.tool_call_id,),
            feedback="not today",
            decided_by="ana",
        )
    )
    assert lines(run.events)[1:] == [
        "[x] step 1 · waits for a decision (high risk): deploys",
        "    s1 devops deploy docs",
        "    perstack consensus approve c1",
        "    perstack consensus reject c1",
        "[x] step 1 · rejected by ana: not today",
    ]


def test_stopped_job_says_why() -> None:
    for ending, words in (
        (SuspendRun(checkpoint_id=Run("r", "x").point("s"), reason="signal"), "by a signal"),
        (StopRunByExceededMaxSteps(checkpoint_id=Run("r", "x").point("s")), "the step limit"),
        (
            StopRunByExceededBudget(
                checkpoint_id=Run("r", "x").point("s"), budget="duration", used=61_000, allowed=6e4
            ),
            "budget: 61.0 of 60.0 s",
        ),
    ):
        run = Run("r", "x")
        run.start("Go")
        run.add(ending)
        assert words in lines(run.events)[-1]


def test_hostile_text_is_inert_and_stays_on_its_line() -> None:
    run = Run("r", "x\x1b[31m")
    run.start("Go\n\x1b]0;title\x07 on\u202e")
    part = call("t1", "exec\x9b", command="ls\r\nrm")
    run.tools(part, text="a\nb\x1b[2J")
    run.returns(part, "\x1b[H", is_error=True)
    run.complete("first\n\x1b[31msecond")
    told = lines(run.events)
    assert all(ord(char) >= 32 and not 127 <= ord(char) < 160 for line in told for char in line)
    assert told[-2:] == ["first", "‹U+001B›[31msecond"]
    assert "exec‹U+009B› ls rm … failed" in told[2]


def test_long_text_is_cut_to_the_width_but_the_outcome_is_not() -> None:
    run = Run("r", "x")
    run.start("y" * 500)
    part = call("t1", "exec", command="z" * 500)
    run.tools(part)
    run.returns(part, "{}")
    told = lines(run.events, width=60)
    assert [len(line) for line in told] == [60, 60]
    assert told[1].endswith("… … ok")


def test_run_that_goes_on_knows_its_open_calls() -> None:
    run = Run("r", "x")
    run.start("Go")
    part = call("t1", "askUser", question="Why?")
    run.tools(part, text="Hm.", kinds=["interactive"])
    ids = (part.tool_call_id,)
    run.add(StopRunByInteractiveTool(checkpoint_id=run.point("s"), pending=ids))
    plain = PlainLines()
    plain.seed(run.id, fold_all(run.events))
    assert plain.event(run.returns(part, "Because")) == ["[x] step 1 · askUser Why? … answered"]
