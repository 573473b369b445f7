"""The disk is full, broken or read-only, or there are too many open files, at any operation."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest

from perstack.domain.events import StartGeneration
from perstack.domain.ids import RunId
from perstack.errors import StorageError
from tests.fakes.history import FaultyFiles, append_to, history, job, setting
from tests.fault.test_history_crash import Story, check, tell

pytestmark = pytest.mark.anyio

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE)


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize(
    "error", [errno.ENOSPC, *(pytest.param(other, marks=pytest.mark.long) for other in ERRORS[1:])]
)
async def test_a_failing_operation_is_a_storage_error_and_costs_nothing_written(
    tmp_path: Path, error: int, sticky: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    at, struck = 0, True
    said: list[StorageError] = []
    while struck:
        at += 1
        workspace = tmp_path / str(at)
        workspace.mkdir()
        files = FaultyFiles(at=at, error=error, sticky=sticky, torn=at % 2 == 0)
        story = Story()
        try:
            await tell(workspace, files, story)
        except StorageError as refused:
            said.append(refused)
        struck = files.struck
        await check(workspace, story, power_lost=False)
    assert at > 60
    assert len(said) > 40
    assert all("perstack" in refused.message and refused.hint for refused in said)


@pytest.mark.parametrize("error", ERRORS)
async def test_every_error_names_the_path_and_says_what_helps(tmp_path: Path, error: int) -> None:
    async with history(tmp_path).create_job(job()):
        pass
    files = FaultyFiles(at=1, error=error)

    with pytest.raises(StorageError, match=r"perstack/jobs/job1/job\.json") as raised:
        await history(tmp_path, files).get_job(job().id)
    assert raised.value.exit_code == 5
    assert raised.value.hint


async def test_after_a_failed_append_the_log_takes_no_more_and_ends_with_a_whole_record(
    tmp_path: Path,
) -> None:
    files = FaultyFiles()
    async with history(tmp_path, files).create_job(job()) as held:
        log = await held.create_run(setting())
        events = append_to(log, 4)
        files.fail_next(errno.ENOSPC, torn=True)
        with pytest.raises(StorageError, match=r"cannot write .*events\.jsonl: No space left"):
            log.append(StartGeneration(), step_number=1)
        with pytest.raises(StorageError, match="writing failed before"):
            log.append(StartGeneration(), step_number=1)
        with pytest.raises(StorageError, match="writing failed before"):
            await log.sync()

    found = await history(tmp_path).read_run(job().id, RunId("run1"))
    assert (list(found.events), found.damage) == (events, None)


async def test_after_a_failed_sync_the_log_takes_no_more(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with history(tmp_path, files).create_job(job()) as held:
        log = await held.create_run(setting())
        append_to(log, 4)
        files.fail_next(errno.EIO)
        with pytest.raises(StorageError, match="Input/output error"):
            await log.sync()
        with pytest.raises(StorageError, match="writing failed before"):
            await log.sync()


async def test_a_full_disk_under_the_live_file_is_logged_and_does_not_stop_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = FaultyFiles()
    async with history(tmp_path, files).create_job(job()) as held:
        log = await held.create_run(setting())
        files.fail_next(errno.ENOSPC, below=tmp_path / "perstack/live")
        events = append_to(log, 30)
        await log.sync()

    assert "No space left" in caplog.text
    found = await history(tmp_path).read_run(job().id, RunId("run1"))
    assert list(found.events) == events
