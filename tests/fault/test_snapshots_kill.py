"""Snapshots while processes are killed, and while others take or remove them."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from perstack.domain.ids import JobId
from perstack.ports.system import SystemClock
from perstack.storage.snapshots.store import FileSnapshots

ROOT = Path(__file__).parents[2]


def start(folder: Path, job: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    (folder / "perstack" / "jobs" / job).mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.snapshot_process", str(folder), job],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    return process, process.stdout


def check(folder: Path, job: str, told: int) -> int:
    """Every snapshot that was told of is there, and each that is there is whole."""
    store = FileSnapshots(folder, clock=SystemClock(), folder=None)
    marks = store.marks(JobId(job))
    assert len(marks) > told
    assert [mark.point for mark in marks] == [f"p{number}" for number in range(len(marks))]
    for number in range(len(marks)):
        manifest = store.manifest(JobId(job), number)
        for each in range(3):
            content = store.content(manifest[f"{job}-{each}"].digest or "")
            assert content == f"{job} {number} {each}".encode()
    return len(marks)


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
def test_a_killed_process_leaves_snapshots_whole_or_none(tmp_path: Path, kills: int) -> None:
    chance = random.Random(5)
    for _ in range(kills):
        process, said = start(tmp_path, "job1")
        told = [int(said.readline()) for _ in range(chance.randint(1, 5))]
        for _ in range(chance.randint(0, 30_000)):
            pass  # anywhere between two of its steps
        process.kill()
        process.wait()
        told += [int(line) for line in said.read().split()]
        said.close()
        check(tmp_path, "job1", told[-1])
    store = FileSnapshots(tmp_path, clock=SystemClock(), folder=None)
    store.sweep()
    assert not list((tmp_path / "perstack" / "blobs").rglob("*.tmp"))
    check(tmp_path, "job1", 0)


@pytest.mark.timeout(120)
def test_what_is_swept_beside_two_processes_is_named_by_neither(tmp_path: Path) -> None:
    both = [start(tmp_path, job) for job in ("job1", "job2")]
    store = FileSnapshots(tmp_path, clock=SystemClock(), folder=None)
    told = [0, 0]
    for _ in range(6):
        for number, (_, said) in enumerate(both):
            told[number] = int(said.readline())
        store.sweep()
    for number, (process, said) in enumerate(both):
        process.kill()
        process.wait()
        said.close()
        store = FileSnapshots(tmp_path, clock=SystemClock(), folder=None)
        marks = store.marks(JobId(f"job{number + 1}"))
        assert len(marks) > told[number]
        # The other one's files may be caught between two of its steps; one's own never are.
        check(tmp_path, f"job{number + 1}", told[number])
