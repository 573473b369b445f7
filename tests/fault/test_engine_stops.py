"""Stops that nothing may hold up, wherever they find a run, and what they leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.settings import BudgetSettings
from perstack.engine.control import StopControl
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from tests.fakes.engine import FakeSkills, Reply, World, decided, done, expert, says

pytestmark = pytest.mark.anyio


async def noted(_: Mapping[str, JsonValue]) -> str:
    return "noted"


async def test_a_second_stop_waits_for_no_tool_however_long_its_grace(tmp_path: Path) -> None:
    begun = anyio.Event()

    async def hang(_: Mapping[str, JsonValue]) -> str:
        begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def interrupt_twice() -> None:
        await begun.wait()
        world.control.stop("signal")
        world.control.stop("signal", now=True)

    world = World(
        tmp_path,
        lambda _, turn: says("", ("hang", {})) if turn == 1 else done("I looked"),
        (expert("host"),),
        skills=FakeSkills({"hang": hang}),
        control=StopControl(tool_grace_s=600),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(interrupt_twice)
        await world.start()
    (job,) = await world.history.list_jobs()
    assert world.heard.types("suspendRun")
    ((_, text, _),) = world.heard.results()
    assert text.startswith("In doubt")
    world.control = StopControl()
    assert (await world.go_on(Continuation(job_id=job.id))).outcome.text == "I looked"


async def test_a_decision_that_a_run_out_of_time_waited_for_is_taken_back_and_asked_anew(
    tmp_path: Path,
) -> None:
    async def think() -> Generation:
        await anyio.sleep_forever()
        raise AssertionError

    def mind(request: ModelRequest, turn: int) -> Reply:
        if request.expert_key == "thinker" and world.budget.max_duration is not None:
            return think()
        if request.expert_key == "waiter" and turn == 1:
            return says("", ("wipe", {}))
        if request.expert_key == "lead" and turn == 1:
            return says("", ("thinker", {"query": "x"}), ("waiter", {"query": "x"}))
        if request.expert_key == "lead" and turn == 2:
            return says("", ("waiter", {"query": "again"}))
        return done(f"{request.expert_key} is done")

    world = World(
        tmp_path,
        mind,
        (expert("lead", "thinker", "waiter"), expert("thinker"), expert("waiter")),
        skills=FakeSkills({"wipe": noted}, gated=frozenset({"wipe"})),
        budget=BudgetSettings(max_duration=100),
    )
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    assert world.gate.withdrawn == list(world.gate.proposed)
    assert len(world.gate.withdrawn) == 1
    world.budget, world.control = BudgetSettings(), StopControl()
    world.gate.verdict = lambda checkpoint: decided(checkpoint, approved=True)
    again = await world.go_on(Continuation(job_id=ended.job_id))
    assert again.outcome.text == "lead is done"
    assert len(world.gate.proposed) == 2
