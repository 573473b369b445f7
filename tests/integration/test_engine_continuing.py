"""Going on with a job: after each way to stop, from each checkpoint, with one or many answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.expert import InteractiveSkill, InteractiveTool
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, ToolCallId
from perstack.engine.control import StopControl
from perstack.engine.plan import JobOutcome
from perstack.errors import ConflictError, LimitError, NotFoundError, ProviderError, UsageError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.projection.event_facts import made_checkpoint
from tests.fakes.engine import FakeSkills, World, decided, done, expert, latest_text, says

pytestmark = pytest.mark.anyio

SCHEMA: dict[str, JsonValue] = {"type": "object"}
USER = InteractiveSkill(
    tools={name: InteractiveTool(input_schema=SCHEMA) for name in ("first", "second", "third")}
)
QUERY = 20_480
NAMED = '{"toolCallId": "ID", "text": "x"}'


async def note(_: Mapping[str, JsonValue]) -> str:
    return "noted"


def asks(request: ModelRequest, turn: int) -> Generation:
    """A tool, a delegate and three questions in one response."""
    if request.expert_key == "helper":
        return done("helped")
    if turn == 1:
        helper: tuple[str, dict[str, JsonValue]] = ("helper", {"query": "x"})
        return says("", ("second", {}), ("note", {}), helper, ("first", {}), ("third", {}))
    return done("read it all")


def asker(path: Path) -> World:
    lead = expert("lead", "helper", skills={"user": USER})
    return World(path, asks, (lead, expert("helper")), skills=FakeSkills({"note": note}))


def pending(world: World) -> list[ToolCallId]:
    """The questions that the last stop left, in order."""
    bodies = [event.body for event in world.heard.events]
    return next(
        list(body.pending) for body in reversed(bodies) if body.type == "stopRunByInteractiveTool"
    )


def answered(world: World) -> dict[str, str]:
    """What each question was answered with."""
    among = ("first", "second", "third")
    return {tool: text for tool, text, _ in world.heard.results() if tool in among}


async def answer(world: World, job_id: JobId, text: str) -> JobOutcome:
    return await world.go_on(Continuation(job_id=job_id, text=text, is_answer=True))


# -------------------------------------------------------------------- answers


async def test_questions_of_a_mixed_response_are_answered_one_by_one(tmp_path: Path) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    for text in ("one", "two"):
        assert (await answer(world, asked.job_id, text)).outcome.ending == "asked"
    ended = await answer(world, asked.job_id, "three")
    assert answered(world) == {"second": "one", "first": "two", "third": "three"}
    assert ended.outcome.text == "read it all"


async def test_an_array_of_texts_answers_all_questions_in_their_order(tmp_path: Path) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    ended = await answer(world, asked.job_id, '["one", "two", "three"]')
    assert ended.outcome.ending == "completed"
    assert answered(world) == {"second": "one", "first": "two", "third": "three"}
    told = latest_text(world.model.requests[-1])
    assert all(text in told for text in ("one", "two", "three", "noted", "helped"))


async def test_an_array_of_named_answers_may_leave_some_for_later(tmp_path: Path) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    second, first, third = pending(world)
    given = [{"toolCallId": third, "text": "3"}, {"toolCallId": second, "text": "1"}]
    left = await answer(world, asked.job_id, json.dumps(given))
    assert (left.outcome.ending, pending(world)) == ("asked", [first])
    ended = await answer(world, asked.job_id, '["this is text"]')
    assert ended.outcome.ending == "completed"
    assert answered(world) == {"second": "1", "third": "3", "first": '["this is text"]'}


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ('["one", "two"]', UsageError, "3 questions wait, not 2"),
        ('[{"toolCallId": "ID"}]', UsageError, "needs toolCallId and text"),
        ('{"toolCallId": "ID", "text": 7}', UsageError, "needs toolCallId and text"),
        (f"[{NAMED}, {NAMED}]", UsageError, "answered twice"),
        ('{"toolCallId": "nobody", "text": "x"}', ConflictError, "nobody does not wait"),
        ("x" * (QUERY + 1), UsageError, "up to 20,480 characters, this has 20,481"),
        (NAMED.replace('"x"', f'"{"x" * (QUERY + 1)}"'), UsageError, "20,480"),
    ],
)
async def test_an_answer_that_fits_no_question_is_refused_and_nothing_is_lost(
    tmp_path: Path, given: str, error: type[Exception], words: str
) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    with pytest.raises(error, match=words):
        await answer(world, asked.job_id, given.replace("ID", pending(world)[0]))
    assert answered(world) == {}
    ended = await answer(world, asked.job_id, '["one", "two", "three"]')
    assert ended.outcome.ending == "completed"


@pytest.mark.parametrize("text", ['{"half": ', '{"text": "no id"}', "[1, 2, 3]", "[]", '"quoted"'])
async def test_json_that_names_no_question_is_the_first_ones_answer(
    tmp_path: Path, text: str
) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    await answer(world, asked.job_id, text)
    assert answered(world) == {"second": text}


async def test_an_answer_where_nothing_waits_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("done"), (expert("host"),))
    ended = await world.start()
    with pytest.raises(ConflictError, match="nothing waits for an answer") as refused:
        await answer(world, ended.job_id, "yes")
    assert "without -i" in str(refused.value.hint)


async def test_an_answer_where_there_is_no_checkpoint_yet_is_plain_text(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("done"), (expert("host"),))
    ended = await world.start("go")
    events = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}/events.jsonl"
    events.write_bytes(b"")  # it was killed before its first record
    assert (await answer(world, ended.job_id, "yes")).outcome.text == "done"
    assert "yes" in latest_text(world.model.requests[-1])


async def test_a_question_that_waits_is_answered_not_passed_over(tmp_path: Path) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    with pytest.raises(UsageError, match="the job waits for an answer to second"):
        await world.go_on(Continuation(job_id=asked.job_id, text="never mind"))


# -------------------------------------------------------------------- every way to stop


async def stopped_by_signal(world: World) -> JobOutcome:
    world.heard.on = lambda event: (
        world.control.stop("signal") if event.body.type == "callTools" else None
    )
    ended = await world.start("begin")
    world.heard.on, world.control = None, StopControl()
    return ended


async def stopped_by_error(world: World) -> JobOutcome:
    world.model.mind = lambda _, __: ProviderError("the vendor said no")
    ended = await world.start("begin")
    world.model.mind = world.mind
    return ended


async def stopped_by_limit(world: World) -> JobOutcome:
    world.max_steps = 1
    ended = await world.start("begin")
    world.max_steps = 100
    return ended


async def stopped_at_a_gate(world: World) -> JobOutcome:
    world.skills.gated, world.wait_at_gates = frozenset({"note"}), False
    ended = await world.start("begin")
    world.wait_at_gates = True
    for id_, checkpoint in world.gate.proposed.items():
        world.gate.proposed[id_] = decided(checkpoint, approved=True)
    return ended


async def completed(world: World) -> JobOutcome:
    return await world.start("begin")


@pytest.mark.parametrize(
    ("stop", "ending"),
    [
        (stopped_by_signal, "stopped"),
        (stopped_by_error, "failed"),
        (stopped_by_limit, "limit"),
        (stopped_at_a_gate, "awaiting"),
        (completed, "completed"),
    ],
)
@pytest.mark.parametrize("text", [None, "and more"])
async def test_a_job_goes_on_however_it_stopped(
    tmp_path: Path, stop: Callable[[World], Awaitable[JobOutcome]], ending: str, text: str | None
) -> None:
    world = World(
        tmp_path,
        lambda _, turn: says("", ("note", {})) if turn == 1 else done("the end"),
        (expert("host"),),
        skills=FakeSkills({"note": note}),
    )
    ended = await stop(world)
    assert ended.outcome.ending == ending
    wanted = Continuation(job_id=ended.job_id, expert_key=ExpertKey("host"), text=text)
    if ending == "completed" and text is None:
        with pytest.raises(UsageError, match="the job is completed"):
            await world.go_on(wanted)
        return
    again = await world.go_on(wanted)
    assert again.outcome.text == "the end"
    said = str(list(world.model.requests[-1].messages))
    assert "begin" in said
    assert ("and more" in said) is (text is not None)
    assert (await world.history.get_job(ended.job_id)).status == "completed"


async def test_another_expert_is_refused_in_perstacks_words(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("x"), (expert("host"), expert("guest")))
    ended = await world.start()
    with pytest.raises(UsageError) as refused:
        await world.go_on(Continuation(job_id=ended.job_id, expert_key=ExpertKey("guest")))
    assert refused.value.message == (
        "Checkpoint expert key host does not match input expert key guest"
    )


async def test_a_query_has_at_most_20480_characters(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("x"), (expert("host"),))
    with pytest.raises(UsageError, match="a query may have up to 20,480 characters"):
        await world.start("x" * (QUERY + 1))
    assert await world.history.find_latest_job() is None
    ended = await world.start("x" * QUERY)
    with pytest.raises(UsageError, match="this has 20,481"):
        await world.go_on(Continuation(job_id=ended.job_id, text="x" * (QUERY + 1)))


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_a_message_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    world = World(tmp_path, lambda _, __: says("x"), (expert("host"),))
    ended = await world.start()
    with pytest.raises(UsageError, match="the job is completed"):
        await world.go_on(Continuation(job_id=ended.job_id, text=text))
    failed = World(tmp_path, lambda _, __: says("x"), (expert("host"),))
    failed_job = (await stopped_by_error(failed)).job_id
    assert (await failed.go_on(Continuation(job_id=failed_job, text=text))).outcome.text == "x"
    said = failed.model.requests[-1].messages
    assert [message.type for message in said] == ["instructionMessage", "userMessage"]


async def test_an_id_that_several_jobs_begin_with_is_said_to_be_theirs(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("x"), (expert("host"),))
    for job in ("report-one", "report-two"):
        await world.start(job_id=job)
    with pytest.raises(UsageError, match="2 jobs begin with report"):
        await world.go_on(Continuation(job_id=JobId("report"), text="more"))
    again = await world.go_on(Continuation(job_id=JobId("report-o"), text="more"))
    assert again.job_id == "report-one"


async def test_a_limit_to_go_on_with_is_more_than_the_job_has_taken(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says(f"{turn}"), (expert("host"),))
    job_id = (await world.start()).job_id
    for _ in range(6):
        await world.go_on(Continuation(job_id=job_id, text="and?"))
    world.max_steps = 2
    with pytest.raises(LimitError, match="has taken 7 of 2 steps") as refused:
        await world.go_on(Continuation(job_id=job_id, text="and?"))
    assert refused.value.hint == "raise the limit: --max-steps 14 or maxSteps in perstack.toml"


# -------------------------------------------------------------------- every checkpoint


def points_of(events: list[Event], expert_key: str) -> list[CheckpointId]:
    made = [made_checkpoint(event) for event in events if event.expert_key == expert_key]
    return list(dict.fromkeys(point for point in made if point is not None))


async def test_every_checkpoint_of_every_coordinator_run_can_be_resumed_from(
    tmp_path: Path,
) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    await answer(world, asked.job_id, "one")
    await answer(world, asked.job_id, '["two", "three"]')
    await world.go_on(Continuation(job_id=asked.job_id, text="once more"))
    points = points_of(world.heard.events, "lead")
    made_by = {made_checkpoint(event): event.body.type for event in world.heard.events}
    runs = {event.run_id for event in world.heard.events if event.expert_key == "lead"}
    assert (len(points), len(runs)) == (6, 2)
    for point in points:
        is_answer = made_by[point] == "stopRunByInteractiveTool"
        ended = await world.go_on(
            Continuation(
                job_id=asked.job_id, checkpoint_id=point, text="go on", is_answer=is_answer
            )
        )
        while ended.outcome.ending == "asked":
            ended = await answer(world, asked.job_id, "later")
        assert ended.outcome.text == "read it all"


async def test_a_delegates_checkpoint_and_an_unknown_one_are_refused(tmp_path: Path) -> None:
    world = asker(tmp_path)
    asked = await world.start()
    (point,) = points_of(world.heard.events, "helper")
    with pytest.raises(UsageError, match="belongs to the delegated Expert helper"):
        await world.go_on(Continuation(job_id=asked.job_id, checkpoint_id=point, text="x"))
    nowhere = Continuation(job_id=asked.job_id, checkpoint_id=CheckpointId("nowhere"), text="x")
    with pytest.raises(NotFoundError, match="checkpoint not found: nowhere"):
        await world.go_on(nowhere)


async def test_without_an_id_the_job_that_was_driven_last_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says(f"answer {turn}"), (expert("host"),))
    first = await world.start("one")
    second = await world.start("two")
    assert (await world.go_on(Continuation(text="more"))).job_id == second.job_id
    await world.go_on(Continuation(job_id=first.job_id, text="more"))
    assert (await world.go_on(Continuation(text="more"))).job_id == first.job_id


async def test_damage_that_a_crash_left_is_said_as_the_job_goes_on(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        lambda _, turn: says("", ("note", {})) if turn == 1 else done("the end"),
        (expert("host"),),
        skills=FakeSkills({"note": note}),
    )
    ended = await stopped_by_signal(world)
    events = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}/events.jsonl"
    events.write_bytes(events.read_bytes()[:-3])
    await world.go_on(Continuation(job_id=ended.job_id))
    (said,) = world.heard.warnings
    assert "was incomplete and was dropped" in said
