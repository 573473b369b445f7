"""Running an Expert for a service: a real job, with the caller's own tools beside its skills."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import pytest
from pydantic import JsonValue

from perstack.domain.events import Event, ToolReturned
from perstack.domain.ids import AgentId, ExpertKey, JobId
from perstack.domain.messages import UserMessage, text_of
from perstack.engine.control import StopControl
from perstack.errors import LimitError, UnknownExpertError
from perstack.ports.experts import ExpertRequest, OwnTool, Stoppable
from perstack.ports.model import ChatModel, Generation, ModelRequest
from perstack.services import expert_runner
from perstack.services.expert_runner import JobExpertRunner, RunnerParts
from tests.fakes.desk import FakeDesk
from tests.fakes.engine import FakeModel, FakeSkills, Mind, World, expert, says

pytestmark = pytest.mark.anyio

REVIEWER = ExpertKey("reviewer")
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"verdict": {"enum": ["APPROVE", "REJECT"]}},
    "required": ["verdict"],
}


class Opened:
    """Models that were asked for by name."""

    def __init__(self, mind: Mind) -> None:
        self._mind = mind
        self.names: list[str] = []

    async def __call__(self, name: str) -> ChatModel:
        self.names.append(name)
        return FakeModel(self._mind, name=name)


def runner_of(world: World, opened: Opened | None = None) -> JobExpertRunner:
    parts = RunnerParts(
        history=world.history,
        deps=world.deps,
        plan=world.plan,
        experts=lambda: {one.key: one for one in world.experts},
        open_model=opened or Opened(world.mind),
    )
    return JobExpertRunner(parts)


def verdict_tool(taken: list[JsonValue]) -> OwnTool:
    async def take(args: Mapping[str, JsonValue]) -> str:
        if args["verdict"] == "REJECT" and not taken:
            taken.append("asked again")
            raise ValueError("say why first")
        taken.append(args["verdict"])
        return "noted"

    return OwnTool("submitVerdict", "Say your verdict.", SCHEMA, take)


async def test_an_expert_runs_with_the_callers_tools_and_its_answer_comes_back(
    tmp_path: Path,
) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        if turn == 1:
            return says("", ("submitVerdict", {"verdict": "MAYBE"}))
        if turn == 2:
            return says("", ("submitVerdict", {"verdict": "APPROVE"}))
        return says("approved")

    world = World(tmp_path, mind, (expert("reviewer"),))
    taken: list[JsonValue] = []
    started: list[JobId] = []
    answer = await runner_of(world).run(
        ExpertRequest(
            REVIEWER,
            "review it",
            context="the code",
            tools=(verdict_tool(taken),),
            on_started=started.append,
        )
    )
    assert taken == ["APPROVE"]
    assert (answer.ending, answer.text, answer.error) == ("completed", "approved", None)
    assert started == [answer.job_id]
    asked = [m for m in world.model.requests[0].messages if isinstance(m, UserMessage)]
    assert text_of(asked[-1].contents) == "Context:\nthe code\n\nreview it"
    assert "do not fit" in str(world.model.requests[1].messages[-1])
    assert (await world.history.get_job(answer.job_id)).status == "completed"


async def test_a_tools_refusal_reaches_the_model_as_a_failed_call(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        return says("", ("submitVerdict", {"verdict": "REJECT"})) if turn < 3 else says("done")

    world = World(tmp_path, mind, (expert("reviewer"),))
    taken: list[JsonValue] = []
    await runner_of(world).run(ExpertRequest(REVIEWER, "review", tools=(verdict_tool(taken),)))
    assert taken == ["asked again", "REJECT"]
    assert "say why first" in str(world.model.requests[1].messages[-1])


async def test_a_delegate_does_not_get_the_callers_tools(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "lead" and turn == 1:
            return says("", ("child", {"query": "help"}))
        return says("done")

    world = World(tmp_path, mind, (expert("lead", "child"), expert("child")))
    await runner_of(world).run(ExpertRequest(ExpertKey("lead"), "go", tools=(verdict_tool([]),)))
    offered = {r.expert_key: {tool.name for tool in r.tools} for r in world.model.requests}
    assert "submitVerdict" in offered[ExpertKey("lead")]
    assert "submitVerdict" not in offered[ExpertKey("child")]


async def test_with_a_job_the_conversation_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says(f"answer {turn}"), (expert("reviewer"),))
    runner = runner_of(world)
    first = await runner.run(ExpertRequest(REVIEWER, "one"))
    second = await runner.run(ExpertRequest(REVIEWER, "two", job_id=first.job_id))
    assert second.job_id == first.job_id
    assert second.text == "answer 2"


async def test_a_services_job_is_not_the_one_that_a_user_goes_on_with(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("done"), (expert("reviewer"),))
    mine = await world.start("mine")
    runner = runner_of(world)
    await runner.run(ExpertRequest(REVIEWER, "a review"))
    latest = await world.history.find_latest_job()
    assert latest is not None
    assert latest.id == mine.job_id
    of_an_agent = await runner.run(ExpertRequest(REVIEWER, "mine too", agent_id=AgentId("a")))
    latest = await world.history.find_latest_job()
    assert latest is not None
    assert latest.id == of_an_agent.job_id


async def test_another_model_is_opened_once_by_its_name(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("usual"), (expert("reviewer"),))
    opened = Opened(lambda _, __: says("other"))
    runner = runner_of(world, opened)
    answers = [
        await runner.run(ExpertRequest(REVIEWER, "go", model=name))
        for name in ("big", "big", "fake-model")
    ]
    await runner.aclose()
    assert [(one.text, one.model) for one in answers] == [
        ("other", "big"),
        ("other", "big"),
        ("usual", "fake-model"),
    ]
    assert opened.names == ["big"]


async def test_a_definition_of_ones_own_and_the_agent_it_works_for(tmp_path: Path) -> None:
    desk = FakeDesk()
    world = World(tmp_path, lambda _, __: says("done"), (), desk=desk)
    answer = await runner_of(world).run(
        ExpertRequest(expert("dispatcher"), "sort", agent_id=AgentId("a1"))
    )
    assert answer.text == "done"
    assert [card.carrier.agent_id for card in desk.cards] == ["a1"]


async def test_an_unknown_expert_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: says("done"), ())
    with pytest.raises(UnknownExpertError):
        await runner_of(world).run(ExpertRequest(ExpertKey("nobody"), "go"))


async def test_time_that_runs_out_stops_the_job_and_says_so(tmp_path: Path) -> None:
    async def never(request: ModelRequest) -> Generation:
        await anyio.sleep_forever()
        return says("never")

    world = World(tmp_path, lambda request, _: never(request), (expert("reviewer"),))
    answer = await runner_of(world).run(ExpertRequest(REVIEWER, "go", timeout_s=0.05))
    assert (answer.ending, answer.error) == ("stopped", "stopped by the time limit of 0.05 s")


# A call that has not begun when time is over is not made at all.
TOOL_HAS_BEGUN_S: Final = 1.0


class Watching:
    """Keeps the control and the events of a run."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.control = StopControl()

    def on_control(self, control: Stoppable) -> None:
        assert isinstance(control, StopControl)
        self.control = control

    def on_event(self, event: Event) -> None:
        self.events.append(event)


async def test_a_tool_that_runs_when_time_is_over_may_finish(tmp_path: Path) -> None:
    watching = Watching()

    async def slow(_: Mapping[str, JsonValue]) -> str:
        while not watching.control.stopping:
            await anyio.lowlevel.checkpoint()
        for _round in range(50):
            await anyio.lowlevel.checkpoint()
        return "written whole"

    skills = FakeSkills({"save": slow})
    world = World(
        tmp_path, lambda _, __: says("", ("save", {})), (expert("reviewer"),), skills=skills
    )
    request = ExpertRequest(REVIEWER, "go", timeout_s=TOOL_HAS_BEGUN_S, watcher=watching)
    assert (await runner_of(world).run(request)).ending == "stopped"
    results = [one.body.result for one in watching.events if isinstance(one.body, ToolReturned)]
    assert [(text_of(one.result), one.in_doubt) for one in results] == [("written whole", None)]


async def test_what_does_not_stop_in_time_is_given_up_with_a_limit_and_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expert_runner, "STOP_WITHIN_S", 0.05)

    async def stubborn(_: Mapping[str, JsonValue]) -> str:
        with anyio.move_on_after(3, shield=True):
            await anyio.sleep_forever()
        return "late"

    skills = FakeSkills({"save": stubborn})
    world = World(
        tmp_path, lambda _, __: says("", ("save", {})), (expert("reviewer"),), skills=skills
    )
    with pytest.raises(LimitError, match="did not stop within"):
        await runner_of(world).run(ExpertRequest(REVIEWER, "go", timeout_s=TOOL_HAS_BEGUN_S))


async def test_being_cancelled_leaves_the_job_at_a_checkpoint(tmp_path: Path) -> None:
    asked = anyio.Event()

    async def never() -> Generation:
        asked.set()
        await anyio.sleep_forever()
        return says("never")

    world = World(tmp_path, lambda _, __: never(), (expert("reviewer"),))
    started: list[JobId] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(
                runner_of(world).run, ExpertRequest(REVIEWER, "go", on_started=started.append)
            )
            await asked.wait()
            group.cancel_scope.cancel()
    (run,) = await world.history.list_runs(started[0])
    stored = await world.history.read_run(started[0], run.run_id)
    assert "suspendRun" in [event.body.type for event in stored.events]


async def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    from perstack.errors import ProviderError

    world = World(tmp_path, lambda _, __: ProviderError("no such model"), (expert("reviewer"),))
    answer = await runner_of(world).run(ExpertRequest(REVIEWER, "go"))
    assert (answer.ending, answer.error) == ("failed", "no such model")
