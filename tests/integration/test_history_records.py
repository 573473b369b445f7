"""Reading a job's records a piece at a time."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from perstack.domain.events import Event
from perstack.domain.ids import JobId, RunId
from perstack.errors import CorruptRecordError, NotFoundError
from perstack.ports.history import RecordBatch
from perstack.storage.history import record_lines
from tests.fakes.history import history
from tests.fakes.stored import read_all, store
from tests.unit.projection.builder import chain, parallel

JOB = JobId("job1")


def log_of(workspace: Path, run: str) -> Path:
    return workspace / "perstack" / "jobs" / "job1" / "runs" / run / "events.jsonl"


def batches(workspace: Path, *runs: str) -> list[RecordBatch]:
    async def read() -> list[RecordBatch]:
        wanted = [RunId(run) for run in runs]
        return [batch async for batch in history(workspace).read_records(JOB, wanted)]

    return anyio.run(read)


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 1_000_000])
def test_runs_are_merged_by_time_whatever_the_size_of_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(record_lines, "_PIECE_BYTES", piece_bytes)
    monkeypatch.setattr(record_lines, "_LEAST_BYTES", piece_bytes)
    events: list[Event] = parallel()
    store(tmp_path, events)
    assert read_all(tmp_path) == events


def test_a_record_tells_its_head_without_being_read(tmp_path: Path) -> None:
    store(tmp_path, chain())
    for batch in batches(tmp_path, "r-chain"):
        for record in batch.records:
            event = record.event()
            head = (record.job_id, record.run_id, record.expert_key, record.seq)
            assert head == (event.job_id, event.run_id, event.expert_key, event.seq)
            assert (record.timestamp, record.step_number) == (event.timestamp, event.step_number)
            assert record.type == event.body.type == record.peek()["type"]
            assert record.mentions(event.body.type)
            assert not record.mentions("no such text")


def test_a_torn_end_is_told_and_dropped(tmp_path: Path) -> None:
    store(tmp_path, chain())
    path = log_of(tmp_path, "r-b")
    whole = path.read_bytes()
    lines = whole.count(b"\n")
    for cut in (whole[:-1], whole[:-20], whole[:-20] + b"\n"):
        path.write_bytes(cut)
        found = batches(tmp_path, "r-b")
        assert sum(len(batch.records) for batch in found) == lines - 1
        ((run_id, damage),) = found[-1].damaged
        assert run_id == "r-b"
        assert "last record" in damage
    path.write_bytes(whole)
    assert batches(tmp_path, "r-b")[-1].damaged == ()


def test_damage_elsewhere_is_refused_with_file_and_line(tmp_path: Path) -> None:
    store(tmp_path, chain())
    path = log_of(tmp_path, "r-b")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[3:]]))
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl, line 3 is damaged"):
        batches(tmp_path, "r-b")
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(CorruptRecordError, match="line 3 is damaged: it is record 3"):
        batches(tmp_path, "r-b")


def test_a_checksum_is_looked_at_when_the_event_is_asked_for(tmp_path: Path) -> None:
    store(tmp_path, chain())
    path = log_of(tmp_path, "r-b")
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b"Say hello" in line)
    lines[at] = lines[at].replace(b"Say hello", b"Say hallo")
    path.write_bytes(b"".join(lines))
    records = [record for batch in batches(tmp_path, "r-b") for record in batch.records]
    assert len(records) == len(lines)
    with pytest.raises(CorruptRecordError, match=f"line {at + 1} is damaged: the checksum"):
        records[at].event()
    records[at + 1].event()


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        batches(tmp_path, "r-b")
    store(tmp_path, chain())
    with pytest.raises(NotFoundError):
        batches(tmp_path, "r-nobody")


def test_jobs_and_runs_are_found_by_their_ids(tmp_path: Path) -> None:
    store(tmp_path, chain())

    async def look() -> None:
        kept = history(tmp_path)
        assert await kept.find_jobs("jo") == ["job1"]
        assert await kept.find_jobs("x") == []
        assert await kept.find_run(RunId("r-b")) == "job1"
        assert await kept.find_run(RunId("r-nobody")) is None
        assert not (await kept.look_at_job(JOB)).alive
        async with kept.drive_job(JOB):
            assert (await kept.look_at_job(JOB)).alive
            looks = [look for some in [s async for s in kept.look_at_jobs()] for look in some]
            assert [(look.job.id, look.alive) for look in looks] == [("job1", True)]
        assert not (await kept.look_at_job(JOB)).alive

    anyio.run(look)
