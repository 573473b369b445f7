"""A process that drives a workflow and its review loop is killed; another goes on with them."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from anyio import to_thread

from perstack.domain.agents import LOST_AFTER_MS
from perstack.domain.reviews import LoopId
from perstack.domain.workflows import WorkflowRunId
from perstack.errors import ConflictError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from tests.fakes.review_workers import drive_until_killed, open_workflows, review
from tests.fakes.runner import key_of

pytestmark = pytest.mark.anyio


def kill_in_the_middle(path: Path) -> WorkflowRunId:
    """Start the process, wait until the code is under review, and kill it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=drive_until_killed, args=(path, there))
    process.start()
    try:
        assert here.poll(30), "the process never came to the review"
        return WorkflowRunId(here.recv())
    finally:
        process.kill()
        process.join(10)
        process.close()


async def test_what_a_killed_process_drove_is_driven_on_after_ten_seconds(tmp_path: Path) -> None:
    path = tmp_path / "perstack.db"
    run_id = await to_thread.run_sync(kill_in_the_middle, path)
    asked: list[str] = []

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        asked.append(key_of(request))
        return await review(request)

    async with open_workflows(path, answer) as early:
        with pytest.raises(ConflictError, match="is driven already"):
            await early.resume(run_id)
    async with open_workflows(path, answer, late_ms=LOST_AFTER_MS + 1_000) as late:
        report = await late.resume(run_id)
    assert (report.verdict, asked) == ("PASS", ["adversarial"])
    assert report.phases[0].artifacts["loopId"] == LoopId(run_id)
    assert report.phases[0].artifacts["finalCode"] == "x = 1"
