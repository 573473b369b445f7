"""What happens around a running job: the disk fills up, its configuration changes, a tool hangs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
import pytest

from tests.fakes.cli import PROGRAM, SCRIPTED, Program
from tests.fakes.model_server import model_server

pytestmark = pytest.mark.anyio

SOLO: Final = """
[experts."solo"]
instruction = "You are solo."
"""
TALKATIVE: Final = """
[[turns]]
after = "that is enough"
text = "Enough said."
[[turns]]
text = "{text}"
calls = [{{ tool = "healthCheck" }}]
"""
PATIENT: Final = """
[defaults]
latency_ms = 60
[[turns]]
after = "go on"
text = "Gone on."
[[turns]]
turn = 8
text = "Done all the same."
[[turns]]
calls = [{ tool = "healthCheck" }]
"""
HOSTILE: Final = """
[[turns]]
turn = 2
text = "done \\u001b[31m \\u009b2J \\u202e \\u2028"
[[turns]]
text = "\\u001b]0;title\\u0007"
calls = [
  { tool = "exec", args = { command = "printf", args = ["\\\\033[2J\\\\007\\\\235\\\\r\\\\0"] } },
  { tool = "\\u001b[Hnone", args = { "\\u001b" = "\\u009d" } },
]
"""
MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
HANGING: Final = f"""
[experts."solo"]
instruction = "You are solo."
[experts."solo".skills."slow"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["{MCP_SERVER}", "--fault", "hang_call"]
"""
CALLING: Final = """
[[turns]]
after = "In doubt"
text = "I looked: it had not been done."
[[turns]]
calls = [{ tool = "echo", args = { text = "x" } }]
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A disk of two megabytes; skips where none can be mounted."""
    folder, mount = tmp_path / "disk", shutil.which("mount")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_disk_that_runs_full_ends_with_5_and_names_the_file(
    tmp_path: Path, small_disk: Path
) -> None:
    scenario = TALKATIVE.format(text="all work and no play " * 5_000)
    program = Program.make(tmp_path / "project", SCRIPTED + SOLO, scenario=scenario)
    here = ("--workspace", str(small_disk))
    config = ("--config", str(tmp_path / "project" / "perstack.toml"))
    full = await program.run("run", "solo", "talk", *here, *config, "--max-steps", "100")
    assert full.code == 5, full.stderr[-2000:]
    assert "events.jsonl: No space left on device" in full.stderr
    assert "Hint: free some space" in full.stderr
    assert "Traceback" not in full.stderr
    kept = full.all("continueToNextStep")
    assert len(kept) > 3
    still = await program.run("run", "solo", "x", "--continue", *here, *config)
    assert (still.code, "Traceback" in still.stderr) == (5, False)
    bigger = ["mount", "-o", "remount,size=20m", str(small_disk)]
    await anyio.run_process(bigger)
    room = await program.run("run", "solo", "that is enough", "--continue", *here, *config)
    assert room.code == 0, room.stderr
    assert room.one("completeRun")["text"] == "Enough said."
    assert room.run_ids == full.run_ids


@pytest.fixture
def for_anybody() -> Generator[Path]:
    """A folder that any user of the machine may enter, which what is made for a test is not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def as_nobody() -> tuple[str, ...]:
    """What stands before a command so that it is no root's, whom nothing is kept from."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv, or a user who is not root")
    return (setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
async def test_nothing_that_runs_as_the_same_user_can_read_the_programs_variables(
    for_anybody: Path,
) -> None:
    program = Program.make(for_anybody / "project", SCRIPTED + SOLO, scenario=PATIENT)
    for folder in (for_anybody, program.workspace):
        folder.chmod(0o777)
    config = ("--config", str(program.workspace / "perstack.toml"))
    words = (*as_nobody(), *PROGRAM, "run", "solo", "go", *config)
    async with program.running_words(*words, env={"HOME": str(for_anybody)}) as running:
        await running.until("startGeneration")
        variables = f"/proc/{running.process.pid}/environ"
        looked = await program.run_words(*as_nobody(), "cat", variables)
        # What else is there to be read of it tells that it lives, and whose it is.
        alive = await program.run_words(*as_nobody(), "cat", f"/proc/{running.process.pid}/stat")
    assert alive.code == 0, alive.stderr
    assert (looked.code, looked.stdout) == (1, ""), looked.stdout
    assert "denied" in looked.stderr


@pytest.mark.parametrize("place", ["", "perstack", "perstack/jobs"])
async def test_a_history_that_may_not_be_written_ends_with_5_before_the_model_is_asked(
    for_anybody: Path, place: str
) -> None:
    async with model_server() as server:
        program = Program.make(for_anybody / "project", SOLO, base_url=server.url)
        closed = program.workspace / place
        closed.mkdir(parents=True, exist_ok=True)
        for folder in (closed, *closed.parents):
            if folder.is_relative_to(program.workspace):
                folder.chmod(0o555)
        config = ("--config", str(program.workspace / "perstack.toml"))
        home = {"HOME": str(for_anybody)}
        words = (*as_nobody(), *PROGRAM, "run", "solo", "go", *config)
        refused = await program.run_words(*words, env=home)
        program.workspace.chmod(0o755)
        assert server.requests == []
    assert refused.code == 5, refused.stderr
    assert str(closed) in refused.stderr
    assert "Permission denied" in refused.stderr
    assert "Hint: " in refused.stderr
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr


CHANGES: Final = {
    "changed": SCRIPTED + '[experts."solo"]\ninstruction = "You are another."\n',
    "half written": (SCRIPTED + SOLO)[: len(SCRIPTED) + 12],
    "broken": "this is = = no TOML",
    "deleted": None,
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("change", list(CHANGES))
async def test_a_running_job_keeps_what_it_began_with_whatever_becomes_of_the_file(
    tmp_path: Path, change: str
) -> None:
    program = Program.make(tmp_path, SCRIPTED + SOLO, scenario=PATIENT)
    toml, text = tmp_path / "perstack.toml", CHANGES[change]
    async with program.running("run", "solo", "go") as running:
        await running.until("continueToNextStep")
        if text is None:
            toml.unlink()
            (tmp_path / "scenario.toml").unlink()
        else:
            toml.write_text(text)
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "Done all the same."
    again = await program.run("run", "solo", "go on", "--continue")
    assert again.code == (0 if change == "changed" else 1), again.stderr
    assert change == "changed" or "perstack.toml" in again.stderr
    toml.write_text(SCRIPTED + SOLO)
    (tmp_path / "scenario.toml").write_text(PATIENT)
    mended = await program.run("run", "solo", "go on", "--continue")
    assert (mended.code, mended.job_id) == (0, ran.job_id), mended.stderr


async def test_a_second_ctrl_c_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    # The tool then begins as it is called; else the stop may come before, and nothing is in doubt.
    toml = SCRIPTED + "[snapshots]\nenabled = false\n" + HANGING
    program = Program.make(tmp_path, toml, scenario=CALLING)
    async with program.running("run", "solo", "go", "--trust") as running:
        await running.until("callTools")
        running.send(signal.SIGINT)
        await running.wait_for(lambda: b"once more" in running.err)
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 130, ran.stderr
    assert ran.one("toolReturned")["result"]["inDoubt"] is True
    again = await program.run("run", "solo", "--continue", "--trust")
    assert again.code == 0, again.stderr
    assert again.one("completeRun")["text"] == "I looked: it had not been done."


async def test_words_that_would_act_on_a_terminal_come_out_as_json_and_as_text(
    tmp_path: Path,
) -> None:
    """C10: a query, a model, its calls and what they print are full of control characters."""
    program = Program.make(tmp_path, SCRIPTED + SOLO, scenario=HOSTILE)
    ran = await program.run("run", "solo", "go \x1b[2J \u202e")
    assert ran.code == 0, ran.stderr
    assert "\x1b[31m" in ran.one("completeRun")["text"]
    assert len(ran.events) > 8
    for shown in (
        ran,
        await program.run("log"),
        await program.run("log", "--json"),
        await program.run("jobs"),
        await program.run("start", "solo", "again \x1b[2J", "--plain"),
    ):
        assert shown.code == 0, shown.stderr
        told = shown.stdout + shown.stderr
        assert [line for line in told.split("\n") if not line.isprintable()] == []
