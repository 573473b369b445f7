"""What the program tells people to type: every command that a text names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

import perstack
from perstack.cli.app import app

COMMAND: Final = re.compile(r"\bperstack ([a-z]+)(?: ([a-z]+))?")
GROUPS: Final = ("agent", "consensus", "config")
FOLDER: Final = Path(perstack.__file__).parent


def hints(file: Path) -> list[str]:
    """Return the texts that errors of a module give as their hint."""
    given = [
        word.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "hint"
    ]
    return [
        part.value
        for value in given
        for part in ast.walk(value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def test_every_command_that_a_hint_names_exists() -> None:
    top = getattr(get_command(app), "commands", {})
    known = {
        name: set(found.list_commands(Context(found)))
        if isinstance(found, TyperGroup)
        else set[str]()
        for name, found in top.items()
    }
    assert {"spawn", "exec"} <= known["agent"]
    named = [
        (file.name, found.group(1), found.group(2))
        for file in sorted((FOLDER / "services").rglob("*.py"))
        for text in hints(file)
        for found in COMMAND.finditer(text)
    ]
    assert len(named) > 10
    wrong = [
        (file, verb, sub)
        for file, verb, sub in named
        if verb not in known or (verb in GROUPS and sub is not None and sub not in known[verb])
    ]
    assert wrong == []
