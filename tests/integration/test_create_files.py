"""What `perstack create` writes to the disk: shown first, whole, and nothing of others."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from perstack.cli.create_files import change_of, setup_changes, shown, write
from perstack.cli.create_setup import Key, Setup
from perstack.cli.ignoring import missing_lines
from perstack.errors import StorageError, UsageError

KEY = Key("ANTHROPIC_API_KEY", "sk-canary-0123456789")
SETUP = Setup("perstack", "anthropic", "claude", KEY)


def test_all_files_are_made_and_the_key_is_ignored_before_it_is_there(tmp_path: Path) -> None:
    write(tmp_path, setup_changes(tmp_path, SETUP, KEY))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"perstack.toml", ".env", "AGENTS.md", ".gitignore"}
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (tmp_path / ".gitignore").read_text() == "perstack/\n.env\n", "with or without git"


def test_what_is_shown_holds_no_value_of_an_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER_SECRET=sk-other-canary\n")
    (tmp_path / ".env").chmod(0o644)
    changes = setup_changes(tmp_path, None, KEY)
    said = "\n".join(shown(tmp_path, changes))
    assert "+ANTHROPIC_API_KEY=(not shown)" in said
    assert "canary" not in said
    assert "canary" not in repr(SETUP)
    write(tmp_path, changes)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


@pytest.mark.parametrize("taken_back", ["!.env", "!*", "!/.env"])
def test_what_the_folder_takes_back_from_being_ignored_is_ignored_again(
    tmp_path: Path, taken_back: str
) -> None:
    (tmp_path / ".gitignore").write_text(f"perstack/\n.env\n{taken_back}\n")
    git(tmp_path, "init", "-q")
    write(tmp_path, setup_changes(tmp_path, None, KEY))
    assert git(tmp_path, "check-ignore", ".env").strip() == ".env"
    assert missing_lines(tmp_path) == ()


@pytest.mark.parametrize("where", ["", "sub"])
def test_no_key_is_written_into_a_file_that_git_would_commit(tmp_path: Path, where: str) -> None:
    git(tmp_path, "init", "-q")
    folder = tmp_path / where
    folder.mkdir(exist_ok=True)
    (folder / "my.env").write_text("A=1\n")
    git(tmp_path, "add", ".")
    (folder / ".env").write_text("A=1\n")
    assert [one for one in setup_changes(folder, None, KEY) if one.secret]
    git(tmp_path, "add", "-f", ".")
    with pytest.raises(UsageError, match="committed"):
        setup_changes(folder, None, KEY)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_key_that_is_in_the_file_is_not_written_twice(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ANTHROPIC_API_KEY=theirs\n")
    assert [one for one in setup_changes(tmp_path, None, KEY) if one.secret] == []


def test_a_difference_shows_what_acts_on_a_terminal_by_its_code_point(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text("a = 1\n")
    said = "\n".join(change_of(path, "a = 1\n# \x1b]0;owned\x07\n").lines())
    assert "+# ‹U+001B›" in said
    assert "\x1b" not in said


def test_a_file_that_changed_since_it_was_shown_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text("a = 1\n")
    change = change_of(path, "a = 2\n")
    path.write_text("a = 3\n")
    with pytest.raises(StorageError, match="changed meanwhile"):
        write(tmp_path, [change])
    assert path.read_text() == "a = 3\n"


def test_a_replaced_file_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text("a = 1\n")
    path.chmod(0o664)
    write(tmp_path, [change_of(path, "a = 2\r\n")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert path.read_bytes() == b"a = 2\r\n"


@pytest.mark.parametrize("name", [".env", "AGENTS.md", "perstack.toml", ".gitignore"])
@pytest.mark.parametrize("kind", ["link", "folder", "bytes"])
def test_what_is_no_text_file_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, kind: str
) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    path = folder / name
    if kind == "link":
        (tmp_path / "theirs").write_text("theirs")
        path.symlink_to(tmp_path / "theirs")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError):
        write(folder, setup_changes(folder, SETUP, KEY))
    assert [one.name for one in folder.iterdir()] == [name]
