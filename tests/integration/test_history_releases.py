"""What earlier releases left on disks: each of their jobs can be gone on with, for ever."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from perstack.domain.ids import JobId
from perstack.engine.recall import recall
from perstack.ports.frontend import Continuation
from perstack.projection.event_facts import made_checkpoint
from tests.fakes.engine import FakeGate, FakeSkills, World, decided, done, expert
from tests.fakes.old_history import JOBS, USER, write

pytestmark = pytest.mark.anyio

KEPT: Final = Path(__file__).parents[1] / "fixtures" / "history"
RELEASES: Final = sorted(path.name for path in KEPT.iterdir())


async def noted(_: Mapping[str, JsonValue]) -> str:
    return "noted"


def copied(release: str, workspace: Path) -> World:
    """A copy of that release's history in a world of today, whose Experts finish at once."""
    shutil.copytree(KEPT / release, workspace / "perstack")
    return World(
        workspace,
        lambda request, _: done(f"{request.expert_key} finished it"),
        (expert("lead", "helper", skills={"user": USER}), expert("helper")),
        skills=FakeSkills({"note": noted}),
        gate=FakeGate(verdict=lambda checkpoint: decided(checkpoint, approved=True)),
    )


def test_the_first_release_is_among_them() -> None:
    assert "0.1.0" in RELEASES
    for release in RELEASES:
        jobs = {path.name for path in (KEPT / release / "jobs").iterdir()}
        assert jobs >= {"completed", "asked", "stopped", "killed"}


@pytest.mark.parametrize("own_definitions", [False, True], ids=["today's", "its own"])
@pytest.mark.parametrize("job", list(JOBS))
@pytest.mark.parametrize("release", RELEASES)
async def test_a_job_of_an_earlier_release_goes_on(
    tmp_path: Path, release: str, job: str, own_definitions: bool
) -> None:
    world = copied(release, tmp_path)
    job_id = JobId(job)
    before = await world.history.get_job(job_id)
    state = (await recall(world.history, job_id, before.coordinator_run_id)).state
    assert state.messages
    asked = state.status == "stoppedByInteractiveTool"
    text = "yes" if asked or state.status == "completed" else None
    ended = await world.go_on(
        Continuation(job_id=job_id, text=text, is_answer=asked, own_definitions=own_definitions)
    )
    assert ended.outcome.text == "lead finished it"
    after = await world.history.get_job(job_id)
    assert after.status == "completed"
    assert after.total_steps > before.total_steps
    said = str(list(world.model.requests[-1].messages))
    assert "Write it down." in said
    assert ("In doubt" in said) is (job == "killed")


@pytest.mark.parametrize("job", ["completed", "forked"])
@pytest.mark.parametrize("release", RELEASES)
async def test_each_checkpoint_of_an_earlier_release_can_be_forked_from(
    tmp_path: Path, release: str, job: str
) -> None:
    world = copied(release, tmp_path)
    job_id = JobId(job)
    points = [
        made_checkpoint(event)
        for setting in await world.history.list_runs(job_id)
        if setting.delegated_by is None
        for event in (await world.history.read_run(job_id, setting.run_id)).events
    ]
    forked = [point for point in points if point is not None]
    assert len(forked) >= 4
    for point in forked:
        wanted = Continuation(job_id=job_id, checkpoint_id=point, text="again")
        assert (await world.go_on(wanted)).outcome.text == "lead finished it"


async def test_todays_build_still_writes_every_kind_of_job(tmp_path: Path) -> None:
    await write(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new" / "jobs").iterdir()} == set(JOBS)
