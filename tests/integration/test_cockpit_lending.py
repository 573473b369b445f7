"""The terminal lent to an editor or the shell, and given back as it was, in a real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.test_cockpit_terminal import Terminal

# In the order they are written: progress, title, mouse, paste, focus, screen.
RESTORED = (
    rb"\x1b\]9;4;0\x07",
    rb"\x1b\]2;\x07\x1b\[23;2t",
    rb"\x1b\[\?1016l",
    rb"\x1b\[\?2004l",
    rb"\x1b\[\?1003l",
    rb"\x1b\[\?1049l",
    rb"\x1b\[\?1004l",
)
HELP = rb"In the delegation tree"
TITLE = rb"\x1b\]2;\xe2\x96\xb22 "
GHOSTTY = {"TERM_PROGRAM": "ghostty"}
EDITOR = """#!/bin/sh
printf 'EDITING\\r\\n'
{work}
"""


def editor(folder: Path, work: str) -> dict[str, str]:
    """Return the environment of somebody whose editor does `work` with the file "$1"."""
    program = folder / "editor"
    program.write_text(EDITOR.format(work=work))
    program.chmod(0o755)
    return {"EDITOR": str(program), **GHOSTTY}


class Lent:
    """Terminals of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[Terminal] = []

    def open(self, env: dict[str, str] | None = None) -> Terminal:
        """Return a terminal with the cockpit painted in it."""
        self.made.append(Terminal(self.folder, env={**GHOSTTY, **(env or {})}))
        self.made[-1].child.timeout = 10
        self.made[-1].child.expect(TITLE)
        self.made[-1].await_screen()
        return self.made[-1]


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    made = Lent(tmp_path)
    yield made
    for terminal in made.made:
        terminal.child.close(force=True)


def await_restored(terminal: Terminal) -> None:
    for sequence in RESTORED:
        terminal.child.expect(sequence)


def await_stopped(terminal: Terminal) -> None:
    """Wait until the program stands still."""
    assert terminal.child.pid is not None
    assert os.waitid(os.P_PID, terminal.child.pid, os.WSTOPPED) is not None


def go(terminal: Terminal, where: bytes) -> None:
    """Type `:where` as a person does, who sees the line open."""
    terminal.child.send(b":")
    terminal.child.expect(rb"go to")
    terminal.child.send(where)
    terminal.child.expect(where)
    terminal.child.send(b"\r")


def edit_settings(terminal: Terminal) -> None:
    go(terminal, b"settings")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.long),
    ],
)
def test_signal_takes_back_title_progress_mouse_and_focus(
    lent: Lent, number: signal.Signals, code: int
) -> None:
    terminal = lent.open()
    terminal.child.kill(number)
    await_restored(terminal)
    terminal.child.expect(pexpect.EOF)
    assert terminal.local_modes() == terminal.modes
    assert terminal.await_end() == code


@pytest.mark.long
def test_leaving_and_a_crash_take_them_back_as_well(lent: Lent) -> None:
    terminal = lent.open()
    terminal.child.send(b"\x03\x03")
    await_restored(terminal)
    assert terminal.await_end() == 130
    broken = lent.open()
    (lent.folder / "break").touch()
    broken.child.send(b"j")
    await_restored(broken)
    broken.child.expect(rb"RuntimeError")
    broken.child.expect(pexpect.EOF)
    assert broken.local_modes() == broken.modes


def test_editor_has_the_terminal_and_the_cockpit_comes_back(lent: Lent) -> None:
    saved = lent.folder / ".config" / "perstack" / "cockpit.toml"
    work = "stty -a | grep -q ' echo ' && printf 'ECHOES\\r\\n'; echo 'theme = \"light\"' > \"$1\""
    terminal = lent.open(editor(lent.folder, work))
    edit_settings(terminal)
    terminal.child.expect(rb"\x1b\[\?1049l")
    terminal.child.expect(rb"EDITING")
    terminal.child.expect(rb"ECHOES")
    terminal.child.expect(rb"\x1b\[\?1049h")
    terminal.child.expect(rb"summarizer")
    terminal.child.expect(rb"was saved and is in use")
    assert saved.read_text() == 'theme = "light"\n'
    terminal.press_until(b"?", HELP)
    terminal.child.kill(signal.SIGTERM)
    assert terminal.await_end() == 143


@pytest.mark.long
@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("kill -9 $$", rb"was ended by signal 9"),
        ("exit 3", rb"ended with code 3"),
        ("stty raw -echo; exit 1", rb"ended with code 1"),
    ],
)
def test_editor_that_fails_says_so_and_the_keys_work(lent: Lent, work: str, said: bytes) -> None:
    terminal = lent.open(editor(lent.folder, work))
    edit_settings(terminal)
    terminal.child.expect(said)
    terminal.press_until(b"?", HELP)
    terminal.child.kill(signal.SIGTERM)
    await_restored(terminal)
    terminal.child.expect(pexpect.EOF)
    assert terminal.local_modes() == terminal.modes


@pytest.mark.long
def test_interrupt_in_the_editor_is_the_editors(lent: Lent) -> None:
    terminal = lent.open(editor(lent.folder, "trap 'printf CAUGHT; exit 0' INT; sleep 20 & wait"))
    edit_settings(terminal)
    terminal.child.expect(rb"EDITING")
    terminal.child.send(b"\x03")
    terminal.child.expect(rb"CAUGHT")
    terminal.child.expect(rb"summarizer")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.await_end() == 143


@pytest.mark.long
def test_signal_while_the_editor_is_open_ends_it_and_restores_the_terminal(lent: Lent) -> None:
    terminal = lent.open(editor(lent.folder, 'echo $$ > "$HOME/pid"; printf UP; exec sleep 600'))
    edit_settings(terminal)
    terminal.child.expect(rb"UP")
    terminal.child.kill(signal.SIGTERM)
    terminal.child.expect(pexpect.EOF)
    assert terminal.local_modes() == terminal.modes
    assert terminal.await_end() == 143
    pid = int((lent.folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_shell_gets_a_clean_terminal_and_the_screen_comes_back(lent: Lent) -> None:
    terminal = lent.open()
    terminal.child.send(b"\x1a")
    terminal.child.expect(rb"again")
    terminal.child.send(b"\x1a")
    await_restored(terminal)
    await_stopped(terminal)
    assert terminal.local_modes() == terminal.modes
    terminal.child.kill(signal.SIGCONT)
    terminal.child.expect(rb"\x1b\[\?1049h")
    terminal.child.expect(TITLE)
    terminal.press_until(b"?", HELP)
    terminal.child.kill(signal.SIGTERM)
    assert terminal.await_end() == 143


@pytest.mark.long
def test_stopped_by_force_it_paints_anew_and_takes_keys_once(lent: Lent) -> None:
    terminal = lent.open()
    terminal.child.kill(signal.SIGSTOP)
    await_stopped(terminal)
    terminal.child.kill(signal.SIGCONT)
    terminal.child.expect(rb"\x1b\[\?1049h")
    terminal.child.expect(rb"summarizer")
    terminal.press_until(b"?", HELP)
    terminal.child.kill(signal.SIGTERM)
    terminal.child.expect(pexpect.EOF)
    assert terminal.local_modes() == terminal.modes


@pytest.mark.long
def test_mouse_is_given_back_and_taken_at_once(lent: Lent) -> None:
    terminal = lent.open()
    go(terminal, b"mouse off")
    terminal.child.expect(rb"\x1b\[\?1000l\x1b\[\?1003l")
    terminal.child.expect(rb"the mouse is the terminal's")
    go(terminal, b"mouse on")
    terminal.child.expect(rb"\x1b\[\?1000h\x1b\[\?1003h")
    terminal.child.kill(signal.SIGTERM)
    await_restored(terminal)
    assert terminal.await_end() == 143


@pytest.mark.long
def test_settings_without_mouse_never_ask_for_it(lent: Lent) -> None:
    config = lent.folder / ".config" / "perstack"
    config.mkdir(parents=True)
    (config / "cockpit.toml").write_text('mouse = false\nborders = "ascii"')
    terminal = Terminal(lent.folder)
    lent.made.append(terminal)
    terminal.child.expect(rb"summarizer")
    painted = terminal.child.before
    assert isinstance(painted, bytes)
    assert b"\x1b[?1003h" not in painted
    assert "╭".encode() not in painted
    assert b"+-" in painted
