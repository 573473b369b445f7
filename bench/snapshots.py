"""What a snapshot of the workspace costs: the first, an unchanged step, one file changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.measure import heading, median, row
from perstack.domain.ids import JobId
from perstack.domain.settings import SnapshotSettings
from perstack.ports.system import SystemClock
from perstack.storage.snapshots.store import FileSnapshots

SIZES = (1_000, 10_000)
_TEXT = "A line of a source file that somebody wrote down.\n" * 40


def snapshots(rounds: int) -> None:
    """Each beside its floor: reading and hashing all files, looking at each, nothing."""
    heading("Snapshots of the workspace (one step, in a thread beside it)")
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
            _measure(Path(name), size, rounds)


def _measure(folder: Path, size: int, rounds: int) -> None:
    for number in range(size):
        below = folder / str(number // 100)
        below.mkdir(exist_ok=True)
        (below / f"{number}.txt").write_text(f"{number}\n{_TEXT}")
    (folder / "perstack" / "jobs" / "job").mkdir(parents=True)
    store = FileSnapshots(folder, clock=SystemClock(), folder=None)
    recorder = store.recorder(JobId("job"), folder, SnapshotSettings())
    first = _took(lambda: recorder.take(["first"]))
    reading, looking = _took(lambda: _read_all(folder)), _took(lambda: _look_at_all(folder))
    recorder.take(["settled"])
    unchanged = median([_took(lambda: recorder.take(["same"])) for _ in range(rounds)])
    changed: list[float] = []
    for number in range(rounds):
        (folder / "0" / "0.txt").write_text(f"round {number}")
        changed.append(_took(lambda: recorder.take(["changed"])))
    row(f"first, {size:,} files, against reading them", first, reading, "s", "-")
    row("  nothing changed, against a look at each", unchanged, looking, "s", "-")
    row("  one file changed", median(changed), looking, "s", "-")


def _took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _read_all(folder: Path) -> None:
    for path in folder.glob("*/*.txt"):
        hashlib.sha256(path.read_bytes()).hexdigest()


def _look_at_all(folder: Path) -> None:
    for at, _, names in os.walk(folder):
        for name in names:
            (Path(at) / name).lstat()
