"""The cockpit in a real terminal: its first paint, and how soon it answers a key under load."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.measure import ROOT, environment, heading, median, program, row
from bench.terminal import Terminal, terminal

EVENTS_A_SECOND: Final = 500
_TOML: Final = """\
model = "claude-sonnet-5-5"
[provider]
providerName = "anthropic"
[experts."reader"]
instruction = "You read."
"""
_TITLE: Final = "Delegation"
_HELP: Final = "In the delegation tree"
# Nothing waits in this workspace, so that this pane is painted for no other reason than its focus.
_QUIET_PANE: Final = "Inbox"
_SETTLE_S: Final = 2.0
_BETWEEN_S: Final = 0.06


def first_paint(rounds: int) -> None:
    """Spawn to the first bytes with the Delegation pane's title, in a workspace with a history."""
    heading("First paint of the cockpit (whole process, 120x40)")
    floor = [sys.executable, "-m", "bench.floors", "paint"]
    with _workspace() as folder:
        with _writing(folder, EVENTS_A_SECOND):
            time.sleep(1)
        found = [(_painted(program(), folder), _painted(floor, folder)) for _ in range(rounds + 1)]
    ours, bare = (median([pair[side] for pair in found[1:]]) for side in (0, 1))
    row("first paint, against five bare panes", ours, bare, "s", "0.4 s")


def key_to_paint(presses: int) -> None:
    """Press a key while another process writes; wait for what it paints."""
    heading(f"Key to paint, {EVENTS_A_SECOND} events/s from another process", floor="idle")
    with _workspace() as folder, _writing(folder, 1):
        idle = _pressed(folder, presses)
    with _workspace() as folder, _writing(folder, EVENTS_A_SECOND):
        busy = _pressed(folder, presses)
    for name in busy:
        for percent in (50, 95, 99):
            values = [_percentile(side[name], percent) * 1000 for side in (busy, idle)]
            aim = "50 ms" if percent == 99 else "-"
            row(f"{name}, p{percent} of {presses}", values[0], values[1], "ms", aim)


def _painted(command: Sequence[str], folder: Path) -> float:
    with terminal(command, cwd=folder, env={}) as screen:
        screen.await_text(_TITLE)
        return screen.since_start()


def _pressed(folder: Path, presses: int) -> dict[str, list[float]]:
    focused: list[float] = []
    opened: list[float] = []
    with terminal(program(), cwd=folder, env={}) as screen:
        screen.await_text(_TITLE)
        if _QUIET_PANE.encode() in _settled(screen):
            raise RuntimeError(f"{_QUIET_PANE} is painted for no key: what is measured is not one")
        for number in range(presses):
            focused.append(_timed(screen, "14"[number % 2 == 0], _QUIET_PANE))
            screen.read_for(_BETWEEN_S)
        for _ in range(presses):
            opened.append(_timed(screen, "?", _HELP))
            screen.read_for(_BETWEEN_S)
            screen.press("?")
            screen.read_for(4 * _BETWEEN_S)
    return {"focus another pane": focused, "open the help": opened}


def _settled(screen: Terminal) -> bytes:
    screen.read_for(_SETTLE_S)
    return screen.read_for(_SETTLE_S)


def _timed(screen: Terminal, key: str, effect: str) -> float:
    began = time.perf_counter()
    screen.press(key)
    screen.await_text(effect)
    return time.perf_counter() - began


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@contextmanager
def _workspace() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        (folder / "perstack.toml").write_text(_TOML)
        yield folder


@contextmanager
def _writing(folder: Path, rate: int) -> Generator[None]:
    command = [sys.executable, "-m", "bench.writer", str(folder), str(rate)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment({}), stdout=subprocess.PIPE, text=True
    ) as writer:
        if writer.stdout is None or writer.stdout.readline().strip() != "writing":
            raise RuntimeError("the writer did not start")
        try:
            yield
        finally:
            writer.kill()
