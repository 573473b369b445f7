"""Whatever a team does: a crash, a stop or a fork at any point leads to the same end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.events import CallTools, ContinueToNextStep, Event, SuspendRun
from perstack.domain.ids import CheckpointId, JobId
from perstack.domain.messages import UserMessage, text_of
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import NO_USAGE
from perstack.engine.control import StopControl
from perstack.engine.recall import find_point
from perstack.errors import LimitError
from perstack.ports.frontend import Continuation
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.run_state import RunState
from tests.fakes.stories import (
    Script,
    Stage,
    Story,
    conversation,
    crashed,
    differences,
    lone_stories,
    lost_power,
    next_words,
    stories,
)

pytestmark = pytest.mark.anyio

Crash = tuple[float, float]
CRASHES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3)
NORMAL = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32)
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
            made = stage.effects.by_then(after)
            stage = Stage(target, story, stage.world.gate)
            again = await stage.play_on(job_id)
            assert differences(conversation(told), conversation(again)) == []
            assert again.last_text == told.last_text
            assert made.isdisjoint(key for key, _ in stage.effects.made)
            await check_sums(stage, job_id)
            if not stage.cuts:
                return  # it died after everything was done


async def check_power_losses(story: Story, seed: int) -> None:
    """The machine may lose more than a process that ends: all that was not synced, in part."""
    rng = random.Random(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        stage = Stage(folder / "0", story)
        job_id, told = await stage.play()
        for number in range(1, 3):
            after, target = moment(stage, rng), folder / str(number)
            lost_power(stage, after, rng, target)
            made = stage.effects.by_then(after)
            stage = Stage(target, story, stage.world.gate)
            again = await resumed(stage, job_id)
            assert differences(conversation(told), conversation(again)) == []
            assert made.isdisjoint(key for key, _ in stage.effects.made)
            await check_sums(stage, job_id)
            if not stage.cuts:
                return


def moment(stage: Stage, rng: random.Random) -> int:
    """Any event's number, from 1; mostly one that was told just before a tool did something."""
    critical = [heard for _, heard in stage.effects.made]
    if critical and rng.random() < 0.7:
        return rng.choice(critical)
    return rng.randint(1, len(stage.cuts))


async def resumed(stage: Stage, job_id: JobId) -> RunState:
    """Go on to the end; a job that lost its first record is told again what to do."""
    if (await stage.state(job_id)).status == "init":
        await stage.world.go_on(Continuation(job_id=job_id))
    return await stage.play_on(job_id)


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


@NORMAL
@given(stories(), SEEDS)
async def test_resuming_after_a_loss_of_power_equals_never_having_lost_it(
    story: Story, seed: int
) -> None:
    await check_power_losses(story, seed)


@pytest.mark.long
@pytest.mark.timeout(900)
@LONG
@given(stories(), SEEDS)
async def test_resuming_after_a_loss_of_power_equals_never_having_lost_it_in_many_stories(
    story: Story, seed: int
) -> None:
    await check_power_losses(story, seed)


async def check_limits(story: Story, more_steps: int, more_tokens: int) -> None:
    """Reach one limit after the other, each time raised a little."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _, told = await Stage(folder / "straight", story).play()
        stage = Stage(folder / "limited", story)
        world = stage.world
        world.max_steps, world.budget = 1, BudgetSettings(max_tokens=1)
        job_id = (await world.start("go")).job_id
        while (state := await stage.state(job_id)).status != "completed":
            try:
                await world.go_on(next_words(job_id, state))
            except LimitError:
                world.max_steps += more_steps
                tokens = (world.budget.max_tokens or 0) + more_tokens
                world.budget = BudgetSettings(max_tokens=tokens)
        assert differences(conversation(told), conversation(state)) == []
        made = [key.partition("/")[2] for key, _ in stage.effects.made]
        assert len(made) == len(set(made))


@NORMAL
@given(lone_stories(), st.integers(1, 3), st.integers(10, 40))
async def test_a_job_whose_limits_are_reached_and_raised_comes_to_the_same_end(
    story: Story, more_steps: int, more_tokens: int
) -> None:
    await check_limits(story, more_steps, more_tokens)


async def check_forks(story: Story) -> None:
    """Fork from each of the coordinator's checkpoints; each fork comes to the same end.

    What had returned within a response is not called again.
    """
    with TemporaryDirectory() as name:
        stage = Stage(Path(name), story)
        job_id, told = await stage.play()
        for point in points_of(stage.world.heard.events):
            _, found = await find_point(stage.world.history, job_id, point)
            if found.state.status == "completed":
                continue
            before = len(stage.effects.made)
            await stage.world.go_on(next_words(job_id, found.state, point))
            again = await stage.play_on(job_id)
            assert differences(conversation(told), conversation(again)) == []
            made = {key.partition("/")[2] for key, _ in stage.effects.made[before:]}
            assert made.isdisjoint(found.state.results)


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


async def check_words(story: Story, *, fork: bool) -> None:
    """Say something at each stop: it is heard once, and in order, also while a batch is open."""
    with TemporaryDirectory() as name:
        stage = Stage(Path(name), story)
        stage.world.heard.on = stopper(stage, every=not fork)
        job_id = (await stage.world.start("go")).job_id
        said = ["go"]
        while (state := await stage.state(job_id)).status != "completed":
            stage.world.control = StopControl()
            wanted = next_words(job_id, state, state.checkpoint_id if fork else None)
            if wanted.text is None:
                said.append(f"word {len(said)}")
                wanted = replace(wanted, text=said[-1])
            await stage.world.go_on(wanted)
        heard = [text_of(one.contents) for one in state.messages if isinstance(one, UserMessage)]
        assert heard == said


def without_hitches(story: Story) -> Story:
    """A model that is told what was wrong with its answer looks for that in the last message."""

    def calm(script: Script) -> Script:
        return replace(script, turns=tuple(replace(turn, hitch=None) for turn in script.turns))

    return Story(calm(story.lead), calm(story.a), calm(story.b))


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


@pytest.mark.long
@NORMAL
@given(stories(), st.booleans())
async def test_a_job_stopped_at_each_checkpoint_comes_to_the_same_end(
    story: Story, fork: bool
) -> None:
    await check_stops(story, fork=fork)


@NORMAL
@given(stories().map(without_hitches), st.booleans())
async def test_what_is_said_at_each_stop_is_heard_once_and_in_order(
    story: Story, fork: bool
) -> None:
    await check_words(story, fork=fork)


@pytest.mark.long
@pytest.mark.timeout(900)
@LONG
@given(stories(), st.booleans())
async def test_forks_and_stops_lead_to_the_same_end_in_many_stories(
    story: Story, fork: bool
) -> None:
    await check_forks(story)
    await check_stops(story, fork=fork)
    await check_words(without_hitches(story), fork=fork)
