"""Whatever a team does: a crash, a stop or a fork at any point leads to the same end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.events import CallTools, ContinueToNextStep, Event, SuspendRun
from perstack.domain.ids import CheckpointId, JobId
from perstack.domain.usage import NO_USAGE
from perstack.engine.control import StopControl
from perstack.engine.recall import find_point
from perstack.projection.run_state import made_checkpoint, spent_by
from tests.fakes.stories import (
    Stage,
    Story,
    conversation,
    crashed,
    differences,
    next_words,
    stories,
)

pytestmark = pytest.mark.anyio

Crash = tuple[float, float]
CRASHES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3)
NORMAL = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = settings(NORMAL, max_examples=400)


async def check_crashes(story: Story, crashes: list[Crash]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        stage = Stage(folder / "0", story)
        job_id, told = await stage.play()
        for number, (where, torn) in enumerate(crashes, start=1):
            after = 1 + round(where * (len(stage.cuts) - 1))
            target = folder / str(number)
            crashed(stage, after, torn, target)
            made = stage.effects.before(after)
            stage = Stage(target, story, stage.world.gate)
            again = await stage.play_on(job_id)
            assert differences(conversation(told), conversation(again)) == []
            assert again.last_text == told.last_text
            assert made.isdisjoint(key for key, _ in stage.effects.made)
            await check_sums(stage, job_id)
            if not stage.cuts:
                return  # it died after everything was done


async def check_sums(stage: Stage, job_id: JobId) -> None:
    """The job's record is the sum over its events, however often it was interrupted."""
    job = await stage.world.history.get_job(job_id)
    usage, steps = NO_USAGE, 0
    for setting in await stage.world.history.list_runs(job_id):
        for event in (await stage.world.history.read_run(job_id, setting.run_id)).events:
            usage, steps = usage.plus(spent_by(event.body)[0]), max(steps, event.step_number)
    assert (job.status, job.usage) == ("completed", usage)
    assert job.total_steps >= steps


@NORMAL
@given(stories(), CRASHES)
async def test_resuming_after_a_crash_equals_never_having_crashed(
    story: Story, crashes: list[Crash]
) -> None:
    await check_crashes(story, crashes)


@pytest.mark.long
@pytest.mark.timeout(900)
@LONG
@given(stories(), CRASHES)
async def test_resuming_after_a_crash_equals_never_having_crashed_in_many_stories(
    story: Story, crashes: list[Crash]
) -> None:
    await check_crashes(story, crashes)


async def check_forks(story: Story) -> None:
    """Fork from each of the coordinator's checkpoints; each fork comes to the same end."""
    with TemporaryDirectory() as name:
        stage = Stage(Path(name), story)
        job_id, told = await stage.play()
        for point in points_of(stage.world.heard.events):
            _, found = await find_point(stage.world.history, job_id, point)
            if found.state.status == "completed":
                continue
            await stage.world.go_on(next_words(job_id, found.state, point))
            again = await stage.play_on(job_id)
            assert differences(conversation(told), conversation(again)) == []


async def check_stops(story: Story, *, fork: bool) -> None:
    """Stop at every checkpoint, and go on from there in place or by a fork."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        job_id, told = await Stage(folder / "straight", story).play()
        stage = Stage(folder / "stopped", story)
        stage.world.heard.on = stopper(stage, every=not fork)
        job_id = (await stage.world.start("go")).job_id
        state = await stage.state(job_id)
        while state.status != "completed":
            stage.world.control = StopControl()
            point = state.checkpoint_id if fork else None
            await stage.world.go_on(next_words(job_id, state, point))
            state = await stage.state(job_id)
        assert differences(conversation(told), conversation(state)) == []
        stops = [e for e in stage.world.heard.events if isinstance(e.body, SuspendRun)]
        calls = [e for e in stage.world.heard.events if isinstance(e.body, CallTools)]
        assert stops or len(calls) <= 1 or not fork


def stopper(stage: Stage, *, every: bool) -> Callable[[Event], None]:
    """Stop at each checkpoint of anybody, or at each end of a step of the coordinator."""

    def stop(event: Event) -> None:
        ends_step = isinstance(event.body, ContinueToNextStep) and event.expert_key == "lead"
        if ends_step or (every and made_checkpoint(event) is not None):
            stage.world.control.stop("signal")

    return stop


def points_of(events: list[Event]) -> list[CheckpointId]:
    made = [made_checkpoint(event) for event in events if event.expert_key == "lead"]
    return list(dict.fromkeys(point for point in made if point is not None))


@NORMAL
@given(stories())
async def test_a_fork_at_each_checkpoint_comes_to_the_same_end(story: Story) -> None:
    await check_forks(story)


@NORMAL
@given(stories(), st.booleans())
async def test_a_job_stopped_at_each_checkpoint_comes_to_the_same_end(
    story: Story, fork: bool
) -> None:
    await check_stops(story, fork=fork)


@pytest.mark.long
@pytest.mark.timeout(900)
@LONG
@given(stories(), st.booleans())
async def test_forks_and_stops_lead_to_the_same_end_in_many_stories(
    story: Story, fork: bool
) -> None:
    await check_forks(story)
    await check_stops(story, fork=fork)
