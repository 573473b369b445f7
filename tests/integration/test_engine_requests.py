"""What a run makes of its tool servers' requests: who is asked, what is recorded, what it costs."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import Event
from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import ToolCallId
from perstack.domain.server_events import RequestInput, ResolveInput
from perstack.engine.requests import MAX_QUESTIONS
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.skills import Elicitation, ElicitationAnswer
from perstack.storage.files import Files
from tests.fakes.asking import (
    QUESTION,
    SECRET,
    Verdict,
    answering,
    asking,
    expired,
    of_type,
    refused,
)
from tests.fakes.engine import (
    FakeGate,
    FakeSkills,
    World,
    done,
    expert,
    says,
)

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- questions


async def test_a_question_waits_at_a_checkpoint_and_its_answer_reaches_the_server(
    tmp_path: Path,
) -> None:
    world, answers = asking(tmp_path, QUESTION, verdict=answering({"region": "eu"}))
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer("accept", {"region": "eu"})]
    [checkpoint] = world.gate.proposed.values()
    [task] = checkpoint.proposed_subtasks
    assert checkpoint.reason == f"the tool server of skill {BASE_SKILL} asks a question"
    assert task.input.splitlines()[0] == "Which region?"
    assert "region: eu | us" in task.input
    assert "size: integer, may be left out" in task.input
    assert checkpoint.form is not None
    assert checkpoint.expires_at is not None
    assert checkpoint.expires_at - checkpoint.created_at == world.consensus.timeout
    assert [notice.kind for notice in world.notifier.notices] == ["question"]


async def test_a_question_is_recorded_and_its_answer_is_not(tmp_path: Path) -> None:
    world, _ = asking(
        tmp_path, QUESTION, verdict=answering({"region": "us", "size": 471_108_150_815})
    )
    await world.start()
    [asked, closed] = of_type(world, RequestInput, ResolveInput)
    [checkpoint] = world.gate.proposed.values()
    assert isinstance(asked, RequestInput)
    assert (asked.kind, asked.message, asked.consensus_id) == (
        "elicitation",
        "Which region?",
        checkpoint.id,
    )
    assert closed == ResolveInput(consensus_id=checkpoint.id, outcome="accepted", decided_by="ana")
    assert not any(b"471108150815" in file.read_bytes() for file in tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("verdict", "action", "outcome"),
    [
        (refused, "decline", "declined"),
        (expired, "cancel", "expired"),
    ],
)
async def test_declining_and_expiry_are_told_apart(
    tmp_path: Path,
    verdict: Verdict,
    action: Literal["decline", "cancel"],
    outcome: Literal["declined", "expired"],
) -> None:
    world, answers = asking(tmp_path, QUESTION, verdict=verdict)
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer(action)]
    [closed] = of_type(world, ResolveInput)
    assert isinstance(closed, ResolveInput)
    assert closed.outcome == outcome


async def test_several_choices_are_answered_with_a_list(tmp_path: Path) -> None:
    several: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"fish": {"type": "array", "items": {"enum": ["tuna", "trout"]}}},
    }
    asked = Elicitation(BASE_SKILL, "Which fish?", several)
    world, answers = asking(tmp_path, asked, verdict=answering({"fish": ["trout", "tuna"]}))
    await world.start()
    assert answers == [ElicitationAnswer("accept", {"fish": ["trout", "tuna"]})]
    [checkpoint] = world.gate.proposed.values()
    assert "fish: tuna | trout (any of them)" in checkpoint.proposed_subtasks[0].input


async def test_an_answer_that_does_not_fit_is_never_handed_on(tmp_path: Path) -> None:
    """Whoever decides is to check it; the engine does not count on that."""
    world, answers = asking(tmp_path, QUESTION, verdict=answering({"region": "mars"}))
    await world.start()
    assert answers == [ElicitationAnswer("decline")]


@pytest.mark.parametrize(
    "asked",
    [
        replace(
            QUESTION, answer_schema={"type": "object", "properties": {"a": {"type": "object"}}}
        ),
        replace(QUESTION, answer_schema={"type": "array"}),
        replace(QUESTION, answer_schema={}),
        replace(QUESTION, message="x" * 10_001),
        replace(QUESTION, skill_name="another skill"),
    ],
)
async def test_what_is_no_form_or_comes_outside_a_call_is_declined_unasked(
    tmp_path: Path, asked: Elicitation
) -> None:
    world, answers = asking(tmp_path, asked, verdict=answering({}))
    await world.start()
    assert answers == [ElicitationAnswer("decline")]
    assert world.gate.proposed == {}
    assert of_type(world, RequestInput) == []


async def test_a_server_is_not_heard_for_a_call_that_waits_for_its_turn(tmp_path: Path) -> None:
    """A response calls one skill's tool, and another's that a person has to approve first."""
    skills = FakeSkills(skill_of={"guarded": "guard"}, gated=frozenset({"guarded"}))
    answers: list[ElicitationAnswer] = []

    async def ask(_: Mapping[str, JsonValue]) -> str:
        answers.append(await skills.hosts[-1].elicit(replace(QUESTION, skill_name="guard")))
        return "asked"

    async def guarded(_: Mapping[str, JsonValue]) -> str:
        answers.append(await skills.hosts[-1].elicit(replace(QUESTION, skill_name="guard")))
        return "guarded"

    def mind(request: ModelRequest, turn: int) -> Generation:
        return says("", ("ask", {}), ("guarded", {})) if turn == 1 else done("end")

    skills.functions |= {"ask": ask, "guarded": guarded}
    gate = FakeGate(verdict=answering({"region": "eu"}))
    world = World(tmp_path, mind, (expert("lead"),), skills=skills, gate=gate)
    assert (await world.start()).outcome.text == "end"
    assert [answer.action for answer in answers] == ["decline", "accept"]


class SlowDisk(Files):
    """Its first sync after the first question returns only once two questions were written."""

    def __init__(self) -> None:
        self.on_disk = 0
        self._questions = 0
        self._both = threading.Event()

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._questions += bytes(data).count(b'"requestInput"')
        if self._questions == 2:
            self._both.set()
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if self._questions:
            assert self._both.wait(timeout=20)
        super().sync(fd)
        self.on_disk = size


async def test_a_durable_record_is_announced_only_once_it_is_on_the_disk(tmp_path: Path) -> None:
    disk, skills = SlowDisk(), FakeSkills()

    async def ask(_: Mapping[str, JsonValue]) -> str:
        await skills.hosts[-1].elicit(QUESTION)
        return "asked"

    def mind(request: ModelRequest, turn: int) -> Generation:
        return says("", ("ask", {}), ("ask", {})) if turn == 1 else done("end")

    skills.functions["ask"] = ask
    gate = FakeGate(verdict=answering({"region": "eu"}))
    world = World(tmp_path, mind, (expert("lead"),), skills=skills, gate=gate, files=disk)
    early: list[int] = []

    def heard(event: Event) -> None:
        if isinstance(event.body, RequestInput):
            [log] = tmp_path.rglob("events.jsonl")
            if log.read_bytes()[: disk.on_disk].count(b"\n") <= event.seq:
                early.append(event.seq)

    world.heard.on = heard
    assert (await world.start()).outcome.text == "end"
    assert len(of_type(world, RequestInput)) == 2
    assert early == []
    assert [event.seq for event in world.heard.events] == list(range(len(world.heard.events)))


async def test_secrets_are_not_shown_in_a_question(tmp_path: Path) -> None:
    form: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"key": {"type": "string", "description": f"is it {SECRET}?"}},
    }
    asked = Elicitation(BASE_SKILL, f"I know {SECRET}", form)
    world, _ = asking(tmp_path, asked, verdict=answering({}))
    await world.start()
    [checkpoint] = world.gate.proposed.values()
    assert SECRET not in checkpoint.model_dump_json()
    assert not any(SECRET.encode() in file.read_bytes() for file in tmp_path.rglob("*.jsonl"))


async def test_with_no_wait_a_question_is_declined_and_the_run_goes_on(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, QUESTION, wait_at_gates=False)
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer("decline")]
    assert world.gate.proposed == {}


async def test_a_run_asks_so_many_questions_and_no_more(tmp_path: Path) -> None:
    many = [QUESTION] * (MAX_QUESTIONS + 5)
    world, answers = asking(tmp_path, *many, verdict=answering({"region": "eu"}))
    await world.start()
    assert len(world.gate.proposed) == MAX_QUESTIONS
    assert answers[MAX_QUESTIONS:] == [ElicitationAnswer("decline")] * 5


async def test_a_stop_takes_the_question_back_and_the_run_can_go_on(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, QUESTION)

    def stop(event: Event) -> None:
        if isinstance(event.body, RequestInput):
            world.control.stop("user")

    world.heard.on = stop
    stopped = await world.start()
    assert stopped.outcome.ending == "stopped"
    assert answers == [ElicitationAnswer("cancel")]
    [closed] = of_type(world, ResolveInput)
    assert isinstance(closed, ResolveInput)
    assert closed.outcome == "expired"
    world.heard.on = None
    world.control = type(world.control)()
    assert (await world.go_on(Continuation(job_id=stopped.job_id))).outcome.text == "end"


async def test_a_question_that_the_server_takes_back_is_closed_and_recorded(tmp_path: Path) -> None:
    world, answers = asking(tmp_path)

    async def ask(_: Mapping[str, JsonValue]) -> str:
        with anyio.CancelScope() as scope:
            world.heard.on = lambda event: (
                scope.cancel() if isinstance(event.body, RequestInput) else None
            )
            answers.append(await world.skills.hosts[-1].elicit(QUESTION))
        return "taken back"

    world.skills.functions["ask"] = ask
    assert (await world.start()).outcome.text == "end"
    assert answers == []
    [closed] = of_type(world, ResolveInput)
    assert isinstance(closed, ResolveInput)
    assert closed.outcome == "expired"
    kinds = [kind for _, kind in world.heard.types("requestInput", "resolveInput", "toolReturned")]
    assert kinds[:3] == ["requestInput", "resolveInput", "toolReturned"]


async def test_a_question_of_a_process_that_died_is_taken_back_when_the_run_goes_on(
    tmp_path: Path,
) -> None:
    killed = anyio.CancelScope()

    def kill(asked: ConsensusCheckpoint) -> ConsensusCheckpoint:
        killed.cancel()
        return asked

    world, _ = asking(tmp_path, QUESTION, verdict=kill)
    with killed:
        await world.start()
    # As a crash leaves it: that the question was asked is on record, that it was closed is not.
    [events] = tmp_path.rglob("events.jsonl")
    lines = events.read_bytes().splitlines(keepends=True)
    asked = next(at for at, line in enumerate(lines) if b'"requestInput"' in line)
    events.write_bytes(b"".join(lines[: asked + 1]))
    world.gate.withdrawn.clear()
    job = await world.history.find_latest_job()
    assert job is not None
    assert (await world.go_on(Continuation(job_id=job.id))).outcome.text == "end"
    assert world.gate.withdrawn == list(world.gate.proposed)
    assert any("In doubt" in text for _, text, _ in world.heard.results())


async def test_a_delegated_run_may_ask_as_well(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "lead":
            return says("", ("helper", {"query": "help"})) if turn == 1 else done("end")
        return says("", ("ask", {})) if turn == 1 else done("helped")

    world, answers = asking(tmp_path, QUESTION, verdict=answering({"region": "us"}), mind=mind)
    world.experts = (expert("lead", "helper"), expert("helper"))
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer("accept", {"region": "us"})]
    [checkpoint] = world.gate.proposed.values()
    assert (checkpoint.expert_key, checkpoint.depth) == ("helper", 2)


# ---------------------------------------------------------------- output


async def test_what_a_call_prints_is_shown_live_under_its_id_and_never_recorded(
    tmp_path: Path,
) -> None:
    world, _ = asking(tmp_path)

    async def ask(_: Mapping[str, JsonValue]) -> str:
        world.skills.hosts[-1].output(ToolCallId("c1"), f"line with {SECRET}\n")
        return "done"

    world.skills.functions["ask"] = ask
    await world.start()
    [delta] = [one for one in world.heard.deltas if one.stream == "tool"]
    assert (delta.kind, delta.text, delta.tool_call_id) == ("delta", "line with [redacted]\n", "c1")
    assert not any(b"line with" in file.read_bytes() for file in tmp_path.rglob("events.jsonl"))
