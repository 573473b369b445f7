"""The flows of the cockpit in a real tmux: the real program, keys typed, the screen looked at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.tmux import Tmux, in_tmux

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here")

TOML: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "play.toml"
pace = 0.0
[experts.lead]
version = "1.0.0"
instruction = "Lead."
delegates = ["left", "right"]
[experts.lead.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
requireApproval = ["deleteFile"]
[experts.lead.skills.ask]
type = "interactiveSkill"
[experts.lead.skills.ask.tools.askUser]
inputJsonSchema = '''
{"type": "object", "properties": {"question": {"type": "string"}, "choices": {"type": "array"}}}
'''
[experts.left]
version = "1.0.0"
instruction = "Left."
[experts.right]
version = "1.0.0"
instruction = "Right."
"""
GATE_THEN_QUESTION: Final = """
[[turns]]
turn = 1
calls = [{ tool = "deleteFile", args = { path = "x.txt" } }]
[[turns]]
turn = 2
calls = [{ tool = "askUser", args = { question = "Which colour?", choices = ["red", "blue"] } }]
[[turns]]
text = "It is done in {{turn}} turns."
"""
DELEGATION: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [
    { tool = "left", args = { query = "Go left." } },
    { tool = "right", args = { query = "Go right." } },
]
[[turns]]
expert = "left"
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "left.txt", text = "left\\n" } }]
[[turns]]
text = "All went well."
"""


@contextmanager
def played(
    folder: Path, scenario: str, *words: str, size: tuple[int, int] = (120, 40)
) -> Generator[Tmux]:
    """Run `perstack start` in a workspace of its own."""
    (folder / "perstack.toml").write_text(TOML)
    (folder / "play.toml").write_text(scenario)
    (folder / "x.txt").write_text("x\n")
    command = [sys.executable, "-m", "perstack", "start", "--trust", *words]
    env = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "TERM": "tmux-256color"}
    with in_tmux(command, cwd=folder, env=env, size=size) as pane:
        yield pane


def test_a_gate_is_approved_and_a_question_answered_by_keys(tmp_path: Path) -> None:
    with played(tmp_path, GATE_THEN_QUESTION, "lead", "Go.") as pane:
        pane.until("⏎ review")
        pane.press("4")
        pane.press_until("Enter", "Review · deleteFile")
        pane.press_when_quiet("a")
        pane.until("asks", without="Review")
        assert not (tmp_path / "x.txt").exists()
        pane.press_when_quiet("i")
        pane.until("Which colour?", "red", "blue")
        pane.press_when_quiet("2")
        pane.press_when_quiet("Enter")
        pane.until("It is done in 3 turns.")


def test_a_past_checkpoint_is_looked_at_and_left_again(tmp_path: Path) -> None:
    with played(tmp_path, DELEGATION, "left", "Go.") as pane:
        pane.until("All went well.")
        pane.press("2", "h")
        pane.press_until("Enter", "READ-ONLY PAST")
        pane.press_until("Escape", "1 Delegation", without="READ-ONLY PAST")


@pytest.mark.long
def test_a_parallel_delegation_is_followed_branch_by_branch(tmp_path: Path) -> None:
    with played(tmp_path, DELEGATION, "lead", "Go.") as pane:
        pane.until("├ ✓ left", "└ ✓ right", "All went well.")
        pane.press("j")
        pane.until("lead@1.0.0 › left@1.0.0", "left.txt")


@pytest.mark.long
def test_a_saved_definition_is_told_and_shown(tmp_path: Path) -> None:
    with played(tmp_path, DELEGATION, "left", "Go.") as pane:
        pane.until("All went well.")
        (tmp_path / "perstack.toml").write_text(TOML.replace('"Left."', '"Go far left."'))
        pane.until("perstack.toml reloaded", "left changed")
        pane.press_until("C-r", "What changed", "Go far left.")
        pane.press_until("Escape", "1 Delegation", without="What changed")
        (tmp_path / "perstack.toml").write_text("[experts")
        pane.until("perstack.toml", "✗")


@pytest.mark.long
def test_the_palette_finds_an_action_and_does_it(tmp_path: Path) -> None:
    with played(tmp_path, DELEGATION, "left", "Go.", size=(80, 24)) as pane:
        pane.until("All went well.")
        pane.press_when_quiet("C-p")
        pane.until("with the selection")
        pane.type("experts")
        pane.until("What perstack.toml defines")
        pane.press_when_quiet("Enter")
        pane.until("6 Experts ━", "right", without="Palette")


@pytest.mark.long
def test_a_gate_is_approved_at_the_smallest_size(tmp_path: Path) -> None:
    with played(tmp_path, GATE_THEN_QUESTION, "lead", "Go.", size=(80, 24)) as pane:
        pane.until("⏎ review")
        pane.press("4")
        pane.press_until("Enter", "Review · deleteFile")
        pane.press_when_quiet("a")
        pane.until("Which colour?", without="Review")
        assert not (tmp_path / "x.txt").exists()
