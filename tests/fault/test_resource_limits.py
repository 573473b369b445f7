"""Limits outlive the process that counts, and what it starts cannot reset them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perstack.domain.resources import ResourceMetrics
from tests.fakes.resource_worker import A1, make_service

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def worker(what: str, database: Path, workspace: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.resource_worker", what, str(database), str(workspace)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
    )


def killed_after(events: int, database: Path, workspace: Path) -> None:
    with worker(str(events), database, workspace) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.kill()
        process.wait(20)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "perstack" / "perstack.db"


async def metrics(database: Path, workspace: Path) -> ResourceMetrics:
    service, handle = make_service(database, workspace)
    try:
        return await service.get_agent_metrics(A1)
    finally:
        await handle.aclose()


async def test_counters_and_the_pause_survive_a_kill(database: Path, tmp_path: Path) -> None:
    killed_after(12, database, tmp_path)
    found = await metrics(database, tmp_path)
    assert (found.api_calls_count, found.phase, found.pause_reason) == (
        12,
        "intervention",
        "Resource threshold exceeded: maxApiCalls",
    )


@pytest.mark.long
async def test_events_that_a_restarted_process_tells_again_count_once(
    database: Path, tmp_path: Path
) -> None:
    killed_after(5, database, tmp_path)
    killed_after(8, database, tmp_path)
    assert (await metrics(database, tmp_path)).api_calls_count == 8


async def test_what_a_run_started_cannot_reset_its_limits(database: Path, tmp_path: Path) -> None:
    service, handle = make_service(database, tmp_path)
    for _ in range(10):
        await service.record_api_call(A1)
    await service.evaluate_agent(A1)
    before = await service.get_agent_metrics(A1)
    with worker("reset", database, tmp_path, PERSTACK_RUN_ID="run1") as process:
        answers = process.communicate(timeout=20)[0].splitlines()
    assert [answer.split(":")[0] for answer in answers] == ["denied"] * 3
    assert await service.get_agent_metrics(A1) == before
    assert before.paused_at is not None
    await handle.aclose()
