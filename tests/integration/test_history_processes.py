"""Several processes and one job."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from perstack.domain.ids import JobId, RunId
from tests.fakes.history import history
from tests.fakes.history_process import Driver, start_driver

pytestmark = pytest.mark.anyio

JOB = JobId("job1")
RUN = RunId("run1")


async def test_of_four_processes_one_drives_and_the_others_are_told_who(tmp_path: Path) -> None:
    rounds = 100
    async with AsyncExitStack() as stack:
        drivers = [await stack.enter_async_context(start_driver(tmp_path)) for _ in range(4)]
        await drivers[0].tell("create job1")
        await drivers[0].tell("release")
        for _ in range(rounds):
            await _race(drivers)


async def _race(drivers: list[Driver]) -> None:
    for driver in drivers:
        await driver.send("drive job1")
    answers = [await driver.answer() for driver in drivers]
    winners = [at for at, answer in enumerate(answers) if answer.startswith("held")]
    assert len(winners) == 1, answers
    winner = drivers[winners[0]]
    for answer in answers:
        assert answer == f"held {winner.process.pid}" or answer.startswith(
            "conflict job job1 is driven by "
        )
    # Once the winner has said that it holds the job, it is named.
    late = await drivers[winners[0] - 1].tell("drive job1")
    assert f"conflict job job1 is driven by process {winner.process.pid} on" in late
    assert await winner.tell("release") == "released"


async def test_a_killed_process_lets_go_of_the_job(tmp_path: Path) -> None:
    async with start_driver(tmp_path) as driver:
        for command in ("create job1", "run", "append 4"):
            await driver.tell(command)
        await driver.kill()

    async with history(tmp_path).drive_job(JOB) as held:
        found, _ = await held.reopen_run(RUN)
        assert [event.seq for event in found.events] == [0, 1, 2, 3]
        assert found.damage is None


@pytest.mark.parametrize(
    "trials", [5, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
async def test_killed_while_it_pours_a_process_loses_at_most_its_last_record(
    tmp_path: Path, trials: int
) -> None:
    for trial in range(trials):
        workspace = tmp_path / str(trial)
        workspace.mkdir()
        async with start_driver(workspace) as driver:
            await driver.tell("create job1")
            await driver.tell("run")
            await driver.send("pour 100000")
            told = 0
            while told < 50 + 37 * (trial % 50):
                told = int(await driver.answer()) + 1
            await driver.kill()
        found = await history(workspace).read_run(JOB, RUN)
        assert len(found.events) >= told
        assert [event.seq for event in found.events] == list(range(len(found.events)))
