"""The program or the machine ends before any file operation, or in the middle of a write."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perstack.domain.events import Event
from perstack.domain.ids import JobId, RunId
from perstack.errors import NotFoundError
from tests.fakes.history import FaultyFiles, Killed, append_to, bodies, history, job, setting

pytestmark = pytest.mark.anyio

JOB = JobId("job1")
RUNS = (RunId("run1"), RunId("run2"))


@dataclass
class Story:
    """What the program had been told to be done before it ended."""

    job_exists: bool = False
    runs: set[RunId] = field(default_factory=set[RunId])
    written: dict[RunId, list[Event]] = field(default_factory=dict[RunId, list[Event]])
    synced: dict[RunId, int] = field(default_factory=dict[RunId, int])
    finished: bool = False


async def tell(workspace: Path, files: FaultyFiles, story: Story) -> None:
    """Create a job with two runs; then drive it again and go on with both."""
    store = history(workspace, files)
    async with store.create_job(job()) as held:
        story.job_exists = True
        for run_id in RUNS:
            log = await held.create_run(setting(run_id))
            story.runs.add(run_id)
            written = story.written.setdefault(run_id, [])
            for body in bodies(4):
                written.append(log.append(body, step_number=1))
            await log.sync()
            story.synced[run_id] = len(written)
            await held.save(held.job.model_copy(update={"total_steps": len(written)}))
    async with store.drive_job(JOB) as held:
        for run_id in RUNS:
            _, log = await held.reopen_run(run_id)
            story.written[run_id].extend(append_to(log, 2))
            await log.sync()
            story.synced[run_id] = len(story.written[run_id])
        await held.save(held.job.model_copy(update={"status": "completed"}))
    story.finished = True


def lose_what_was_not_synced(workspace: Path, files: FaultyFiles) -> None:
    """Do to the logs what a power failure may do: keep what was synced, and half of the rest."""
    for path in workspace.rglob("events.jsonl"):
        safe = files.synced_bytes.get(path, 0)
        size = path.stat().st_size
        os.truncate(path, safe + (size - safe) // 2)


def lose_nothing(workspace: Path, files: FaultyFiles) -> None:
    """Do to the files what the end of a program does."""


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("loss", [lose_nothing, lose_what_was_not_synced])
async def test_whenever_it_ends_the_history_is_whole_and_goes_on(
    tmp_path: Path, torn: bool, loss: Callable[[Path, FaultyFiles], None]
) -> None:
    at, story = 0, Story()
    while not story.finished:
        at, story = at + 1, Story()
        workspace = tmp_path / str(at)
        workspace.mkdir()
        files = FaultyFiles(at=at, torn=torn)
        with suppress(Killed):
            await tell(workspace, files, story)
        loss(workspace, files)
        await check(workspace, story, power_lost=loss is lose_what_was_not_synced)
    assert at > 60


async def check(workspace: Path, story: Story, *, power_lost: bool) -> None:
    """The job is there if it was said to be, nothing durable is missing, and it can go on."""
    store = history(workspace, FaultyFiles())
    try:
        await store.get_job(JOB)
    except NotFoundError:
        assert not story.job_exists
        async with store.create_job(job()):
            return
    assert story.runs <= {run.run_id for run in await store.list_runs(JOB)}
    for run_id, written in story.written.items():
        found = await store.read_run(JOB, run_id)
        kept = list(found.events)
        least = story.synced.get(run_id, 0) if power_lost else len(written)
        assert least <= len(kept) <= len(written) + 1
        assert kept[: len(written)] == written[: len(kept)]
    async with store.drive_job(JOB) as held:
        for run_id in story.runs:
            found, log = await held.reopen_run(run_id)
            events = [*found.events, *append_to(log, 2)]
            await log.sync()
            again = await store.read_run(JOB, run_id)
            assert (list(again.events), again.damage) == (events, None)
        for run_id in set(RUNS) - {run.run_id for run in await store.list_runs(JOB)}:
            await held.create_run(setting(run_id))


async def test_no_step_is_missing_that_makes_a_change_durable(tmp_path: Path) -> None:
    files = FaultyFiles()
    await tell(tmp_path, files, Story())

    steps = [step for step in files.log if tmp_path / "perstack/live" not in step[1].parents]
    renamed = [target for name, target in steps if name == "rename"]
    assert {path.name for path in renamed} == {"job.json", "run-setting.json"}
    for at, (name, path) in enumerate(steps):
        if name == "rename":
            fresh = path.with_name(path.name + ".tmp")
            assert [step for step in steps[:at] if step[1] == fresh][-2:] == [
                ("sync", fresh),
                ("close", fresh),
            ]
        if name in {"rename", "make folder"}:
            assert ("sync folder", path.parent) == steps[at + 1]


async def test_a_new_log_has_its_name_on_the_disk_before_its_first_sync(tmp_path: Path) -> None:
    files = FaultyFiles()
    await tell(tmp_path, files, Story())

    for path in tmp_path.rglob("events.jsonl"):
        steps = files.log[files.log.index(("create", path)) :]
        assert ("sync folder", path.parent) in steps[: steps.index(("sync", path))]


async def test_nothing_but_logs_is_written_in_place(tmp_path: Path) -> None:
    files = FaultyFiles()
    await tell(tmp_path, files, Story())

    written = {path for name, path in files.log if name == "write"}
    in_place = {path for path in written if path.suffix != ".tmp"}
    assert {path.suffix for path in in_place} == {".jsonl"}
    assert all(files.flags[path] & os.O_APPEND for path in in_place)
