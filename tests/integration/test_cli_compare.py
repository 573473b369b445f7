"""`perstack compare` as a user types it: the table, JSON, a kill, a stop, and what is refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.fakes.cli import Program
from tests.fakes.comparing import TOML, WAITS, WRITES, Comparisons
from tests.fakes.cursor import KEY

pytestmark = pytest.mark.anyio


def program_of(folder: Path, play: str = WRITES) -> Program:
    made = Comparisons(folder, play=play)
    toml = (folder / "perstack.toml").read_text()
    return Program.make(made.folder, toml, env={"CURSOR_API_KEY": KEY})


async def test_a_comparison_is_shown_with_its_diff_and_can_be_looked_at_and_removed(
    tmp_path: Path,
) -> None:
    program = program_of(tmp_path)
    ran = await program.run(
        *("compare", "writer", "Write it.", "--on", "perstack", "--on", "cursor", "--diff"),
        *("--between", "perstack", "cursor"),
    )
    assert ran.code == 0, ran.stderr
    table = ran.stdout.splitlines()[:3]
    assert [line.split()[1] for line in table] == ["status", "completed", "completed"]
    assert "+of the script" in ran.stdout
    assert "--- perstack/out.txt\n+++ cursor/out.txt" in ran.stdout
    assert "cursor: completed" in ran.stderr

    shown = await program.run("compare", "--show", "latest", "--json")
    found = json.loads(shown.stdout)
    assert [row["state"] for row in found["rows"]] == ["completed", "completed"]
    assert [file["path"] for file in found["rows"][0]["files"]] == ["out.txt"]

    folder = Path(found["rows"][0]["folder"])
    log = await program.run("log", "--workspace", str(folder))
    assert f"Job: {found['rows'][0]['jobId']}" in log.stdout

    removed = await program.run("compare", "--remove", found["id"])
    assert removed.code == 0, removed.stderr
    assert not folder.exists()
    assert (await program.run("compare", "--list")).stdout == "No comparisons.\n"
    assert (await program.run("compare", "--show", "latest")).code == 4


async def test_the_copies_job_goes_on_as_its_row_says(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    ran = await program.run(
        *("compare", "writer", "Go.", "--on", "perstack", "--on", "cursor", "--max-steps", "1"),
        "--json",
    )
    assert ran.code == 6, ran.stderr
    row = json.loads(ran.stdout)["rows"][0]
    assert row["state"] == "limit"
    more = await program.run(
        *("run", "writer", "--continue-job", row["jobId"], "--workspace", row["folder"]),
        *(word for word in row["options"] if word not in ("--max-steps", "1")),
    )
    assert more.code == 0, more.stderr
    assert more.one("completeRun")["text"] == "Written."


async def test_after_a_kill_what_was_finished_is_shown(tmp_path: Path) -> None:
    program = program_of(tmp_path, play=WAITS)
    words = ("compare", "writer", "Go.", "--on", "cursor", "--on", "perstack", "--sequential")
    async with program.running(*words) as running:
        await running.wait_for(lambda: b"perstack: running, step 1" in running.err)
        running.send(signal.SIGKILL)
        await running.ended()
    shown = await program.run("compare", "--show", "latest", "--diff")
    assert shown.code == 0, shown.stderr
    _, cursor, perstack = shown.stdout.splitlines()[:3]
    assert cursor.split()[1] == "completed"
    assert perstack.split()[1] == "lost"
    assert "+of the program" in shown.stdout


async def test_ctrl_c_stops_all_at_checkpoints(tmp_path: Path) -> None:
    program = program_of(tmp_path, play=WAITS)
    words = ("compare", "writer", "Go.", "--on", "perstack:a", "--on", "perstack:b")
    async with program.running(*words) as running:
        await running.wait_for(lambda: running.err.count(b": running, step 1") == 2)
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 130, ran.stderr
    assert [line.split()[1] for line in ran.stdout.splitlines()[1:3]] == ["stopped", "stopped"]
    assert ran.stdout.count("to go on: perstack run writer --continue-job") == 2


async def test_who_waits_at_a_gate_is_decided_as_stderr_says(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    toml = (tmp_path / "perstack.toml").read_text()
    name = 'packageName = "@perstack/base"'
    (tmp_path / "perstack.toml").write_text(
        toml.replace(name, f'{name}\nrequireApproval = ["writeTextFile"]')
    )
    words = ("compare", "writer", "Go.", "--on", "perstack", "--on", "cursor")
    async with program.running(*words) as running:
        said = b"    to decide: perstack consensus show "
        await running.wait_for(lambda: said in running.err and b"--workspace" in running.err)
        line = next(one for one in running.err.decode().splitlines() if "to decide" in one)
        _, _, gate, *folder = line.partition("perstack ")[2].split()
        decided = await program.run("consensus", "approve", gate, *folder)
        assert decided.code == 0, decided.stderr
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert "perstack: waits" in ran.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["writer", "Go."], "between 2 and 8"),
        (["writer"], "needs an Expert and a query"),
        (["nobody", "Go.", "--on", "perstack", "--on", "cursor"], "nobody"),
        (["writer", "Go.", "--on", "perstack", "--on", "emacs"], "no runtime"),
        (["--list", "--show", "x"], "exclude each other"),
        (["--show", "nope"], "no comparison nope"),
        (["--remove", "../../x"], "not usable"),
        (["--list", "--diff"], "belong to --show"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_hint(
    tmp_path: Path, words: list[str], why: str
) -> None:
    ran = await program_of(tmp_path).run("compare", *words)
    assert ran.code in (1, 4)
    assert why in ran.stderr
    assert not (tmp_path / "perstack" / "comparisons").exists()


async def test_what_a_contestant_would_do_has_to_be_accepted_first(tmp_path: Path) -> None:
    toml = TOML.format(command='"cursor-agent"', more="")
    Comparisons(tmp_path)
    program = Program.make(tmp_path, toml, env={"CURSOR_API_KEY": KEY}, trusted=False)
    words = ("compare", "writer", "Go.", "--on", "perstack", "--on", "cursor")
    ran = await program.run(*words)
    assert ran.code != 0
    assert "cursor-agent" in ran.stderr
    assert "--trust" in ran.stderr
    assert not (tmp_path / "perstack" / "comparisons").exists()
