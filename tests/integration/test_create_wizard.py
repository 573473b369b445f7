"""The wizard of `perstack create` in a real terminal of 80 columns and 24 lines."""

from __future__ import annotations

import http.server
import io
import re
import stat
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pexpect
import pytest

from perstack.config.load import load_config
from tests.fakes.cli import SCRIPTED
from tests.fakes.creating import SCENARIO, plays, script, team
from tests.fakes.no_registry import NO_REGISTRY

KEY: Final = "sk-ant-canary-0123456789abcdef"
CLOSED: Final = "http://127.0.0.1:9"
ATTEMPT: Final = {"expert": "game", "query": "Play"}
SCRIPTED_WORDS: Final = ("--provider", "scripted", "--scenario", SCENARIO)


class Wizard:
    """The program in a pseudo-terminal, with no other program, key or model in reach."""

    def __init__(self, folder: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        (folder.parent / "bin").mkdir(exist_ok=True)
        (folder.parent / "home").mkdir(exist_ok=True)
        around = {
            "PATH": str(folder.parent / "bin"),
            "HOME": str(folder.parent / "home"),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "OLLAMA_BASE_URL": CLOSED,
            "ANTHROPIC_BASE_URL": CLOSED,
            "PERSTACK_API_BASE_URL": NO_REGISTRY,
        }
        self.child: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "perstack", "create", *args],
            cwd=str(folder),
            dimensions=(24, 80),
            env=around | (env or {}),
            timeout=30,
        )
        self.logged = io.BytesIO()
        self.child.logfile_read = self.logged

    @property
    def heard(self) -> bytes:
        """All bytes that the terminal was sent so far."""
        return self.logged.getvalue()

    def answers(self, question: str, line: str) -> None:
        """Wait for a question and answer it."""
        self.hears(question)
        self.child.send(line.encode() + b"\n")

    def hears(self, words: str) -> None:
        """Wait until the words were said."""
        self.child.expect(words.encode())

    def interrupts(self) -> None:
        """Type Ctrl-C."""
        self.child.sendintr()

    def ends(self) -> int:
        """Wait for the end; return the exit code."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus is not None, self.child.signalstatus
        return self.child.exitstatus

    def files(self) -> dict[str, bytes]:
        """Everything in the folder but the scenario."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != SCENARIO
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    once = script(("draftTeam", {"toml": team("game")}), ("tryExpert", ATTEMPT))
    (made / SCENARIO).write_text(plays("game") + once)
    return made


@pytest.fixture
def wizards() -> Generator[list[Wizard]]:
    started: list[Wizard] = []
    yield started
    for one in started:
        one.child.close(force=True)


def start(
    wizards: list[Wizard], folder: Path, *args: str, env: dict[str, str] | None = None
) -> Wizard:
    wizards.append(Wizard(folder, *args, env=env))
    return wizards[-1]


def claude(folder: Path) -> None:
    """Put a program that says it is Claude Code into reach."""
    program = folder.parent / "bin" / "claude"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\necho '2.1.0 (Claude Code)'\n")
    program.chmod(0o755)


@contextmanager
def ollama(models: Sequence[str]) -> Generator[str]:
    """Answer as Ollama does what models it has."""
    listed = ", ".join(f'{{"name": "{one}"}}' for one in models)
    said = f'{{"models": [{listed}]}}'.encode()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/tags" else 404)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_from_an_empty_folder_to_a_team_with_each_step_agreed_to(
    folder: Path, wizards: list[Wizard]
) -> None:
    wizard = start(wizards, folder, *SCRIPTED_WORDS)
    wizard.answers(r"Model \(Enter: scripted; q: cancel\): ", "")
    wizard.answers("Name of the Expert .*cancel.: ", "Not A Name")
    wizard.hears("is not an Expert's name")
    wizard.answers("Name of the Expert .*cancel.: ", "game")
    wizard.answers("What it should do.*cancel.: ", "play a game")
    wizard.hears(r"perstack.toml \(new, \d+ lines\)")
    wizard.hears(r"AGENTS.md \(new")
    assert wizard.files() == {}, "shown before anything is written"
    wizard.answers(r"Write it. \[y/N\] ", "y")
    wizard.hears("Trial 1: completed")
    wizard.answers(r"Write it. \[y/N\] ", "maybe")
    wizard.answers(r"Type y or n.*\[y/N\] ", "y")
    assert wizard.ends() == 0
    assert "game" in load_config(folder / "perstack.toml").experts
    assert re.search(rb"perstack start game", wizard.heard)
    assert b"\x1b[" not in wizard.heard, "no colours, no cursor"


# What is asked in an empty folder where a program but no key is found, and how to go on.
QUESTIONS: Final = (
    (r"Number or runtime \(Enter: perstack; q: cancel\): ", "1"),
    (r"Number or vendor \(Enter: anthropic; q: cancel\): ", "anthropic"),
    (r"Model \(Enter: claude-\S+; q: cancel\): ", ""),
    (r"ANTHROPIC_API_KEY \(not shown, kept in .env alone; q: cancel\): ", KEY),
    (r"Name of the Expert \(Enter: one is chosen; q: cancel\): ", ""),
    (r"What it should do, or do better \(q: cancel\): ", ""),
)


def at_question(wizards: list[Wizard], folder: Path, at: int) -> Wizard:
    """A wizard that waits for the answer to a question; those before it are answered."""
    claude(folder)
    wizard = start(wizards, folder)
    for question, answer in QUESTIONS[:at]:
        wizard.answers(question, answer)
    wizard.hears(QUESTIONS[at][0])
    return wizard


@pytest.mark.parametrize(
    "at", [3, *(pytest.param(other, marks=pytest.mark.long) for other in (0, 1, 2, 4))]
)
def test_ctrl_c_at_any_question_leaves_the_folder_as_it_was(
    folder: Path, wizards: list[Wizard], at: int
) -> None:
    wizard = at_question(wizards, folder, at)
    wizard.interrupts()
    assert wizard.ends() == 130
    assert wizard.heard.endswith(b"\n")  # the shell's prompt begins on a line of its own
    assert wizard.files() == {}


LONG: Final = pytest.mark.long


@pytest.mark.parametrize(
    ("at", "typed"),
    [
        (0, b"\x1b"),
        (3, b"q\n"),
        (5, b"Q\n"),
        *(
            pytest.param(at, typed, marks=LONG)
            for at in range(6)
            for typed in (b"q\n", b"\x1b", b"\x04")
        ),
    ],
)
def test_q_esc_and_ctrl_d_cancel_at_any_question_and_leave_the_folder_as_it_was(
    folder: Path, wizards: list[Wizard], at: int, typed: bytes
) -> None:
    wizard = at_question(wizards, folder, at)
    wizard.child.send(typed)
    assert wizard.ends() == 1, "nothing was created"
    assert wizard.heard.endswith(b"Cancelled\r\n")
    assert b"Error" not in wizard.heard
    assert wizard.files() == {}


@pytest.mark.parametrize(
    "answer",
    ["n", "\x1b", *(pytest.param(other, marks=pytest.mark.long) for other in ("", "q", "\x04"))],
)
def test_without_a_yes_nothing_is_written(folder: Path, wizards: list[Wizard], answer: str) -> None:
    wizard = start(wizards, folder, "game", "play", "--model", "scripted", *SCRIPTED_WORDS)
    wizard.hears(r"Write it. \[y/N\] ")
    wizard.child.send(answer.encode() + (b"" if answer in ("\x04", "\x1b") else b"\n"))
    assert wizard.ends() == 1
    assert wizard.heard.endswith(b"Nothing was written.\r\n")
    assert wizard.files() == {}


def test_what_was_typed_before_the_question_was_there_is_no_yes(
    folder: Path, wizards: list[Wizard]
) -> None:
    wizard = start(wizards, folder, "game", "play", "--model", "scripted", *SCRIPTED_WORDS)
    wizard.child.send(b"y\ny\n")
    wizard.answers(r"Write it. \[y/N\] ", "n")
    assert wizard.ends() == 1
    assert wizard.files() == {}


def test_a_key_is_typed_unseen_and_stored_in_the_env_file_alone(
    folder: Path, wizards: list[Wizard]
) -> None:
    (folder / ".env").write_text("OTHER=1")
    wizard = start(wizards, folder, "game", "play", "--max-retries", "0")
    wizard.answers("Number or vendor .*: ", "1")
    wizard.answers("Model .*cancel.: ", "")
    wizard.answers(r"ANTHROPIC_API_KEY \(not shown.*cancel.: ", "")
    wizard.hears("Nothing was typed")
    wizard.answers(r"ANTHROPIC_API_KEY \(not shown.*cancel.: ", KEY)
    wizard.hears(r"\.env \(one line more\)")
    wizard.hears(r"\+ANTHROPIC_API_KEY=\(not shown\)")
    wizard.hears(r"\.gitignore: perstack/, \.env")
    wizard.answers(r"Write it. \[y/N\] ", "y")
    assert wizard.ends() == 1, "nobody answers at the vendor's address"
    files = wizard.files()
    assert files[".env"] == f"OTHER=1\nANTHROPIC_API_KEY={KEY}\n".encode()
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert ".env" in files[".gitignore"].decode().splitlines()
    assert KEY.encode() not in wizard.heard
    assert [name for name, data in files.items() if KEY.encode() in data] == [".env"]


@pytest.mark.long
def test_a_key_that_is_set_is_not_asked_for(folder: Path, wizards: list[Wizard]) -> None:
    wizard = start(wizards, folder, env={"OPENAI_API_KEY": KEY})
    wizard.hears(r"1  openai     key is set")
    wizard.answers("Number or vendor .Enter: openai; q: cancel.: ", "")
    wizard.answers("Model .*cancel.: ", "")
    wizard.answers("Name of the Expert.*cancel.: ", "q")
    assert b"API_KEY" not in wizard.heard
    assert wizard.ends() == 1


@pytest.mark.long
def test_models_of_this_machine_are_offered_by_number(folder: Path, wizards: list[Wizard]) -> None:
    with ollama(["qwen3:8b", "gpt-oss:20b"]) as url:
        wizard = start(wizards, folder, "game", "play", env={"OLLAMA_BASE_URL": url})
        wizard.hears(r"1  ollama     2 models on this machine")
        wizard.answers("Number or vendor .*cancel.: ", "9")
        wizard.answers("Type a number from 1 to 5, or a vendor(.|\n)*cancel.: ", "1")
        wizard.hears("2  gpt-oss:20b")
        wizard.answers("Number or model .*cancel.: ", "2")
        wizard.hears("gpt-oss:20b")
        wizard.answers(r"Write it. \[y/N\] ", "n")
        assert wizard.ends() == 1


@pytest.mark.long
def test_for_another_runtime_no_model_and_no_key_is_asked_for(
    folder: Path, wizards: list[Wizard]
) -> None:
    claude(folder)
    wizard = start(wizards, folder, "game", "play")
    wizard.hears("2  claude-code  2.1.0")
    wizard.answers("Number or runtime .*cancel.: ", "claude-code")
    wizard.answers(r"Write it. \[y/N\] ", "y")
    wizard.hears("cannot be given the tools")
    assert wizard.ends() == 1
    assert load_config(folder / "perstack.toml").settings.runtime.name == "claude-code"
    assert b"API_KEY (not shown" not in wizard.heard


def test_a_draft_that_starts_a_command_waits_for_the_users_word_in_the_terminal(
    folder: Path, wizards: list[Wizard]
) -> None:
    marker = folder.parent / "started"
    server = '[experts.game.skills.s]\ntype = "mcpStdioSkill"\ncommand = "/usr/bin/touch"\n'
    server += f'args = ["{marker}"]\n'
    toml = team("game") + server
    scenario = script(("draftTeam", {"toml": toml}), ("tryExpert", ATTEMPT), ("readLog", {}))
    (folder / "scenario.toml").write_text(plays("game") + scenario)
    (folder / "perstack.toml").write_text(SCRIPTED)
    wizard = start(wizards, folder, "game", "play", "--trust")
    wizard.hears("start /usr/bin/touch")
    assert not marker.exists()
    wizard.answers(r"Allow this. \[y/N\] ", "y")
    wizard.answers(r"Write it. \[y/N\] ", "n")
    assert wizard.ends() == 1
    assert marker.exists()
    assert (folder / "perstack.toml").read_text() == SCRIPTED
    assert b"The draft is kept" in wizard.heard
    assert b"perstack create --continue shows it again" in wizard.heard
    again = start(wizards, folder, "--continue", "--trust")
    again.answers(r"Write it. \[y/N\] ", "y")
    assert again.ends() == 0
    assert b"Trial" not in again.heard, "only the word was missing"
    assert "game" in load_config(folder / "perstack.toml").experts


def asked_about_a_draft(folder: Path, wizards: list[Wizard]) -> Wizard:
    """A wizard that asks whether a draft may run programs; nothing else of it needs a word."""
    draft = '[experts.game]\ndescription = "d"\ninstruction = "Play."\n'
    scenario = script(("draftTeam", {"toml": draft}), ("tryExpert", ATTEMPT))
    (folder / "scenario.toml").write_text(plays("game") + scenario)
    (folder / "perstack.toml").write_text(SCRIPTED)
    wizard = start(wizards, folder, "game", "play", "--trust")
    wizard.hears(r"Allow this. \[y/N\] ")
    return wizard


@pytest.mark.parametrize(
    "typed", [b"\x1b", *(pytest.param(other, marks=LONG) for other in (b"q\n", b"n\n", b"\n"))]
)
def test_what_is_no_yes_about_a_draft_lets_the_job_go_on_without_it(
    folder: Path, wizards: list[Wizard], typed: bytes
) -> None:
    wizard = asked_about_a_draft(folder, wizards)
    wizard.child.send(typed)
    wizard.hears("Trial 1: ")
    wizard.answers(r"Write it. \[y/N\] ", "n")
    assert wizard.ends() == 1


@pytest.mark.long
def test_ctrl_c_at_the_question_about_a_draft_stops_the_job_at_a_checkpoint(
    folder: Path, wizards: list[Wizard]
) -> None:
    wizard = asked_about_a_draft(folder, wizards)
    wizard.child.send(b"\x1b[A")  # an arrow: the line that it is in has no end
    wizard.hears(r"\^\[\[A")
    wizard.interrupts()
    assert wizard.ends() == 130
    assert b"perstack create --continue-job" in wizard.heard
    assert (folder / "perstack.toml").read_text() == SCRIPTED


def test_a_models_name_that_is_not_known_is_doubted_and_taken_when_it_is_meant(
    folder: Path, wizards: list[Wizard]
) -> None:
    wizard = start(wizards, folder, "--provider", "anthropic", env={"ANTHROPIC_BASE_URL": ""})
    wizard.answers("Model .*cancel.: ", "claude-sonet-5-5")
    wizard.hears("claude-sonet-5-5 is no model of anthropic that is known here; near it: ")
    wizard.hears("claude-sonnet-5-5")
    wizard.answers("Model .Enter: claude-sonet-5-5; q: cancel.: ", "gpt-5.5")
    wizard.hears("gpt-5.5 is a model of openai, but the provider is anthropic")
    wizard.answers("Model .Enter: gpt-5.5; q: cancel.: ", "claude-sonnet-7")
    wizard.answers("Model .Enter: claude-sonnet-7; q: cancel.: ", "")
    wizard.answers("ANTHROPIC_API_KEY .*cancel.: ", KEY)
    wizard.answers("Name of the Expert.*cancel.: ", "game")
    wizard.answers("What it should do.*cancel.: ", "play")
    wizard.hears("model = .claude-sonnet-7")
    wizard.answers(r"Write it. \[y/N\] ", "n")
    assert wizard.ends() == 1


def test_a_models_name_that_was_typed_with_the_command_is_warned_of_before_it_is_written(
    folder: Path, wizards: list[Wizard]
) -> None:
    around = {"ANTHROPIC_BASE_URL": "", "ANTHROPIC_API_KEY": KEY}
    words = ("game", "play", "--provider", "anthropic", "--model", "claude-sonet-5-5")
    wizard = start(wizards, folder, *words, env=around)
    wizard.hears("Warning: claude-sonet-5-5 is no model of anthropic that is known here; near it: ")
    wizard.answers(r"Write it. \[y/N\] ", "n")
    assert wizard.ends() == 1
