"""`perstack user`: who may sign in, from the command line; and `serve` as it is offered."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.fakes.cli import PROGRAM, Program, Ran

pytestmark = pytest.mark.anyio


def run(workspace: Path, *words: str, typed: str = "") -> Ran:
    program = Program.make(workspace, "")
    done = subprocess.run(
        [*PROGRAM, *words],
        input=typed,
        capture_output=True,
        text=True,
        cwd=workspace,
        env=dict(program.env),
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_user_is_added_listed_changed_and_removed(tmp_path: Path) -> None:
    secret = "a-password-of-ann"
    added = run(
        tmp_path,
        *("user", "add", "ann", "--email", "Ann@x.org", "--role", "admin"),
        *("--password-stdin", "--json"),
        typed=f"{secret}\n",
    )
    assert added.code == 0, added.stderr
    assert json.loads(added.stdout)["email"] == "ann@x.org"
    last = run(tmp_path, "user", "role", "ann@x.org", "viewer")
    assert (last.code, "last admin" in last.stderr) == (4, True)
    bob = ("user", "add", "bob", "--email", "bob@x.org", "--password-stdin")
    assert run(tmp_path, *bob, typed=f"{secret}\n").code == 0
    listed = json.loads(run(tmp_path, "user", "list", "--json").stdout)
    assert [(user["username"], user["role"]) for user in listed["users"]] == [
        ("ann", "admin"),
        ("bob", "developer"),
    ]
    assert run(tmp_path, "user", "remove", "bob@x.org").code == 0
    shown = run(tmp_path, "user", "list")
    assert "ann" in shown.stdout
    assert "bob" not in shown.stdout
    assert secret not in shown.stdout + added.stdout + added.stderr


def test_what_is_no_user_is_refused_in_words(tmp_path: Path) -> None:
    short = run(
        tmp_path, "user", "add", "ann", "--email", "a@x.org", "--password-stdin", typed="short\n"
    )
    assert (short.code, "8 to 256 characters" in short.stderr) == (1, True)
    untold = run(tmp_path, "user", "add", "ann", "--email", "a@x.org")
    assert (untold.code, "--password-stdin" in untold.stderr) == (1, True)
    empty = run(tmp_path, "user", "list")
    assert (empty.code, empty.stdout) == (0, "There are no users.\n")
