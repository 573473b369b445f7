"""Keeping the files of a job while storing them fails, and once it works again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perstack.domain.events import ContinueToNextStep, Event
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, RunId, ToolCallId
from perstack.errors import CorruptRecordError, PerstackError, StorageError
from perstack.services.snapshots import JobFiles

pytestmark = pytest.mark.anyio


class Recorder:
    """Fails as it is told to, and says what it recorded."""

    def __init__(self) -> None:
        self.fails: list[PerstackError] = []
        self.tries = 0
        self.taken: list[str | None] = []

    def take(self, points: Sequence[str | None]) -> bool:
        self.tries += 1
        if self.fails:
            raise self.fails.pop(0)
        self.taken += points
        return True

    def repeat(self, points: Sequence[str | None]) -> None:
        self.take(points)

    def stop(self) -> None:
        """Nothing is begun."""

    def close(self) -> None:
        """Nothing is kept."""


def ended(point: str) -> Event:
    return Event(
        seq=0,
        timestamp=0,
        job_id=JobId("j"),
        run_id=RunId("r"),
        expert_key=ExpertKey("e"),
        step_number=1,
        body=ContinueToNextStep(
            checkpoint_id=CheckpointId(point),
            next_checkpoint_id=CheckpointId(f"{point}+"),
            next_step_number=2,
        ),
    )


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_a_snapshot_that_fails_is_taken_again_before_the_next_tool_writes(
    recorder: Recorder,
) -> None:
    said: list[str] = []
    files = JobFiles(lambda: recorder, said.append)
    await files.before_writing([ToolCallId("1")])
    recorder.fails = [StorageError("the disk is full")]
    files.hear(ended("p1"))
    await files.before_writing([ToolCallId("2")])
    await files.aclose()
    assert recorder.taken == [None, "p1"]
    assert said == []


async def test_what_could_not_be_stored_in_time_is_said_and_the_next_is_taken(
    recorder: Recorder,
) -> None:
    said: list[str] = []
    files = JobFiles(lambda: recorder, said.append)
    await files.before_writing([ToolCallId("1")])
    recorder.fails = [StorageError("the disk is full"), StorageError("the disk is full")]
    files.hear(ended("p1"))
    await files.before_writing([ToolCallId("2")])
    assert said == [
        "a snapshot of the files was not taken, the next will be tried: the disk is full"
    ]
    files.hear(ended("p2"))
    await files.aclose()
    # Files as of later are no files of `p1`.
    assert recorder.taken == [None, "p2"]


async def test_trouble_of_the_last_snapshot_is_said_as_the_job_ends(recorder: Recorder) -> None:
    said: list[str] = []
    files = JobFiles(lambda: recorder, said.append)
    await files.before_writing([ToolCallId("1")])
    recorder.fails = [StorageError("gone"), StorageError("gone")]
    files.hear(ended("p1"))
    await files.aclose()
    assert len(said) == 1


async def test_a_damaged_index_ends_snapshots_at_once(recorder: Recorder) -> None:
    said: list[str] = []
    files = JobFiles(lambda: recorder, said.append)
    recorder.fails = [CorruptRecordError("line 3 is damaged")]
    await files.before_writing([ToolCallId("1")])
    files.hear(ended("p1"))
    await files.before_writing([ToolCallId("2")])
    await files.aclose()
    assert (recorder.tries, said) == (1, ["no more snapshots of the files: line 3 is damaged"])
