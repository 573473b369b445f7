"""`perstack start EXPERT --continue -i` in a real terminal, over the real runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

CONFIG = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "ask.scenario.toml"

[experts.writer]
version = "1.0.0"
instruction = "Ask first."
[experts.writer.skills.ask]
type = "interactiveSkill"
[experts.writer.skills.ask.tools.askUser]
description = "Ask the user"
inputJsonSchema = '{"type": "object", "properties": {"question": {"type": "string"}}}'
"""
SCENARIO = """
[[turns]]
expert = "writer"
turn = 1
[[turns.calls]]
tool = "askUser"
args = { question = "Which audience is meant?", choices = ["developers", "operators"] }

[[turns]]
expert = "writer"
turn = 2
calls = [{ tool = "attemptCompletion" }]

[[turns]]
expert = "writer"
text = "Written for them."
"""


def environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "HOME": str(home), "LANG": "C.UTF-8"}


@pytest.mark.long
def test_pending_question_is_open_as_the_cockpit_opens_and_its_answer_ends_the_job(
    tmp_path: Path,
) -> None:
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    (folder / "perstack.toml").write_text(CONFIG)
    (folder / "ask.scenario.toml").write_text(SCENARIO)
    program = [sys.executable, "-m", "perstack"]
    asked = subprocess.run(
        [*program, "run", "writer", "write it", "--trust"],
        cwd=folder,
        env=environment(home),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    child: pexpect.spawn[bytes] = pexpect.spawn(
        program[0],
        [*program[1:], "start", "writer", "--continue", "-i", "--trust"],
        cwd=str(folder),
        dimensions=(30, 100),
        env=environment(home),
        timeout=30,
    )
    try:
        child.expect(rb"writer asks")
        child.expect(rb"Which audience is meant")
        child.send(b"2")
        child.expect(rb"operators")
        for _ in range(20):
            # It is sent once the keyboard was quiet for a moment after the sheet opened.
            child.send(b"\r")
            if child.expect([rb"answered; the job goes on", pexpect.TIMEOUT], timeout=1) == 0:
                break
        child.expect(rb"Written for them")
        for _ in range(20):
            # A key counts once the keyboard was quiet after the sheet.
            child.send(b"q")
            if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=1.5) == 0:
                break
            # The job was about to end: what asks whether to stop it is closed again.
            child.send(b"\x1b")
            child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=0.7)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0
