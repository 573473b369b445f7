"""Running whole processes and comparing their medians."""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def compile_all() -> None:
    """Write bytecode for all that is measured, as an installation has it."""
    for folder in ("core", "tui", "themes", "bench", "tests/fakes"):
        compileall.compile_dir(ROOT / folder, quiet=1)


@dataclass(frozen=True, slots=True)
class Took:
    """One process: wall and CPU seconds, peak resident megabytes."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return what measured programs are started with."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**given, "PYTHONPATH": str(ROOT), **more}


def process(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Took:
    """Run `command` to its end with output discarded.

    Raises:
        RuntimeError: it did not exit with 0; its stderr is in the message.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(env or {}),
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
    ours()
    floor()
    pairs = [(ours(), floor()) for _ in range(rounds)]
    return medians([a for a, _ in pairs]), medians([b for _, b in pairs])


def program(*arguments: str) -> list[str]:
    """Return the command line of our program."""
    return [str(Path(sys.executable).parent / "perstack"), *arguments]


def row(name: str, ours: float, floor: float, unit: str, aim: str) -> None:
    """Print a figure beside its floor."""
    ratio = f"{ours / floor:>7.2f}x" if floor else f"{'-':>8}"
    digits = 3 if unit in {"s", "ms"} else 0
    shown = " ".join(f"{value:>11.{digits}f}" for value in (ours, floor))
    print(f"  {name:<40} {shown} {unit:<6}{ratio}   {aim}", flush=True)


def heading(text: str, *, floor: str = "floor") -> None:
    """Print a section's name and its columns."""
    columns = f"{'ours':>11} {floor:>11} {'':<6}{'ratio':>8}   aim"
    print(f"\n{text}\n  {'':<40} {columns}", flush=True)


def median(found: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(found)


def medians(found: Sequence[Took]) -> Took:
    """Return the middle of each figure."""
    return Took(
        median([one.wall_s for one in found]),
        median([one.cpu_s for one in found]),
        median([one.peak_mb for one in found]),
    )
