"""However a run ends, no process that it started lives on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import psutil
import pytest

from tests.fakes.cli import SCRIPTED, Program

pytestmark = pytest.mark.anyio

MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
TOML: Final = f"""
{SCRIPTED}
[experts."solo"]
instruction = "x"
[experts."solo".skills."stubborn"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["{MCP_SERVER}", "--fault", "ignore_sigterm", "--fault", "orphan", "--fault", "ignore_eof"]
"""
SCENARIO: Final = """
[[turns]]
turn = 1
calls = [{ tool = "spawn" }]

[[turns]]
turn = 2
calls = [
    { tool = "exec", args = { command = "sh", args = ["-c", "sleep 600 & sleep 600"], cwd = "." } },
]

[[turns]]
text = "Done."
"""


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
async def test_nothing_survives_a_run_that_was_ended(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = Program.make(tmp_path, TOML, scenario=SCENARIO)
    async with program.running("run", "solo", "go") as running:
        await running.until("callTools", times=2)
        run_id: str = running.events[0]["runId"]
        with anyio.fail_after(20):
            while len(list(sleepers(run_id))) < 2:
                await anyio.lowlevel.checkpoint()
        started = psutil.Process(running.process.pid).children(recursive=True)
        started += list(marked(run_id))
        running.send(number)
        await running.ended()
    assert len(started) >= 5  # the server, two that it started, the shell, its sleeps
    with anyio.fail_after(20):
        while alive := [process for process in started if is_alive(process)]:
            await anyio.to_thread.run_sync(psutil.wait_procs, alive, 0.1)
    assert list(marked(run_id)) == []


async def test_nothing_survives_a_run_that_completed(tmp_path: Path) -> None:
    scenario = SCENARIO.replace("sleep 600 & sleep 600", "sleep 600 & true")
    program = Program.make(tmp_path, TOML, scenario=scenario)
    ran = await program.run("run", "solo", "go")
    assert ran.code == 0
    assert list(marked(ran.run_ids[0])) == []


def marked(run_id: str) -> Iterator[psutil.Process]:
    """The processes that carry the run's mark."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("PERSTACK_RUN_ID") == run_id and is_alive(process):
                yield process
        except psutil.Error:
            continue


def sleepers(run_id: str) -> Iterator[psutil.Process]:
    for process in marked(run_id):
        try:
            if process.name() == "sleep":
                yield process
        except psutil.Error:
            continue


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
