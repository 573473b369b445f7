"""What concurrent runs of one job take of memory, against the bare SDK making the same requests."""

from __future__ import annotations

from typing import Final

from bench.measure import Took, alternately, heading, row
from bench.runs import bare, run, workspace
from bench.server import serving

RUNS: Final = 200
# Long enough that the first answer comes after the last request.
LATENCY_MS: Final = 1_000
_KB: Final = 1024


def concurrent_runs(rounds: int) -> None:
    """Peak memory with one delegate and with `RUNS` of them, all waiting for their models at once.

    The difference is what a run takes, its history, its skills and its conversation included.
    """
    heading(f"Memory of {RUNS} concurrent runs (whole process)")
    one, floor_of_one = _peaks(rounds, 1)
    many, floor_of_many = _peaks(rounds, RUNS)
    row("one delegate", one.peak_mb, floor_of_one.peak_mb, "MB", "-")
    row(f"{RUNS} delegates", many.peak_mb, floor_of_many.peak_mb, "MB", "1.50x")
    each = (many.peak_mb - one.peak_mb) * _KB / (RUNS - 1)
    floor = (floor_of_many.peak_mb - floor_of_one.peak_mb) * _KB / (RUNS - 1)
    row("  each run", each, floor, "KB", "-")


def _peaks(rounds: int, number: int) -> tuple[Took, Took]:
    with (
        serving("delegates", number, LATENCY_MS) as server,
        workspace("anthropic", server, "lead") as folder,
    ):
        return alternately(
            rounds, lambda: run(folder, "lead"), lambda: bare(folder, "anthropic", server)
        )
