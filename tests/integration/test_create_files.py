"""What `perstack create` writes to the disk: shown first, whole, and nothing of others."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from perstack.cli.create_files import change_of, setup_changes, shown, write
from perstack.cli.create_setup import Key, Setup
from perstack.cli.ignoring import is_tracked, missing_lines
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


@pytest.mark.parametrize("version", ["2", "4"])
@pytest.mark.parametrize("where", ["", "sub"])
def test_no_key_is_written_into_a_file_that_git_would_commit(
    tmp_path: Path, where: str, version: str
) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "index.version", version)
    folder = tmp_path / where
    folder.mkdir(exist_ok=True)
    (folder / "my.env").write_text("A=1\n")
    git(tmp_path, "add", ".")
    (folder / ".env").write_text("A=1\n")
    assert [one.doubt for one in setup_changes(folder, None, KEY) if one.secret] == [None]
    git(tmp_path, "add", "-f", ".")
    with pytest.raises(UsageError, match="committed"):
        setup_changes(folder, None, KEY)
    (folder / ".env").unlink()
    with pytest.raises(UsageError, match="committed"):  # the index has it still
        setup_changes(folder, None, KEY)


def test_no_key_is_written_into_a_file_that_another_work_tree_would_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "main")
    tree = tmp_path / "tree"
    commit(tmp_path / "main")
    git(tmp_path / "main", "worktree", "add", "-q", str(tree))
    assert [one for one in setup_changes(tree, None, KEY) if one.secret]
    (tree / ".env").write_text("A=1\n")
    git(tree, "add", "-f", ".env")
    with pytest.raises(UsageError, match="committed"):
        setup_changes(tree, None, KEY)


def test_no_key_is_written_into_a_file_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("THEIRS=1\n")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(UsageError, match="belongs to another user"):
        setup_changes(tmp_path, SETUP, KEY)


def test_a_folder_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        setup_changes(tmp_path / ("n" * 300), SETUP, KEY)


def test_where_git_cannot_be_asked_it_is_said_that_nobody_could_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    monkeypatch.setenv("PATH", str(nowhere))
    said = "\n".join(shown(tmp_path, setup_changes(tmp_path, None, KEY)))
    assert "Note: could not tell whether git tracks this file" in said


@pytest.mark.parametrize(
    "does", ["exec sleep 600", "exec yes", "exit 128", "kill -9 $$", "exit 2", "exit 1"]
)
def test_a_git_that_does_not_answer_or_refuses_tells_nothing(tmp_path: Path, does: str) -> None:
    git(tmp_path, "init", "-q")
    program(tmp_path / "bin" / "git", does)
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    assert is_tracked(tmp_path / ".env", env, within_s=0.5) is None
    assert is_tracked(tmp_path.parent / "outside", env) is False, "it is not asked there"


def test_git_gets_no_key_and_starts_nothing_that_the_folder_names(tmp_path: Path) -> None:
    started, heard = tmp_path / "started", tmp_path / "heard"
    folder = tmp_path / "w"
    git(tmp_path, "init", "-q", "w")
    trap = program(tmp_path / "trap", f"touch {started}")
    (folder / ".env").write_text("A=1\n")
    git(folder, "add", "-f", ".env")
    for name in ("core.fsmonitor", "core.pager", "pager.ls-files", "core.sshCommand"):
        git(folder, "config", name, str(trap))
    hook = folder / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    program(hook, f"touch {started}")
    real = shutil.which("git")
    program(tmp_path / "bin" / "git", f'env > {heard}; exec {real} "$@"')
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", KEY.name: KEY.value}
    env |= {"HOME": str(tmp_path), "GIT_DIR": str(tmp_path / "elsewhere")}
    assert is_tracked(folder / ".env", env) is True
    assert not started.exists()
    assert KEY.value not in heard.read_text()
    assert "GIT_OPTIONAL_LOCKS=0" in heard.read_text()


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def commit(folder: Path) -> None:
    own = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false")
    git(folder, *own, "commit", "-q", "--allow-empty", "-m", "first")


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
