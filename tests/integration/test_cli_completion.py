"""Shell completion: commands, options, and the names that only a folder knows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from perstack.cli.app import app
from perstack.cli.completion import SHELLS, VARIABLE
from perstack.errors import PerstackError
from tests.fakes.cli import SCRIPTED, Program

PROGRAM: Final = Path(sys.executable).with_name("perstack")
TEAM: Final = SCRIPTED + '[experts."writer"]\ninstruction = "x"\n'
HOSTILE: Final = TEAM + '[experts."$(id)"]\ninstruction = "x"\n'


def offered(folder: Path, *words: str, shell: str = "bash") -> list[str]:
    """Return what the program offers for the last of the words."""
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        VARIABLE: f"complete_{shell}",
        "COMP_WORDS": " ".join(("perstack", *words)),
        "COMP_CWORD": str(len(words)),
    }
    ran = subprocess.run(
        [str(PROGRAM)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Program.make(tmp_path, TEAM).workspace


def test_commands_verbs_and_options_are_completed(folder: Path) -> None:
    assert offered(folder, "age") == ["agent"]
    assert {"spawn", "watch", "stop"} <= set(offered(folder, "agent", ""))
    assert "--continue-job" in offered(folder, "run", "--cont")


def test_experts_are_those_of_the_file_and_the_built_in_ones(folder: Path) -> None:
    found = offered(folder, "run", "")
    assert found[0] == "writer"
    assert "coder" in found


def test_keys_of_a_registry_are_the_own_experts_with_their_versions(folder: Path) -> None:
    versioned = '[experts."@acme/editor"]\nversion = "2.1.0"\ninstruction = "x"\n'
    (folder / "perstack.toml").write_text(TEAM + versioned)
    assert offered(folder, "publish", "") == ["writer", "@acme/editor"]
    assert offered(folder, "tag", "@acme") == ["@acme/editor@2.1.0"]
    assert offered(folder, "status", "w") == ["writer@1.0.0"]
    assert offered(folder, "status", "writer@1.0.0", "de") == ["deprecated"]


def test_a_name_that_a_shell_might_act_on_is_not_offered(folder: Path) -> None:
    (folder / "perstack.toml").write_text(HOSTILE)
    found = offered(folder, "run", "")
    assert "writer" in found
    assert "$(id)" not in found


def test_names_come_from_the_tables_and_looking_makes_none(folder: Path) -> None:
    assert offered(folder, "agent", "stop", "-n", "") == []
    assert not (folder / "perstack").exists()
    spawned = CliRunner().invoke(
        app, ["agent", "spawn", "-t", "coder", "-n", "bob", "--workspace", str(folder)]
    )
    assert spawned.exit_code == 0
    assert offered(folder, "agent", "stop", "-n", "b") == ["bob"]
    assert len(offered(folder, "agent", "stop", "-i", "")) == 1


@pytest.mark.parametrize("toml", ["[experts", "\x00", "experts = 5", 'experts = { "\\u0007" = 1 }'])
def test_a_broken_file_is_completed_without_a_word(folder: Path, toml: str) -> None:
    (folder / "perstack.toml").write_text(toml)
    assert "coder" in offered(folder, "run", "c")


def test_tables_and_jobs_that_cannot_be_read_are_completed_without_a_word(folder: Path) -> None:
    jobs = folder / "perstack" / "jobs"
    (jobs / "aaa").mkdir(parents=True)
    (jobs / "gone").symlink_to("nowhere")
    (folder / "perstack" / "perstack.db").write_text("no database at all" * 100)
    assert offered(folder, "agent", "stop", "-n", "") == []
    assert offered(folder, "consensus", "show", "") == []
    assert "aaa" in offered(folder, "log", "--job", "")


def test_jobs_are_offered_newest_first(folder: Path) -> None:
    for name in ("aaa", "abb"):
        (folder / "perstack" / "jobs" / name).mkdir(parents=True)
    assert set(offered(folder, "log", "--job", "a")) == {"aaa", "abb"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_the_shell_takes(tmp_path: Path, shell: str) -> None:
    printed = CliRunner().invoke(app, ["completion", shell]).stdout
    assert VARIABLE in printed
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(printed)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=20)


def test_bash_completes_with_the_script(folder: Path) -> None:
    wanted = (
        'eval "$(perstack completion bash)"\n'
        "COMP_WORDS=(perstack agent wat) COMP_CWORD=2 COMPREPLY=()\n"
        "_perstack_completion perstack\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", wanted],
        cwd=folder,
        env={"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ran.stdout.strip() == "watch"


def test_an_unknown_shell_is_refused() -> None:
    error = CliRunner().invoke(app, ["completion", "tcsh"]).exception
    assert isinstance(error, PerstackError)
    assert "bash, zsh, fish" in (error.hint or "")
