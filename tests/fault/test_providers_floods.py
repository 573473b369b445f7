"""Answers beyond all measure, through the whole program: memory and disk stay bounded."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import PROGRAM, Program, finishes
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Call, Fault, Reply

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SOLO: Final = '[experts."solo"]\ninstruction = "You are solo."\n'
MEGABYTE: Final = 1_000_000
MOST_MEMORY_KB: Final = 500_000
# Starts its arguments, and tells on stderr how many kilobytes they held at most.
MEASURE: Final = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"at most {used} KB", file=sys.stderr)
sys.exit(code)
"""
LONG_ARGS: Final = Call("writeTextFile", {"path": "big.txt", "text": "x" * 10 * MEGABYTE})
TOO_LARGE: Final = "larger than Perstack accepts"


@pytest.mark.parametrize(
    ("flood", "code", "told"),
    [
        pytest.param(Reply(calls=[LONG_ARGS]), 0, "", id="huge arguments"),
        pytest.param(
            Reply(["HUGE"], fault=Fault("huge_text", megabytes=10)), 0, "", id="huge text"
        ),
        pytest.param(
            Reply(["HUGE"], fault=Fault("huge_text", megabytes=25)), 1, TOO_LARGE, id="endless text"
        ),
        pytest.param(
            Reply(fault=Fault("gzip_bomb", megabytes=200)), 1, "is compressed", id="packed bomb"
        ),
    ],
)
async def test_row_l10_a_flood_takes_bounded_memory_and_is_stored_at_most_three_times(
    tmp_path: Path, flood: Reply, code: int, told: str
) -> None:
    async with model_server(flood, *finishes("Done.")) as server:
        program = Program.make(tmp_path, SOLO, base_url=server.url)
        measured = (sys.executable, "-c", MEASURE, *PROGRAM)
        ran = await program.run_words(*measured, "run", "solo", "go")
    assert ran.code == code, ran.stderr
    assert told in ran.stderr
    used = re.search(r"at most (\d+) KB", ran.stderr)
    assert used is not None
    assert int(used[1]) < MOST_MEMORY_KB
    stored = [path.stat().st_size for path in (tmp_path / "perstack").rglob("*") if path.is_file()]
    assert sum(stored) <= 3 * 10 * MEGABYTE
