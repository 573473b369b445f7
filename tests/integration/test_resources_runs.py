"""Limits over real runs: figures that add up to the recorded events, a pause, and going on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from perstack.domain.coordination import (
    CoordinationSettings,
    ResourceSettings,
    ResourceThresholds,
)
from perstack.domain.events import ContinueToNextStep
from perstack.domain.ids import AgentId
from perstack.domain.metering import apply
from perstack.domain.resources import begin
from perstack.domain.settings import ConsensusSettings
from perstack.domain.steering_events import PauseRun, ResumeRun
from perstack.engine.plan import JobOutcome
from perstack.ports.model import Generation, ModelRequest
from perstack.services.resources import ResourceService
from perstack.wiring import (
    ProjectFacts,
    RunServices,
    Tables,
    open_run_services,
    open_tables,
    resources_over,
)
from tests.fakes.engine import World, expert, says

pytestmark = pytest.mark.anyio

CALLS_ALLOWED = 3


def facts(*, calls: int = CALLS_ALLOWED, **more: bool) -> ProjectFacts:
    limits = ResourceSettings.model_validate(
        {"enabled": True, "thresholds": ResourceThresholds(max_api_calls=calls), **more}
    )
    settings = CoordinationSettings(resources=limits)
    return ProjectFacts(settings, ConsensusSettings(), {}, secrets=())


@asynccontextmanager
async def opened(folder: Path, known: ProjectFacts) -> AsyncGenerator[tuple[Tables, RunServices]]:
    async with AsyncExitStack() as stack:
        tables = open_tables(folder)
        stack.push_async_callback(tables.aclose)
        yield tables, await stack.enter_async_context(open_run_services(tables, known))


@asynccontextmanager
async def elsewhere(folder: Path) -> AsyncGenerator[ResourceService]:
    """The limits as another process sees them."""
    tables = open_tables(folder)
    try:
        yield resources_over(tables, facts())
    finally:
        await tables.aclose()


def team(request: ModelRequest, turn: int) -> Generation:
    if request.expert_key == "lead":
        return says("", ("child", {"query": "write the notes"})) if turn == 1 else says("all done")
    return says("", ("todo", {"newTodos": ["x"]})) if turn == 1 else says("notes written")


def looking(_request: ModelRequest, turn: int) -> Generation:
    return says("seen enough") if turn > 2 * CALLS_ALLOWED - 1 else says("", ("look", {}))


def endless(_request: ModelRequest, _turn: int) -> Generation:
    return says("", ("look", {}))


async def test_the_figures_of_every_run_add_up_to_its_recorded_events(tmp_path: Path) -> None:
    async with opened(tmp_path, facts(calls=100)) as (_, own):
        world = World(tmp_path, team, (expert("lead", "child"), expert("child")), desk=own.desk)
        await world.start("make a release")
    events = world.heard.events
    async with elsewhere(tmp_path) as person:
        for run_id in {event.run_id for event in events}:
            folded = begin(AgentId(run_id), at=0)
            for event in events:
                folded = apply(folded, event) if event.run_id == run_id else folded
            found = await person.get_agent_metrics(AgentId(run_id))
            assert found.counters == folded.counters
            assert (found.api_calls_count, found.tokens_consumed) == (2, 30)
            assert found.last_deliverable_at == folded.last_deliverable_at
        summary = await person.get_resource_metrics()
    assert summary.total_agents_tracked == 2


async def test_a_used_up_limit_pauses_the_run_with_a_checkpoint_until_a_person_resumes_it(
    tmp_path: Path,
) -> None:
    endings: list[JobOutcome] = []
    agents: list[AgentId] = []
    async with opened(tmp_path, facts()) as (_, own), elsewhere(tmp_path) as person:
        world = World(tmp_path, looking, (expert("lead"),), desk=own.desk)

        async def run() -> None:
            endings.append(await world.start())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                agents.append(await paused_agent(world))
                # The test drives the run, as the cockpit does, and a person pressed its key.
                while not await person.resume_agent(agents[0], allow_self=True):
                    await anyio.lowlevel.checkpoint()
    (ended,) = endings
    assert ended.outcome.ending == "completed"
    bodies = [event.body for event in world.heard.events]
    (pause,) = [body for body in bodies if isinstance(body, PauseRun)]
    assert pause.reason == "Resource threshold exceeded: maxApiCalls"
    assert len([body for body in bodies if isinstance(body, ResumeRun)]) == 1
    before = bodies[: bodies.index(pause)]
    assert [body for body in before if isinstance(body, ContinueToNextStep)]
    async with elsewhere(tmp_path) as person:
        assert (await person.get_agent_metrics(agents[0])).api_calls_count == 2 * CALLS_ALLOWED
        phases = [event.phase for event in await person.get_recent_events()]
    assert phases.count("intervention") == 1


async def paused_agent(world: World) -> AgentId:
    """The agent of the run that is paused, once one is."""
    while True:
        for event in world.heard.events:
            if isinstance(event.body, PauseRun):
                return AgentId(event.run_id)
        await anyio.sleep(0.02)


async def test_automatic_termination_ends_the_run_at_a_boundary(tmp_path: Path) -> None:
    async with opened(tmp_path, facts(auto_terminate=True)) as (_, own):
        world = World(tmp_path, looking, (expert("lead"),), desk=own.desk)
        ended = await world.start()
    assert ended.outcome.ending == "stopped"
    async with elsewhere(tmp_path) as person:
        found = await person.get_agent_metrics(AgentId(ended.run_id))
        (event, *_) = await person.get_recent_events()
    assert (found.phase, found.api_calls_count) == ("termination", CALLS_ALLOWED)
    assert event.action_taken == "terminated"


async def test_without_confirmation_the_run_goes_on_once(tmp_path: Path) -> None:
    known = facts(require_confirmation_on_intervention=False)
    async with opened(tmp_path, known) as (_, own):
        world = World(tmp_path, endless, (expert("lead"),), desk=own.desk, wait_at_gates=False)
        ended = await world.start()
    bodies = [event.body for event in world.heard.events]
    assert ended.outcome.ending == "awaiting"
    assert [type(body).__name__ for body in bodies].count("StartGeneration") == 2 * CALLS_ALLOWED
