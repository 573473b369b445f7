"""`perstack create` with the scripted provider standing in for the model.

program = creating_program(tmp_path, scenario=creates("tic-tac-toe"))
ran = await program.run(*create_words("tic-tac-toe", "play tic-tac-toe"))
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from perstack.config.toml_text import toml_value
from tests.fakes.cli import Program
from tests.fakes.no_registry import NO_REGISTRY

SCENARIO: Final = "create.scenario.toml"
CREATOR: Final = "create-expert"
_FROM_HERE: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
READS: Final = (
    '[experts."{name}".skills."@perstack/base"]\n'
    'type = "baseSkill"\npick = ["readTextFile", "writeTextFile", "attemptCompletion"]\n'
)
"""Tools without `exec`, so that a trial has nothing to ask the user."""


def team(name: str, *, instruction: str = "Play.", more: str = "") -> str:
    """Return a draft of one Expert, which has no `exec`."""
    return (
        f'[experts."{name}"]\nversion = "1.0.0"\ndescription = "Plays a small game"\n'
        f"instruction = {toml_value(instruction)}\n{more}{READS.format(name=name)}"
    )


def calls(who: str, turn: int, tool: str, /, **args: object) -> str:
    """Return one turn of a scenario: a tool call."""
    said = toml_value(json.loads(json.dumps(args)))
    return (
        f'[[turns]]\nexpert = "{who}"\nturn = {turn}\n'
        f"calls = [{{ tool = {toml_value(tool)}, args = {said} }}]\n"
    )


def says(expert: str, text: str) -> str:
    """Return what an Expert says once no turn before it fits."""
    return f'[[turns]]\nexpert = "{expert}"\ntext = {toml_value(text)}\n'


def plays(name: str, result: str = "O wins") -> str:
    """Return what the created Expert does: a file, its result."""
    return "".join(
        (
            calls(name, 1, "writeTextFile", path="board.txt", text="XO"),
            calls(name, 2, "attemptCompletion"),
            says(name, result),
        )
    )


def script(*steps: tuple[str, Mapping[str, object]], said: str = "It is done.") -> str:
    """Return the turns of the creating Expert, one tool call each, and what it says at the end."""
    made = [calls(CREATOR, turn, tool, **args) for turn, (tool, args) in enumerate(steps, start=1)]
    return "".join(
        [*made, calls(CREATOR, len(steps) + 1, "attemptCompletion"), says(CREATOR, said)]
    )


def creates(name: str, instruction: str = "Play, and say who wins.") -> str:
    """Return a scenario that drafts a broken team, mends, tries, reads, improves and finishes."""
    broken = f'model = "other"\n[experts."{name}"]\ndescripton = "x"\nversion = "1"\n'
    attempt = {"expert": name, "query": "Play a game", "files": {"rules.txt": "three in a row"}}
    return plays(name) + script(
        ("draftTeam", {"toml": broken}),
        ("draftTeam", {"toml": team(name)}),
        ("tryExpert", attempt),
        ("readLog", {}),
        ("draftTeam", {"toml": team(name, instruction=instruction)}),
        ("tryExpert", attempt),
        ("readLog", {"step": "1"}),
        said="One Expert, which won both trials.",
    )


def creating_program(
    folder: Path, *, scenario: str, env: Mapping[str, str] | None = None
) -> Program:
    """Return the program in a folder with nothing in it but a scenario; no key is set."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCENARIO).write_text(scenario)
    own = {name: os.environ[name] for name in _FROM_HERE if name in os.environ}
    return Program(folder, {**own, "PERSTACK_API_BASE_URL": NO_REGISTRY, **(env or {})})


def create_words(name: str, wish: str, *more: str) -> Sequence[str]:
    """Return the command line that creates without questions."""
    scripted = ("--provider", "scripted", "--scenario", SCENARIO)
    return ("create", name, wish, "--yes", *scripted, *more)
