"""What a program may not do unasked waits for a person; its questions go to the user.

The program is `tests.fakes.programs.PlayedProgram`: it plays reports, no model is asked.
"""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import Event, RequestApproval, ResolveApproval
from perstack.domain.expert import InteractiveSkill, InteractiveTool
from perstack.engine.plan import JobOutcome
from perstack.errors import ProgramError
from perstack.ports.frontend import Continuation
from perstack.ports.programs import Permission, Talk
from tests.fakes.consensus import until
from tests.fakes.engine import FakeGate, World, decided, expert
from tests.fakes.programs import (
    Asking,
    PlayedProgram,
    Say,
    began,
    by_program,
    call,
    finished,
    played,
    returned,
    turn,
)

pytestmark = pytest.mark.anyio


def approve(checkpoint: ConsensusCheckpoint) -> ConsensusCheckpoint:
    return decided(checkpoint, approved=True)


def refuse(checkpoint: ConsensusCheckpoint) -> ConsensusCheckpoint:
    return decided(checkpoint, approved=False, feedback="not on Fridays")


def overdue(checkpoint: ConsensusCheckpoint) -> ConsensusCheckpoint:
    return checkpoint.model_copy(update={"status": "expired"})


def asks_once(asking: Asking, *, told_first: bool = True) -> PlayedProgram:
    """Asks about one call and does as it is told."""

    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(began())
        if told_first:
            await say(turn("I will", asking.part))
        await say(asking.report)
        allowed = (await asking.permission()).allowed
        if not told_first:
            await say(turn("I will", asking.part))
        await say(returned(asking.part.tool_call_id, "did it" if allowed else "did not"))
        await say(finished())

    return PlayedProgram(script)


@pytest.mark.parametrize("told_first", [True, False], ids=["after its turn", "before its turn"])
async def test_an_approved_call_is_done(tmp_path: Path, told_first: bool) -> None:
    asking = Asking(call("a", cmd="rm x"))
    own = played(tmp_path, asks_once(asking, told_first=told_first), gate=FakeGate(verdict=approve))
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert asking.answers == [Permission(allowed=True)]
    assert own.heard.results() == [("Bash", "did it", False)]
    assert ended.spent.steps == 2
    (checkpoint,) = own.gate.proposed.values()
    assert checkpoint.reason == "cursor asks before it does this"
    (task,) = checkpoint.proposed_subtasks
    assert json.loads(task.input) == {"cmd": "rm x"}


async def test_a_rejected_call_is_not_done_and_the_program_hears_why(tmp_path: Path) -> None:
    asking = Asking(call("a"))
    own = played(tmp_path, asks_once(asking), gate=FakeGate(verdict=refuse))
    await own.start()
    assert asking.answers == [Permission(allowed=False, feedback="Rejected by ana: not on Fridays")]
    assert own.heard.results() == [("Bash", "did not", False)]


async def test_what_nobody_decides_in_time_is_refused(tmp_path: Path) -> None:
    asking = Asking(call("a"))
    own = played(tmp_path, asks_once(asking), gate=FakeGate(verdict=overdue))
    await own.start()
    (answer,) = asking.answers
    assert not answer.allowed
    assert answer.feedback is not None
    assert answer.feedback.startswith("Nobody decided in time")


async def test_two_questions_at_once_are_both_decided(tmp_path: Path) -> None:
    first, second = Asking(call("a", cmd="one")), Asking(call("b", cmd="two"))

    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(turn(first.part, second.part))
        await say(first.report)
        await say(second.report)
        await first.permission()
        await second.permission()
        await say(returned("b", "B"))
        await say(returned("a", "A"))
        await say(finished())

    own = played(tmp_path, PlayedProgram(script), gate=FakeGate(verdict=approve))
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert sorted(own.heard.results()) == [("Bash", "A", False), ("Bash", "B", False)]
    assert len(own.gate.proposed) == 2


async def test_a_question_is_not_kept_waiting_by_what_works_beside_it(tmp_path: Path) -> None:
    inner = Asking(call("inner"))

    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(turn(call("outer", "Task")))
        await say(inner.report)
        await inner.permission()
        await say(returned("inner", "I"))
        await say(returned("outer", "O"))
        await say(finished())

    own = played(tmp_path, PlayedProgram(script), gate=FakeGate(verdict=approve))
    assert (await own.start()).outcome.ending == "completed"
    assert own.heard.results()[1] == ("Bash", "I", False)


@pytest.mark.parametrize("how", ["fails", "goes on"])
async def test_a_question_that_the_program_waits_for_no_more_is_withdrawn(
    tmp_path: Path, how: str
) -> None:
    asking = Asking(call("a"))

    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(turn(asking.part))
        await say(asking.report)
        if how == "fails":
            raise ProgramError("it crashed")
        await say(returned("a", "I gave up"))
        await say(finished())

    own = played(tmp_path, PlayedProgram(script))
    ended = await own.start()
    assert len(own.gate.withdrawn) == 1
    assert asking.answers == []
    if how == "fails":
        assert ended.outcome.error is not None
        assert ended.outcome.error.message == "it crashed"
    else:
        assert own.heard.results() == [("Bash", "I gave up", False)]


async def test_a_stop_while_a_person_thinks_ends_the_program_and_is_asked_again(
    tmp_path: Path,
) -> None:
    asking = Asking(call("a", cmd="rm x"))
    program = asks_once(asking)
    own = played(tmp_path, program)
    own.heard.on = lambda event: (
        own.control.stop("user") if isinstance(event.body, RequestApproval) else None
    )
    assert (await own.start()).outcome.ending == "stopped"
    assert program.ended == 1
    assert own.heard.results() == []


async def _no_wait(tmp_path: Path) -> tuple[Asking, World, JobOutcome]:
    asking = Asking(call("a", cmd="rm x"))

    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(began())
        await say(turn(asking.part, call("b", "Build")))
        await say(asking.report)
        await anyio.sleep_forever()

    own = played(tmp_path, PlayedProgram(script), wait_at_gates=False)
    return asking, own, await own.start()


async def test_without_waiting_the_run_is_suspended_and_what_was_cut_off_is_in_doubt(
    tmp_path: Path,
) -> None:
    _, own, ended = await _no_wait(tmp_path)
    assert ended.outcome.ending == "awaiting"
    assert ended.outcome.consensus_id in own.gate.proposed
    ((tool, text, is_error),) = own.heard.results()
    assert (tool, is_error) == ("Build", True)
    assert text.startswith("In doubt")


async def test_what_was_approved_meanwhile_passes_once_when_the_program_asks_again(
    tmp_path: Path,
) -> None:
    _, before, _ = await _no_wait(tmp_path)
    gate = before.gate
    for id_, checkpoint in gate.proposed.items():
        gate.proposed[id_] = approve(checkpoint)
    again, other = Asking(call("new-id", cmd="rm x")), Asking(call("c", cmd="rm x"))

    async def script(talk: Talk, say: Say) -> None:
        assert talk.session == "s-1"
        assert "It was approved after you had stopped" in talk.prompt
        await say(turn(again.part))
        await say(again.report)
        await again.permission()
        await say(returned("new-id", "did it"))
        await say(turn(other.part))
        await say(other.report)
        await say(returned("c", "no"))
        await say(finished())

    own = played(tmp_path, PlayedProgram(script), gate=gate)
    ended = await own.go_on(Continuation())
    assert ended.outcome.ending == "completed"
    assert again.answers == [Permission(allowed=True)]
    assert other.answers == []
    assert len(gate.proposed) == 2
    passed = [e.body for e in own.heard.events if isinstance(e.body, ResolveApproval)]
    assert [one.decided_by for one in passed[:2]] == ["ana", "ana"]


async def test_what_was_approved_is_exactly_one_call(tmp_path: Path) -> None:
    _, before, _ = await _no_wait(tmp_path)
    gate = before.gate
    for id_, checkpoint in gate.proposed.items():
        gate.proposed[id_] = approve(checkpoint)
    gate.verdict = refuse
    other = Asking(call("z", cmd="rm -rf /"))
    own = played(tmp_path, asks_once(other), gate=gate)
    await own.go_on(Continuation())
    assert [answer.allowed for answer in other.answers] == [False]


async def test_what_was_rejected_meanwhile_is_told_with_its_reason(tmp_path: Path) -> None:
    _, before, _ = await _no_wait(tmp_path)
    gate = before.gate
    for id_, checkpoint in gate.proposed.items():
        gate.proposed[id_] = refuse(checkpoint)
    program = PlayedProgram(lambda _, say: say(finished()))
    await played(tmp_path, program, gate=gate).go_on(Continuation())
    assert "Of your call of Bash: Rejected by ana: not on Fridays" in program.talks[0].prompt


async def test_going_on_undecided_without_waiting_waits_on_without_the_program(
    tmp_path: Path,
) -> None:
    _, before, _ = await _no_wait(tmp_path)
    program = PlayedProgram(lambda _, say: say(finished()))
    own = played(tmp_path, program, gate=before.gate, wait_at_gates=False)
    assert (await own.go_on(Continuation())).outcome.ending == "awaiting"
    assert program.talks == []


async def test_two_runs_wait_each_for_its_own_decision(tmp_path: Path) -> None:
    asking = Asking(call("a"))
    own = played(tmp_path, asks_once(asking))
    asked = anyio.Event()

    def note(event: Event) -> None:
        if isinstance(event.body, RequestApproval):
            asked.set()

    own.heard.on = note
    async with anyio.create_task_group() as group:
        group.start_soon(own.start)
        await asked.wait()
        await until(lambda: len(own.gate.proposed) == 1)
        assert asking.answers == []
        for id_, checkpoint in own.gate.proposed.items():
            own.gate.proposed[id_] = approve(checkpoint)
    assert asking.answers == [Permission(allowed=True)]


# ---------------------------------------------------------------- questions to the user


def asker() -> InteractiveSkill:
    return InteractiveSkill(
        tools={"ask": InteractiveTool(description="ask the user", input_schema={"type": "object"})}
    )


async def test_a_question_ends_the_program_and_its_answer_is_the_next_prompt(
    tmp_path: Path,
) -> None:
    lead = by_program(expert("lead", skills={"user": asker()}))

    async def script(talk: Talk, say: Say) -> None:
        await say(began())
        if talk.session is None:
            assert talk.may_ask
            await say(turn(call("q1", "mcp__ask", question="which?"),
                           call("q2", "mcp__ask", question="when?")))  # fmt: skip
            await anyio.sleep_forever()
        await say(turn("thank you"))
        await say(finished())

    program = PlayedProgram(script, asks={"ask": "mcp__ask"})
    own = played(tmp_path, program, lead)
    ended = await own.start()
    assert ended.outcome.ending == "asked"
    assert program.ended == 1
    ended = await own.go_on(_answer("q1", "the red one"))
    assert ended.outcome.ending == "asked"
    assert len(program.talks) == 1
    ended = await own.go_on(_answer("q2", "today"))
    assert ended.outcome.text == "thank you"
    assert program.talks[1].prompt == (
        "The user's answer to mcp__ask:\nthe red one\n\nThe user's answer to mcp__ask:\ntoday"
    )
    assert program.talks[1].session == "s-1"


def _answer(id_: str, text: str) -> Continuation:
    return Continuation(text=json.dumps({"toolCallId": id_, "text": text}), is_answer=True)
