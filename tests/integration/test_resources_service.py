"""Resource limits over a real database: counting, judging, pausing, resuming, restarting."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from perstack.domain.coordination import ResourceSettings, ResourceThresholds
from perstack.domain.ids import AgentId
from perstack.domain.moments import iso8601
from perstack.domain.resources import ResourceMetrics, Verdict
from perstack.errors import (
    ConflictError,
    DeniedError,
    LimitError,
    NotFoundError,
    StorageError,
    UsageError,
)
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.resources import ResourceService
from perstack.storage.database.opener import open_stores
from tests.fakes.announcer import HeardAnnouncer
from tests.fakes.consensus import NOW_MS, SetClock, until
from tests.fakes.events import (
    called_tools,
    completed,
    generation,
    make_event,
    resumed_by,
    tool_returned,
)

pytestmark = pytest.mark.anyio

A1 = AgentId("a1")
LIMITS = ResourceSettings(
    enabled=True,
    thresholds=ResourceThresholds(
        max_files_accessed=10,
        max_api_calls=10,
        max_subtasks_spawned=10,
        max_tokens_consumed=1_000,
        max_time_without_deliverable_ms=60_000,
    ),
)


@dataclass
class Desk:
    """Makes services over one database, as several processes would have them."""

    target: Path | str
    clock: SetClock
    workspace: Path
    channel: HeardAnnouncer = field(default_factory=HeardAnnouncer)
    handles: list[Handle[Stores]] = field(default_factory=list[Handle[Stores]])
    changes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def service(self, settings: ResourceSettings = LIMITS) -> ResourceService:
        handle: Handle[Stores] = Handle(
            lambda: open_stores(self.target, clock=self.clock, ids=Uuids())
        )
        self.handles.append(handle)
        return ResourceService(
            handle,
            settings=settings,
            clock=self.clock,
            ids=Uuids(),
            workspace=self.workspace,
            announcer=self.channel,
            on_change=self.changed,
        )

    def changed(self, agent_id: AgentId, verdict: Verdict) -> None:
        self.changes.append((agent_id, verdict.action))


@pytest.fixture
async def desk(database_target: Path | str, tmp_path: Path) -> AsyncGenerator[Desk]:
    made = Desk(database_target, SetClock(), tmp_path)
    yield made
    for handle in made.handles:
        await handle.aclose()


@pytest.fixture
def service(desk: Desk) -> ResourceService:
    return desk.service()


async def calls(service: ResourceService, count: int) -> None:
    for _ in range(count):
        await service.record_api_call(A1, 10)


async def test_what_is_reported_by_hand_adds_up(service: ResourceService) -> None:
    await service.initialize_agent(A1, "coder")
    await service.record_file_operation(A1, "read")
    await service.record_file_operation(A1, "write")
    await service.record_file_operation(A1, "modify")
    await service.record_api_call(A1, 45)
    await service.record_subtask_spawn(A1)
    shown = (await service.get_agent_metrics(A1)).model_dump(mode="json", by_alias=True)
    said = {
        "agentId": "a1",
        "agentType": "coder",
        "filesRead": 1,
        "filesWritten": 1,
        "filesModified": 1,
        "apiCallsCount": 1,
        "subtasksSpawned": 1,
        "tokensConsumed": 45,
        "startedAt": iso8601(NOW_MS),
        "lastDeliverableAt": None,
        "lastActivityAt": iso8601(NOW_MS),
        "phase": "normal",
        "pausedAt": None,
        "pauseReason": None,
    }
    assert {name: shown[name] for name in said} == said


async def test_the_events_of_a_run_add_up_to_its_metrics(service: ResourceService) -> None:
    bodies = [generation(), called_tools(100), tool_returned("readTextFile"), completed(5)]
    for seq, body in enumerate(bodies):
        service.note(A1, "coder", make_event(body, seq))
    await service.flush()
    used = await service.get_agent_metrics(A1)
    assert (used.api_calls_count, used.tokens_consumed, used.files_read) == (1, 105, 1)
    assert (used.agent_type, used.run_id, used.last_seq) == ("coder", "run1", 3)


async def test_agentstack_row_110_a_warning_is_recorded_as_an_event(
    service: ResourceService, desk: Desk
) -> None:
    await calls(service, 7)
    assert await service.evaluate_agent(A1) == "warning"
    assert await service.evaluate_agent(A1) == "warning"
    (event,) = await service.get_recent_events()
    assert (event.phase, event.action_taken, event.triggered_by) == (
        "warning",
        "warned",
        "maxApiCalls",
    )
    assert event.metrics["apiCallsCount"] == 7
    assert event.thresholds == LIMITS.thresholds
    assert desk.channel.kinds == ["resource_warning"]


async def test_agentstack_rows_111_and_113_a_used_up_limit_pauses_and_nothing_begins(
    service: ResourceService,
) -> None:
    await calls(service, 10)
    assert await service.evaluate_agent(A1) == "intervention"
    assert await service.is_agent_paused(A1)
    reason = "Resource threshold exceeded: maxApiCalls"
    with pytest.raises(ConflictError, match=f"Agent a1 is paused: {reason}"):
        await service.refuse_if_paused(A1)


async def test_an_intervention_without_a_pause_is_refused_once_pauses_are_on(
    service: ResourceService,
) -> None:
    service.settings = LIMITS.model_copy(update={"pause_on_intervention": False})
    await calls(service, 10)
    assert await service.evaluate_agent(A1) == "intervention"
    await service.refuse_if_paused(A1)
    service.settings = LIMITS
    message = "Agent a1 is paused due to resource exhaustion"
    with pytest.raises(LimitError, match=message) as caught:
        await service.refuse_if_paused(A1)
    assert "agent resume" not in (caught.value.hint or "")


async def test_agentstack_row_114_resuming_makes_a_warning_of_an_intervention(
    service: ResourceService,
) -> None:
    assert await service.resume_agent(A1) is False
    await calls(service, 10)
    assert await service.resume_agent(A1) is False
    await service.evaluate_agent(A1)
    assert await service.resume_agent(A1) is True
    found = await service.get_agent_metrics(A1)
    assert (found.phase, found.paused_at, found.pause_reason) == ("warning", None, None)
    assert await service.evaluate_agent(A1) == "normal"
    await service.refuse_if_paused(A1)


async def test_agentstack_row_115_a_deliverable_is_kept_and_ends_a_warning(
    service: ResourceService, desk: Desk
) -> None:
    await calls(service, 7)
    await service.evaluate_agent(A1)
    desk.clock.move(5_000)
    made = await service.record_deliverable(A1, "task_completed", "feature X", ["src/x.py"])
    assert await service.deliverables(A1) == [made]
    found = await service.get_agent_metrics(A1)
    assert (found.phase, found.last_deliverable_at) == ("normal", NOW_MS + 5_000)
    assert [event.phase for event in await service.get_recent_events()] == ["normal", "warning"]


async def test_agentstack_row_116_a_deliverable_after_the_time_ran_out_leads_back_to_normal(
    service: ResourceService, desk: Desk
) -> None:
    await service.initialize_agent(A1, "coder")
    desk.clock.move(60_000)
    assert await service.evaluate_agent(A1) == "intervention"
    await service.record_deliverable(A1, "tests_passed")
    assert await service.evaluate_agent(A1) == "normal"
    back, there = await service.get_recent_events()
    assert (there.phase, back.phase) == ("intervention", "normal")
    assert back.triggered_by == there.triggered_by == "maxTimeWithoutDeliverableMs"
    assert await service.is_agent_paused(A1)
    assert await service.resume_agent(A1)


async def test_agentstack_row_117_termination_is_an_event_and_is_counted(
    service: ResourceService, desk: Desk
) -> None:
    ended = await service.terminate_agent(A1)
    again = await service.terminate_agent(A1)
    assert ended.phase == again.phase == "termination"
    (event,) = await service.get_recent_events()
    assert (event.action_taken, event.triggered_by) == ("terminated", "manual")
    summary = await service.get_resource_metrics()
    assert summary.total_terminations == 1
    assert summary.agents_by_phase["termination"] == 1
    figures = await service.metrics()
    assert figures.counters["resource_exhaustion_terminations_total"] == 1
    assert desk.channel.kinds == ["resource_termination"]
    with pytest.raises(LimitError, match="terminated") as caught:
        await service.refuse_if_paused(A1)
    assert caught.value.hint == "it stays so: perstack agent stop -i a1, and spawn another"


async def test_agentstack_row_118_metrics_survive_a_restart(desk: Desk) -> None:
    first = desk.service()
    for seq in range(6):
        first.note(A1, "coder", make_event(generation(), seq))
    await first.flush()
    second = desk.service()
    for seq in range(4, 10):
        second.note(A1, "coder", make_event(generation(), seq))
    await second.flush()
    assert (await second.get_agent_metrics(A1)).api_calls_count == 10
    verdict = second.verdict(A1)
    assert verdict is not None
    assert (verdict.action, verdict.triggered_by) == ("pause", "maxApiCalls")


async def test_agentstack_row_119_cleaning_up_keeps_the_events(service: ResourceService) -> None:
    await calls(service, 7)
    await service.evaluate_agent(A1)
    await service.record_deliverable(A1, "artifact_produced")
    assert await service.cleanup_agent(A1) is True
    assert await service.cleanup_agent(A1) is False
    assert await service.deliverables(A1) == []
    with pytest.raises(NotFoundError):
        await service.get_agent_metrics(A1)
    assert len(await service.get_recent_events()) == 2


async def test_a_run_is_paused_at_its_boundary_and_goes_on_when_resumed_elsewhere(
    desk: Desk,
) -> None:
    driver, person = desk.service(), desk.service()
    for seq in range(10):
        driver.note(A1, "coder", make_event(generation(), seq))
    verdict = driver.verdict(A1)
    assert verdict is not None
    assert verdict.action == "pause"
    assert verdict.reason == "Resource threshold exceeded: maxApiCalls"
    await driver.flush()
    assert await person.is_agent_paused(A1)
    assert await person.resume_agent(A1)
    await driver.flush()
    assert desk.changes == [("a1", "go")]
    verdict = driver.verdict(A1)
    assert verdict is not None
    assert (verdict.action, verdict.phase) == ("go", "normal")


async def test_a_resumed_run_needs_no_second_word(service: ResourceService, desk: Desk) -> None:
    for seq in range(10):
        service.note(A1, "coder", make_event(generation(), seq))
    service.verdict(A1)
    service.note(A1, "coder", make_event(resumed_by(), 10))
    verdict = service.verdict(A1)
    assert verdict is not None
    assert verdict.action == "go"
    await service.flush()
    assert not await service.is_agent_paused(A1)
    phases = [event.phase for event in await service.get_recent_events()]
    assert phases == ["normal", "intervention"]


async def test_a_pause_by_another_process_is_felt_by_the_one_that_drives(desk: Desk) -> None:
    driver, person = desk.service(), desk.service()
    async with driver.open(flush_s=0.01):
        driver.note(A1, "coder", make_event(generation()))
        await person.pause_agent(A1, "Manual pause for review")
        await until(lambda: ("a1", "pause") in desk.changes)
        verdict = driver.verdict(A1)
    assert verdict is not None
    assert verdict.reason == "Manual pause for review"


async def test_time_runs_out_while_a_tool_works(desk: Desk) -> None:
    service = desk.service(LIMITS.model_copy(update={"check_interval_ms": 10}))
    async with service.open(flush_s=0.01):
        service.note(A1, "coder", make_event(generation()))
        desk.clock.move(60_000)
        await until(lambda: ("a1", "pause") in desk.changes)
    (event,) = await service.get_recent_events()
    assert event.triggered_by == "maxTimeWithoutDeliverableMs"
    assert desk.channel.kinds == ["resource_intervention"]


async def test_what_was_gathered_is_written_when_the_service_ends(desk: Desk) -> None:
    service = desk.service()
    async with service.open(flush_s=60):
        await service.flush()
        service.note(A1, "coder", make_event(generation()))
        service.let_go(A1)
    assert (await desk.service().get_agent_metrics(A1)).api_calls_count == 1


async def test_nothing_is_lost_while_the_database_cannot_be_written(desk: Desk) -> None:
    ready = await open_stores(desk.target, clock=desk.clock, ids=Uuids())
    refusing = True

    async def opened() -> Stores:
        if refusing:
            raise StorageError("the disk is full")
        return ready

    service = ResourceService(
        Handle(opened),
        settings=LIMITS,
        clock=desk.clock,
        ids=Uuids(),
        workspace=desk.workspace,
        announcer=desk.channel,
    )
    service.note(A1, "coder", make_event(generation(), 0))
    with pytest.raises(StorageError):
        await service.flush()
    service.note(A1, "coder", make_event(generation(), 1))
    refusing = False
    await service.flush()
    assert (await service.get_agent_metrics(A1)).api_calls_count == 2
    await ready.aclose()


async def test_two_processes_count_the_same_agent_without_losing_any(desk: Desk) -> None:
    one, other = desk.service(), desk.service()

    async def report(service: ResourceService) -> None:
        for _ in range(25):
            await service.record_subtask_spawn(A1)

    async with anyio.create_task_group() as group:
        group.start_soon(report, one)
        group.start_soon(report, other)
    assert (await one.get_agent_metrics(A1)).subtasks_spawned == 50


async def test_processes_that_write_the_same_agents_in_another_order_do_not_lock_each_other(
    desk: Desk,
) -> None:
    agents = [AgentId(f"a{n}") for n in range(12)]

    async def drive(number: int) -> None:
        service = desk.service()
        for round_number in range(4):
            for agent_id in agents if number % 2 else reversed(agents):
                event = make_event(generation(), round_number, run=f"run{number}")
                service.note(agent_id, "coder", event)
            await service.flush()

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(drive, number)
    figures = [(await desk.service().get_agent_metrics(one)).api_calls_count for one in agents[:2]]
    assert figures == [16, 16]


async def test_a_change_of_phase_is_written_once_however_many_look(desk: Desk) -> None:
    services = [desk.service() for _ in range(4)]
    await calls(services[0], 10)
    async with anyio.create_task_group() as group:
        for service in services * 3:
            group.start_soon(service.evaluate_agent, A1)
    assert len(await services[0].get_recent_events()) == 1
    assert desk.channel.kinds == ["resource_intervention"]


async def test_counters_that_were_made_smaller_elsewhere_do_not_shrink(desk: Desk) -> None:
    driver = desk.service()
    for seq in range(8):
        driver.note(A1, "coder", make_event(generation(), seq))
    await driver.flush()
    await desk.service().cleanup_agent(A1)
    driver.note(A1, "coder", make_event(generation(), 8))
    await driver.flush()
    assert (await driver.get_agent_metrics(A1)).api_calls_count == 9


@pytest.mark.parametrize("mark", ["PERSTACK_RUN_ID", "PERSTACK_JOB_ID"])
async def test_an_agent_cannot_reset_its_limits(
    service: ResourceService, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    await calls(service, 10)
    await service.evaluate_agent(A1)
    monkeypatch.setenv(mark, "run1")
    with pytest.raises(DeniedError, match="a run cannot resume an agent"):
        await service.resume_agent(A1)
    with pytest.raises(DeniedError, match="a run cannot report a deliverable"):
        await service.record_deliverable(A1, "task_completed")
    with pytest.raises(DeniedError, match="a run cannot forget what an agent used"):
        await service.cleanup_agent(A1)
    assert await service.is_agent_paused(A1)


async def test_without_limits_nothing_is_noted(desk: Desk) -> None:
    service = desk.service(ResourceSettings())
    service.note(A1, "coder", make_event(generation()))
    await service.flush()
    assert service.verdict(A1) is None
    assert (await service.get_resource_metrics()).total_agents_tracked == 0


async def test_an_unknown_agent_is_not_paused_and_has_no_metrics(service: ResourceService) -> None:
    assert await service.is_agent_paused(A1) is False
    assert service.verdict(A1) is None
    for question in (service.get_agent_metrics, service.evaluate_agent):
        with pytest.raises(NotFoundError, match="no resource metrics of agent 'a1'"):
            await question(A1)


async def test_who_asks_for_figures_without_limits_is_told_that_they_are_off(desk: Desk) -> None:
    with pytest.raises(NotFoundError) as caught:
        await desk.service(ResourceSettings()).get_agent_metrics(A1)
    assert (caught.value.hint or "").startswith("[resourceExhaustion] is off")


async def test_wild_texts_are_taken_or_refused_readably(service: ResourceService) -> None:
    with pytest.raises(UsageError, match="Invalid deliverable type 'done'"):
        await service.record_deliverable(A1, "done")
    with pytest.raises(UsageError, match="tokensConsumed"):
        await service.record_api_call(A1, -1)
    with pytest.raises(UsageError, match="agentId"):
        await service.initialize_agent(AgentId(""))
    made = await service.record_deliverable(A1, "user_checkpoint", "a\ud800b\0c", ["\0"])
    (kept,) = await service.deliverables(A1)
    assert kept.id == made.id
    await service.pause_agent(A1, "nul \0 and \ud800")
    assert await service.is_agent_paused(A1)


async def test_the_report_has_the_seeds_shape(service: ResourceService) -> None:
    await calls(service, 7)
    await service.evaluate_agent(A1)
    shown = (await service.report()).model_dump(mode="json", by_alias=True)
    assert shown["enabled"] is True
    assert shown["config"]["thresholds"]["maxApiCalls"] == 10
    figures = shown["metrics"]
    assert {
        "totalAgentsTracked": 1,
        "agentsByPhase": {"normal": 0, "warning": 1, "intervention": 0, "termination": 0},
        "pausedAgents": 0,
        "totalWarnings": 1,
        "totalInterventions": 0,
        "totalTerminations": 0,
    }.items() <= figures.items()
    assert [event["phase"] for event in figures["recentEvents"]] == ["warning"]
    later = await service.get_resource_metrics(NOW_MS + 1)
    assert (later.total_warnings, later.recent_events) == (0, ())


async def test_histograms_are_over_the_agents(service: ResourceService) -> None:
    for n in range(1, 5):
        for _ in range(n):
            await service.record_api_call(AgentId(f"a{n}"), 100)
    figures = (await service.metrics()).histograms["agent_api_calls"]
    assert figures.model_dump(by_alias=False) == {
        "count": 4,
        "sum": 10,
        "min": 1,
        "max": 4,
        "avg": 2.5,
        "p50": 2,
        "p95": 4,
        "p99": 4,
    }


async def test_metrics_are_stored_and_read_back_the_same(service: ResourceService) -> None:
    await calls(service, 10)
    await service.evaluate_agent(A1)
    await service.resume_agent(A1)
    found = await service.get_agent_metrics(A1)
    assert found.counted_from.api_calls_count == 10
    assert ResourceMetrics.model_validate(found.model_dump(mode="json")) == found
