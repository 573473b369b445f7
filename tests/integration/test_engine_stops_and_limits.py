"""What a stop finds in the middle of a change, and which limits a job that was given more keeps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, ToolCallId
from perstack.domain.jobs import Limits, SomeLimits
from perstack.domain.orders import Raise, also_raised, at_least, but_typed
from perstack.domain.settings import BudgetSettings, SnapshotSettings
from perstack.domain.steering_events import RefuseOrder, TakeDefinition
from perstack.engine.calls import CALLS_AT_ONCE
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.snapshots import FileKeeper
from tests.fakes.desk import FakeDesk
from tests.fakes.engine import FakeSkills, World, done, expert, says

pytestmark = pytest.mark.anyio

LEAD = ExpertKey("lead")


# ---------------------------------------------------------------- a stop


@dataclass
class SlowFiles:
    """Snapshots that are never done; the first wait for them is told to `waited`."""

    waited: Callable[[], None]

    def hear(self, event: Event) -> None:
        pass

    async def before_writing(self, calls: Sequence[ToolCallId]) -> None:
        self.waited()
        await anyio.sleep_forever()

    @asynccontextmanager
    async def keep(
        self,
        job_id: JobId,
        workspace: Path,
        settings: SnapshotSettings,
        warn: Callable[[str], None],
    ) -> AsyncGenerator[FileKeeper]:
        yield self


@dataclass
class Work:
    """A tool that counts how often it was begun."""

    begun: list[JsonValue] = field(default_factory=list[JsonValue])

    async def wipe(self, args: Mapping[str, JsonValue]) -> str:
        self.begun.append(dict(args))
        return "wiped"

    @property
    def skills(self) -> FakeSkills:
        return FakeSkills({"wipe": self.wipe})


def wiping(_: ModelRequest, turn: int) -> Generation:
    return says("", ("wipe", {"disk": "scratch"})) if turn == 1 else done("end")


async def test_a_tool_that_waits_for_a_snapshot_does_not_begin_after_a_stop(tmp_path: Path) -> None:
    work = Work()
    own = World(tmp_path, wiping, (expert("lead"),), skills=work.skills)
    own.snapshots = SlowFiles(lambda: own.control.stop("user"))
    ended = await own.start()
    assert (ended.outcome.ending, work.begun) == ("stopped", [])
    again = World(tmp_path, wiping, (expert("lead"),), skills=work.skills)
    assert (await again.go_on(Continuation())).outcome.text == "end"
    assert work.begun == [{"disk": "scratch"}]


async def test_a_tool_whose_turn_comes_after_a_stop_is_made_when_the_run_goes_on(
    tmp_path: Path,
) -> None:
    begun: list[JsonValue] = []
    full = anyio.Event()

    async def wipe(args: Mapping[str, JsonValue]) -> str:
        begun.append(args["disk"])
        if len(begun) == CALLS_AT_ONCE:
            own.control.stop("user")
            full.set()
        await full.wait()
        return "wiped"

    def many(_: ModelRequest, turn: int) -> Generation:
        disks: list[dict[str, JsonValue]] = [{"disk": n} for n in range(CALLS_AT_ONCE + 1)]
        return says("", *(("wipe", args) for args in disks)) if turn == 1 else done("end")

    own = World(tmp_path, many, (expert("lead"),), skills=FakeSkills({"wipe": wipe}))
    assert (await own.start()).outcome.ending == "stopped"
    assert begun == list(range(CALLS_AT_ONCE))
    again = World(tmp_path, many, (expert("lead"),), skills=FakeSkills({"wipe": wipe}))
    assert (await again.go_on(Continuation())).outcome.text == "end"
    assert begun == list(range(CALLS_AT_ONCE + 1))


def newer(**changes: object) -> Expert:
    return expert("lead").model_copy(update={"version": "1.1.0", "skills": {}, **changes})


def two_steps(_: ModelRequest, turn: int) -> Generation:
    return says("", ("wipe", {})) if turn == 1 else says("the result")


def at_first_call(own: World, do: Callable[[], None]) -> None:
    def heard(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            do()

    own.heard.on = heard


def refused(own: World) -> list[tuple[str, str]]:
    bodies = [event.body for event in own.heard.events]
    return [(body.order, body.reason) for body in bodies if isinstance(body, RefuseOrder)]


def of_order(own: World) -> list[str]:
    wanted = ("refuseOrder", "takeDefinition", "suspendRun", "steerRun")
    return [event.body.type for event in own.heard.events if event.body.type in wanted]


async def test_a_stop_ends_the_wait_for_the_skills_of_a_new_definition(tmp_path: Path) -> None:
    desk, work = FakeDesk(), Work()
    own = World(tmp_path, two_steps, (expert("lead"),), skills=work.skills, desk=desk)

    def take() -> None:
        own.skills.slow_start = anyio.Event()
        desk.helms[LEAD].take_definition({LEAD: newer()}, "ana")

    def opening() -> None:
        if len(own.skills.opened) == 2:
            own.control.stop("signal")

    at_first_call(own, take)
    own.skills.on_opening = opening
    assert (await own.start()).outcome.ending == "stopped"
    assert refused(own) == [("definition", "the run was stopped before that")]
    assert of_order(own) == ["refuseOrder", "suspendRun"]


async def test_an_order_that_a_stop_overtakes_is_refused_and_those_after_it_as_well(
    tmp_path: Path,
) -> None:
    desk, work = FakeDesk(), Work()
    own = World(tmp_path, two_steps, (expert("lead"),), skills=work.skills, desk=desk)

    def order() -> None:
        desk.helms[LEAD].take_definition({LEAD: newer()}, "ana")
        desk.helms[LEAD].steer("and hurry", "ben")

    def opened() -> None:
        if len(own.skills.opened) == 2:
            own.control.stop("user")

    at_first_call(own, order)
    own.skills.at_the_end_of_opening = opened
    assert (await own.start()).outcome.ending == "stopped"
    assert refused(own) == [
        ("definition", "the run was stopped before that"),
        ("steer", "the run ended before that"),
    ]
    assert not [e for e in own.heard.events if isinstance(e.body, TakeDefinition)]
    assert len(own.skills.closed) == 2

    again = World(tmp_path, two_steps, (expert("lead"),), skills=work.skills)
    assert (await again.go_on(Continuation())).outcome.text == "the result"


async def test_a_definition_that_was_opened_in_time_is_stopped_and_closed_like_any_other(
    tmp_path: Path,
) -> None:
    desk, work = FakeDesk(), Work()
    own = World(tmp_path, two_steps, (expert("lead"),), skills=work.skills, desk=desk)

    def heard(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            desk.helms[LEAD].take_definition({LEAD: newer()}, "ana")
        if event.body.type == "takeDefinition":
            own.control.stop("user")

    own.heard.on = heard
    assert (await own.start()).outcome.ending == "stopped"
    assert of_order(own) == ["takeDefinition", "suspendRun"]
    assert len(own.skills.closed) == 2


# ---------------------------------------------------------------- limits


def budget(tokens: int | None = None, usd: float | None = None) -> BudgetSettings:
    return BudgetSettings(max_tokens=tokens, max_cost_usd=usd)


def test_what_nobody_raised_can_be_lowered_and_what_was_typed_counts() -> None:
    first = Limits(max_steps=100, budget=budget(tokens=1_000))
    more = Raise(max_steps=50)
    raised = also_raised(None, more, Limits(max_steps=150, budget=budget(tokens=1_000)))
    assert raised == SomeLimits(max_steps=150)
    lowered = Limits(max_steps=20, budget=budget(tokens=50))
    assert at_least(lowered, raised) == Limits(max_steps=150, budget=budget(tokens=50))
    assert at_least(first, but_typed(raised, SomeLimits(max_steps=20))) == first
    both = also_raised(raised, Raise(max_tokens=9), Limits(max_steps=150, budget=budget(59)))
    assert both == SomeLimits(max_steps=150, budget=budget(59))
    assert but_typed(both, SomeLimits(max_steps=1)) == SomeLimits(budget=budget(59))
    assert (
        also_raised(None, Raise(max_tokens=9), first.model_copy(update={"budget": budget()}))
        is None
    )


def endless(_: ModelRequest, turn: int) -> Generation:
    return says(f"turn {turn}", ("wipe", {}))


async def test_a_raise_keeps_no_other_limit_up_and_what_is_typed_counts(tmp_path: Path) -> None:
    def world(steps: int, tokens: int | None) -> World:
        made = World(tmp_path, endless, (expert("lead"),), skills=Work().skills, max_steps=steps)
        made.budget = budget(tokens=tokens)
        return made

    first = await world(2, 10_000).start()
    assert first.outcome.ending == "limit"
    more = await world(2, 60).go_on(Continuation(more=Raise(max_steps=100)))
    assert more.outcome.overrun is not None
    assert more.outcome.overrun.allowed == 60
    own = world(6, None)
    assert (await own.history.get_job(first.job_id)).raised == SomeLimits(max_steps=102)
    typed = await own.go_on(Continuation(typed=SomeLimits(max_steps=6)))
    assert (typed.outcome.ending, typed.spent.steps) == ("limit", 6)
    job = await own.history.get_job(first.job_id)
    assert (job.max_steps, job.raised) == (6, None)
