"""Following: what this and other processes do is seen, whole, in order and once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from perstack.domain.events import Delta, Event, StartGeneration, StartRun
from perstack.domain.ids import JobId, RunId
from perstack.ports.history import FeedBatch, Presence
from perstack.storage.history import feeds
from tests.fakes.history import append_to, delta, history, job, setting
from tests.fakes.history_process import Driver, start_driver

pytestmark = pytest.mark.anyio

JOB = JobId("job1")
RUN = RunId("run1")


class Seen:
    """Everything a follower was told."""

    def __init__(self, batches: AsyncGenerator[FeedBatch, None]) -> None:
        self._batches = batches
        self.events: list[Event] = []
        self.presences: list[Presence] = []
        self.deltas: list[Delta] = []
        self.damaged: list[tuple[RunId, str]] = []
        self.caught_up = False

    async def until(self, condition: Callable[[Seen], bool]) -> None:
        """Take batches until the condition holds, for at most 20 s."""
        with anyio.fail_after(20):
            while not condition(self):
                self._take(await anext(self._batches))

    async def seqs(self, count: int) -> list[int]:
        """Return the numbers of the events once there are `count`."""
        await self.until(lambda seen: len(seen.events) >= count)
        return [event.seq for event in self.events]

    @property
    def last(self) -> dict[JobId, Presence]:
        return {presence.job.id: presence for presence in self.presences}

    def alive(self, job_id: str = "job1") -> bool:
        presence = self.last.get(JobId(job_id))
        return presence is not None and presence.alive

    def gone(self, job_id: str = "job1") -> bool:
        presence = self.last.get(JobId(job_id))
        return presence is not None and not presence.alive

    def _take(self, batch: FeedBatch) -> None:
        assert batch.caught_up or not self.caught_up
        self.caught_up = batch.caught_up
        self.events.extend(batch.events)
        self.presences.extend(batch.presences)
        self.deltas.extend(batch.deltas)
        self.damaged.extend(batch.damaged)


@asynccontextmanager
async def following(
    workspace: Path, *, job_id: JobId | None = None, backlog_jobs: int = 50
) -> AsyncGenerator[Seen]:
    """Follow, past the backlog."""
    batches = history(workspace).follow(job_id=job_id, backlog_jobs=backlog_jobs)
    async with aclosing(batches):
        seen = Seen(batches)
        await seen.until(lambda seen: seen.caught_up)
        yield seen


@pytest.fixture
def zombie() -> Generator[int]:
    """The id of a process that has ended and that nobody has asked for."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


async def come_true(condition: Callable[[], bool]) -> None:
    """Wait for the condition, for at most 20 s."""

    def look() -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.005)

    await to_thread.run_sync(look)


def leave_live_file(workspace: Path, *, pid: int, host: str, age_s: int = 0) -> None:
    path = workspace / "perstack/live/job1.jsonl"
    path.write_text(f'{{"part":"a","pid":{pid},"host":"{host}","startedAt":1}}\n')
    then = time.time() - age_s
    os.utime(path, (then, then))


async def write_job(workspace: Path, job_id: str, count: int) -> None:
    async with history(workspace).create_job(job(job_id)) as held:
        append_to(await held.create_run(setting(job_id=job_id)), count)


async def test_the_backlog_comes_newest_first_and_then_caught_up(tmp_path: Path) -> None:
    for number, name in enumerate(("old", "middle", "new")):
        await write_job(tmp_path, name, 4)
        for file in ("lock", "job.json"):
            os.utime(tmp_path / "perstack/jobs" / name / file, (1000 + number, 1000 + number))

    async with following(tmp_path, backlog_jobs=2) as seen:
        assert [presence.job.id for presence in seen.presences] == ["new", "middle"]
        assert [(event.job_id, event.seq) for event in seen.events] == [
            *(("new", seq) for seq in range(4)),
            *(("middle", seq) for seq in range(4)),
        ]
        assert not any(presence.alive for presence in seen.presences)


async def test_an_empty_workspace_is_caught_up_at_once_and_then_watched(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        assert seen.presences == []
        await write_job(tmp_path, "job1", 7)
        assert await seen.seqs(7) == list(range(7))
        await seen.until(lambda seen: seen.gone())


async def test_another_process_is_seen_live(tmp_path: Path) -> None:
    async with following(tmp_path) as seen, start_driver(tmp_path) as driver:
        assert await driver.tell("create job1") == f"held {driver.process.pid}"
        await seen.until(lambda seen: seen.alive())
        assert seen.last[JOB].pid == driver.process.pid

        await driver.tell("run")
        await driver.tell("append 4")
        assert await seen.seqs(4) == [0, 1, 2, 3]

        await driver.tell("say delta hello")
        await seen.until(lambda seen: len(seen.deltas) == 1)
        assert seen.deltas == [delta("hello")]

        await driver.tell("complete")
        await seen.until(lambda seen: seen.last[JOB].job.status == "completed")
        assert seen.alive()

        assert await driver.tell("release") == "released"
        await seen.until(lambda seen: seen.gone())


async def test_a_process_that_began_before_is_seen_from_its_beginning(tmp_path: Path) -> None:
    async with start_driver(tmp_path) as driver:
        for command in ("create job1", "run", "append 4"):
            await driver.tell(command)
        async with following(tmp_path) as seen:
            assert seen.alive()
            assert len(seen.events) == 4
            await driver.tell("append 3")
            assert await seen.seqs(7) == list(range(7))


async def test_a_killed_process_is_noticed_and_its_events_are_all_there(tmp_path: Path) -> None:
    async with following(tmp_path) as seen, start_driver(tmp_path) as driver:
        for command in ("create job1", "run", "append 5"):
            await driver.tell(command)
        await seen.until(lambda seen: seen.alive())
        await driver.kill()

        await seen.until(lambda seen: seen.gone())
        assert await seen.seqs(5) == list(range(5))
        assert seen.damaged == []


async def test_a_killed_process_is_noticed_while_another_keeps_the_follower_busy(
    tmp_path: Path,
) -> None:
    async with (
        following(tmp_path) as seen,
        start_driver(tmp_path) as doomed,
        start_driver(tmp_path) as other,
    ):
        await doomed.tell("create job1")
        for command in ("create job2", "run"):
            await other.tell(command)
        await seen.until(lambda seen: seen.alive() and seen.alive("job2"))
        async with anyio.create_task_group() as group:
            group.start_soon(_keep_busy, other)
            await doomed.kill()
            await seen.until(lambda seen: seen.gone())
            group.cancel_scope.cancel()
        assert seen.alive("job2")


async def _keep_busy(driver: Driver) -> None:
    while True:
        await driver.tell("append 1")


async def test_a_process_that_was_not_waited_for_is_not_alive(tmp_path: Path, zombie: int) -> None:
    await write_job(tmp_path, "job1", 1)
    leave_live_file(tmp_path, pid=zombie, host=socket.gethostname())

    async with following(tmp_path) as seen:
        assert seen.last[JOB].pid == zombie
        assert seen.gone()


@pytest.mark.parametrize(("age_s", "alive"), [(0, True), (9, True), (11, False)])
async def test_on_another_machine_the_heartbeat_alone_tells(
    tmp_path: Path, age_s: int, alive: bool
) -> None:
    await write_job(tmp_path, "job1", 1)
    leave_live_file(tmp_path, pid=2**30, host="elsewhere", age_s=age_s)

    async with following(tmp_path) as seen:
        assert seen.alive() == alive
        assert seen.last[JOB].host == "elsewhere"


async def test_while_a_job_is_driven_its_heart_beats(tmp_path: Path) -> None:
    live = tmp_path / "perstack/live/job1.jsonl"
    async with history(tmp_path).create_job(job()):
        os.utime(live, (1000, 1000))
        await come_true(lambda: live.stat().st_mtime != 1000)
    assert not live.exists()


async def test_what_a_killed_process_left_torn_is_told_then_mended_by_the_next(
    tmp_path: Path,
) -> None:
    log = tmp_path / "perstack/jobs/job1/runs/run1/events.jsonl"
    async with following(tmp_path) as seen:
        async with start_driver(tmp_path) as driver:
            for command in ("create job1", "run", "append 5"):
                await driver.tell(command)
            await seen.until(lambda seen: seen.alive())
            with log.open("ab") as file:
                file.write(b'{"seq":5,"ti')
            await driver.kill()
        await seen.until(lambda seen: seen.damaged != [])
        assert seen.damaged == [
            (RUN, "last record of run run1 was incomplete and was dropped (12 bytes)")
        ]
        async with history(tmp_path).drive_job(JOB) as held:
            append_to((await held.reopen_run(RUN))[1], 3)
        assert await seen.seqs(8) == list(range(8))


async def test_a_job_that_is_over_before_anybody_looks_is_seen_whole(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        for number in range(20):
            await write_job(tmp_path, f"job{number}", 3)
        await seen.seqs(60)
        await seen.until(lambda seen: all(seen.gone(f"job{number}") for number in range(20)))

    for number in range(20):
        own = [event.seq for event in seen.events if event.job_id == f"job{number}"]
        assert own == [0, 1, 2]


async def test_a_live_file_that_begins_anew_loses_no_event(tmp_path: Path) -> None:
    async with following(tmp_path) as seen, history(tmp_path).create_job(job()) as held:
        log = await held.create_run(setting())
        for number in range(12):
            held.say(delta("x" * 300_000))
            log.append(StartGeneration(), step_number=number)
            assert await seen.seqs(number + 1) == list(range(number + 1))

        held.say(delta("after"))
        await seen.until(lambda seen: seen.deltas[-1:] == [delta("after")])
        assert (tmp_path / "perstack/live/job1.jsonl").stat().st_size < 1024 * 1024


async def test_who_comes_late_is_shown_only_the_text_that_still_streams(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        await held.create_run(setting())
        for kind, text in (("start", ""), ("delta", "old"), ("end", "old"), ("start", "")):
            held.say(delta(text, kind=kind))
        held.say(delta("still "))
        live = tmp_path / "perstack/live/job1.jsonl"
        await come_true(lambda: b"still " in live.read_bytes())
        async with following(tmp_path) as seen:
            assert seen.deltas == [delta("", kind="start"), delta("still ")]
            held.say(delta("coming"))
            await seen.until(lambda seen: len(seen.deltas) == 3)


async def test_one_job_can_be_followed_before_it_exists(tmp_path: Path) -> None:
    async with following(tmp_path, job_id=JOB) as seen:
        await write_job(tmp_path, "other", 3)
        await write_job(tmp_path, "job1", 4)
        await write_job(tmp_path, "another", 3)
        await seen.seqs(4)
        await seen.until(lambda seen: seen.gone())

    assert {event.job_id for event in seen.events} == {JOB}
    assert {presence.job.id for presence in seen.presences} == {JOB}


async def test_a_damaged_record_in_the_middle_is_told_with_what_is_before_it(
    tmp_path: Path,
) -> None:
    await write_job(tmp_path, "job1", 9)
    log = tmp_path / "perstack/jobs/job1/runs/run1/events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:4], b"garbage\n", *lines[5:]]))

    async with following(tmp_path) as seen:
        assert [event.seq for event in seen.events] == [0, 1, 2, 3]
        [(run_id, message)] = seen.damaged
    assert run_id == RUN
    assert "events.jsonl, line 5 is damaged" in message


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is behind read some three events at a time."""
    monkeypatch.setattr(feeds, "PIECE_BYTES", 1_000)


@pytest.mark.usefixtures("small_pieces")
async def test_a_long_history_comes_in_pieces_and_what_is_being_said_after_it(
    tmp_path: Path,
) -> None:
    async with history(tmp_path).create_job(job("job1")) as held:
        log = await held.create_run(setting(job_id="job1"))
        append_to(log, 60)
        await log.sync()
        held.say(delta("", kind="start"))
        held.say(delta("so far"))
        live = tmp_path / "perstack/live/job1.jsonl"
        await come_true(lambda: b"so far" in live.read_bytes())
        batches = history(tmp_path).follow()
        async with aclosing(batches):
            found: list[FeedBatch] = []
            with anyio.fail_after(20):
                while not (found and found[-1].caught_up):
                    found.append(await anext(batches))
            seqs = [event.seq for batch in found for event in batch.events]
            assert seqs == list(range(60))
            assert sum(1 for batch in found if batch.events) > 5
            said = [at for at, batch in enumerate(found) if batch.deltas]
            last = max(at for at, batch in enumerate(found) if batch.events)
            assert said == [last]
            append_to(log, 30)
            seen = Seen(batches)
            assert await seen.seqs(30) == list(range(60, 90))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("at", range(0, 60, 7))
async def test_damage_is_found_wherever_in_its_piece_it_is(tmp_path: Path, at: int) -> None:
    await write_job(tmp_path, "job1", 60)
    path = tmp_path / "perstack/jobs/job1/runs/run1/events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:at], b"garbage\n", *lines[at + 1 :]]))
    async with following(tmp_path) as seen:
        assert [event.seq for event in seen.events] == list(range(at))
        [(_, message)] = seen.damaged
    assert f"events.jsonl, line {at + 1} is damaged" in message


@pytest.mark.usefixtures("small_pieces")
async def test_a_record_longer_than_a_piece_is_read_whole(tmp_path: Path) -> None:
    long = StartRun.model_validate(
        {
            "checkpointId": "c0",
            "status": "init",
            "expert": {"key": "writer", "name": "writer", "version": "1.0.0"},
            "inputMessages": [
                {
                    "type": "userMessage",
                    "id": "m0",
                    "contents": [{"type": "textPart", "text": "x" * 9_000}],
                }
            ],
        }
    )
    async with history(tmp_path).create_job(job("job1")) as held:
        log = await held.create_run(setting(job_id="job1"))
        log.append(long, step_number=1)
        append_to(log, 20)
    async with following(tmp_path) as seen:
        assert [event.seq for event in seen.events] == list(range(21))
        assert seen.damaged == []


async def test_a_removed_folder_is_watched_again(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        await write_job(tmp_path, "job1", 3)
        await seen.until(lambda seen: seen.gone())
        shutil.rmtree(tmp_path / "perstack")
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(seen.until, partial(Seen.gone, job_id="job2"))
                await come_true((tmp_path / "perstack/live").exists)
                await write_job(tmp_path, "job2", 3)


async def test_strange_files_in_the_live_folder_do_no_harm(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        live = tmp_path / "perstack/live"
        for name in ("..jsonl", "a b.jsonl", "unknown.jsonl", "notes.txt", "job1.jsonl"):
            (live / name).write_bytes(b'{"pid":1}\nnonsense\n\xff\n{"r":"../../x","n":1}\n')
        (live / "folder.jsonl").mkdir()
        await write_job(tmp_path, "job2", 3)
        assert await seen.seqs(3) == [0, 1, 2]


async def test_a_stranger_among_the_pings_is_not_opened(tmp_path: Path) -> None:
    async with following(tmp_path) as seen, history(tmp_path).create_job(job()) as held:
        log = await held.create_run(setting())
        with (tmp_path / "perstack/live/job1.jsonl").open("ab") as file:
            file.write(b'{"r":"../../../../x","n":1}\n{"r":"nobody","n":1}\n{"d":{}}\n')
        append_to(log, 3)
        assert await seen.seqs(3) == [0, 1, 2]
        assert seen.damaged == []


async def test_following_ends_when_cancelled(tmp_path: Path) -> None:
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        async with following(tmp_path) as seen, anyio.create_task_group() as group:
            group.start_soon(seen.seqs, 1)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()

    assert scope.cancelled_caught


async def test_two_followers_see_the_same(tmp_path: Path) -> None:
    async with following(tmp_path) as one, following(tmp_path) as two:
        await write_job(tmp_path, "job1", 8)
        assert await one.seqs(8) == await two.seqs(8) == list(range(8))
