"""What a run does, over a real history."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import CallTools, CompleteRun, Retry
from perstack.domain.expert import Expert, InteractiveSkill, InteractiveTool
from perstack.domain.ids import JobId, ToolCallId
from perstack.domain.messages import ResourceLinkPart, ToolCallPart, UserMessage
from perstack.engine.calls import CALLS_AT_ONCE
from perstack.engine.control import StopControl
from perstack.engine.plan import JobOutcome
from perstack.errors import (
    LimitError,
    NotFoundError,
    ProviderError,
    SkillError,
    UnknownExpertError,
    UsageError,
)
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.skills import RunContext, SkillHost, SkillNotice, ToolOutcome
from tests.fakes.engine import (
    USAGE,
    FakeSkills,
    FakeSkillSet,
    World,
    decided,
    done,
    expert,
    latest_text,
    says,
)

pytestmark = pytest.mark.anyio

ASK = InteractiveSkill(tools={"askUser": InteractiveTool(input_schema={"type": "object"})})


async def test_text_without_tool_calls_completes_the_run(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("hello"), (expert("greeter"),))
    ended = await world.start()
    assert (ended.outcome.ending, ended.outcome.text) == ("completed", "hello")
    assert (await world.history.get_job(ended.job_id)).status == "completed"
    assert world.skills.opened == world.skills.closed


async def test_completion_without_text_asks_for_the_result_without_tools(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        lambda request, _: done() if request.use_tools else says("the result"),
        (expert("greeter"),),
    )
    ended = await world.start()
    assert ended.outcome.text == "the result"
    assert [request.use_tools for request in world.model.requests] == [True, False]
    assert [d.kind for d in world.heard.deltas if d.stream == "result"] == ["start", "delta", "end"]


async def test_tools_of_one_response_run_in_parallel_and_all_results_reach_the_model(
    tmp_path: Path,
) -> None:
    both = anyio.Event()
    waiting = 0

    async def meet(_: Mapping[str, JsonValue]) -> str:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        return "met"

    world = World(
        tmp_path,
        lambda _, turn: says("", ("meet", {}), ("meet", {})) if turn == 1 else done("ok"),
        (expert("host"),),
        skills=FakeSkills({"meet": meet}),
    )
    ended = await world.start()
    assert ended.outcome.text == "ok"
    assert [text for tool, text, _ in world.heard.results() if tool == "meet"] == ["met", "met"]
    assert latest_text(world.model.requests[1]).count("met") == 2


async def test_unknown_tools_and_malformed_arguments_are_answered_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    called: list[str] = []

    async def record(_: Mapping[str, JsonValue]) -> str:
        called.append("record")
        return "ran"

    broken = Generation(
        (
            ToolCallPart(
                tool_call_id=ToolCallId("c1"), tool_name="record", args={}, invalid_args="{oops"
            ),
            ToolCallPart(tool_call_id=ToolCallId("c2"), tool_name="no_such_tool", args={}),
        ),
        "toolCalls",
        USAGE,
    )
    world = World(
        tmp_path,
        lambda _, turn: broken if turn == 1 else done("fine"),
        (expert("host"),),
        skills=FakeSkills({"record": record}),
    )
    ended = await world.start()
    assert ended.outcome.text == "fine"
    assert called == []
    assert [error for tool, _, error in world.heard.results() if tool != "attemptCompletion"] == [
        True,
        True,
    ]


async def test_open_todos_keep_the_run_going(tmp_path: Path) -> None:
    remaining = ['{"remainingTodos":[{"id":0,"title":"x","completed":false}]}', "{}"]

    async def complete(_: Mapping[str, JsonValue]) -> str:
        return remaining.pop(0)

    world = World(
        tmp_path,
        lambda _, turn: done(f"attempt {turn}"),
        (expert("host"),),
        skills=FakeSkills({"attemptCompletion": complete}),
    )
    ended = await world.start()
    assert ended.outcome.text == "attempt 2"


async def test_calls_batched_with_completion_run_too(tmp_path: Path) -> None:
    ran: list[str] = []

    async def note(_: Mapping[str, JsonValue]) -> str:
        ran.append("note")
        return "noted"

    world = World(
        tmp_path,
        lambda _, __: says("all done", ("attemptCompletion", {}), ("note", {})),
        (expert("host"),),
        skills=FakeSkills({"note": note}),
    )
    ended = await world.start()
    assert (ended.outcome.text, ran) == ("all done", ["note"])


async def test_a_retryable_failure_is_tried_again_and_a_final_one_is_not(tmp_path: Path) -> None:
    failures = [ProviderError("busy", retryable=True, retry_after_s=0.0)]

    def mind(_: ModelRequest, __: int) -> Generation | Exception:
        return failures.pop() if failures else says("recovered")

    world = World(tmp_path, mind, (expert("host"),))
    assert (await world.start()).outcome.text == "recovered"
    assert sum(isinstance(event.body, Retry) for event in world.heard.events) == 1

    refused = World(tmp_path, lambda _, __: ProviderError("no such model"), (expert("host"),))
    ended = await refused.start()
    assert ended.outcome.ending == "failed"
    assert len(refused.model.requests) == 1


async def test_retries_end_at_the_limit_and_the_job_can_go_on_later(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        lambda _, __: ProviderError("still busy", retryable=True, retry_after_s=0.0),
        (expert("host"),),
        max_retries=1,
    )
    ended = await world.start()
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "Max retries (1) exceeded: still busy"
    world.model.mind = lambda _, __: says("back again")
    again = await world.go_on(Continuation(job_id=ended.job_id))
    assert again.outcome.text == "back again"


async def test_an_empty_generation_is_asked_for_again_at_most_max_retries_times(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, lambda _, __: says(""), (expert("host"),), max_retries=2)
    ended = await world.start()
    assert ended.outcome.ending == "failed"
    assert len(world.model.requests) == 3


async def test_a_run_that_never_ends_stops_at_max_steps_and_can_be_continued(
    tmp_path: Path,
) -> None:
    async def again(_: Mapping[str, JsonValue]) -> str:
        return "again"

    world = World(
        tmp_path,
        lambda _, __: says("", ("again", {})),
        (expert("host"),),
        skills=FakeSkills({"again": again}),
        max_steps=4,
    )
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    job = await world.history.get_job(ended.job_id)
    assert (job.status, job.total_steps) == ("stoppedByMaxSteps", 4)
    with pytest.raises(LimitError, match="4 of 4 steps"):
        await world.go_on(Continuation(job_id=ended.job_id))
    world.max_steps = 10
    world.model.mind = lambda _, __: says("enough")
    assert (await world.go_on(Continuation(job_id=ended.job_id))).outcome.text == "enough"


async def test_a_question_stops_the_run_and_the_answer_goes_on_in_the_same_run(
    tmp_path: Path,
) -> None:
    def mind(_: ModelRequest, turn: int) -> Generation:
        return says("", ("askUser", {"question": "which?"})) if turn == 1 else done("thanks")

    world = World(tmp_path, mind, (expert("host", skills={"ask": ASK}),))
    asked = await world.start()
    assert asked.outcome.ending == "asked"
    assert [notice.kind for notice in world.notifier.notices] == ["question"]
    with pytest.raises(UsageError, match="waits for an answer"):
        await world.go_on(Continuation(job_id=asked.job_id, text="not an answer"))
    answered = await world.go_on(
        Continuation(job_id=asked.job_id, text="the red one", is_answer=True)
    )
    assert answered.outcome.text == "thanks"
    assert answered.run_id == asked.run_id
    assert "the red one" in latest_text(world.model.requests[-1])


async def test_several_questions_are_answered_in_turn(tmp_path: Path) -> None:
    def mind(_: ModelRequest, turn: int) -> Generation:
        if turn == 1:
            return says("", ("askUser", {"question": "a"}), ("askUser", {"question": "b"}))
        return done("both")

    world = World(tmp_path, mind, (expert("host", skills={"ask": ASK}),))
    first = await world.start()
    second = await world.go_on(Continuation(job_id=first.job_id, text="A!", is_answer=True))
    assert second.outcome.ending == "asked"
    third = await world.go_on(Continuation(job_id=first.job_id, text="B!", is_answer=True))
    assert third.outcome.text == "both"
    latest = latest_text(world.model.requests[-1])
    assert "A!" in latest
    assert "B!" in latest


async def test_a_follow_up_keeps_the_conversation_in_a_new_run(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says(f"answer {turn}"), (expert("host"),))
    first = await world.start("one")
    second = await world.go_on(Continuation(job_id=first.job_id, text="two"))
    assert second.outcome.text == "answer 2"
    assert second.run_id != first.run_id
    users = [m for m in world.model.requests[-1].messages if isinstance(m, UserMessage)]
    assert len(users) == 2


async def test_a_fork_begins_at_its_checkpoint_and_leaves_the_original_alone(
    tmp_path: Path,
) -> None:
    async def note(args: Mapping[str, JsonValue]) -> str:
        return f"noted {args['n']}"

    world = World(
        tmp_path,
        lambda _, turn: says("", ("note", {"n": turn})) if turn < 4 else says("end"),
        (expert("host"),),
        skills=FakeSkills({"note": note}),
    )
    ended = await world.start()
    stored = await world.history.read_run(ended.job_id, ended.run_id)
    points = [
        event.body.checkpoint_id
        for event in stored.events
        if event.body.type == "continueToNextStep"
    ]
    world.model.mind = lambda _, __: says("another end")
    forked = await world.go_on(
        Continuation(job_id=ended.job_id, checkpoint_id=points[0], text="otherwise")
    )
    assert forked.outcome.text == "another end"
    texts = [
        latest_text(ModelRequest(r.run_id, r.expert_key, r.messages[: i + 1], ()))
        for r in world.model.requests[-1:]
        for i in range(len(r.messages))
    ]
    assert any("noted 1" in text for text in texts)
    assert not any("noted 2" in text for text in texts)
    assert (await world.history.read_run(ended.job_id, ended.run_id)).events == stored.events


async def test_an_unknown_expert_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("x"), (expert("host"),))
    with pytest.raises(UnknownExpertError, match="nobody"):
        await world.start(expert_key="nobody")
    assert await world.history.find_latest_job() is None


async def test_secrets_in_tool_results_reach_neither_model_nor_disk(tmp_path: Path) -> None:
    async def leak(_: Mapping[str, JsonValue]) -> str:
        return "KEY=sk-canary"

    world = World(
        tmp_path,
        lambda _, turn: says("", ("leak", {})) if turn == 1 else done("ok"),
        (expert("host"),),
        skills=FakeSkills({"leak": leak}),
    )
    await world.start()
    assert "sk-canary" not in latest_text(world.model.requests[-1])
    for path in tmp_path.rglob("*.json*"):
        assert "sk-canary" not in path.read_text()


async def test_secrets_in_links_of_results_reach_neither_model_nor_disk(tmp_path: Path) -> None:
    link = ResourceLinkPart(
        uri="https://files.example/?key=sk-canary", name="sk-canary", description="of sk-canary"
    )

    async def leak(_: Mapping[str, JsonValue]) -> ToolOutcome:
        return ToolOutcome((link,))

    world = World(
        tmp_path,
        lambda _, turn: says("", ("leak", {})) if turn == 1 else done("ok"),
        (expert("host"),),
        skills=FakeSkills({"leak": leak}),
    )
    await world.start()
    assert "files.example/?key=[redacted]" in latest_text(world.model.requests[-1])
    assert "sk-canary" not in latest_text(world.model.requests[-1])
    assert not any("sk-canary" in path.read_text() for path in tmp_path.rglob("*.json*"))


async def test_a_stop_is_felt_while_the_expert_may_not_be_done_yet(tmp_path: Path) -> None:
    skills, asked = FakeSkills(), anyio.Event()
    world = World(tmp_path, lambda _, __: done("ready"), (expert("host"),), skills=skills)

    async def complete(_: Mapping[str, JsonValue]) -> str:
        if not asked.is_set():
            asked.set()
            world.control.stop("signal", now=True)
            await anyio.sleep_forever()
        return "{}"

    skills.functions["attemptCompletion"] = complete
    stopped = await world.start()
    assert stopped.outcome.ending == "stopped"
    world.control = StopControl()
    ended = await world.go_on(Continuation(job_id=stopped.job_id))
    assert (ended.outcome.ending, ended.outcome.text) == ("completed", "ready")


async def test_the_history_adds_up_to_what_the_listener_heard(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says("x") if turn else done(), (expert("host"),))
    ended = await world.start()
    stored = await world.history.read_run(ended.job_id, ended.run_id)
    assert list(stored.events) == world.heard.events
    assert [event.seq for event in stored.events] == list(range(len(stored.events)))
    assert isinstance(stored.events[-2].body, CompleteRun)
    assert stored.events[-1].body.type == "skillDisconnected"
    assert not any(isinstance(event.body, CallTools) for event in stored.events)


async def test_a_stop_reaches_a_run_whose_skills_are_still_starting(tmp_path: Path) -> None:
    skills = FakeSkills(slow_start=anyio.Event())
    world = World(tmp_path, lambda _, __: says("late"), (expert("host"),), skills=skills)
    endings: list[JobOutcome] = []

    async def stop() -> None:
        while not skills.opened:
            await anyio.lowlevel.checkpoint()
        world.control.stop("signal")

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        endings.append(await world.start("do it"))
    assert endings[0].outcome.ending == "stopped"
    assert world.model.requests == []
    skills.slow_start, world.control = None, StopControl()
    ended = await world.go_on(Continuation(job_id=endings[0].job_id))
    assert ended.outcome.text == "late"
    assert "do it" in latest_text(world.model.requests[0])


async def test_calls_that_had_not_begun_when_a_stop_came_are_made_on_resume(
    tmp_path: Path,
) -> None:
    made: list[int] = []
    held = anyio.Event()

    async def slow(args: Mapping[str, JsonValue]) -> str:
        made.append(int(str(args["n"])))
        await held.wait()
        return "done"

    many: list[tuple[str, dict[str, JsonValue]]] = [
        ("slow", {"n": number}) for number in range(CALLS_AT_ONCE + 4)
    ]
    world = World(
        tmp_path,
        lambda _, turn: says("", *many) if turn == 1 else done("all"),
        (expert("host"),),
        skills=FakeSkills({"slow": slow}),
        control=StopControl(tool_grace_s=0.01),
    )
    endings: list[JobOutcome] = []

    async def stop() -> None:
        while len(made) < CALLS_AT_ONCE:
            await anyio.lowlevel.checkpoint()
        world.control.stop("signal")

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        endings.append(await world.start())
    assert endings[0].outcome.ending == "stopped"
    held.set()
    world.control = StopControl()
    assert (await world.go_on(Continuation(job_id=endings[0].job_id))).outcome.text == "all"
    assert len(made) == len(set(made)) == CALLS_AT_ONCE + 4
    doubtful = [text for _, text, _ in world.heard.results() if text.startswith("In doubt")]
    assert len(doubtful) == CALLS_AT_ONCE


async def test_a_stop_just_as_skills_are_ready_puts_nothing_in_doubt(tmp_path: Path) -> None:
    made: list[str] = []

    async def note(_: Mapping[str, JsonValue]) -> str:
        made.append("note")
        return "noted"

    skills = FakeSkills({"note": note})
    world = World(
        tmp_path,
        lambda _, turn: says("", ("note", {})) if turn == 1 else done("end"),
        (expert("host"),),
        skills=skills,
    )
    world.heard.on = lambda event: (
        world.control.stop("signal") if event.body.type == "callTools" else None
    )
    stopped = await world.start()
    assert (stopped.outcome.ending, made) == ("stopped", [])
    world.heard.on, world.control = None, StopControl()
    skills.at_the_end_of_opening = lambda: world.control.stop("signal")
    again = await world.go_on(Continuation(job_id=stopped.job_id))
    assert (again.outcome.ending, made) == ("stopped", [])
    skills.at_the_end_of_opening, world.control = None, StopControl()
    ended = await world.go_on(Continuation(job_id=stopped.job_id))
    assert (ended.outcome.text, made) == ("end", ["note"])
    assert not any(text.startswith("In doubt") for _, text, _ in world.heard.results())


async def test_what_the_user_said_at_a_gate_survives_a_failed_resume(tmp_path: Path) -> None:
    async def wipe(_: Mapping[str, JsonValue]) -> str:
        return "wiped"

    skills = FakeSkills({"wipe": wipe}, gated=frozenset({"wipe"}))
    world = World(
        tmp_path,
        lambda _, turn: says("", ("wipe", {})) if turn == 1 else done("end"),
        (expert("host"),),
        skills=skills,
        wait_at_gates=False,
    )
    waiting = await world.start()
    world.skills = FailingSkills()
    failed = await world.go_on(Continuation(job_id=waiting.job_id, text="also do X"))
    assert failed.outcome.ending == "failed"
    world.skills, world.wait_at_gates = skills, True
    world.gate.verdict = lambda checkpoint: decided(checkpoint, approved=True)
    ended = await world.go_on(Continuation(job_id=waiting.job_id))
    assert ended.outcome.text == "end"
    assert "also do X" in str(list(world.model.requests[-1].messages))


class FailingSkills(FakeSkills):
    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AsyncGenerator[FakeSkillSet]:
        raise SkillError("the server is down")
        yield


async def test_a_job_is_found_by_the_first_characters_of_its_id(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says(f"answer {turn}"), (expert("host"),))
    first = await world.start("one")
    start = JobId(first.job_id[:6])
    again = await world.go_on(Continuation(job_id=start, text="two"))
    assert again.job_id == first.job_id
    with pytest.raises(NotFoundError):
        await world.go_on(Continuation(job_id=JobId(first.job_id[:3]), text="three"))
