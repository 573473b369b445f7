"""Crashes, full disks, strange clocks and big results, under a whole team that works."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import CompleteRun
from perstack.engine.control import StopControl
from perstack.errors import ConflictError, NotFoundError, StorageError
from perstack.ports.frontend import Continuation
from perstack.ports.model import ModelRequest
from perstack.ports.system import RandomIds
from perstack.projection.event_facts import made_checkpoint
from perstack.projection.run_state import RunState
from tests.fakes.engine import FakeSkills, Reply, World, done, expert, says
from tests.fakes.history import FaultyFiles, Killed
from tests.fakes.stories import (
    Item,
    Script,
    Stage,
    Story,
    SyncNoting,
    Turn,
    conversation,
    crashed,
    differences,
)

pytestmark = pytest.mark.anyio


async def noted(_: Mapping[str, JsonValue]) -> str:
    return "noted"


def turns(*all_items: tuple[Item, ...]) -> tuple[Turn, ...]:
    return tuple(Turn(items) for items in all_items)


FOUR: Final = Story(
    lead=Script(turns(("a", "b", "a", "b"), ("note",)), "done"),
    a=Script(turns(("note",), ("note",)), "done"),
    b=Script(
        turns(
            ("note",),
        ),
        "text",
    ),
)
EVERY_KIND: Final = Story(
    lead=Script(turns(("note", "a", "wipe", "ask"), ("look", "nobody")), "done"),
    a=Script(
        turns(
            ("note", "b"),
        ),
        "done",
    ),
    b=Script(
        turns(
            ("note",),
        ),
        "silent",
    ),
)


# -------------------------------------------------------------------- crashes: D14


async def check_one_crash(stage: Stage, after: int, target: Path, torn: float) -> None:
    job_id = (await stage.world.history.list_jobs())[0].id
    told = await stage.state(job_id)
    crashed(stage, after, torn, target)
    finished = {
        event.run_id
        for event in stage.world.heard.events[:after]
        if isinstance(event.body, CompleteRun)
    }
    again = Stage(target, FOUR, stage.world.gate)
    state = await again.play_on(job_id)
    assert finished.isdisjoint(request.run_id for request in again.world.model.requests)
    assert differences(conversation(told), conversation(state)) == []
    made = [key for key, _ in again.effects.made]
    assert stage.effects.by_then(after).isdisjoint(made)
    assert len(made) == len(set(made))


@pytest.mark.parametrize(
    "every", [9, pytest.param(1, marks=pytest.mark.long)], ids=["sampled", "each"]
)
async def test_killed_while_four_delegates_run_what_was_finished_is_not_run_again(
    tmp_path: Path, every: int
) -> None:
    stage = Stage(tmp_path / "told", FOUR)
    await stage.play()
    assert len(stage.cuts) > 80
    for after in range(1, len(stage.cuts) + 1, every):
        await check_one_crash(stage, after, tmp_path / str(after), torn=after % 3 / 2)


# -------------------------------------------------------------------- disks: D5


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize(
    "every", [17, pytest.param(1, marks=pytest.mark.long)], ids=["sampled", "each"]
)
async def test_a_disk_that_fails_at_any_operation_stops_the_job_which_goes_on_later(
    tmp_path: Path, sticky: bool, every: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    _, told = await Stage(tmp_path / "told", EVERY_KIND).play()
    at, struck = 1, True
    said: list[StorageError] = []
    while struck:
        stage = Stage(tmp_path / str(at), EVERY_KIND)
        gate = stage.world.gate
        files = FaultyFiles(at=at, error=errno.ENOSPC, sticky=sticky, torn=at % 2 == 0)
        broken = Stage(tmp_path / str(at), EVERY_KIND, gate, files=files)
        try:
            await broken.play()
        except StorageError as refused:
            said.append(refused)
        struck = files.struck
        state = await _to_the_end(stage)
        assert differences(conversation(told), conversation(state)) == []
        at += every
    assert len(said) > at / every / 2
    assert all(refused.hint for refused in said)


async def _to_the_end(stage: Stage) -> RunState:
    found = await stage.world.history.find_latest_job()
    if found is None:
        return (await stage.play())[1]
    try:
        return await stage.play_on(found.id)
    except NotFoundError:  # the disk was full before the first run was begun
        await stage.world.go_on(Continuation(job_id=found.id, text="go"))
        return await stage.play_on(found.id)


# -------------------------------------------------------------------- kills: D2 and D3


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize(
    "every", [23, pytest.param(1, marks=pytest.mark.long)], ids=["sampled", "each"]
)
@pytest.mark.timeout(300)
async def test_killed_before_any_operation_on_a_file_a_team_goes_on_to_the_same_end(
    tmp_path: Path, every: int, torn: bool
) -> None:
    _, told = await Stage(tmp_path / "told", EVERY_KIND).play()
    at, struck, kills = 1, True, 0
    while struck:
        stage = Stage(tmp_path / str(at), EVERY_KIND)
        files = FaultyFiles(at=at, torn=torn)
        broken = Stage(tmp_path / str(at), EVERY_KIND, stage.world.gate, files=files)
        kills += await dies(broken)
        struck = files.struck
        state = await _to_the_end(stage)
        assert differences(conversation(told), conversation(state)) == []
        made = broken.effects.by_then(broken.effects.heard)
        assert made.isdisjoint(key for key, _ in stage.effects.made)
        at += every
    assert kills >= at / every - 2


async def dies(stage: Stage) -> bool:
    """Play the story; tell whether its program was killed before the end."""
    try:
        await stage.play()
    except Killed:
        return True
    except BaseExceptionGroup as group:
        if not only_killed(group):
            raise
        return True
    return False


def only_killed(group: BaseExceptionGroup[BaseException]) -> bool:
    """Whether nothing else was raised in all its tasks."""
    return group.split(Killed)[1] is None


# -------------------------------------------------------------------- forks: D13


async def test_from_each_of_30_checkpoints_a_fork_finishes_and_the_past_stays(
    tmp_path: Path,
) -> None:
    world = World(
        tmp_path,
        lambda _, turn: says("", ("note", {})) if turn < 30 else done("the end"),
        (expert("host"),),
        skills=FakeSkills({"note": noted}),
        max_steps=10_000,
    )
    ended = await world.start()
    points = list(dict.fromkeys(map(made_checkpoint, world.heard.events)))
    past = sorted(tmp_path.glob("perstack/jobs/*/runs/*/*"))
    hashes = [hashlib.sha256(path.read_bytes()).digest() for path in past]
    forked = [point for point in points if point is not None]
    assert len(forked) == 30
    for point in forked:
        again = Continuation(job_id=ended.job_id, checkpoint_id=point, text="once more")
        assert (await world.go_on(again)).outcome.text == "the end"
    assert [hashlib.sha256(path.read_bytes()).digest() for path in past] == hashes
    assert len(await world.history.list_runs(ended.job_id)) == 31


async def test_what_a_fork_goes_back_to_is_on_the_disk_whoever_wrote_it(tmp_path: Path) -> None:
    ended = await World(tmp_path, lambda _, __: says("one"), (expert("host"),)).start()
    files = SyncNoting(tmp_path)
    files.synced.clear()  # whoever wrote it was killed before it was synced
    world = World(tmp_path, lambda _, __: says("two"), (expert("host"),), files=files)
    forked = await world.go_on(Continuation(job_id=ended.job_id, text="and?"))
    parent = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}/events.jsonl"
    assert forked.run_id != ended.run_id
    assert files.synced[parent] == parent.stat().st_size


# -------------------------------------------------------------------- races: D12


@pytest.mark.parametrize("rounds", [20, pytest.param(100, marks=pytest.mark.long)])
async def test_of_two_that_go_on_at_once_one_does_each_time(tmp_path: Path, rounds: int) -> None:
    world, other = (
        World(tmp_path, lambda _, turn: says(f"answer {turn}"), (expert("host"),), max_steps=1_000)
        for _ in range(2)
    )
    wanted = Continuation(job_id=(await world.start()).job_id, text="and?")
    endings: list[str] = []

    async def one(of: World) -> None:
        try:
            endings.append((await of.go_on(wanted)).outcome.ending)
        except ConflictError as refused:
            endings.append(f"exit {refused.exit_code}")

    for _ in range(rounds):
        endings.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(one, world)
            group.start_soon(one, other)
        # One may have ended before the other began.
        assert sorted(endings) in (["completed", "exit 4"], ["completed", "completed"])


# -------------------------------------------------------------------- clocks and ids: D15 and D16


class Leaping:
    """A clock that leaps by the next of `leaps` (ms) each time somebody looks, over and over."""

    def __init__(self, *leaps: int) -> None:
        self.leaps = leaps
        self.looks = 0
        self.at = 1_790_000_000_000

    def now_ms(self) -> int:
        self.at += self.leaps[self.looks % len(self.leaps)]
        self.looks += 1
        return self.at


HOUR: Final = 3_600_000


@pytest.mark.parametrize(
    "leaps",
    [(0,), (1, -HOUR), (-HOUR, -HOUR, -HOUR), (5, 365 * 24 * HOUR)],
    ids=["stands still", "back and forth", "backwards", "a year ahead"],
)
async def test_whatever_the_clock_does_order_and_durations_hold(
    tmp_path: Path, leaps: tuple[int, ...]
) -> None:
    stage = Stage(tmp_path, EVERY_KIND, clock=Leaping(*leaps))
    job_id, told = await stage.play()
    job = await stage.world.history.get_job(job_id)
    assert job.finished_at is not None
    assert job.finished_at >= job.started_at
    assert 0 <= job.driven_ms < 60_000
    for setting in await stage.world.history.list_runs(job_id):
        events = (await stage.world.history.read_run(job_id, setting.run_id)).events
        assert [event.seq for event in events] == list(range(len(events)))
        assert all(a.timestamp <= b.timestamp for a, b in pairwise(events))
    again = Continuation(job_id=job_id, checkpoint_id=told.checkpoint_id, text="again")
    assert (await stage.world.go_on(again)).outcome.ending == "completed"


async def test_two_jobs_in_one_workspace_touch_no_file_of_each_other(tmp_path: Path) -> None:
    one, other = Stage(tmp_path, FOUR), Stage(tmp_path, FOUR)
    one.world.heard.on = other.world.heard.on = None
    async with anyio.create_task_group() as group:
        group.start_soon(one.world.start)
        group.start_soon(other.world.start)
    first, second = await one.world.history.list_jobs()
    assert (first.status, second.status) == ("completed", "completed")
    runs = [
        {setting.run_id for setting in await one.world.history.list_runs(job.id)}
        for job in (first, second)
    ]
    heard = [{event.run_id for event in stage.world.heard.events} for stage in (one, other)]
    assert sorted(map(sorted, runs)) == sorted(map(sorted, heard))
    assert runs[0].isdisjoint(runs[1])


def test_ten_thousand_ids_are_all_different_and_safe_as_names() -> None:
    ids = RandomIds()
    made = {ids.new() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(re.fullmatch("[a-z][a-z0-9]{23}", one) for one in made)


# -------------------------------------------------------------------- size: D20


async def test_big_results_are_on_the_disk_once_however_often_the_job_goes_on(
    tmp_path: Path,
) -> None:
    steps, size = 20, 1_000_000

    async def big(args: Mapping[str, JsonValue]) -> str:
        return f"{args['n']:>9}" * (size // 9)

    def mind(_: ModelRequest, turn: int) -> Reply:
        return says("", ("big", {"n": turn})) if turn <= steps else done("the end")

    world = World(tmp_path, mind, (expert("host"),), skills=FakeSkills({"big": big}))
    world.heard.on = lambda event: (
        world.control.stop("signal")
        if event.body.type == "continueToNextStep" and event.step_number % 5 == 0
        else None
    )
    ended = await world.start()
    while ended.outcome.ending == "stopped":
        world.control = StopControl()
        ended = await world.go_on(Continuation(job_id=ended.job_id))
    points = [point for point in map(made_checkpoint, world.heard.events) if point is not None]
    for point in points[2::7]:
        again = Continuation(job_id=ended.job_id, checkpoint_id=point, text="leave it there")
        world.model.mind = lambda _, __: says("as you wish")
        assert (await world.go_on(again)).outcome.ending == "completed"
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert stored < 1.1 * steps * size
