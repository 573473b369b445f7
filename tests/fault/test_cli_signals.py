"""Signals end a run at a checkpoint, and the job goes on from there."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import SCRIPTED, Program, by_expert, calls, finishes
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Call, Fault, Reply

pytestmark = pytest.mark.anyio

SOLO: Final = """
[experts."solo"]
instruction = "You are solo."
"""
# A tool then begins as it is called; else a stop may come before, and nothing is in doubt.
NO_SNAPSHOTS: Final = "[snapshots]\nenabled = false\n"
SLEEPER: Final = """
[[turns]]
expert = "solo"
turn = 1
calls = [{ tool = "exec", args = { command = "sleep", args = ["600"], cwd = "." } }]

[[turns]]
expert = "solo"
after = "In doubt"
text = "I looked: it had not been done."
"""
# Python itself, starting, is not ours to keep calm: a signal comes when our first line has run.
# What a shell starts in the background, these tests perhaps, is born deaf to Ctrl-C.
ANNOUNCING: Final = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from perstack.cli.main import main
import sys
sys.stderr.write("up\\n")
main()
"""
ANNOUNCED: Final = (sys.executable, "-c", ANNOUNCING)
SIGNALS: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.long),
    ],
)
async def test_a_signal_in_mid_generation_keeps_the_checkpoint_and_the_job_goes_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    said = [calls(Call("healthCheck")), Reply(["half an ans"], fault=Fault("stall_mid", after=4))]
    async with model_server(decide=by_expert({"solo": said})) as server:
        program = Program.make(tmp_path, SOLO, base_url=server.url)
        async with program.running("run", "solo", "hi") as running:
            step = await running.until("continueToNextStep")
            await running.until("startGeneration", times=2)
            await running.wait_for(lambda: len(server.requests) == 2)
            running.send(number)
            ran = await running.ended()
        server.decide = by_expert({"solo": [said[0], *finishes("Done.")]})
        again = await program.run("run", "solo", "--continue")
    assert ran.code == code
    assert ran.types()[-1] == "suspendRun"
    assert f"--continue-job {ran.job_id}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert again.code == 0
    assert again.run_ids == ran.run_ids
    assert again.one("startRun")["stepNumber"] > step["stepNumber"]
    assert len(again.all("callTools")) == 1  # the health check was not made again


async def test_a_tool_that_a_signal_cut_short_is_shown_in_doubt_to_model_and_user(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, SCRIPTED + NO_SNAPSHOTS + SOLO, scenario=SLEEPER)
    async with program.running("run", "solo", "hi") as running:
        await running.until("callTools")
        running.send(signal.SIGTERM)
        ran = await running.ended()
    assert ran.code == 143
    assert ran.one("toolReturned")["result"]["inDoubt"] is True
    again = await program.run("run", "solo", "--continue")
    assert again.code == 0
    assert again.one("completeRun")["text"] == "I looked: it had not been done."


async def test_a_second_signal_does_not_wait_for_tools(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + NO_SNAPSHOTS + SOLO, scenario=SLEEPER)
    async with program.running("run", "solo", "hi") as running:
        await running.until("callTools")
        running.send(signal.SIGINT)
        await running.wait_for(lambda: b"once more" in running.err)
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 130
    assert ran.one("toolReturned")["result"]["inDoubt"] is True
    assert (await program.run("run", "solo", "--continue")).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_it_starts_ends_it_by_that_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    rng = random.Random(SIGNALS[number])
    program = Program.make(tmp_path, SCRIPTED + NO_SNAPSHOTS + SOLO, scenario=SLEEPER)
    for _ in range(8):
        async with program.running_words(*ANNOUNCED, "run", "solo", "hi") as up:
            await up.wait_for(lambda up=up: b"up" in up.err)
            with anyio.move_on_after(rng.uniform(0, 0.25)):
                await up.until("callTools")
            up.send(number)
            ran = await up.ended()
        # A shell sees the same number whether the signal was handled or not.
        assert ran.code in {SIGNALS[number], -number}, ran.stderr
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("number", "code"), SIGNALS.items())
async def test_a_signal_while_the_vendor_makes_it_wait_ends_the_wait(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    scenario = '[[turns]]\nerror = { status = 429, retry_after_s = 100 }\ntext = "Done."\n'
    program = Program.make(tmp_path, SCRIPTED + SOLO, scenario=scenario)
    async with program.running("run", "solo", "hi") as running:
        await running.until("retry")
        running.send(number)
        ran = await running.ended()
    assert ran.code == code
    assert ran.types("suspendRun") == ["suspendRun"]


async def test_all_delegates_stop_and_go_on(tmp_path: Path) -> None:
    toml = SCRIPTED + '[experts."lead"]\ninstruction = "x"\ndelegates = ["a", "b"]\n'
    toml += "".join(f'[experts."{key}"]\ninstruction = "x"\n' for key in "ab")
    delegates = ", ".join(f'{{ tool = "{key}", args = {{ query = "go" }} }}' for key in "ab")
    turns = f'[[turns]]\nexpert = "lead"\nturn = 1\ncalls = [{delegates}]\n'
    waits = '[[turns]]\nexpert = "b"\nlatency_ms = 600000\ntext = "late"\n'
    last = '[[turns]]\ntext = "done"\n'
    program = Program.make(tmp_path, toml, scenario=turns + waits + last)
    async with program.running("run", "lead", "hi") as running:
        await running.until("completeRun")
        await running.until("startGeneration", times=3)
        running.send(signal.SIGTERM)
        ran = await running.ended()
    assert ran.code == 143
    assert ran.who("completeRun", "suspendRun") == [
        ("a", "completeRun"),
        ("b", "suspendRun"),
        ("lead", "suspendRun"),
    ]
    (program.workspace / "scenario.toml").write_text(turns + last)
    again = await program.run("run", "lead", "--continue")
    assert again.code == 0
    assert again.who("completeRun") == [("b", "completeRun"), ("lead", "completeRun")]
    assert set(again.run_ids) <= set(ran.run_ids)
