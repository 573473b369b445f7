"""`perstack start --screen-reader` in a real terminal, over the real runtime."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pexpect
import pytest

from tests.fakes.registry_wire import registry_wire, silent

CONFIG: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"

[consensus]
enabled = true
reviewerStrategy = "human"

[experts.worker]
instruction = "Work."
[experts.slow]
instruction = "Think long."
[experts.lead]
instruction = "Have it deployed, then ask."
delegates = ["worker"]
[experts.lead.skills.ask]
type = "interactiveSkill"
[experts.lead.skills.ask.tools.askUser]
description = "Ask the user"
inputJsonSchema = '{"type": "object", "properties": {"question": {"type": "string"}}}'
"""
SCENARIO: Final = """
[[turns]]
expert = "slow"
text = "Thinking about it for a long time."
latency_ms = 100000

[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "worker", args = { query = "deploy \\u001b]0;owned\\u0007 to production" } }]
[[turns]]
expert = "lead"
turn = 2
[[turns.calls]]
tool = "askUser"
args = { question = "Which audience is meant?", choices = ["developers", "operators"] }
[[turns]]
expert = "lead"
turn = 3
calls = [{ tool = "attemptCompletion" }]
[[turns]]
expert = "lead"
text = "Written for them."

[[turns]]
expert = "worker"
turn = 1
text = "Deployed."
calls = [{ tool = "attemptCompletion" }]
[[turns]]
expert = "worker"
text = "Deployed."
"""
QUIET_S: Final = 0.6


class Heard:
    """All bytes that the terminal was sent."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        """Nothing is held back."""


class Conversation:
    """The program in a pseudo-terminal."""

    def __init__(self, folder: Path, *args: str, env: dict[str, str] | None = None) -> None:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        (folder / "perstack.toml").write_text(CONFIG)
        (folder / "scenario.toml").write_text(SCENARIO)
        self.env = {"PATH": "/usr/bin:/bin", "TERM": "dumb", "HOME": str(home), "LANG": "C.UTF-8"}
        self.env.update(env or {})
        self.folder = folder
        self.heard = Heard()
        self.child: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "perstack", *args],
            cwd=str(folder),
            dimensions=(24, 100),
            env=self.env,
            timeout=30,
        )
        self.child.logfile_read = self.heard
        self.modes = termios.tcgetattr(self.child.child_fd)[3]

    def again(self, *args: str, env: dict[str, str]) -> Conversation:
        """Open another one in the same folder."""
        return Conversation(self.folder, *args, env=env)

    def hears(self, words: str) -> re.Match[bytes]:
        """Wait until the words were said."""
        self.child.expect(words.encode())
        match = self.child.match
        assert isinstance(match, re.Match)
        return match

    def types(self, line: str) -> None:
        """Type a command at the prompt."""
        self.child.send(line.encode() + b"\r")

    def answers(self, line: str) -> None:
        """Type an answer once a question could have been read."""
        self.child.expect([pexpect.TIMEOUT], timeout=QUIET_S)
        self.types(line)

    def waits(self, condition: Callable[[], bool]) -> None:
        """Wait until something came true, for as long as a word may take to be said."""
        for _ in range(600):
            if condition():
                return
            self.child.expect([pexpect.TIMEOUT], timeout=0.05)
        raise AssertionError("it never came true")

    def ends(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        if self.child.isalive():
            self.child.expect(pexpect.EOF)
        self.child.close()
        status = self.child.exitstatus
        return -(self.child.signalstatus or 0) if status is None else status


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[Conversation]]:
    conversations: list[Conversation] = []
    yield conversations
    for one in conversations:
        one.child.close(force=True)


@pytest.mark.parametrize("term", ["dumb", pytest.param("xterm-256color", marks=pytest.mark.long)])
def test_a_gate_is_read_and_approved_a_question_answered_and_nothing_moves_the_cursor(
    tmp_path: Path, opened: list[Conversation], term: str
) -> None:
    words = ("start", "--screen-reader", "lead", "write it", "--trust")
    talk = Conversation(tmp_path, *words, env={"TERM": term})
    opened.append(talk)
    talk.hears(r"1 lead wants your approval, risk HIGH")
    # What is typed before the question is said does not answer it.
    talk.child.send(b"approve 1\ryes\r")
    word = talk.hears(r"Type (\w+) to approve, or Enter not to: ").group(1).decode()
    talk.answers("wrong")
    talk.hears("Nothing was decided")
    talk.types("approve 1")
    talk.hears("Enter not to: ")
    talk.answers(word)
    talk.hears(r"approved\.")
    talk.hears(r"To answer: answer 2")
    talk.types("answer 2")
    talk.hears("Enter to leave it: ")
    talk.answers("2")
    talk.hears("Your answer: operators")
    talk.hears("Written for them")
    talk.types("apprve 1")
    talk.hears("did you mean approve")
    talk.types("jobs")
    talk.hears(r"1 \w+ lead: completed")
    talk.types("quit")
    assert talk.ends() == 0
    assert b"\x1b" not in talk.heard.data
    assert b"perstack consensus" not in talk.heard.data
    assert "‹U+001B›]0;owned" in talk.heard.data.decode()


@pytest.mark.long
def test_leaving_with_a_run_at_work_asks_and_ctrl_c_twice_stops_it(
    tmp_path: Path, opened: list[Conversation]
) -> None:
    env = {"PERSTACK_SCREEN_READER": "1", "TERM": "xterm-256color"}
    talk = Conversation(tmp_path, "start", "slow", "think", "--trust", env=env)
    opened.append(talk)
    talk.hears(r"\[slow\] › think")
    talk.types("quit")
    talk.hears("At work in this process: slow")
    talk.hears("Enter to stay: ")
    talk.answers("")
    talk.hears("You stay")
    talk.types("runs")
    talk.hears(r"1 \w+ slow: running")
    talk.child.send(b"\x03")
    talk.hears(r"Ctrl\+C again stops 1 job here at the next step and quits")
    talk.child.send(b"\x03")
    talk.hears("Stopping at the next step")
    assert talk.ends() == 130
    assert b"\x1b" not in talk.heard.data
    listed = subprocess.run(
        [sys.executable, "-m", "perstack", "watch", "--plain", "--once"],
        cwd=tmp_path,
        env=talk.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "slow: stopped" in listed.stdout


def test_ctrl_c_gives_up_a_registry_that_does_not_answer_and_the_conversation_goes_on(
    tmp_path: Path, opened: list[Conversation]
) -> None:
    with registry_wire(silent) as wire:
        env = {"PERSTACK_API_BASE_URL": wire.url}
        talk = Conversation(tmp_path, "start", "--screen-reader", "--trust", env=env)
        opened.append(talk)
        talk.hears("Scripted model")  # so the definitions were read
        for line in ("registry words", "read game", "start game play"):
            talk.types(line)
            talk.hears(r"Asking the registry\. Ctrl\+C gives it up\.")
            talk.waits(lambda: bool(wire.asked))
            wire.asked.clear()
            talk.child.send(b"\x03")
            talk.hears(r"Given up\.")
            talk.hears("> ")
        talk.types("experts")
        talk.hears("3 lead")
        talk.child.send(b"\x03")
        talk.hears(r"Ctrl\+C again quits")
        talk.types("quit")
        assert talk.ends() == 0


@pytest.mark.long
def test_a_detached_run_goes_on_and_its_question_is_answered_when_the_job_is_opened_again(
    tmp_path: Path, opened: list[Conversation]
) -> None:
    talk = Conversation(tmp_path, "start", "--screen-reader", "lead", "write it", "--trust")
    opened.append(talk)
    talk.hears(r"1 lead wants your approval")
    talk.types("quit")
    talk.hears("Enter to stay: ")
    talk.answers("detach")
    assert talk.ends() == 0
    again = talk.again("--workspace", ".", env={"PERSTACK_SCREEN_READER": "1"})
    opened.append(again)
    again.hears(r"1 lead wants your approval")
    again.types("reject 1 not now")
    again.hears("The agent reads: not now")
    again.hears("Enter not to: ")
    again.answers("yes")
    again.hears("rejected")
    again.hears("To answer: answer 2")
    again.types("answer 2")
    again.hears("Enter to leave it: ")
    again.answers("both of them")
    again.hears("Written for them")
    again.types("quit")
    assert again.ends() == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_a_signal_leaves_with_its_code_and_the_terminal_as_it_was(
    tmp_path: Path, opened: list[Conversation], number: signal.Signals, code: int
) -> None:
    env = {"PERSTACK_SCREEN_READER": "1", "TERM": "xterm-256color"}
    talk = Conversation(tmp_path, "--workspace", str(tmp_path), env=env)
    opened.append(talk)
    talk.hears("Watching 0 open jobs")
    talk.hears("Scripted model")  # so the definitions were read
    talk.hears("> ")
    talk.types("experts")
    talk.hears("3 lead")
    talk.child.kill(number)
    talk.child.expect(pexpect.EOF)
    assert termios.tcgetattr(talk.child.child_fd)[3] == talk.modes
    assert talk.ends() == code


@pytest.mark.long
def test_settings_ask_for_lines_and_the_end_of_input_leaves(
    tmp_path: Path, opened: list[Conversation]
) -> None:
    settings = tmp_path / "cockpit.toml"
    settings.write_text("screen_reader = true\nnotify = false\n")
    env = {"PERSTACK_COCKPIT_CONFIG": str(settings), "TERM": "xterm"}
    talk = Conversation(tmp_path, "--observe", env=env)
    opened.append(talk)
    talk.hears("Watching 0 open jobs")
    talk.hears("> ")
    talk.types("start lead go")
    talk.hears("This only observes")
    talk.hears("> ")
    talk.child.send(b"\x04")
    assert talk.ends() == 0


def test_a_conversation_needs_somebody_who_can_type(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perstack", "start", "lead", "go", "--screen-reader"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "--screen-reader needs a terminal" in done.stderr


def test_lines_load_no_toolkit(tmp_path: Path) -> None:
    first = (
        "import importlib, pkgutil, sys, perstack_tui.cli, perstack_tui.linear as linear\n"
        "for found in pkgutil.walk_packages(linear.__path__, linear.__name__ + '.'):\n"
        "    importlib.import_module(found.name)\n"
        "import perstack_tui.local.gateway\n"
        "print('textual' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", first],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "False\n"
