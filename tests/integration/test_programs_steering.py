"""What people want of a run that a program executes: it is ended, and goes on with its session.

The program is `tests.fakes.programs.PlayedProgram`: it plays reports, no model is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import CallTools, ContinueToNextStep, Event
from perstack.domain.ids import ExpertKey
from perstack.domain.jobs import ForkPoint
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.steering_events import (
    ChangeModel,
    PauseRun,
    RefuseOrder,
    ResumeRun,
    TakeDefinition,
)
from perstack.domain.usage import NO_USAGE, Usage
from perstack.engine.plan import JobOutcome
from perstack.engine.recall import recall
from perstack.errors import SessionLostError
from perstack.ports.desk import Hold
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.programs import Talk
from perstack.projection.run_state import RunState
from tests.fakes.desk import FakeDesk
from tests.fakes.engine import World, done, expert, says
from tests.fakes.programs import (
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

LEAD = ExpertKey("lead")


async def three_steps(talk: Talk, say: Say) -> None:
    """Take a step in a talk and the next one in the next; end in the third."""
    nth = int((talk.session or "s-0").removeprefix("s-")) + 1
    await say(began(f"s-{nth}"))
    if nth == 3:
        await say(finished("the result"))
    for at in range(3):
        await say(turn(f"step {nth}", call(f"{nth}.{at}")))
        await say(returned(f"{nth}.{at}"))
    await anyio.sleep_forever()


def at_first_step(own: World, do: Callable[[], object]) -> None:
    """Do something as soon as the first call is on record."""
    seen: list[Event] = []

    def note(event: Event) -> None:
        if isinstance(event.body, CallTools) and not seen:
            seen.append(event)
            do()

    own.heard.on = note


def world(tmp_path: Path) -> tuple[World, PlayedProgram, FakeDesk]:
    desk, program = FakeDesk(), PlayedProgram(three_steps)
    return played(tmp_path, program, desk=desk), program, desk


async def state_of(own: World) -> RunState:
    job = (await own.history.list_jobs())[0]
    return (await recall(own.history, job.id, job.coordinator_run_id)).state


async def test_a_word_is_the_prompt_of_the_next_talk_with_the_same_session(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)

    async def script(talk: Talk, say: Say) -> None:
        await say(began())
        if talk.session is None:
            await say(turn(call("a")))
            await say(returned("a"))
            await anyio.sleep_forever()
        await say(finished("heard"))

    program.script = script
    at_first_step(own, lambda: desk.helms[LEAD].steer("mind the gap", "ana"))
    ended = await own.start()
    assert ended.outcome.text == "heard"
    assert [(talk.prompt, talk.session, talk.past) for talk in program.talks] == [
        ("go", None, ""),
        ("mind the gap", "s-1", ""),
    ]
    assert program.ended == 2
    assert own.heard.results() == [("Bash", "done", False)]


async def test_another_model_is_given_to_the_next_talk(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)
    at_first_step(own, lambda: desk.helms[LEAD].change_model("opus", "ana"))
    own.max_steps = 3
    await own.start()
    assert [talk.model for talk in program.talks[:2]] == [None, "opus"]
    assert program.talks[1].prompt.startswith("Go on")
    (changed,) = [e.body for e in own.heard.events if isinstance(e.body, ChangeModel)]
    assert (changed.before, changed.model) == ("cursor:default", "opus")


async def test_a_model_of_another_vendor_is_refused(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)
    own.experts = (own.experts[0].model_copy(update={"runtime": "gemini"}),)
    at_first_step(own, lambda: desk.helms[LEAD].change_model("gpt-5", "ana"))
    own.max_steps = 2
    await own.start()
    assert [talk.model for talk in program.talks] == [None] * len(program.talks)
    assert not [e.body for e in own.heard.events if isinstance(e.body, ChangeModel)]
    refused = [e.body for e in own.heard.events if isinstance(e.body, RefuseOrder)]
    assert ["gemini cannot be told to ask gpt-5" in one.reason for one in refused] == [True]


async def test_a_new_definition_is_given_to_the_next_talk(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)
    newer = own.experts[0].model_copy(update={"instruction": "You are new."})
    at_first_step(own, lambda: desk.helms[LEAD].take_definition({LEAD: newer}, "ana"))
    own.max_steps = 3
    await own.start()
    assert [t.expert.instruction for t in program.talks[:2]] == ["You are lead.", "You are new."]
    assert [e.body.by for e in own.heard.events if isinstance(e.body, TakeDefinition)] == ["ana"]


async def test_a_paused_run_has_no_program_until_it_is_resumed(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)
    paused = anyio.Event()
    at_first_step(own, lambda: desk.helms[LEAD].pause("ana", "let me look"))
    before = own.heard.on

    def note(event: Event) -> None:
        if before is not None:
            before(event)
        if isinstance(event.body, PauseRun):
            paused.set()

    own.heard.on = note
    own.max_steps = 3
    async with anyio.create_task_group() as group:
        group.start_soon(own.start)
        await paused.wait()
        await anyio.wait_all_tasks_blocked()
        assert (len(program.talks), program.ended) == (1, 1)
        desk.helms[LEAD].resume("ben")
    assert len(program.talks) == 2
    assert [e.body.by for e in own.heard.events if isinstance(e.body, ResumeRun)] == ["ben"]


async def test_a_limit_of_the_desk_holds_the_run_at_the_next_boundary(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)
    desk.holding = lambda _: Hold("stop", "too much") if program.talks else None
    ended = await own.start()
    assert ended.outcome.ending == "stopped"
    assert len(own.heard.types("callTools")) == 1


@pytest.mark.parametrize("returns", [True, False], ids=["in time", "too late"])
async def test_a_stop_lets_a_tool_finish_and_else_it_is_in_doubt(
    tmp_path: Path, returns: bool
) -> None:
    own, program, _ = world(tmp_path)
    stopped = anyio.Event()

    async def script(talk: Talk, say: Say) -> None:
        await say(began())
        if talk.session is not None:
            await say(finished("went on"))
        await say(turn(call("a")))
        await stopped.wait()
        if returns:
            await say(returned("a"))
        await anyio.sleep_forever()

    program.script = script

    def stop() -> None:
        own.control.stop("user", tool_grace_s=5 if returns else 0.05)
        stopped.set()

    at_first_step(own, stop)
    assert (await own.start()).outcome.ending == "stopped"
    ((_, text, is_error),) = own.heard.results()
    assert is_error is not returns
    assert text.startswith("done" if returns else "In doubt")
    again = played(tmp_path, program)
    assert (await again.go_on(Continuation())).outcome.text == "went on"
    assert program.talks[1].session == "s-1"
    assert ("In doubt" in program.talks[1].prompt) is not returns


async def test_a_stop_while_the_model_thinks_ends_it_at_once(tmp_path: Path) -> None:
    own, program, _ = world(tmp_path)

    async def script(talk: Talk, say: Say) -> None:
        await say(began())
        own.control.stop("detach")
        await anyio.sleep_forever()

    program.script = script
    with anyio.fail_after(5):
        assert (await own.start()).outcome.ending == "stopped"
    assert program.ended == 1


async def test_a_session_that_is_lost_is_begun_anew_with_what_was_said(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)

    async def script(talk: Talk, say: Say) -> None:
        if talk.session is not None:
            raise SessionLostError("no such session")
        await say(began(f"s-{len(program.talks)}"))
        if talk.past:
            await say(finished("I know"))
        await say(turn("I look", call("a", path="x")))
        await say(returned("a", "seen"))
        await anyio.sleep_forever()

    program.script = script
    at_first_step(own, lambda: desk.helms[LEAD].steer("and then?", "ana"))
    assert (await own.start()).outcome.text == "I know"
    assert [talk.session for talk in program.talks] == [None, "s-1", None]
    last = program.talks[-1]
    assert last.prompt == "and then?"
    assert last.past.splitlines() == [
        "User: go",
        "You: I look",
        "You called Bash with {'path': 'x'}",
        "Result of Bash: seen",
    ]
    assert (await state_of(own)).session == BeginSession(runtime="cursor", session_id="s-3")


async def test_a_new_session_that_is_lost_is_a_failure(tmp_path: Path) -> None:
    own, program, _ = world(tmp_path)

    async def script(talk: Talk, say: Say) -> None:
        raise SessionLostError("no such session")

    program.script = script
    assert (await own.start()).outcome.ending == "failed"
    assert len(program.talks) == 1


async def test_a_job_that_is_done_goes_on_with_the_session_it_had(tmp_path: Path) -> None:
    program = PlayedProgram(three_steps)
    own = played(tmp_path, program)

    async def script(talk: Talk, say: Say) -> None:
        await say(began())
        await say(finished(talk.prompt))

    program.script = script
    await own.start()
    ended = await own.go_on(Continuation(text="and now?"))
    assert ended.outcome.text == "and now?"
    last = program.talks[-1]
    assert (last.session, last.branch, last.past) == ("s-1", True, "")


async def test_a_fork_from_an_earlier_checkpoint_gets_the_past_and_no_session(
    tmp_path: Path,
) -> None:
    own, program, _ = world(tmp_path)

    async def script(talk: Talk, say: Say) -> None:
        await say(began())
        for at in range(2):
            await say(turn(f"step {at}", call(f"c{at}")))
            await say(returned(f"c{at}", f"result {at}"))
        await say(finished())

    program.script = script
    await own.start()
    first = next(e.body for e in own.heard.events if isinstance(e.body, ContinueToNextStep))
    await own.go_on(Continuation(checkpoint_id=first.checkpoint_id, text="another way"))
    last = program.talks[-1]
    assert (last.session, last.prompt) == (None, "another way")
    assert "result 0" in last.past
    assert "result 1" not in last.past
    parents = [e.body.parent for e in own.heard.events if e.body.type == "startRun"]
    assert isinstance(parents[-1], ForkPoint)


async def test_the_desk_sees_the_run_as_any_other(tmp_path: Path) -> None:
    own, program, desk = world(tmp_path)

    async def script(talk: Talk, say: Say) -> None:
        await say(turn(call("a")))
        await say(returned("a"))
        await say(finished())

    program.script = script
    await own.start()
    (card,) = desk.cards
    assert (card.expert_key, card.query, desk.gone) == ("lead", "go", [card.run_id])
    assert [event.body for event in desk.heard] == [event.body for event in own.heard.events]
    (started,) = [e.body for e in own.heard.events if isinstance(e.body, StartProgram)]
    assert (started.runtime, started.continued, started.dropped) == ("cursor", None, ())


@pytest.mark.parametrize("tells", [True, False], ids=["told", "not told"])
async def test_what_a_talk_used_that_was_cut_off_is_not_forgotten(
    tmp_path: Path, tells: bool
) -> None:
    own, program, desk = world(tmp_path)
    used = Usage(input_tokens=100, output_tokens=10, total_tokens=110)

    async def script(talk: Talk, say: Say) -> None:
        if talk.session is None:
            await say(began())
            await say(turn(call("a"), usage=used if tells else NO_USAGE))
            await say(returned("a"))
            await anyio.sleep_forever()
        await say(finished(usage=used))

    program.script = script
    at_first_step(own, lambda: desk.helms[LEAD].steer("go on", "ana"))
    ended = await own.start()
    assert ended.spent.usage.total_tokens == (220 if tells else 110)
    assert ended.spent.usage.partial is not tells


# ---------------------------------------------------------------- delegation


def delegates_to_all(count: int) -> Callable[[ModelRequest, int], Generation]:
    def mind(request: ModelRequest, turn_: int) -> Generation:
        if turn_ > 1:
            return done("all are done")
        calls: list[tuple[str, dict[str, JsonValue]]] = [
            ("child", {"query": f"part {at}"}) for at in range(count)
        ]
        return says("", *calls)

    return mind


async def test_a_coordinator_delegates_to_programs_as_many_at_once_as_it_may(
    tmp_path: Path,
) -> None:
    at_work: Counter[str] = Counter()

    async def script(talk: Talk, say: Say) -> None:
        at_work["now"] += 1
        at_work["most"] = max(at_work["most"], at_work["now"])
        await say(began(f"s-{talk.prompt}"))
        await say(turn(call("a")))
        await anyio.wait_all_tasks_blocked()
        await say(returned("a"))
        at_work["now"] -= 1
        await say(finished(f"did {talk.prompt}"))

    program = PlayedProgram(script)
    own = played(
        tmp_path,
        program,
        expert("lead", "child"),
        by_program(expert("child")),
        mind=delegates_to_all(64),
        max_parallel=8,
        max_steps=500,
    )
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    texts = sorted(text for tool, text, _ in own.heard.results() if tool == "child")
    assert texts == sorted(f"did part {at}" for at in range(64))
    assert at_work["most"] == 8
    assert program.ended == 64
    assert all(not talk.may_ask for talk in program.talks)


async def test_a_delegate_whose_program_fails_has_failed_for_its_parent(tmp_path: Path) -> None:
    async def script(talk: Talk, say: Say) -> None:
        raise SessionLostError("broken")

    own = played(
        tmp_path,
        PlayedProgram(script),
        expert("lead", "child"),
        by_program(expert("child")),
        mind=delegates_to_all(1),
    )
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert own.heard.results()[0] == ("child", "Delegation failed: broken", True)


async def test_a_stopped_job_of_programs_goes_on_where_each_of_them_was(tmp_path: Path) -> None:
    endings: list[JobOutcome] = []

    async def script(talk: Talk, say: Say) -> None:
        if talk.session is not None:
            await say(finished(f"{talk.session} went on"))
        await say(began(talk.prompt.replace(" ", "-")))
        await say(turn(call("a")))
        await say(returned("a"))
        await anyio.sleep_forever()

    program = PlayedProgram(script)
    experts = (expert("lead", "child"), by_program(expert("child")))
    own = played(tmp_path, program, *experts, mind=delegates_to_all(4))
    steps: list[Event] = []

    def note(event: Event) -> None:
        if event.expert_key == "child" and isinstance(event.body, ContinueToNextStep):
            steps.append(event)
        if len(steps) == 4:
            own.control.stop("user")

    own.heard.on = note
    endings.append(await own.start())
    assert endings[0].outcome.ending == "stopped"
    again = played(tmp_path, program, *experts, mind=delegates_to_all(4))
    assert (await again.go_on(Continuation())).outcome.ending == "completed"
    texts = sorted(text for tool, text, _ in again.heard.results() if tool == "child")
    assert texts == [f"part-{at} went on" for at in range(4)]
