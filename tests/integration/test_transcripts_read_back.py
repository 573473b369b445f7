"""Entries of long runs, read back from the real history."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.events import Event
from perstack.domain.ids import JobId, RunId
from perstack.errors import NotFoundError
from perstack.ports.history import FeedBatch
from perstack.projection.views import RunView
from perstack.projection.workspace import WorkspaceFold
from perstack_tui.local.transcripts import PIECE, Transcripts
from tests.fakes.history import append_to, history, job, setting

pytestmark = pytest.mark.anyio
JOB, RUN = JobId("job1"), RunId("run1")


async def recorded(workspace: Path, count: int) -> list[Event]:
    async with history(workspace).create_job(job()) as driven:
        log = await driven.create_run(setting())
        events = append_to(log, count)
        log.close()
    return events


def folded(events: list[Event]) -> RunView:
    fold = WorkspaceFold()
    fold.apply(FeedBatch(events=tuple(events), caught_up=True))
    return fold.view().jobs[0].runs[0]


async def test_what_memory_let_go_of_is_read_back_as_it_was(tmp_path: Path) -> None:
    events = await recorded(tmp_path, 3_001)
    shown = folded(events)
    assert shown.earlier > 0
    transcripts = Transcripts(history(tmp_path), tmp_path)
    everything = [
        entry
        for first in range(0, shown.earlier + len(shown.entries), PIECE)
        for entry in await transcripts.read(JOB, RUN, first, PIECE)
    ]
    assert len(everything) == shown.earlier + len(shown.entries)
    assert tuple(everything[shown.earlier :]) == shown.entries
    begun = folded(events[:200])
    assert begun.earlier == 0
    assert tuple(everything[: len(begun.entries) - 2]) == begun.entries[:-2]
    transcripts.close()
    assert [path.name for path in tmp_path.iterdir()] == ["perstack"]


async def test_reading_begins_anywhere_and_ends_with_the_run(tmp_path: Path) -> None:
    await recorded(tmp_path, 601)
    transcripts = Transcripts(history(tmp_path), tmp_path)
    whole = [
        *await transcripts.read(JOB, RUN, 0, PIECE),
        *await transcripts.read(JOB, RUN, 256, 256),
    ]
    assert await transcripts.read(JOB, RUN, 100, 7) == whole[100:107]
    assert await transcripts.read(JOB, RUN, len(whole) - 3, 50) == whole[-3:]
    transcripts.close()


async def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    await recorded(tmp_path, 4)
    with pytest.raises(NotFoundError):
        await Transcripts(history(tmp_path), tmp_path).read(JOB, RunId("other"), 0, 10)
