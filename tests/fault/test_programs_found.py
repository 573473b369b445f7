"""Looking whether a program is there: bounded, with its own variables, clear about what lacks.

The programs are stand-ins (`tests.fakes.programs.stand_in`) or shell scripts.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from perstack.domain.runtimes import ProgramSettings, RuntimeSettings
from perstack.domain.settings import Settings
from perstack.errors import ProgramError
from perstack.ports.programs import Installed
from perstack.runtimes.catalog import installed
from perstack.runtimes.programs import InstalledPrograms

pytestmark = pytest.mark.anyio

ENV = {"PATH": os.environ["PATH"], "CURSOR_API_KEY": "key-of-cursor", "OTHER_TOKEN": "not-yours"}


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def look(command: str, env: dict[str, str] | None = None) -> Installed:
    with anyio.fail_after(30):
        return await installed("cursor", ProgramSettings(command=(command,)), env or ENV)


async def test_a_program_that_answers_is_there(tmp_path: Path) -> None:
    found = await look(script(tmp_path, "echo cursor-agent 2026.11.3 '(abc)'"))
    assert (found.version, found.problem) == ("2026.11.3", None)


@pytest.mark.parametrize(
    "said", ["1" * 60_000, "1" * 5_000 + ".2", "9." * 30_000, "1.2" + "." * 60_000], ids=range(4)
)
async def test_a_version_that_is_none_takes_no_time_and_is_no_version(
    tmp_path: Path, said: str
) -> None:
    (tmp_path / "said").write_text(said)
    found = await look(script(tmp_path, f"cat {tmp_path}/said"))
    assert len(found.version or "") < 80


@pytest.mark.parametrize("words", [("./program",), ("/bin/sh", "./program")])
async def test_a_command_may_be_relative_to_the_workspace_in_which_it_is_started(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    script(tmp_path, "echo 1.0")
    own = ProgramSettings(command=words)
    found = await installed("cursor", own, ENV, tmp_path)
    assert (found.version, found.problem) == ("1.0", None)
    elsewhere = await installed("cursor", own, ENV, tmp_path / "gone")
    assert elsewhere.kind == "cli-not-found"


async def test_a_program_under_its_own_name_is_asked_where_it_finds_nothing_to_read(
    tmp_path: Path,
) -> None:
    named = tmp_path / "cursor-agent"
    Path(script(tmp_path, f"pwd > {tmp_path}/seen; echo 1.0")).rename(named)
    await installed("cursor", ProgramSettings(), {**ENV, "PATH": f"{tmp_path}:/bin"}, tmp_path)
    assert (tmp_path / "seen").read_text() == "/\n"


async def test_its_version_is_asked_with_the_variables_that_it_may_have(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    await look(script(tmp_path, f"env > {seen}; echo 1.0"))
    assert "key-of-cursor" in seen.read_text()
    assert "not-yours" not in seen.read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo no idea", "does not say its version"),
        ("exit 7", "--version ended with exit code 7"),
        ("kill -9 $$", "--version was ended by signal SIGKILL"),
        ("yes", "--version says too much to be a version"),
        ("yes >&2", "--version gave no answer within 1 s"),
        ("sleep 600 & sleep 600", "--version gave no answer within 1 s"),
        ("trap '' TERM; while true; do sleep 1; done", "--version gave no answer within 1 s"),
    ],
)
async def test_a_program_that_does_not_tell_its_version_is_not_used(
    tmp_path: Path, text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.runtimes.catalog._ANSWERS_WITHIN_S", 1.0)
    command = script(tmp_path, text)
    found = await look(command)
    assert found.problem == f"{command} {problem}"
    assert found.hint is not None


async def test_what_cannot_be_started_is_told_apart(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    assert (await look(str(plain))).problem == f"{plain} is not executable"
    assert (await look(str(tmp_path))).problem == f"{tmp_path} was not found"
    assert (await look("no-such-program")).problem == "no-such-program was not found"
    assert (await look("no-such-program")).kind == "cli-not-found"
    # Installing the usual one would not mend it.
    assert (await look("no-such-program")).hint == "correct command in [runtimes.cursor]"


async def test_a_key_that_is_missing_is_named_with_how_to_set_it(tmp_path: Path) -> None:
    found = await look(script(tmp_path, "echo 1.0"), {"PATH": os.environ["PATH"]})
    assert (found.kind, found.problem) == ("auth-missing", "CURSOR_API_KEY is not set")


def settings(command: str) -> Settings:
    how = RuntimeSettings(name="cursor", programs={"cursor": ProgramSettings(command=(command,))})
    return Settings(runtime=how)


async def test_a_crowd_of_delegates_looks_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    own = settings(script(tmp_path, f"echo x >> {count}; echo 1.0"))
    programs = InstalledPrograms(tmp_path)
    async with anyio.create_task_group() as group:
        for _ in range(32):
            group.start_soon(programs.ready, "cursor", own, ENV)
    assert count.read_text() == "x\n"


async def test_what_was_found_for_one_key_is_not_there_without_it(tmp_path: Path) -> None:
    own, programs = settings(script(tmp_path, "echo 1.0")), InstalledPrograms(tmp_path)
    await programs.ready("cursor", own, ENV)
    with pytest.raises(ProgramError) as caught:
        await programs.ready("cursor", own, {"PATH": os.environ["PATH"]})
    assert caught.value.message == (
        'Runtime "cursor" prerequisites not met: CURSOR_API_KEY is not set'
    )
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("set CURSOR_API_KEY")
