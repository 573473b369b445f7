"""Giving agents work and orders: one thing at a time, outcomes, failures, pauses, refusals."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from perstack.domain.agents import Agent, AgentStatus
from perstack.domain.coordination import AgentsSettings
from perstack.domain.ids import AgentId, JobId, SessionId
from perstack.errors import (
    AnswerWantedError,
    ConflictError,
    DeniedError,
    LimitError,
    NotAskedError,
    PerstackError,
    ProviderError,
    UsageError,
)
from perstack.ports.agents import AgentMove
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.system import Uuids
from perstack.services.agent_execution import AgentExecution
from perstack.services.agent_orders import goes_on_by
from perstack.services.agent_roll import AgentRoll
from perstack.services.agents import AgentService
from perstack.services.concurrency import Semaphore
from tests.fakes.agent_stage import Stage
from tests.fakes.agents import make_run
from tests.fakes.consensus import NOW_MS, SetClock
from tests.fakes.runner import make_answer

pytestmark = pytest.mark.anyio

S1 = SessionId("s1")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def stage(tmp_path: Path, clock: SetClock) -> AsyncGenerator[Stage]:
    made = Stage(tmp_path, clock)
    yield made
    await made.stores.aclose()


async def test_agentstack_row_20_an_agent_runs_while_it_works_and_is_idle_after(
    stage: Stage,
) -> None:
    await stage.begin_session(S1)
    agent = await stage.agents.spawn("coder", session_id=S1)
    seen: list[Agent] = []

    async def look(request: ExpertRequest) -> ExpertAnswer:
        seen.append(await stage.get(agent.id))
        return make_answer("done", job="j7")

    stage.answer = look
    done = await stage.execution.execute("say  hunter2-hunter2\nplease", agent.id)
    assert (done.response, done.model, done.duration) == ("done", "scripted", 3)
    assert (seen[0].status, seen[0].process_id) == ("running", "here")
    assert seen[0].current_task == "say [redacted] please"
    after = await stage.get(agent.id)
    assert (after.status, after.process_id, after.current_task) == ("idle", None, None)
    (asked,) = stage.runner.asked
    assert (asked.expert, asked.agent_id, asked.session_id) == ("coder", agent.id, S1)
    assert (asked.job_id, asked.timeout_s) == (None, 300)


async def test_a_second_prompt_goes_on_with_the_agents_conversation(stage: Stage) -> None:
    first = await stage.execution.run("coder", "begin", name="bob")
    await stage.execution.execute("go on", name="bob")
    assert [asked.job_id for asked in stage.runner.asked] == [None, first.job_id]


async def test_agentstack_row_21_a_failure_reaches_the_caller_and_marks_the_agent(
    stage: Stage,
) -> None:
    agent = await stage.agents.spawn("coder")

    def fail(request: ExpertRequest) -> ExpertAnswer:
        raise ProviderError("Anthropic API error: 500 - hunter2-hunter2")

    stage.answer = fail
    with pytest.raises(ProviderError, match="500"):
        await stage.execution.execute("work", agent.id)
    after = await stage.get(agent.id)
    assert (after.status, after.last_error) == ("failed", "Anthropic API error: 500 - [redacted]")
    assert after.job_id == "job1"
    assert ("agent_error", agent.name, after.last_error) in stage.told.heard
    stage.answer = lambda _: make_answer(ending="failed", error="no key")
    with pytest.raises(Exception, match=r"^no key$"):
        await stage.execution.execute("again", agent.id)
    stage.answer = lambda _: make_answer("better")
    assert (await stage.execution.execute("again", agent.id)).response == "better"
    assert (await stage.get(agent.id)).last_error is None


async def test_agentstack_row_22_context_stands_between_instruction_and_task(stage: Stage) -> None:
    await stage.execution.run("coder", "task", context="what you need to know", model="small")
    (asked,) = stage.runner.asked
    assert (asked.context, asked.query, asked.model) == ("what you need to know", "task", "small")


async def test_agentstack_row_24_a_semaphore_lets_two_of_five_work_at_once() -> None:
    semaphore, now, most = Semaphore("build", 2), 0, 0
    go_on = anyio.Event()

    async def job(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await go_on.wait()
        now -= 1
        if number == 1:
            raise ValueError("no")

    async def guarded(number: int) -> None:
        if number == 1:
            with pytest.raises(ValueError, match="no"):
                await semaphore.execute(lambda: job(number))
        else:
            await semaphore.execute(lambda: job(number))

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(guarded, number)
        await anyio.wait_all_tasks_blocked()
        assert semaphore.state().model_dump() == {"available": 0, "maxPermits": 2, "queued": 3}
        go_on.set()
    assert most == 2
    assert semaphore.state().available == 2


async def test_one_agent_does_one_thing_at_a_time(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder")
    begun, go_on = anyio.Event(), anyio.Event()

    async def wait(request: ExpertRequest) -> ExpertAnswer:
        begun.set()
        await go_on.wait()
        return make_answer("done")

    stage.answer = wait
    async with anyio.create_task_group() as group:
        group.start_soon(stage.execution.execute, "first", agent.id)
        await begun.wait()
        with pytest.raises(ConflictError, match="is at work: first"):
            await stage.execution.execute("second", agent.id)
        go_on.set()
    assert len(stage.runner.asked) == 1


async def test_a_prompt_that_comes_as_the_last_one_ends_goes_on_with_its_conversation(
    stage: Stage,
) -> None:
    agent = await stage.agents.spawn("coder")

    class EndsMeanwhile:
        """Another process finishes its work between the look at the agent and the claim."""

        async def refuse_if_paused(self, agent_id: AgentId) -> None:
            move = AgentMove("idle", NOW_MS, job_id=JobId("j7"))
            await stage.stores.ask(lambda s: s.agents.move(agent_id, move, expected=("idle",)))

    execution = AgentExecution(
        stage.stores,
        agents=stage.agents,
        runner=stage.runner,
        clock=stage.clock,
        gate=EndsMeanwhile(),
    )
    await execution.execute("go on", agent.id)
    assert [one.job_id for one in stage.runner.asked] == ["j7"]


async def test_an_agent_that_is_given_work_as_it_is_stopped_is_told(stage: Stage) -> None:
    class Overtaken(AgentRoll):
        """Another process gives work to whoever was looked at."""

        async def get(self, agent_id: AgentId | None = None, *, name: str | None = None) -> Agent:
            seen = await super().get(agent_id, name=name)
            move = AgentMove("running", NOW_MS, process_id="here")
            await stage.stores.ask(lambda s: s.agents.move(seen.id, move, expected=("idle",)))
            return seen

    agent = await stage.agents.spawn("coder", name="bob")
    stage.agents.roll = Overtaken(stage.stores, clock=stage.clock)
    stopped = await stage.agents.stop(name="bob", by="ana", allow_self=True)
    assert stopped.ordered
    (order,) = await stage.stores.ask(lambda s: s.agents.take_orders("here"))
    assert (order.agent_id, order.kind) == (agent.id, "stop")
    assert (await stage.get(agent.id)).status == "stopped"


async def test_an_agent_is_stopped_though_its_figures_may_not_be_forgotten(stage: Stage) -> None:
    async def refuse(agent_id: AgentId) -> None:
        raise DeniedError("a run cannot forget what an agent used")

    agents = AgentService(
        stage.stores,
        roll=stage.roll,
        orders=stage.orders,
        types=stage.agents.types,
        clock=stage.clock,
        ids=Uuids(),
        settings=stage.agents.settings,
        forget=refuse,
    )
    agent = await agents.spawn("coder")
    await agents.stop(agent.id)
    assert (await stage.get(agent.id)).status == "stopped"


async def test_an_agent_that_was_stopped_while_it_worked_stays_stopped(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder", name="bob")
    begun, go_on = anyio.Event(), anyio.Event()

    async def wait(request: ExpertRequest) -> ExpertAnswer:
        begun.set()
        await go_on.wait()
        return make_answer(ending="stopped")

    stage.answer = wait
    async with anyio.create_task_group() as group:
        group.start_soon(stage.execution.execute, "first", agent.id)
        await begun.wait()
        stopped = await stage.agents.stop(name="bob", by="ana", allow_self=True)
        assert stopped.ordered
        (order,) = await stage.stores.ask(lambda s: s.agents.take_orders("here"))
        assert (order.kind, order.by) == ("stop", "ana")
        go_on.set()
    assert (await stage.get(agent.id)).status == "stopped"


async def test_an_agent_whose_work_was_cancelled_is_idle_and_keeps_its_job(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder")

    async def never(request: ExpertRequest) -> ExpertAnswer:
        group.cancel_scope.cancel()
        await anyio.sleep_forever()
        return make_answer()

    stage.answer = never
    async with anyio.create_task_group() as group:
        group.start_soon(stage.execution.execute, "first", agent.id)
    after = await stage.get(agent.id)
    assert (after.status, after.job_id, after.process_id) == ("idle", "job1", None)


async def test_what_takes_longer_than_the_default_timeout_says_so(stage: Stage) -> None:
    stage.agents.settings = AgentsSettings(default_timeout=7)

    async def too_slow(request: ExpertRequest) -> ExpertAnswer:
        assert request.timeout_s == 7
        return replace(make_answer(ending="stopped"), duration_ms=7_001)

    stage.answer = too_slow
    agent = await stage.agents.spawn("coder", name="bob")
    with pytest.raises(LimitError, match=r"bob was stopped after 7 s \(agents.defaultTimeout\)"):
        await stage.execution.execute("work", agent.id)
    assert (await stage.get(agent.id)).status == "failed"


async def test_a_question_is_an_outcome(stage: Stage) -> None:
    stage.answer = lambda _: make_answer("Which version?", ending="asked")
    done = await stage.execution.run("coder", "release", name="bob")
    assert (done.ending, done.response) == ("asked", "Which version?")
    assert (await stage.roll.get(name="bob")).status == "idle"


@pytest.mark.parametrize("status", ["idle", "failed"])
async def test_work_that_is_refused_leaves_the_agent_as_it_was(
    stage: Stage, status: AgentStatus
) -> None:
    agent = await stage.agents.spawn("coder", name="bob")
    why = "no key" if status == "failed" else None
    before = agent.model_copy(update={"status": status, "last_error": why})
    await stage.stores.ask(lambda s: s.agents.update(before, expected=("idle",)))
    refusals = [
        (AnswerWantedError("it waits"), "perstack agent exec -n bob -p '<answer>' --answer"),
        (NotAskedError("nothing waits"), "perstack agent exec -n bob -p '<text>' gives it new"),
    ]
    for error, hint in refusals:

        def refuse(_: ExpertRequest, error: PerstackError = error) -> ExpertAnswer:
            raise error

        stage.answer = refuse
        with pytest.raises(type(error)) as caught:
            await stage.execution.execute("work", agent.id)
        assert (caught.value.hint or "").startswith(hint)
        after = await stage.get(agent.id)
        assert (after.status, after.last_error, after.process_id) == (status, why, None)
    assert [kind for kind, _, _ in stage.told.heard if kind == "agent_error"] == []


async def test_a_run_is_never_said_to_be_given_work(stage: Stage) -> None:
    run = make_run("r1", name="poet").model_copy(update={"paused_at": NOW_MS, "job_id": "j1"})
    await stage.stores.ask(lambda s: s.agents.record([run]))
    after = await stage.orders.resume(AgentId("r1"))
    assert goes_on_by(after) == f"perstack run {run.type} --continue-job j1"
    with pytest.raises(ConflictError, match=r"^agent poet is not paused$") as caught:
        await stage.orders.resume(AgentId("r1"))
    assert caught.value.hint == f"{goes_on_by(after)} goes on with its job"
    child = after.model_copy(update={"parent_id": AgentId("r0")})
    assert goes_on_by(child) == "perstack run EXPERT --continue-job j1"


async def test_a_paused_agent_is_not_run(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder")
    stage.gate.reasons[agent.id] = "Resource thresholds exceeded"
    with pytest.raises(ConflictError) as caught:
        await stage.execution.execute("work", agent.id)
    assert caught.value.message == f"Agent {agent.id} is paused: Resource thresholds exceeded"
    assert stage.runner.asked == []


async def test_a_pause_that_outlived_its_run_is_ended_by_resuming(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder", name="bob")
    paused = agent.model_copy(update={"paused_at": NOW_MS, "pause_reason": "lunch"})
    await stage.stores.ask(lambda s: s.agents.record([paused]))
    with pytest.raises(ConflictError, match=rf"^Agent {agent.id} is paused: lunch$"):
        await stage.execution.execute("work", name="bob")
    await stage.orders.resume(name="bob")
    assert (await stage.execution.execute("work", name="bob")).response == "did: work"


async def test_a_driver_that_writes_late_does_not_make_an_idle_agent_run(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder")
    during: list[Agent] = []

    async def look(request: ExpertRequest) -> ExpertAnswer:
        during.append(await stage.get(agent.id))
        return make_answer("done")

    stage.answer = look
    await stage.execution.execute("work", agent.id)
    late = during[0].model_copy(update={"process_id": None, "step_number": 9})
    await stage.stores.ask(lambda s: s.agents.record([late]))
    after = await stage.get(agent.id)
    assert (after.status, after.step_number) == ("idle", 9)


async def test_nothing_is_spawned_for_an_empty_prompt(stage: Stage) -> None:
    with pytest.raises(UsageError, match="prompt must not be empty"):
        await stage.execution.run("coder", " ")
    assert await stage.roll.list() == []


async def test_orders_reach_the_process_that_drives_the_agent(stage: Stage) -> None:
    run = make_run("r1", process_id="there", name="poet")
    await stage.stores.ask(lambda s: s.agents.record([run]))
    await stage.orders.pause(AgentId("r1"), reason="lunch", by="ana")
    await stage.orders.steer("shorter, please", name="poet")
    await stage.orders.resume(name="poet")
    assert (await stage.agents.stop(name="poet")).ordered
    orders = await stage.stores.ask(lambda s: s.agents.take_orders("there"))
    assert [(one.kind, one.text) for one in orders] == [
        ("pause", "lunch"),
        ("steer", "shorter, please"),
        ("resume", None),
        ("stop", None),
    ]
    assert (orders[0].by, "@" in orders[1].by) == ("ana", True)


async def test_an_idle_agent_can_be_stopped_but_not_ordered(stage: Stage) -> None:
    agent = await stage.agents.spawn("coder", name="bob")
    with pytest.raises(ConflictError, match="bob is not at work now") as caught:
        await stage.orders.steer("hello", agent.id)
    assert caught.value.hint == "perstack agent exec -n bob -p … gives it work"
    for verb in (stage.orders.pause, stage.orders.resume):
        with pytest.raises(ConflictError):
            await verb(agent.id)
    with pytest.raises(UsageError, match="message must not be empty"):
        await stage.orders.steer("", agent.id)
    assert not (await stage.agents.stop(agent.id)).ordered


async def test_a_run_that_is_not_at_work_cannot_be_stopped(stage: Stage) -> None:
    await stage.stores.ask(lambda s: s.agents.record([make_run("r1")]))
    with pytest.raises(ConflictError, match="not at work"):
        await stage.agents.stop(AgentId("r1"))


async def test_what_belongs_to_a_run_gives_no_orders(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("r1", process_id="there")
    await stage.stores.ask(lambda s: s.agents.record([run]))
    monkeypatch.setenv("PERSTACK_RUN_ID", "r9")
    with pytest.raises(DeniedError, match=r"^a run cannot give orders to agents: PERSTACK_RUN_ID"):
        await stage.agents.stop(AgentId("r1"), allow_self=True)
    assert await stage.stores.ask(lambda s: s.agents.take_orders("there")) == ()
