"""What a job cost is what its events say it cost, whatever happened to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.ids import CheckpointId, JobId
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, ModelPrice, Usage
from perstack.engine.control import StopControl
from perstack.errors import PerstackError
from perstack.ports.frontend import Continuation
from perstack.ports.history import FeedBatch
from perstack.ports.model import Generation, ModelRequest
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.workspace import WorkspaceFold
from tests.fakes.engine import FakeSkills, Heard, World, done, expert, says

pytestmark = pytest.mark.anyio

End = tuple[str, int]

PRICE: Final = ModelPrice(input=3, output=15, cached_input=0.3)


async def work(_: Mapping[str, JsonValue]) -> str:
    return "worked"


def used(tokens_in: int, tokens_out: int, *, cached: int = 0, written: int = 0) -> Usage:
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        total_tokens=tokens_in + tokens_out,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )


class Mind:
    """A lead that works, delegates twice and is done; now and then an answer is of no use."""

    def __init__(self, useless: frozenset[int]) -> None:
        self.useless = useless
        self.asked = 0

    def __call__(self, request: ModelRequest, turn: int) -> Generation:
        self.asked += 1
        answer = self._answer(request, turn)
        if self.asked in self.useless:
            answer = Generation((), "refusal" if self.asked % 7 == 0 else "stop", NO_USAGE)
        # Cached tokens have a price and written ones have none, so that some costs are unknown.
        written = 5 if self.asked % 11 == 0 else 0
        spent = used(100 * turn, 7 + self.asked, cached=10 * (turn % 2), written=written)
        return Generation(answer.parts, answer.finish, spent)

    def _answer(self, request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "helper":
            return says("", ("work", {})) if turn == 1 else done("helped")
        match turn:
            case 1:
                return says("", ("work", {}))
            case 2:
                return says("", ("helper", {"query": "a"}), ("helper", {"query": "b"}))
            case _:
                return done("all done")


def a_world(path: Path, useless: frozenset[int] = frozenset()) -> World:
    world = World(
        path,
        Mind(useless),
        (expert("lead", "helper"), expert("helper")),
        skills=FakeSkills({"work": work}),
        max_retries=3,
    )
    world.model.price = PRICE
    return world


async def events_of(world: World, job_id: JobId) -> list[Event]:
    found: list[Event] = []
    for setting in await world.history.list_runs(job_id):
        found += (await world.history.read_run(job_id, setting.run_id)).events
    return found


def sum_of(events: list[Event]) -> Cost:
    total = NO_COST
    for event in events:
        usage, usd = spent_by(event.body)
        total = total if usage == NO_USAGE else total.plus(usd)
    return total


def same(one: Cost, other: Cost) -> bool:
    return one.partial == other.partial and math.isclose(one.usd, other.usd, abs_tol=1e-12)


async def drive(world: World, wanted: Continuation | None, end: End | None) -> None:
    """Start or go on; "stop" it, or "kill" what drives it, after so many events."""
    world.control, world.heard = StopControl(), Heard()
    kind, after = end or ("", 0)
    with anyio.CancelScope() as scope:

        def count(_: Event) -> None:
            if end is not None and len(world.heard.events) == after:
                scope.cancel() if kind == "kill" else world.control.stop("user")

        world.heard.on = count
        with suppress(PerstackError):  # There may be nothing to go on with.
            await (world.start() if wanted is None else world.go_on(wanted))


ENDS = st.tuples(st.sampled_from(["stop", "kill"]), st.integers(1, 40))
FATES = st.tuples(
    st.lists(ENDS, max_size=3),
    st.lists(st.tuples(st.integers(0, 30), st.none() | ENDS), max_size=2),
    st.frozensets(st.integers(1, 25), max_size=5),
)


async def live_through(world: World, ends: list[End], forks: list[tuple[int, End | None]]) -> JobId:
    """Start a job, interrupt it at `ends`, go on, fork it, and let it come to its end."""
    await drive(world, None, ends[0] if ends else None)
    job = await world.history.find_latest_job()
    assert job is not None
    for end in (*ends[1:], None):
        await drive(world, Continuation(job_id=job.id, text="go on"), end)
    for place, end in forks:
        if points := await coordinators_points(world, job.id):
            point = points[place % len(points)]
            wanted = Continuation(job_id=job.id, checkpoint_id=point, text="once more")
            await drive(world, wanted, end)
    await drive(world, Continuation(job_id=job.id, text="finish"), None)
    return job.id


async def check_cost(
    fate: tuple[list[End], list[tuple[int, End | None]], frozenset[int]],
) -> None:
    ends, forks, useless = fate
    with TemporaryDirectory() as folder:
        world = a_world(Path(folder), useless)
        job_id = await live_through(world, ends, forks)
        job = await world.history.get_job(job_id)
        events = await events_of(world, job_id)
    assert same(job.cost, sum_of(events))
    assert same(shown(events), sum_of(events))
    assert sum_of(events).usd > 0


@settings(max_examples=6, deadline=None)
@given(FATES)
async def test_a_jobs_cost_is_the_sum_over_its_events_however_it_was_interrupted_and_forked(
    fate: tuple[list[End], list[tuple[int, End | None]], frozenset[int]],
) -> None:
    await check_cost(fate)


@pytest.mark.long
@pytest.mark.timeout(240)
@settings(max_examples=40, deadline=None)
@given(FATES)
async def test_a_jobs_cost_is_the_sum_over_its_events_with_many_more_fates(
    fate: tuple[list[End], list[tuple[int, End | None]], frozenset[int]],
) -> None:
    await check_cost(fate)


async def coordinators_points(world: World, job_id: JobId) -> list[CheckpointId]:
    found: list[CheckpointId] = []
    for setting in await world.history.list_runs(job_id):
        if setting.delegated_by is None:
            stored = await world.history.read_run(job_id, setting.run_id)
            found += [made for event in stored.events if (made := made_checkpoint(event))]
    return found


def shown(events: list[Event]) -> Cost:
    """What the cockpit shows of the job that these events are of."""
    fold = WorkspaceFold()
    fold.apply(FeedBatch(events=tuple(sorted(events, key=lambda event: event.timestamp))))
    (job,) = fold.view().jobs
    return job.cost


async def test_delegated_runs_add_to_the_job_once(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    ended = await world.start()
    job = await world.history.get_job(ended.job_id)
    # lead 3 generations, helper 2 in each of 2 runs
    assert len(world.model.requests) == 7
    assert same(job.cost, sum_of(world.heard.events))
    assert same(ended.spent.cost, job.cost)
    assert ended.spent.usage == job.usage


async def test_an_answer_that_could_not_be_used_is_paid_for_all_the_same(tmp_path: Path) -> None:
    def refuses(_: ModelRequest, __: int) -> Generation:
        return Generation((), "refusal", used(1_000_000, 0))

    world = World(tmp_path, refuses, (expert("lead"),))
    world.model.price = PRICE
    ended = await world.start()
    assert ended.outcome.ending == "failed"
    assert ended.spent.cost == Cost(usd=3.0)
    assert sum_of(world.heard.events) == Cost(usd=3.0)


async def test_without_a_price_nothing_is_made_up(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    world.model.price = None
    ended = await world.start()
    assert ended.spent.cost == Cost(usd=0, partial=True)
