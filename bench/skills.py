"""What a tool server costs before the first generation, with a lock file and without."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.measure import ROOT, Took, heading, medians, process, program, row
from bench.server import Server, serving

_TOML: Final = """\
[provider]
providerName = "{vendor}"
[provider.setting]
baseUrl = "{url}"
[experts.solo]
instruction = "You read."
"""
_SKILL: Final = """
[experts.solo.skills.lookup]
type = "mcpStdioSkill"
command = "{python}"
args = ["{server}"]
"""
_KEYS: Final = {"ANTHROPIC_API_KEY": "bench-key", "OPENAI_API_KEY": "bench-key"}
# A file that is named needs no acceptance.
_NAMED: Final = ("--config", "perstack.toml")


def first_generation(rounds: int) -> None:
    """From the start of `perstack run` to the model's first request, one MCP skill."""
    heading("Start to first generation, one MCP skill", floor="no skill")
    for vendor, path in (("anthropic", ""), ("openai", "/v1")):
        with serving("steps", 0) as server, _workspaces(vendor, server.url + path) as folders:
            took = _in_turn(rounds, [_measured(server, folder) for folder in folders])
        none, asked, locked = took
        for name, found, aim in (("without", asked, "-"), ("with", locked, "1.05x")):
            row(f"{name} a lock file ({vendor})", found.wall_s, none.wall_s, "s", aim)
            row("  processor time of the whole run", found.cpu_s, none.cpu_s, "s", aim)


@contextmanager
def _workspaces(vendor: str, url: str) -> Generator[tuple[Path, Path, Path]]:
    """Three folders with one Expert: without a skill, with one, with one and a lock file."""
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        none, asked, locked = (Path(name) / each for each in ("none", "asked", "locked"))
        toml = _TOML.format(vendor=vendor, url=url)
        skill = _SKILL.format(python=sys.executable, server=ROOT / "bench" / "tool_server.py")
        for folder in (none, asked, locked):
            folder.mkdir()
            text = toml if folder == none else toml + skill
            (folder / "perstack.toml").write_text(text)
        process(program("install", *_NAMED), cwd=locked, env=_KEYS)
        yield none, asked, locked


def _measured(server: Server, folder: Path) -> Callable[[], Took]:
    """Return what runs once, and tells the time until the first request instead of the whole."""

    def once() -> Took:
        started = time.perf_counter()
        took = process(program("run", "solo", "go", *_NAMED), cwd=folder, env=_KEYS)
        return replace(took, wall_s=server.began_at() - started)

    return once


def _in_turn(rounds: int, measured: list[Callable[[], Took]]) -> list[Took]:
    """Run all in turn, one round more than is counted; return medians."""
    found = [[each() for each in measured] for _ in range(rounds + 1)][1:]
    return [medians(column) for column in zip(*found, strict=True)]
