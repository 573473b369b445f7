"""Start-up, steps and delegates of `perstack run`, against the bare SDK."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import ROOT, Took, alternately, heading, process, program, row
from bench.server import COORDINATOR, serving

_TOML = """\
model = "{model}"
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
_MODELS = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-5.5"}
_KEYS = {"ANTHROPIC_API_KEY": "bench-key", "OPENAI_API_KEY": "bench-key"}


@contextmanager
def workspace(vendor: str, url: str) -> Generator[Path]:
    """A folder with a team of that vendor at that address, and a file to read."""
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        address = url + ("/v1" if vendor == "openai" else "")
        (folder / "perstack.toml").write_text(
            _TOML.format(model=_MODELS[vendor], vendor=vendor, url=address, coordinator=COORDINATOR)
        )
        (folder / "notes.txt").write_text("A line of notes that somebody wrote down.\n" * 24)
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
    row("  its memory", ours.peak_mb, floor.peak_mb, "MB", "-")
    for vendor in ("anthropic", "openai"):
        with serving("steps", 0) as url, workspace(vendor, url) as folder:
            ours, floor = alternately(
                rounds, lambda: _run(folder, "solo"), lambda: _floor(folder, vendor, url)
            )
            row(f"perstack run, one step ({vendor})", ours.wall_s, floor.wall_s, "s", "1.25x")


def steps(rounds: int, longest: int) -> None:
    """Durable steps: time and bytes per step as runs grow."""
    for vendor in ("anthropic", "openai"):
        heading(f"Durable steps ({vendor})")
        walls: dict[int, tuple[float, float]] = {}
        for number in (10, 100, longest):
            with serving("steps", number) as url, workspace(vendor, url) as folder:
                ours, floor = alternately(
                    rounds, lambda: _run(folder, "solo"), lambda: _floor(folder, vendor, url)
                )
                walls[number] = ours.wall_s, floor.wall_s
                row(f"{number} steps", ours.wall_s, floor.wall_s, "s", "1.50x at 400")
                if number == longest:
                    stored, content = _bytes(folder)
                    row("  bytes on disk, against messages", stored, content, "bytes", "1.50x")
                    row("  peak memory", ours.peak_mb, floor.peak_mb, "MB", "-")
        for low, high in ((10, 100), (100, longest)):
            per = [(walls[high][n] - walls[low][n]) / (high - low) * 1000 for n in (0, 1)]
            row(f"  ms a step from {low} to {high}", per[0], per[1], "ms", "flat")


def delegates(rounds: int) -> None:
    """Parallel delegates at 200 ms a model call; ideal is three calls one after the other."""
    heading("Parallel delegates, 200 ms a model call (floor: 600 ms)")
    for number in (1, 16, 64):
        with (
            serving("delegates", number, 200) as url,
            workspace("anthropic", url) as folder,
            serving("delegates", 0) as quick,
            workspace("anthropic", quick) as empty,
        ):
            _run(folder, "lead")
            spans = [_span(folder, "lead") for _ in range(rounds)]
            assert empty.exists()
        row(f"{number} delegates", statistics.median(spans), 0.6, "s", "1.25x at 64")


def _run(folder: Path, expert: str) -> Took:
    shutil.rmtree(folder / "perstack", ignore_errors=True)
    return process(program("run", expert, "go", "--max-steps", "5000"), cwd=folder, env=_KEYS)


def _floor(folder: Path, vendor: str, url: str) -> Took:
    return process([sys.executable, "-m", "bench.floors", vendor, url], cwd=folder)


def _span(folder: Path, expert: str) -> float:
    """Seconds from the first to the last event of the coordinator's run."""
    _run(folder, expert)
    (job,) = (folder / "perstack" / "jobs").iterdir()
    stamps = [
        json.loads(line)["timestamp"]
        for log in job.rglob("events.jsonl")
        for line in log.read_text().splitlines()
        if '"type":"skill' not in line
    ]
    return (max(stamps) - min(stamps)) / 1000


def _bytes(folder: Path) -> tuple[float, float]:
    """Bytes that the job takes on disk, and those of its new messages as JSON."""
    import anyio

    from perstack.engine.recall import recall
    from perstack.runtime import open_history

    async def content() -> float:
        history = open_history(folder)
        job = await history.find_latest_job()
        assert job is not None
        recalled = await recall(history, job.id, job.coordinator_run_id)
        messages = recalled.state.messages
        return sum(len(m.model_dump_json(exclude_none=True)) for m in messages)

    stored = sum(path.stat().st_size for path in (folder / "perstack").rglob("*") if path.is_file())
    return stored, anyio.run(content)
