"""A process that changes files and takes snapshots of them until it is killed.

Run as `python -m tests.fakes.snapshot_process FOLDER JOB`; it prints each snapshot's number.
"""

from __future__ import annotations

import sys
from pathlib import Path

from perstack.domain.ids import JobId
from perstack.domain.settings import SnapshotSettings
from perstack.ports.system import SystemClock
from perstack.storage.snapshots.store import FileSnapshots


def work(folder: Path, job: str) -> None:
    """Snapshot `n` has in the file of the job that it is the `n`th."""
    store = FileSnapshots(folder, clock=SystemClock(), folder=None)
    recorder = store.recorder(JobId(job), folder, SnapshotSettings())
    first = len(store.marks(JobId(job)))
    for number in range(first, first + 10_000):
        for each in range(3):
            (folder / f"{job}-{each}").write_text(f"{job} {number} {each}")
        recorder.take([f"p{number}"])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
