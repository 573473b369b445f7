"""Start-up, steps and delegates of `perstack run`, against the bare SDK."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.measure import ROOT, Took, alternately, heading, median, process, program, row
from bench.server import COORDINATOR, Server, serving

LATENCY_MS: Final = 200
_TOML: Final = """\
model = "{model}"
maxParallel = 256
[provider]
providerName = "{vendor}"
[provider.setting]
baseUrl = "{url}"
[experts."solo"]
instruction = "You read."
[experts."lead"]
instruction = "{coordinator}"
delegates = ["worker"]
[experts."worker"]
instruction = "You work."
"""
_MODELS: Final = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-5.5"}
_KEYS: Final = {"ANTHROPIC_API_KEY": "bench-key", "OPENAI_API_KEY": "bench-key"}


@contextmanager
def workspace(vendor: str, server: Server, expert: str) -> Generator[Path]:
    """A folder with a team of that vendor, a file to read, and what a run asks there first."""
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        address = server.url + ("/v1" if vendor == "openai" else "")
        (folder / "perstack.toml").write_text(
            _TOML.format(model=_MODELS[vendor], vendor=vendor, url=address, coordinator=COORDINATOR)
        )
        (folder / "notes.txt").write_text("A line of notes that somebody wrote down.\n" * 24)
        run(folder, expert)
        if expert == "lead":
            server.span_s()
        (folder / "first.json").write_text(json.dumps(server.first_requests()))
        yield folder


def start_up(rounds: int) -> None:
    """`--help`, and one step cold."""
    heading("Start-up (whole process)")
    here = Path(tempfile.gettempdir())
    ours, floor = alternately(
        rounds,
        lambda: process(program("--help"), cwd=here),
        lambda: process([sys.executable, "-m", "bench.floors", "help"], cwd=ROOT),
    )
    row("perstack --help, against a bare typer", ours.wall_s, floor.wall_s, "s", "1.50x")
    row("  memory", ours.peak_mb, floor.peak_mb, "MB", "-")
    for vendor in _MODELS:
        with serving("steps", 0) as server, workspace(vendor, server, "solo") as folder:
            ours, floor = _both(rounds, folder, vendor, server, "solo")
        row(f"perstack run, one step ({vendor})", ours.wall_s, floor.wall_s, "s", "1.25x")
        row("  processor time", ours.cpu_s, floor.cpu_s, "s", "-")


def steps(rounds: int, longest: int) -> None:
    """Durable steps: time and bytes per step as runs grow."""
    for vendor in _MODELS:
        heading(f"Durable steps ({vendor})")
        walls: dict[int, tuple[Took, Took]] = {}
        for number in (10, 100, longest):
            with serving("steps", number) as server, workspace(vendor, server, "solo") as folder:
                ours, floor = walls[number] = _both(rounds, folder, vendor, server, "solo")
                stored, content = _bytes(folder)
            row(f"{number} steps", ours.wall_s, floor.wall_s, "s", f"1.50x at {longest}")
            row("  processor time", ours.cpu_s, floor.cpu_s, "s", "-")
            row("  bytes on disk, against messages", stored, content, "bytes", "1.50x")
            row("  bytes a step", stored / number, content / number, "bytes", "flat")
            row("  peak memory", ours.peak_mb, floor.peak_mb, "MB", "-")
        for low, high in ((10, 100), (100, longest)):
            per = [
                (walls[high][side].wall_s - walls[low][side].wall_s) / (high - low) * 1000
                for side in (0, 1)
            ]
            row(f"  time a step, {low} to {high}", per[0], per[1], "ms", "flat")


def delegates(rounds: int) -> None:
    """Parallel delegates; ideal is three model calls one after the other.

    Measured where the model is, from the coordinator's first request to its last answer: what the
    process takes to start is no matter of delegation.
    """
    ideal_s = 3 * LATENCY_MS / 1000
    heading(f"Parallel delegates, {LATENCY_MS} ms a model call", floor="ideal")
    for number in (1, 16, 64):
        with (
            serving("delegates", number, LATENCY_MS) as server,
            workspace("anthropic", server, "lead") as folder,
        ):
            ours: list[float] = []
            floor: list[float] = []
            for _ in range(rounds):
                run(folder, "lead")
                ours.append(server.span_s())
                bare(folder, "anthropic", server)
                floor.append(server.span_s())
        row(f"{number} delegates", median(ours), ideal_s, "s", "1.25x at 64")
        row("  the bare SDK", median(floor), ideal_s, "s", "-")


def run(folder: Path, expert: str) -> Took:
    """Run an Expert of that workspace, whose history is empty before."""
    shutil.rmtree(folder / "perstack", ignore_errors=True)
    return process(program("run", expert, "go", "--max-steps", "5000"), cwd=folder, env=_KEYS)


def bare(folder: Path, vendor: str, server: Server) -> Took:
    """Make the same requests without us."""
    return process([sys.executable, "-m", "bench.floors", vendor, server.url], cwd=folder)


def _both(rounds: int, folder: Path, vendor: str, server: Server, expert: str) -> tuple[Took, Took]:
    return alternately(rounds, lambda: run(folder, expert), lambda: bare(folder, vendor, server))


def _bytes(folder: Path) -> tuple[float, float]:
    """Bytes that the job takes on disk, and those of its new messages as JSON."""
    import anyio

    from perstack.engine.recall import recall
    from perstack.runtime import open_history

    async def content() -> float:
        history = open_history(folder)
        (job,) = await history.list_jobs()
        recalled = await recall(history, job.id, job.coordinator_run_id)
        messages = recalled.state.messages
        return sum(len(m.model_dump_json(exclude_none=True).encode()) for m in messages)

    stored = sum(
        path.stat().st_size for path in (folder / "perstack" / "jobs").rglob("*") if path.is_file()
    )
    return stored, anyio.run(content)
