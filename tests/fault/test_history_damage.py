"""Files that somebody or something damaged: never a silent difference."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from perstack.domain.events import Event
from perstack.domain.ids import JobId, RunId
from perstack.errors import StorageError
from perstack.ports.system import SystemClock
from perstack.storage.files import Files
from perstack.storage.history.feeds import Batch, JobFeed
from perstack.storage.history.layout import Layout
from perstack.storage.history.reading import Reader
from tests.fakes.history import append_to, history, job, setting

pytestmark = pytest.mark.anyio

JOB = JobId("job1")
RUN = RunId("run1")
VARIANTS = 1000

Damage = Callable[[bytes, random.Random], bytes]


def truncated(data: bytes, source: random.Random) -> bytes:
    return data[: source.randrange(len(data))]


def truncated_between_lines(data: bytes, source: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[: source.randrange(len(lines))])


def zeroed(data: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(data))
    end = source.choice((len(data), source.randrange(start, len(data)) + 1))
    return data[:start] + bytes(end - start) + data[end:]


def bit_flipped(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << source.randrange(8)]) + data[at + 1 :]


def overwritten(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data))
    noise = source.randbytes(source.randrange(1, 600))
    return data[:at] + noise + data[at + len(noise) :]


def piece_lost(data: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(data))
    return data[:start] + data[start + source.randrange(1, 600) :]


def line_lost(data: bytes, source: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[source.randrange(len(lines))]
    return b"".join(lines)


def lines_swapped(data: bytes, source: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    source.shuffle(lines)
    return b"".join(lines)


def lengthened(data: bytes, source: random.Random) -> bytes:
    return data + source.choice((bytes(512), source.randbytes(100), data[-90:], b"\n", b"{}\n"))


DAMAGES: tuple[Damage, ...] = (
    truncated,
    truncated_between_lines,
    zeroed,
    bit_flipped,
    bit_flipped,
    overwritten,
    piece_lost,
    line_lost,
    lines_swapped,
    lengthened,
)


async def write_job(workspace: Path) -> list[Event]:
    async with history(workspace).create_job(job()) as held:
        log = await held.create_run(setting())
        events = append_to(log, 31)
        await log.sync()
        await held.save(held.job.model_copy(update={"status": "completed", "total_steps": 10}))
    return events


@pytest.mark.parametrize(
    "name", ["runs/run1/events.jsonl", "runs/run1/run-setting.json", "job.json"]
)
async def test_a_damaged_file_is_named_in_an_error_or_announced(tmp_path: Path, name: str) -> None:
    events = await write_job(tmp_path)
    path = tmp_path / "perstack/jobs/job1" / name
    reader = Reader(Files(), Layout(tmp_path))
    unnamed: list[str] = []
    whole = reader.job(JOB), reader.run(JOB, RUN)
    assert list(whole[1].stored.events) == events

    for variant in _variants(path.read_bytes()):
        path.write_bytes(variant)
        try:
            found = reader.job(JOB), reader.run(JOB, RUN)
        except StorageError as error:
            unnamed.extend([error.message] if path.name not in error.message else [])
            continue
        if found[1].stored.damage is None:
            assert found == whole
    assert unnamed == []


async def test_a_follower_is_told_of_damage_and_shown_no_wrong_event(tmp_path: Path) -> None:
    events = await write_job(tmp_path)
    path = tmp_path / "perstack/jobs/job1/runs/run1/events.jsonl"

    for variant in _variants(path.read_bytes()):
        path.write_bytes(variant)
        batch = Batch()
        JobFeed(Reader(Files(), Layout(tmp_path)), SystemClock(), JOB).refresh(batch)
        assert batch.events == events[: len(batch.events)]
        assert len(batch.events) == len(events) or batch.damaged


async def test_before_the_job_is_saved_only_a_cut_between_records_goes_unnoticed(
    tmp_path: Path,
) -> None:
    async with history(tmp_path).create_job(job()) as held:
        events = append_to(await held.create_run(setting()), 31)
    path = tmp_path / "perstack/jobs/job1/runs/run1/events.jsonl"
    reader = Reader(Files(), Layout(tmp_path))
    lines = path.read_bytes().splitlines(keepends=True)
    boundaries = {b"".join(lines[:length]) for length in range(len(lines) + 1)}

    for variant in _variants(path.read_bytes()):
        path.write_bytes(variant)
        try:
            found = reader.run(JOB, RUN).stored
        except StorageError:
            continue
        assert list(found.events) == events[: len(found.events)]
        assert found.damage is not None or variant in boundaries


def _variants(data: bytes) -> list[bytes]:
    """Return `VARIANTS` different damaged forms of `data`, the same ones every time."""
    found: dict[bytes, None] = {}
    for seed in count():
        source = random.Random(seed)
        variant = source.choice(DAMAGES)(data, source)
        if variant != data:
            found[variant] = None
        if len(found) == VARIANTS:
            return list(found)
    raise AssertionError
