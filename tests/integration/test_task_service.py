"""What `TaskService` and `SmartDispatcher` do over a real database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.coordination import DispatcherSettings, DriftSettings, VectorSearchSettings
from perstack.domain.ids import ExpertKey, JobId, RunId, SessionId, TaskId
from perstack.domain.task_results import assignment_of, list_of, relationships_of, summary_of
from perstack.domain.tasks import MAX_ATTEMPTS, TaskStatus
from perstack.embeddings.opener import open_embedder
from perstack.errors import ConflictError, LimitError, NotFoundError, ProviderError, UsageError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.model import ChatModel, Generation, ModelRequest
from perstack.ports.tasks import TaskFilter
from perstack.services.expert_runner import JobExpertRunner, RunnerParts
from perstack.services.task_creation import NewTask
from perstack.services.task_queue import TaskQueue
from tests.fakes.consensus import until
from tests.fakes.engine import World, expert, says
from tests.fakes.runner import FakeRunner, make_answer, make_expert, use
from tests.fakes.tasks import (
    KNOWN_AGENT,
    KNOWN_SESSION,
    Desk,
    FakeConsensus,
    FakeEmbedder,
    open_desk,
    open_emptied,
)

pytestmark = pytest.mark.anyio

WARN = DriftSettings(enabled=True, threshold=0.9)
RUN, CHILD, JOB = RunId("run1"), RunId("run2"), JobId("job1")
CODER = ExpertKey("coder")


def runner_of(world: World) -> JobExpertRunner:
    async def open_model(_name: str) -> ChatModel:
        return world.model

    parts = RunnerParts(
        history=world.history,
        deps=world.deps,
        plan=world.plan,
        experts=lambda: {one.key: one for one in world.experts},
        open_model=open_model,
    )
    return JobExpertRunner(parts)


async def created(desk: Desk, wanted: NewTask) -> TaskId:
    made = await desk.tasks.create(wanted)
    assert made.task is not None
    return made.task.id


async def test_a_new_task_is_given_back_in_the_seeds_shape(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        parent = await created(desk, NewTask("architect", "design it"))
        made = await desk.tasks.create(
            NewTask("coder", "Implement feature X", KNOWN_SESSION, parent, "medium")
        )
    assert made.task is not None
    shown = made.model_dump(mode="json", exclude_none=True)
    assert shown == {
        "success": True,
        "task": {
            "id": made.task.id,
            "agentType": "coder",
            "status": "pending",
            "input": "Implement feature X",
            "createdAt": "2026-09-21T14:13:20.000Z",
            "sessionId": KNOWN_SESSION,
            "parentTaskId": parent,
            "riskLevel": "medium",
            "depth": 1,
        },
        "drift": {
            "isDrift": False,
            "highestSimilarity": shown["drift"]["highestSimilarity"],
            "mostSimilarTaskId": parent,
            "action": "allowed",
        },
    }
    assert len(made.task.id) == 36


async def test_unknown_sessions_and_parents_are_said_before_a_model_is_asked(
    tmp_path: Path,
) -> None:
    runner = FakeRunner(lambda _: make_answer("{}"))
    async with open_desk(tmp_path / "a.db", runner=runner) as desk:
        with pytest.raises(NotFoundError, match="Session not found"):
            await desk.tasks.create(NewTask(input="x", session_id=SessionId("nobody")))
        with pytest.raises(NotFoundError, match="Parent task not found"):
            await desk.tasks.create(NewTask(input="x", parent_task_id=TaskId("nobody")))
        assert await desk.tasks.list() == []
    assert runner.asked == []


@pytest.mark.parametrize(
    "wanted",
    [
        NewTask(""),
        NewTask("x" * 201),
        NewTask("coder", "x" * 1_000_001),
        NewTask("coder", "x", priority=11),
    ],
)
async def test_what_is_out_of_bounds_is_refused(tmp_path: Path, wanted: NewTask) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        with pytest.raises(UsageError):
            await desk.tasks.create(wanted)
        assert await desk.tasks.list() == []


async def test_a_risky_child_waits_at_a_checkpoint_and_is_not_written(tmp_path: Path) -> None:
    consensus = FakeConsensus()
    async with open_desk(
        tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder(), consensus=consensus
    ) as desk:
        parent = await created(desk, NewTask("coder", "ship it", risk_level="high"))
        made = await desk.tasks.create(
            NewTask("devops", "deploy it", KNOWN_SESSION, parent, "high")
        )
        assert [one.id for one in await desk.tasks.list()] == [parent]
        (event,) = (await desk.drift.report()).recent_events
    assert event.task_id == "the-id-to-be"
    assert made.drift is not None
    assert made.model_dump(mode="json", exclude_none=True, exclude={"drift"}) == {
        "success": False,
        "consensusRequired": True,
        "checkpointId": "k1",
        "status": "pending",
        "reason": "Risk level 'high' requires consensus",
        "checkpoint": {
            "id": "k1",
            "taskId": "the-id-to-be",
            "riskLevel": "high",
            "status": "pending",
            "expiresAt": "2026-09-21T14:18:20.000Z",
        },
    }
    (proposed,) = consensus.proposed
    assert (proposed.agent_type, proposed.input) == ("devops", "deploy it")
    assert (proposed.session_id, proposed.parent_task_id) == (KNOWN_SESSION, parent)


async def test_drift_is_prevented_before_consensus_is_asked_for(tmp_path: Path) -> None:
    consensus = FakeConsensus()
    prevent = WARN.model_copy(update={"behavior": "prevent"})
    async with open_desk(
        tmp_path / "a.db", drift=prevent, embedder=FakeEmbedder(), consensus=consensus
    ) as desk:
        parent = await created(desk, NewTask("coder", "ship it"))
        made = await desk.tasks.create(
            NewTask("coder", "ship it", parent_task_id=parent, risk_level="high")
        )
    assert made.error == "Task creation prevented due to semantic drift"
    assert consensus.proposed == []


async def test_the_estimated_risk_is_kept_with_the_task(tmp_path: Path) -> None:
    consensus = FakeConsensus(estimate="medium")
    async with open_desk(tmp_path / "a.db", consensus=consensus) as desk:
        task = await desk.tasks.get(await created(desk, NewTask("analyst", "look")))
    assert task.risk_level == "medium"


async def test_a_task_with_a_priority_is_queued(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        task_id = await created(desk, NewTask("coder", "x", priority=8))
        await created(desk, NewTask("coder", "y"))
        taken = await desk.queue.dequeue("coder")
        assert await desk.queue.dequeue() is None
    assert taken is not None
    assert (taken.task.id, taken.priority) == (task_id, 8)
    assert desk.heard.names == ["task:created", "task:added", "task:created"]


async def test_a_listener_that_fails_undoes_nothing(tmp_path: Path) -> None:
    async def fails(_event: str, _payload: object) -> None:
        raise LimitError("handlers answer each other without end")

    async with open_desk(tmp_path / "a.db") as desk:
        task_id = await created(desk, NewTask("coder", "x"))
        queue = TaskQueue(desk.handle, clock=desk.clock, emit=fails)
        assert (await queue.complete(task_id)).status == "completed"


async def test_lists_and_counts_are_of_a_session(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        first = await created(desk, NewTask("coder", "x", KNOWN_SESSION))
        await created(desk, NewTask("coder"))
        await desk.tasks.assign(first, KNOWN_AGENT)
        (found,) = await desk.tasks.list(KNOWN_SESSION, "running")
        counts = await desk.tasks.count(KNOWN_SESSION)
        with pytest.raises(UsageError, match="limit"):
            await desk.tasks.search(TaskFilter(), limit=0)
    assert summary_of(found).model_dump(mode="json", exclude_none=True) == {
        "id": first,
        "agentType": "coder",
        "status": "running",
        "hasInput": True,
        "hasOutput": False,
        "createdAt": "2026-09-21T14:13:20.000Z",
        "sessionId": KNOWN_SESSION,
        "agentId": KNOWN_AGENT,
    }
    assert (counts.total, counts.running) == (1, 1)


async def test_lists_assignments_and_relationships_have_the_seeds_shapes(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        parent = await created(desk, NewTask("architect", "design it"))
        child = await created(desk, NewTask("coder", "build it", parent_task_id=parent))
        related = relationships_of(await desk.tasks.relationships(child))
        assigned = assignment_of(await desk.tasks.assign(child, KNOWN_AGENT))
        listed = list_of(await desk.tasks.list())
    (one,) = related.relationships
    assert related.model_dump(mode="json") == {
        "success": True,
        "count": 1,
        "relationships": [
            {
                "id": one.id,
                "fromTaskId": parent,
                "toTaskId": child,
                "relationshipType": "parent_of",
                "metadata": None,
                "createdAt": "2026-09-21T14:13:20.000Z",
            }
        ],
    }
    shown = assigned.model_dump(mode="json", exclude={"task"})
    assert shown == {"success": True, "message": "Task assigned and running"}
    assert (listed.count, [task.id for task in listed.tasks]) == (2, [child, parent])
    assert listed.tasks[0] == assigned.task


async def test_with_the_embedder_that_is_always_there_a_task_that_is_passed_on_is_seen(
    tmp_path: Path,
) -> None:
    hashed = open_embedder(VectorSearchSettings(provider="hashed"), {}, always=True)
    assert hashed is not None
    settings = DriftSettings(enabled=True, warning_threshold=0.8)
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=hashed) as desk:
        parent = await created(desk, NewTask("lead", "Fix the login page of the shop"))
        found = [
            (await desk.tasks.judge(parent, "coder", text)).action
            for text in ("fix the login page of the shop!", "Write tests for the parser")
        ]
    await hashed.aclose()
    assert found == ["warned", "allowed"]


async def test_what_goes_wrong_beside_the_detector_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="as it is"):
        async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()):
            raise LimitError("as it is")


async def test_a_task_is_not_related_to_itself(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        task_id = await created(desk, NewTask("coder", "x"))
        with pytest.raises(UsageError, match="itself"):
            await desk.tasks.relate(task_id, task_id, "depends_on")


# --------------------------------------------------------------- delegations


async def test_a_delegation_is_a_child_task_with_the_runs_id_and_ends_with_it(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        tasks = desk.tasks
        await tasks.delegated(RUN, ExpertKey("lead"), "ship it", parent_run_id=None, job_id=JOB)
        verdict = await tasks.judge(TaskId(RUN), "coder", "ship it")
        child = await tasks.delegated(
            CHILD, CODER, "ship it", parent_run_id=RUN, job_id=JOB, risk_level="low", depth=1
        )
        (related,) = await tasks.relationships(TaskId(CHILD))
        assert (await tasks.settle(CHILD, "completed", "shipped")) is not None
        again = await tasks.settle(CHILD, "failed", None)
        assert await tasks.settle(RunId("nobody"), "completed", None) is None
    assert verdict.is_drift
    assert verdict.most_similar_task_id == RUN
    assert (child.status, child.agent_id, child.depth, child.attempts) == ("running", CHILD, 1, 1)
    assert (related.from_task_id, related.relationship_type) == (RUN, "parent_of")
    assert again is not None
    assert (again.status, again.output) == ("completed", "shipped")


async def test_a_run_that_goes_on_has_one_task(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        for _ in range(2):
            await desk.tasks.delegated(RUN, CODER, "ship it", parent_run_id=None, job_id=JOB)
        await desk.tasks.settle(RUN, "failed", None)
        resumed = await desk.tasks.delegated(RUN, CODER, "ship it", parent_run_id=None, job_id=JOB)
        await desk.tasks.settle(RUN, "completed", "shipped")
        (task,) = await desk.tasks.list()
    assert (resumed.status, resumed.attempts) == ("running", 2)
    assert (task.status, task.output) == ("completed", "shipped")


async def test_a_run_that_failed_goes_on_and_completes_and_is_a_completed_task(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        await desk.tasks.delegated(RUN, CODER, "ship it", parent_run_id=None, job_id=JOB)
        await desk.tasks.settle(RUN, "failed", "a limit")
        await desk.tasks.settle(RUN, "failed", "again")
        await desk.tasks.settle(RUN, "completed", "yes")
        (task,) = await desk.tasks.list()
    assert (task.status, task.output, task.attempts) == ("completed", "yes", 2)


# ------------------------------------------------------------------ dispatch


async def test_a_real_model_is_asked_once_and_its_call_is_the_choice(tmp_path: Path) -> None:
    def mind(_: ModelRequest, __: int) -> Generation:
        return says("", ("choose", {"agentType": "Tester", "confidence": 0.9}))

    world = World(tmp_path, mind, (expert("tester"), expert("coder")))
    async with open_desk(tmp_path / "a.db", runner=runner_of(world)) as desk:
        made = await desk.tasks.create(NewTask(input="cover the parser"))
    assert made.dispatch is not None
    assert made.dispatch.model_dump(exclude={"reasoning"}) == {
        "agentType": "tester",
        "confidence": 0.9,
        "cached": False,
    }
    (asked,) = world.model.requests
    assert {"choose"} <= {tool.name for tool in asked.tools}


async def test_a_real_model_that_only_talks_is_understood(tmp_path: Path) -> None:
    reply = '```json\n{"agentType": "tester", "confidence": 0.9}\n```'
    world = World(tmp_path, lambda _, __: says(reply), (expert("tester"),))
    async with open_desk(tmp_path / "a.db", runner=runner_of(world)) as desk:
        decision = (await desk.dispatcher.dispatch("cover the parser")).decision
    assert decision is not None
    assert decision.agent_type == "tester"


async def test_a_real_model_that_fails_leads_to_the_fallback(tmp_path: Path) -> None:
    def mind(_: ModelRequest, __: int) -> Generation:
        raise ProviderError("no credit left")

    world = World(tmp_path, mind, (expert("tester"),))
    async with open_desk(tmp_path / "a.db", runner=runner_of(world)) as desk:
        decision = (await desk.dispatcher.dispatch("cover the parser")).decision
    assert decision is not None
    assert decision.agent_type == "coder"
    assert "no credit left" in decision.reasoning


async def test_those_who_ask_about_the_same_text_at_once_share_one_answer(tmp_path: Path) -> None:
    gate = anyio.Event()

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        await gate.wait()
        await use(request, "choose", agentType="tester", confidence=0.9)
        return make_answer(ending="limit")

    runner = FakeRunner(answer, {"tester": make_expert("tester")})
    cached: list[bool] = []
    async with open_desk(tmp_path / "a.db", runner=runner) as desk:

        async def ask() -> None:
            decision = (await desk.dispatcher.dispatch("cover it")).decision
            assert decision is not None
            cached.append(decision.cached)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
            await until(lambda: len(runner.asked) == 1)
            gate.set()
    assert sorted(cached) == [False, True, True, True, True]
    assert len(runner.asked) == 1


async def test_who_waits_for_somebody_who_gives_up_asks_for_itself(tmp_path: Path) -> None:
    gate = anyio.Event()

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        await gate.wait()
        await use(request, "choose", agentType="tester", confidence=0.9)
        return make_answer(ending="limit")

    runner = FakeRunner(answer, {"tester": make_expert("tester")})
    first = anyio.CancelScope()
    async with (
        open_desk(tmp_path / "a.db", runner=runner) as desk,
        anyio.create_task_group() as group,
    ):

        async def impatient() -> None:
            with first:
                await desk.dispatcher.dispatch("cover it")

        async def patient() -> None:
            outcome = await desk.dispatcher.dispatch("cover it")
            assert outcome.decision is not None
            assert not outcome.decision.cached

        group.start_soon(impatient)
        await until(lambda: len(runner.asked) == 1)
        group.start_soon(patient)
        first.cancel()
        await until(lambda: len(runner.asked) == 2)
        gate.set()
    assert runner.cancelled == 1


async def test_different_texts_of_the_same_beginning_are_different(tmp_path: Path) -> None:
    def answer(request: ExpertRequest) -> ExpertAnswer:
        named = "tester" if "cover" in request.query.rsplit("<task>")[-1] else "coder"
        return make_answer(f'{{"agentType": "{named}", "confidence": 1}}')

    runner = FakeRunner(answer, {name: make_expert(name) for name in ("coder", "tester")})
    async with open_desk(tmp_path / "a.db", runner=runner) as desk:
        found = [
            outcome.decision.agent_type
            for text in ("please cover it", "please code it", "please cover it")
            if (outcome := await desk.dispatcher.dispatch(text)).decision is not None
        ]
    assert found == ["tester", "coder", "tester"]
    assert len(runner.asked) == 2


async def test_without_a_cache_every_text_is_asked_about(tmp_path: Path) -> None:
    runner = FakeRunner(lambda _: make_answer('{"agentType": "coder"}'))
    settings = DispatcherSettings(cache_enabled=False, dispatch_model="small")
    async with open_desk(tmp_path / "a.db", runner=runner, dispatcher=settings) as desk:
        for _ in range(2):
            await desk.dispatcher.dispatch("x")
    assert [(one.model, one.max_steps) for one in runner.asked] == [("small", 1)] * 2


async def test_a_dispatcher_that_is_off_says_so(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        outcome = await desk.dispatcher.dispatch("x")
    assert outcome.model_dump(exclude_none=True) == {
        "success": False,
        "error": "Smart dispatcher is not enabled or no provider available",
    }


# ----------------------------------------------------------------- lifecycle

LEGAL: Final[dict[TaskStatus, dict[str, TaskStatus]]] = {
    "pending": {"assign": "running", "complete": "completed", "fail": "failed"},
    "running": {"complete": "completed", "fail": "failed", "requeue": "pending"},
    "failed": {"requeue": "pending"},
    "completed": {},
}


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(["assign", "complete", "fail", "requeue"]), max_size=12))
async def test_only_legal_moves_change_a_task_and_illegal_ones_change_nothing(
    tmp_path: Path, moves: list[str]
) -> None:
    await (await open_emptied(tmp_path / "a.db")).aclose()
    async with open_desk(tmp_path / "a.db") as desk:
        task_id = await created(desk, NewTask("coder", "x"))
        status: TaskStatus = "pending"
        attempts = 0
        for n, move in enumerate(moves):
            before = await desk.tasks.get(task_id)
            legal = LEGAL[status].get(move)
            try:
                match move:
                    case "assign":
                        await desk.tasks.assign(task_id, KNOWN_AGENT)
                    case "complete":
                        await desk.tasks.complete(task_id, f"output {n}")
                    case "fail":
                        await desk.tasks.complete(task_id, status="failed")
                    case _:
                        await desk.queue.requeue(task_id)
            except ConflictError:
                assert legal is None
                assert await desk.tasks.get(task_id) == before
                continue
            assert legal is not None
            spent = move == "requeue" and attempts >= MAX_ATTEMPTS
            status = "failed" if spent else legal
            attempts += before.status == "pending"
            after = await desk.tasks.get(task_id)
            assert (after.status, after.attempts) == (status, attempts)
            assert (after.completed_at is not None) == (status in ("completed", "failed"))
            assert after.priority is None or 1 <= after.priority <= 10
        assert attempts <= MAX_ATTEMPTS + 1


async def test_the_services_open_the_database_only_when_they_are_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with open_desk(path, drift=WARN, embedder=FakeEmbedder()):
        assert not path.exists()
