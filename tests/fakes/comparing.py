"""A workspace whose Expert is compared on the scripted model and on a stand-in for Cursor."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perstack.comparing import comparing_of, open_comparisons, wish_of
from perstack.config.typed import Overrides
from perstack.domain.comparisons import Contest, contestants_of
from perstack.engine.control import StopControl
from perstack.ports.comparisons import ComparisonStore
from perstack.project import Project, open_project
from perstack.services.comparison_files import ComparisonFiles
from tests.fakes import cursor_agent
from tests.fakes.cli import Json

TOML: Final = """
maxSteps = 20
[provider]
providerName = "scripted"
[provider.setting]
scenario = "play.toml"
[runtimes.cursor]
command = [{command}]
{more}
[experts."writer"]
instruction = "You write."
[experts."writer".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
"""
WRITES: Final = """
[[turns]]
turn = 1
text = "I write."
[[turns.calls]]
tool = "writeTextFile"
args = { path = "out.txt", text = "of the script\\n" }
[[turns]]
turn = 2
text = "Written."
"""
WAITS: Final = "[[turns]]\ntext = 'late'\nlatency_ms = 3600000\n"
TALK: Final[list[Json]] = [
    {"write": "out.txt", "text": "of the program\n"},
    {"say": "Written, too."},
]


@dataclass
class Comparisons:
    """The workspace. `heard` is how a comparison stood, change by change."""

    folder: Path
    play: str = WRITES
    talk: list[Json] = field(default_factory=lambda: list(TALK))
    more: str = ""
    heard: list[Contest] = field(default_factory=list[Contest])
    control: StopControl = field(default_factory=StopControl)

    def __post_init__(self) -> None:
        command = ", ".join(json.dumps(word) for word in (sys.executable, cursor_agent.__file__))
        self.put("perstack.toml", TOML.format(command=command, more=self.more))
        self.put("play.toml", self.play)
        self.put("cursor-script.json", json.dumps({"talks": [self.talk], "known": []}))

    def put(self, path: str, text: str) -> Path:
        """Write a file of the workspace."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    @property
    def store(self) -> ComparisonStore:
        """What is stored of the comparisons."""
        return open_comparisons(self.folder)

    def project(self, over: Overrides) -> Project:
        """The project, all that it asks for accepted."""
        return open_project(self.folder, self.folder / "perstack.toml", over)

    async def run(
        self, *on: str, over: Overrides | None = None, at_once: int = 8, query: str = "Write it."
    ) -> Contest:
        """Compare, until all have stopped."""
        typed = over or Overrides()
        project = self.project(typed)
        made = contestants_of(on)
        wish = wish_of(project, typed, "writer", query, made, at_once=at_once, named=True)
        comparing = comparing_of(project, typed, named=True)
        return await comparing.run(wish, control=self.control, on_change=self.heard.append)

    def at(self, contest: Contest, label: str) -> Path:
        """The folder of a contestant."""
        return self.store.folder(contest.id, label)

    def changed(self, contest: Contest, before: str | None, after: str | None) -> dict[str, str]:
        """How files differ, by path, and the lines of their diffs."""
        diffs = ComparisonFiles(self.store, contest.id).diffs(before, after)
        return {one.change.path: "\n".join(one.lines) or one.why_not or "" for one in diffs}
