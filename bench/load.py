"""The cockpit under the load that its goals name, in a pseudo-terminal.

20 runs in 3 processes, 10 events a second each, over a workspace of 100,000 stored events with a
job of 5,000 checkpoints. Goals and peers are those of the project's design; where a peer's figure
was measured on another machine, it is an order of magnitude, no more.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from bench.measure import ROOT, environment, median, program
from bench.stored import LONG_CHECKPOINTS, write_stored
from bench.terminal import Terminal, terminal
from bench.writer import bodies, ended, new_job, step_bodies
from perstack.domain.ids import ExpertKey
from perstack.ports.history import RunLog
from perstack.runtime import open_history

RUNS: Final = (7, 7, 6)
EVENTS_A_RUN: Final = 10
_TOML: Final = """\
model = "claude-sonnet-5-5"
[provider]
providerName = "anthropic"
[experts."reader"]
instruction = "You read."
"""
_TITLE: Final = "Delegation"
_AWAY_AND_BACK: Final = "\x1b[O\x1b[I"
_LIGHT: Final = "48;2;251;250;247"
_DARK: Final = "48;2;18;21;27"
_PROBES: Final = 40
_TOLD: Final = "told"
_READ_S: Final = 25.0
_WINDOWS: Final = 12


def goals(presses: int) -> None:
    """Measure what can be measured from outside and print it beside goal and best peer."""
    print("\nThe cockpit's goals")
    print(f"  {'':<44} {'ours':>10}   {'goal':<22} best seen", flush=True)
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        (folder / "perstack.toml").write_text(_TOML)
        help_s = [_help(folder) for _ in range(6)]
        _row("--help", 1000 * median(help_s[1:]), "ms", "150 ms", "160 ms")
        anyio.run(write_stored, folder)
        _opened(folder)
        _idle(folder)
        anyio.run(_seen, folder)
        with _busy(folder):
            _stalled(folder)
            _resized(folder)
            for columns, rows in ((120, 40), (200, 60)):
                _under_load(folder, columns, rows, presses)


def _row(name: str, value: float, unit: str, goal: str, peer: str) -> None:
    print(f"  {name:<44} {value:>10.1f} {unit:<2} {goal:<22} {peer}", flush=True)


def _help(folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        program("--help"), cwd=folder, env=environment({}), stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - began


def _idle(folder: Path) -> None:
    with terminal(program("start"), cwd=folder, env={}) as screen:
        screen.await_text(_TITLE)
        _row(
            "first paint, 100,000 events stored", 1000 * screen.since_start(), "ms", "400 ms", "260"
        )
        screen.read_for(_READ_S)
        before, began = cpu_s(screen.pid), time.perf_counter()
        painted = screen.read_for(10.0)
        share = (cpu_s(screen.pid) - before) / (time.perf_counter() - began)
        _row("idle, CPU of one core", 100 * share, "%", "0.3 %", "0.1 %")
        _row("idle, bytes in 10 s", len(painted), "B", "0 B", "0 B")
        _row("idle, memory", memory_mb(screen.pid), "MB", "120 MB", "gigabytes reported")


def _under_load(folder: Path, columns: int, rows: int, presses: int) -> None:
    size = f"{columns}x{rows}"
    with terminal(program("start"), cwd=folder, env={}, size=(columns, rows)) as screen:
        screen.await_text(_TITLE)
        screen.read_for(_READ_S)
        began_mb = memory_mb(screen.pid)
        shares = sorted(_window(screen) for _ in range(_WINDOWS))
        _row(f"{size}, CPU of one core, median second", 100 * median(shares), "%", "8 %", "35 %")
        _row(f"{size}, CPU, best second", 100 * shares[0], "%", "", "")
        took = [_pressed(screen, "14"[number % 2 == 0]) for number in range(presses)]
        for percent, goal in ((50, "16 ms"), (99, "50 ms")):
            at = statistics.quantiles(took, n=100, method="inclusive")[percent - 1]
            _row(f"{size}, key to paint, p{percent}", 1000 * at, "ms", goal, "4-18 ms idle")
        _reactions(screen, size)
        _row(f"{size}, memory", memory_mb(screen.pid), "MB", "120 MB", "gigabytes reported")
        grown = memory_mb(screen.pid) - began_mb
        _row(f"{size}, memory grown meanwhile", grown, "MB", "1 MB an hour", "")


def _reactions(screen: Terminal, size: str) -> None:
    focus = [_took(screen, _AWAY_AND_BACK + key, "Inbox") for key in "4141414"]
    _row(f"{size}, focus lost and gained, then a key", 1000 * max(focus), "ms", "20 ms", "388 ms")
    screen.press("\x14")
    screen.await_text("high-contrast")
    dressed = [_took(screen, key, colour) for key, colour in (("j", _LIGHT), ("k", _DARK)) * 4]
    _row(f"{size}, theme change, slowest of 8", 1000 * max(dressed), "ms", "80 ms", "388 ms")
    screen.press("\x1b")
    screen.read_for(1.0)


def _resized(folder: Path) -> None:
    with terminal(program("start"), cwd=folder, env={}) as screen:
        screen.await_text(_TITLE)
        screen.read_for(_READ_S)
        took: list[float] = []
        for columns, rows in ((200, 60), (120, 40)) * 4:
            began = time.perf_counter()
            screen.resize(columns, rows)
            screen.await_text(f"\x1b[{rows};1H")
            took.append(time.perf_counter() - began)
            screen.read_for(0.5)
        _row("resize to 200x60, slowest of 4", 1000 * max(took[::2]), "ms", "120 ms", "85-290 ms")


def _opened(folder: Path) -> None:
    with terminal(program("start"), cwd=folder, env={}) as screen:
        screen.await_text("checkpoints")
        _row("5,000 checkpoints, start to first rows", 1000 * screen.since_start(), "ms", "", "60")
        screen.await_text(f"{LONG_CHECKPOINTS} checkpoints")
        _row("5,000 checkpoints, start to all", 1000 * screen.since_start(), "ms", "", "8-60 s")
        screen.read_for(_READ_S)
        screen.press("2")
        screen.read_for(1.0)
        took = _took(screen, "\r", f"{LONG_CHECKPOINTS} of")
        _row("5,000 checkpoints, travel, first rows", 1000 * took, "ms", "150 ms", "60 ms")


async def _seen(folder: Path) -> None:
    """Time from what a run of this process says to its text in the cockpit's stream."""
    job, (setting,) = new_job(_TOLD, expert=ExpertKey(_TOLD))
    async with open_history(folder).create_job(job) as held:
        log = await held.create_run(setting)
        log.append(next(bodies(0)), step_number=1)
        await log.sync()
        with terminal(program("start"), cwd=folder, env={}) as screen:
            await anyio.to_thread.run_sync(screen.await_text, _TOLD)
            with _busy(folder):
                await anyio.to_thread.run_sync(screen.read_for, _READ_S)
                steps = range(1, _PROBES + 1)
                took = [await _told(log, screen, step) for step in steps]
        log.close()
        await held.save(ended(job))
    at = statistics.quantiles(took, n=20, method="inclusive")[-1]
    _row("event of another process to screen, p50", 1000 * median(took), "ms", "", "")
    _row("event of another process to screen, p95", 1000 * at, "ms", "250 ms", "50-100 ms")


async def _told(log: RunLog, screen: Terminal, step: int) -> float:
    await anyio.to_thread.run_sync(screen.read_for, 0.5)
    text = f"{_TOLD}{step:03}"
    began = time.perf_counter()
    for body in step_bodies(0, step, text):
        log.append(body, step_number=step)
    await log.sync()
    # In a thread: what the job's other processes are told is written by this loop.
    await anyio.to_thread.run_sync(screen.await_text, text)
    return time.perf_counter() - began


def _stalled(folder: Path) -> None:
    """The longest callback of the event loop in a minute of load, with keys pressed meanwhile."""
    kept = folder / "stalls.txt"
    command = [sys.executable, "-m", "bench.stalls", str(kept), "start"]
    with terminal(command, cwd=folder, env={}) as screen:
        screen.await_text(_TITLE)
        screen.read_for(_READ_S)
        after = time.time()
        for number in range(120):
            screen.press("14"[number % 2])
            screen.read_for(0.5)
        before = time.time()
    stalls = [line.split() for line in kept.read_text().splitlines()]
    longest = max((float(ms) for at, ms in stalls if after < float(at) < before), default=0.0)
    _row("longest stall of the loop, 60 s", longest, "ms", "50 ms", "200-660 ms")


def _took(screen: Terminal, keys: str, effect: str) -> float:
    screen.read_for(0.4)
    began = time.perf_counter()
    screen.press(keys)
    screen.await_text(effect)
    return time.perf_counter() - began


def _window(screen: Terminal) -> float:
    before, began = cpu_s(screen.pid), time.perf_counter()
    screen.read_for(1.0)
    return (cpu_s(screen.pid) - before) / (time.perf_counter() - began)


def _pressed(screen: Terminal, key: str) -> float:
    # What the key before painted has come by then: its last part must not be taken for this one.
    screen.read_for(0.5)
    began = time.perf_counter()
    screen.press(key)
    screen.await_text("Inbox")
    return time.perf_counter() - began


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that the threads of `pid` took so far, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def memory_mb(pid: int) -> float:
    """Return the resident memory of `pid` in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _busy(folder: Path) -> Generator[None]:
    with ExitStack() as stack:
        for runs in RUNS:
            command = _writer(folder, runs)
            writer = stack.enter_context(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment({}), stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(writer.kill)
            if writer.stdout is None or writer.stdout.readline().strip() != "writing":
                raise RuntimeError("a writer did not start")
        yield


def _writer(folder: Path, runs: int) -> Sequence[str]:
    rate = str(runs * EVENTS_A_RUN)
    return [sys.executable, "-m", "bench.writer", str(folder), rate, str(runs)]


if __name__ == "__main__":
    goals(100)
