"""Running whole processes and comparing their medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Took:
    """One process: wall and CPU seconds, peak resident megabytes."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def process(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Took:
    """Run `command` to its end with output discarded.

    Raises:
        RuntimeError: it did not exit with 0; its stderr is in the message.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    stderr = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {stderr.decode(errors='replace')[-2000:]}")
    return Took(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def alternately(
    rounds: int, ours: Callable[[], Took], floor: Callable[[], Took]
) -> tuple[Took, Took]:
    """Run both in turn `rounds` times, after one round that is not counted; return medians."""
    ours(), floor()
    pairs = [(ours(), floor()) for _ in range(rounds)]
    return _median([a for a, _ in pairs]), _median([b for _, b in pairs])


def program(*arguments: str) -> list[str]:
    """Return the command line of our program."""
    return [str(Path(sys.executable).parent / "perstack"), *arguments]


def row(name: str, ours: float, floor: float, unit: str, aim: str) -> None:
    """Print a figure beside its floor."""
    ratio = ours / floor if floor else float("nan")
    print(
        f"  {name:<42} {ours:>9.3f} {floor:>9.3f} {unit:<8} {ratio:>6.2f}x   aim {aim}", flush=True
    )


def heading(text: str) -> None:
    """Print a section's name and its columns."""
    print(f"\n{text}\n  {'':<42} {'ours':>9} {'floor':>9} {'':<8} {'ratio':>7}", flush=True)


def _median(found: Sequence[Took]) -> Took:
    return Took(
        statistics.median(one.wall_s for one in found),
        statistics.median(one.cpu_s for one in found),
        statistics.median(one.peak_mb for one in found),
    )
