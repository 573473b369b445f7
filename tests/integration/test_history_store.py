"""What the history promises to whoever writes and reads it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import anyio
import pytest

from perstack.domain.events import Event, StartGeneration
from perstack.domain.ids import JobId, RunId
from perstack.errors import (
    ConflictError,
    CorruptRecordError,
    NotFoundError,
    StorageError,
    UsageError,
)
from perstack.ports.history import DrivenJob, History
from perstack.ports.system import RandomIds
from perstack.storage.history.store import FileHistory
from tests.fakes.history import SetClock, ShortFiles, append_to, history, job, setting

pytestmark = pytest.mark.anyio

JOB = JobId("job1")
RUN = RunId("run1")
BAD_IDS = ("../../x", "/etc/passwd", "a/b", "a\x00b", "x" * 5000, "", ".", "..", ".hidden", "é")


async def write_run(store: History, count: int = 10) -> list[Event]:
    """Create the job with one run of `count` events, and let go of it."""
    async with store.create_job(job()) as held:
        log = await held.create_run(setting())
        events = append_to(log, count)
        await log.sync()
        await held.save(held.job)
    return events


def log_path(workspace: Path) -> Path:
    return workspace / "perstack/jobs/job1/runs/run1/events.jsonl"


async def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    events = await write_run(history(tmp_path))

    found = await history(tmp_path).read_run(JOB, RUN)

    assert list(found.events) == events
    assert [event.seq for event in found.events] == list(range(10))
    assert found.setting == setting()
    assert found.damage is None


async def test_the_store_is_a_history(tmp_path: Path) -> None:
    store: History = history(tmp_path)

    async with store.create_job(job()) as held:
        driven: DrivenJob = held
        assert driven.job == job()


async def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    store = history(tmp_path)

    assert await store.list_jobs() == []
    assert await store.find_latest_job() is None
    with pytest.raises(NotFoundError, match="no job job1"):
        await store.get_job(JOB)
    assert list(tmp_path.iterdir()) == []


async def test_files_are_the_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        await write_run(history(tmp_path))
    finally:
        os.umask(old)

    for path in (tmp_path / "perstack").rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


async def test_a_saved_job_is_read_back_by_others_at_once(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        done = held.job.model_copy(update={"status": "completed", "finished_at": 5})
        await held.save(done)

        assert held.job == done
        assert await history(tmp_path).get_job(JOB) == done


async def test_a_job_cannot_be_created_twice(tmp_path: Path) -> None:
    await write_run(history(tmp_path))

    with pytest.raises(ConflictError, match="job job1 exists already"):
        async with history(tmp_path).create_job(job()):
            pytest.fail("created twice")
    async with history(tmp_path).drive_job(JOB):
        pass  # the refused attempt keeps no lock


async def test_a_job_cannot_be_saved_as_another(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        with pytest.raises(UsageError):
            await held.save(job("job2"))


async def test_an_unknown_job_is_not_driven_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        async with history(tmp_path).drive_job(JOB):
            pytest.fail("drove nothing")
    assert list(tmp_path.iterdir()) == []


async def test_one_process_cannot_drive_a_job_twice(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()):
        with pytest.raises(ConflictError, match=f"driven by process {os.getpid()} on"):
            async with history(tmp_path).drive_job(JOB):
                pytest.fail("driven twice")
    async with history(tmp_path).drive_job(JOB):
        pass


async def test_an_error_in_the_body_leaves_as_it_is_and_lets_go(tmp_path: Path) -> None:
    store = history(tmp_path)
    with pytest.raises(LookupError, match="mine"):
        async with store.create_job(job()):
            raise LookupError("mine")

    assert list((tmp_path / "perstack/live").iterdir()) == []
    async with store.drive_job(JOB):
        pass


async def test_cancelling_lets_go(tmp_path: Path) -> None:
    store = history(tmp_path)
    with anyio.CancelScope() as scope:
        async with store.create_job(job()):
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    async with store.drive_job(JOB):
        pass


async def test_a_program_started_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    store = history(tmp_path)
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    async with store.create_job(job()):
        program = await anyio.open_process(wait)
    async with program:
        async with store.drive_job(JOB):
            pass
        assert program.returncode is None
        program.kill()


async def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    store = history(tmp_path)
    events = await write_run(store, 10)

    async with store.drive_job(JOB) as held:
        found, log = await held.reopen_run(RUN)
        assert list(found.events) == events
        events.append(log.append(StartGeneration(), step_number=2))

    assert events[-1].seq == 10
    assert list((await store.read_run(JOB, RUN)).events) == events


async def test_a_torn_last_record_is_announced_and_cut_off_before_going_on(tmp_path: Path) -> None:
    store = history(tmp_path)
    events = await write_run(store, 10)
    with log_path(tmp_path).open("ab") as file:
        file.write(b'{"seq":10,"timest')

    expected = "last record of run run1 was incomplete and was dropped (17 bytes)"
    assert (await store.read_run(JOB, RUN)).damage == expected
    async with store.drive_job(JOB) as held:
        found, log = await held.reopen_run(RUN)
        assert (found.damage, list(found.events)) == (expected, events)
        events.append(log.append(StartGeneration(), step_number=2))

    found = await store.read_run(JOB, RUN)
    assert (found.damage, list(found.events)) == (None, events)


async def test_a_damaged_last_record_is_announced_and_dropped(tmp_path: Path) -> None:
    store = history(tmp_path)
    events = await write_run(store, 10)
    content = log_path(tmp_path).read_bytes()
    log_path(tmp_path).write_bytes(content[:-30] + b"?" + content[-29:])

    found = await store.read_run(JOB, RUN)

    assert list(found.events) == events[:9]
    assert "was incomplete and was dropped" in (found.damage or "")


async def test_a_damaged_record_before_the_last_is_an_error_with_file_and_line(
    tmp_path: Path,
) -> None:
    store = history(tmp_path)
    await write_run(store, 10)
    lines = log_path(tmp_path).read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"step", b"stop")
    log_path(tmp_path).write_bytes(b"".join(lines))

    with pytest.raises(CorruptRecordError, match=r"events\.jsonl, line 5 is damaged"):
        await store.read_run(JOB, RUN)
    async with store.drive_job(JOB) as held:
        with pytest.raises(CorruptRecordError, match=r"events\.jsonl, line 5 is damaged"):
            await held.reopen_run(RUN)


@pytest.mark.parametrize("order", [(1, 2, 3), (0, 2, 3), (0, 1, 1, 2), (0, 2, 1, 3)])
async def test_records_out_of_order_are_an_error(tmp_path: Path, order: tuple[int, ...]) -> None:
    store = history(tmp_path)
    await write_run(store, 4)
    lines = log_path(tmp_path).read_bytes().splitlines(keepends=True)
    log_path(tmp_path).write_bytes(b"".join(lines[at] for at in order))

    with pytest.raises(CorruptRecordError, match="expected"):
        await store.read_run(JOB, RUN)


async def test_records_cut_off_whole_are_missed_once_the_job_was_saved(tmp_path: Path) -> None:
    store = history(tmp_path)
    events = await write_run(store, 10)
    lines = log_path(tmp_path).read_bytes().splitlines(keepends=True)
    log_path(tmp_path).write_bytes(b"".join(lines[:7]))

    found = await store.read_run(JOB, RUN)
    assert "run run1 ends after 7 records, 3 more had been stored" in (found.damage or "")

    async with store.drive_job(JOB) as held:
        again, log = await held.reopen_run(RUN)
        assert again.damage == found.damage
        log.append(StartGeneration(), step_number=1)
    found = await store.read_run(JOB, RUN)
    assert (found.damage, list(found.events[:7])) == (None, events[:7])


@pytest.mark.parametrize("how", ["empty", "missing"])
async def test_a_run_without_any_record_is_announced(tmp_path: Path, how: str) -> None:
    store = history(tmp_path)
    await write_run(store, 3)
    log_path(tmp_path).unlink()
    if how == "empty":
        log_path(tmp_path).touch()

    found = await store.read_run(JOB, RUN)

    assert found.events == ()
    assert "3 more had been stored" in (found.damage or "")


async def test_a_run_that_never_said_anything_can_go_on(tmp_path: Path) -> None:
    store = history(tmp_path)
    async with store.create_job(job()) as held:
        await held.create_run(setting())
    async with store.drive_job(JOB) as held:
        found, log = await held.reopen_run(RUN)
        assert (found.events, found.damage) == ((), "run run1 holds no record")
        assert log.append(StartGeneration(), step_number=1).seq == 0


async def test_a_run_cannot_be_created_twice_nor_opened_twice(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        log = await held.create_run(setting())
        with pytest.raises(ConflictError, match="run run1 exists already"):
            await held.create_run(setting())
        with pytest.raises(ConflictError, match="is open already"):
            await held.reopen_run(RUN)
        log.close()
        log.close()
        await held.reopen_run(RUN)


async def test_a_run_of_another_job_is_refused(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        with pytest.raises(UsageError):
            await held.create_run(setting(job_id="job2"))


async def test_an_unknown_run_is_not_found(tmp_path: Path) -> None:
    store = history(tmp_path)
    await write_run(store)

    with pytest.raises(NotFoundError, match="no run run9"):
        await store.read_run(JOB, RunId("run9"))
    with pytest.raises(NotFoundError):
        await store.list_runs(JobId("job9"))
    async with store.drive_job(JOB) as held:
        with pytest.raises(NotFoundError):
            await held.reopen_run(RunId("run9"))


async def test_a_closed_log_refuses(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        log = await held.create_run(setting())
    with pytest.raises(StorageError, match="it is closed"):
        log.append(StartGeneration(), step_number=1)


async def test_time_never_runs_backwards_within_a_run(tmp_path: Path) -> None:
    clock = SetClock(5000)
    store = FileHistory(tmp_path, clock=clock, ids=RandomIds())
    async with store.create_job(job()) as held:
        log = await held.create_run(setting())
        append_to(log, 2)
        clock.at = 1000
        append_to(log, 2)
    clock.at = 500
    async with store.drive_job(JOB) as held:
        (await held.reopen_run(RUN))[1].append(StartGeneration(), step_number=1)

    found = await store.read_run(JOB, RUN)
    assert [(event.seq, event.timestamp) for event in found.events] == [
        (seq, 5000) for seq in range(5)
    ]


async def test_short_writes_make_whole_records(tmp_path: Path) -> None:
    events = await write_run(history(tmp_path, ShortFiles()), 6)

    assert list((await history(tmp_path).read_run(JOB, RUN)).events) == events


async def test_runs_are_listed_in_order_of_start(tmp_path: Path) -> None:
    store = history(tmp_path)
    async with store.create_job(job()) as held:
        for name, started_at in (("b", 3), ("c", 1), ("a", 2)):
            await held.create_run(setting(name, started_at=started_at))

    assert [run.run_id for run in await store.list_runs(JOB)] == ["c", "a", "b"]


async def test_jobs_are_listed_last_driven_first(tmp_path: Path) -> None:
    store = history(tmp_path)
    for number, name in enumerate(("first", "second", "third")):
        async with store.create_job(job(name, started_at=number)):
            pass
    _age(tmp_path, "second", 100)
    _age(tmp_path, "first", 50)
    _age(tmp_path, "third", 100)

    assert [found.id for found in await store.list_jobs()] == ["first", "third", "second"]
    assert [found.id for found in await store.list_jobs(limit=2)] == ["first", "third"]
    async with store.drive_job(JobId("second")):
        latest = await store.find_latest_job()
    assert latest is not None
    assert latest.id == "second"


async def test_a_damaged_job_does_not_hide_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = history(tmp_path)
    for name in ("good", "bad", "begun"):
        async with store.create_job(job(name)):
            pass
    (tmp_path / "perstack/jobs/bad/job.json").write_bytes(b"{")
    (tmp_path / "perstack/jobs/begun/job.json").unlink()
    (tmp_path / "perstack/jobs/not a job").mkdir()

    assert [found.id for found in await store.list_jobs()] == ["good"]
    assert "bad/job.json is damaged" in caplog.text
    with pytest.raises(CorruptRecordError):
        await store.get_job(JobId("bad"))


async def test_concurrent_syncs_all_return_with_their_records_on_the_disk(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        log = await held.create_run(setting())
        async with anyio.create_task_group() as group:
            for _ in range(20):
                append_to(log, 2)
                group.start_soon(log.sync)
        await held.save(held.job)

    assert '"heads":{"run1":39}' in (tmp_path / "perstack/jobs/job1/job.json").read_text()


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_an_id_that_is_no_safe_name_is_refused_everywhere(tmp_path: Path, bad: str) -> None:
    workspace = tmp_path / "a" / "b"
    workspace.mkdir(parents=True)
    store = history(workspace)
    await write_run(store)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(UsageError):
        async with store.create_job(job(bad)):
            pytest.fail("created")
    with pytest.raises(UsageError):
        async with store.drive_job(JobId(bad)):
            pytest.fail("driven")
    with pytest.raises(UsageError):
        await store.get_job(JobId(bad))
    with pytest.raises(UsageError):
        await store.list_runs(JobId(bad))
    with pytest.raises(UsageError):
        await store.read_run(JOB, RunId(bad))
    with pytest.raises(UsageError):
        await anext(store.follow(job_id=JobId(bad)))
    assert sorted(tmp_path.rglob("*")) == before


async def test_a_run_id_that_is_no_safe_name_is_refused_when_writing(tmp_path: Path) -> None:
    async with history(tmp_path).create_job(job()) as held:
        for bad in BAD_IDS:
            with pytest.raises(UsageError):
                await held.create_run(setting(bad))
            with pytest.raises(UsageError):
                await held.reopen_run(RunId(bad))
    assert not (tmp_path / "perstack/jobs/job1/runs").exists()


async def test_files_are_not_written_through_links(tmp_path: Path) -> None:
    store = history(tmp_path)
    await write_run(store)
    outside = tmp_path / "outside"
    outside.write_bytes(log_path(tmp_path).read_bytes())
    log_path(tmp_path).unlink()
    log_path(tmp_path).symlink_to(outside)

    with pytest.raises(StorageError, match="symbolic link"):
        async with store.drive_job(JOB) as held:
            await held.reopen_run(RUN)


def _age(workspace: Path, job_id: str, seconds: int) -> None:
    for name in ("lock", "job.json"):
        path = workspace / "perstack/jobs" / job_id / name
        os.utime(path, (1_000_000 - seconds, 1_000_000 - seconds))
