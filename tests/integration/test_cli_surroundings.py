"""Odd places to be started in, and odd words to be started with."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import PROGRAM, SCRIPTED, Program, by_expert, finishes
from tests.fakes.model_server import model_server

pytestmark = pytest.mark.anyio

SOLO: Final = '[experts."solo"]\ninstruction = "You are solo."\n'
DONE: Final = '[[turns]]\ntext = "Done \u2713 \U0001f600."\n'
UNUSUAL: Final = ("new\nline", "\U0001f600", "inv\udcff\udcfealid", "esc\x1b[31m", "-rf")


@pytest.mark.parametrize(
    "name",
    [UNUSUAL[0], *(pytest.param(name, marks=pytest.mark.long) for name in UNUSUAL[1:])],
    ids=ascii,
)
async def test_a_workspace_may_be_called_anything(tmp_path: Path, name: str) -> None:
    program = Program.make(tmp_path / name, SCRIPTED + SOLO, scenario=DONE)
    ran = await program.run("run", "solo", "go")
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "Done \u2713 \U0001f600."
    shown = await program.run("log")
    assert shown.code == 0
    assert "\x1b" not in shown.stdout


@pytest.mark.long
async def test_any_locale_will_do(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + SOLO, scenario=DONE)
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ran = await program.run("run", "solo", "caf\u00e9 \udcff", env=odd)
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "Done \u2713 \U0001f600."
    logged = await program.run("log", "--json", env=odd)
    assert logged.events[0]["events"][-1]["text"] == "Done \u2713 \U0001f600."
    plain = await program.run("start", "solo", "go", "--plain", env=odd)
    assert plain.code == 0
    assert "Done \\u2713" in plain.stdout


async def test_a_terminal_of_another_encoding_gets_what_it_can_show(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + SOLO, scenario=DONE)
    latin = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    ran = await program.run("run", "solo", "go", env=latin)
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "Done \u2713 \U0001f600."
    for command in ("config check", "log", "jobs", "start solo go --plain"):
        shell = f"{shlex.join(PROGRAM)} {command} > shown"
        shown = await program.run_words("sh", "-c", shell, env=latin)
        assert (shown.code, "Traceback" in shown.stderr) == (0, False), command
        assert (tmp_path / "shown").read_text(encoding="latin-1")


@pytest.mark.long
async def test_what_no_vendor_could_read_is_sent_as_something_else(tmp_path: Path) -> None:
    async with model_server(decide=by_expert({"solo": finishes("Done.")})) as server:
        program = Program.make(tmp_path, SOLO, base_url=server.url)
        ran = await program.run("run", "solo", "broken \udcff \x1b]0;t\x07 words")
        assert "broken" in str(server.requests[0].body["messages"][0])
    assert ran.code == 0, ran.stderr
    assert len((await program.run("log", "--json")).events) == 1


# Named: without HOME, what was accepted is not found.
RUN: Final = ("run", "solo", "go", "--config", "perstack.toml")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("setup", ["umask 000", "unset HOME", "ulimit -n 32"])
async def test_the_history_is_the_users_own_whatever_the_shell_is_set_to(
    tmp_path: Path, setup: str
) -> None:
    program = Program.make(tmp_path, SCRIPTED + SOLO, scenario=DONE)
    ran = await program.run_words("sh", "-c", f"{setup}; exec {shlex.join([*PROGRAM, *RUN])}")
    assert ran.code == 0, ran.stderr
    made = [tmp_path / "perstack", *(tmp_path / "perstack").rglob("*")]
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


async def test_a_workspace_that_is_a_link_is_where_it_points(tmp_path: Path) -> None:
    program = Program.make(tmp_path / "real", SCRIPTED + SOLO, scenario=DONE)
    (tmp_path / "link").symlink_to("real")
    elsewhere = Program(tmp_path, program.env)
    ran = await elsewhere.run("run", "solo", "go", "--workspace", "link")
    assert ran.code == 0, ran.stderr
    assert program.jobs() == [ran.job_id]
