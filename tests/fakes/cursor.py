"""A project whose Expert the stand-in for Cursor's program executes (`cursor_agent`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from tests.fakes import cursor_agent
from tests.fakes.cli import Json, Program

KEY: Final = "cursor-canary-0123456789abcdef"
TOML: Final = """
{runtime}
[provider]
providerName = "anthropic"
[runtimes.cursor]
command = [{command}]
{more}
[experts."lead"]
description = "Does it."
instruction = "You are lead."
"""


def cursor_project(
    folder: Path, *talks: list[Json], more: str = "", runtime: str = 'runtime = "cursor"'
) -> Program:
    """Make a project whose Expert `lead` the stand-in executes, talk by talk."""
    command = ", ".join(json.dumps(word) for word in (sys.executable, cursor_agent.__file__))
    toml = TOML.format(command=command, more=more, runtime=runtime)
    made = Program.make(folder, toml, env={"CURSOR_API_KEY": KEY})
    script = {"talks": talks, "known": [cursor_agent.SESSION]}
    (folder / "cursor-script.json").write_text(json.dumps(script))
    return made


def calls_of(folder: Path) -> list[Json]:
    """Return how it was started, each time, without the times that its version was asked for."""
    lines = (folder / "cursor-calls.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
