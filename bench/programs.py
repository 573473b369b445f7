"""Runs that another agent's program executes: a step's cost, a talk's start, and memory.

The program is a stand-in that prints cursor's stream as fast as it is read; no model is asked.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio

from bench.measure import Took, alternately, heading, median, process, program, row
from perstack.errors import ProgramError
from perstack.ports.programs import Finished, Report
from perstack.runtimes.running import Invocation, Record, running

_TOML: Final = '[experts."solo"]\ninstruction = "You read."\n'
_STAND_IN: Final = """\
#!{python} -IS
import json, sys
if "--version" in sys.argv:
    print("2026.1.1")
    sys.exit(0)


def say(**record):
    print(json.dumps(record))


say(type="system", subtype="init", session_id="bench", model="bench")
for at in range({steps}):
    call, read = f"call-{{at}}", {{"readToolCall": {{"args": {{"path": "notes.txt"}}}}}}
    say(type="tool_call", subtype="started", call_id=call, tool_call=read)
    read["readToolCall"]["result"] = {{"success": {{"content": "A line of notes. " * 60}}}}
    say(type="tool_call", subtype="completed", call_id=call, tool_call=read)
say(type="result", subtype="success", is_error=False, result="done", session_id="bench")
"""
# The least that reading a program takes: start it, and parse what it prints.
_FLOOR: Final = """\
import json, subprocess, sys
child = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
count = sum(1 for line in child.stdout if json.loads(line))
sys.exit(child.wait())
"""


def programs(rounds: int, longest: int) -> None:
    """What a program costs that runs an Expert; `longest` is how many steps the longest run has."""
    heading("Runs that a program executes (whole process)")
    walls: dict[int, Took] = {}
    floors: dict[int, Took] = {}
    for number in (1, 400, longest):
        times = rounds if number <= 400 else 1
        with _workspace(number) as folder:
            ours, floor = alternately(
                times, lambda folder=folder: _run(folder), lambda folder=folder: _bare(folder)
            )
        walls[number], floors[number] = ours, floor
        row(f"{number} steps", ours.wall_s, floor.wall_s, "s", "-")
        row("  processor time", ours.cpu_s, floor.cpu_s, "s", "-")
        row("  peak memory", ours.peak_mb, floor.peak_mb, "MB", "-")
    for low, high in ((1, 400), (400, longest)):
        per = [(of[high].wall_s - of[low].wall_s) / (high - low) * 1000 for of in (walls, floors)]
        row(f"  time a step, {low} to {high}", per[0], per[1], "ms", "flat")
    more = (walls[longest].peak_mb - walls[400].peak_mb) * 1024 / (longest - 400)
    row("  memory a step", more, 0, "KB", "its messages")
    _talks(rounds)


def _talks(rounds: int) -> None:
    with _workspace(0) as folder:
        ours: list[float] = []
        floor: list[float] = []
        for _ in range(rounds + 1):
            ours.append(anyio.run(_talk, folder))
            started = time.perf_counter()
            _bare(folder)
            floor.append(time.perf_counter() - started)
    row("a talk, start to gone", median(ours[1:]) * 1000, median(floor[1:]) * 1000, "ms", "-")


async def _talk(folder: Path) -> float:
    started = time.perf_counter()
    invocation = Invocation((str(folder / "bin" / "cursor-agent"),), {})
    async with running("bench", invocation, _Reader(), folder) as hearing:
        await hearing.next()
    return time.perf_counter() - started


class _Reader:
    def read(self, record: Record) -> tuple[Report, ...]:
        return (Finished("done"),) if record.get("type") == "result" else ()

    def ended(self, failure: ProgramError | None) -> tuple[Report, ...]:
        del failure
        return ()


@contextmanager
def _workspace(number: int) -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        (folder / "perstack.toml").write_text(_TOML)
        (folder / "bin").mkdir()
        agent = folder / "bin" / "cursor-agent"
        agent.write_text(_STAND_IN.format(python=sys.executable, steps=number))
        agent.chmod(0o755)
        yield folder


def _run(folder: Path) -> Took:
    shutil.rmtree(folder / "perstack", ignore_errors=True)
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    command = program("run", "solo", "go", "--runtime", "cursor", "--max-steps", "20000")
    return process(command, cwd=folder, env={"PATH": path, "CURSOR_API_KEY": "bench-key"})


def _bare(folder: Path) -> Took:
    agent = str(folder / "bin" / "cursor-agent")
    return process([sys.executable, "-c", _FLOOR, agent], cwd=folder)
