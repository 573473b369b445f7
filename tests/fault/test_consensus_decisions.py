"""Many decide on one task, and models try to get around the gate (G1, G2, G6 to G8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.consensus import check_required, estimate_risk, highest
from perstack.domain.ids import AgentId, ConsensusId, SubtaskId, TaskId
from perstack.domain.settings import ConsensusSettings, RiskLevel
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, DeniedError
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.ports.tasks import TaskProposal
from perstack.services.checkpoints import CheckpointService
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes import consensus_workers as workers
from tests.fakes.consensus import NOW_MS, make_proposal

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1")
CLOCK = SystemClock()
RULES = ConsensusSettings(enabled=True, reviewer_strategy="human")
RISKS: st.SearchStrategy[RiskLevel] = st.sampled_from(("low", "medium", "high"))


def handle_on(workspace: Path, *, busy_s: float = 30) -> Handle[Stores]:
    path = database_path(workspace)
    return Handle(lambda: open_stores(path, clock=CLOCK, ids=Uuids(), busy_s=busy_s))


def desk_on(
    workspace: Path, stores: Handle[Stores], *, within: TaskId | None = None
) -> CheckpointService:
    consensus = ConsensusService(stores, clock=CLOCK, workspace=workspace)
    return CheckpointService(
        consensus, stores, rules=RULES, clock=CLOCK, ids=Uuids(), within=within
    )


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Handle[Stores]]:
    made = handle_on(tmp_path)
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "count", [80, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
async def test_of_a_thousand_that_decide_one_checkpoint_at_once_one_does(
    tmp_path: Path, stores: Handle[Stores], count: int
) -> None:
    await stores.ask(lambda s: s.consensus.create(make_proposal(subtasks=2, parent=None)))
    others = [handle_on(tmp_path) for _ in range(4)]
    desks = [desk_on(tmp_path, one) for one in others]
    won: list[str] = []
    lost: list[str] = []

    async def decide(party: int) -> None:
        desk, by = desks[party % len(desks)], f"p{party}"
        try:
            if party % 2:
                await desk.approve(K1, reviewed_by=by)
            else:
                await desk.reject(K1, reviewed_by=by)
            won.append(by)
        except ConflictError as error:
            lost.append(error.message)

    async with anyio.create_task_group() as group:
        for party in range(count):
            group.start_soon(decide, party)
    for one in others:
        await one.aclose()
    (winner,) = won
    found = await stores.ask(lambda s: s.consensus.get(K1))
    assert found.reviewer_id == winner
    assert Counter(lost) == {f"Checkpoint is already {found.status}": count - 1}
    audit = await stores.ask(lambda s: s.consensus.audit(K1))
    assert [(one.event, one.actor) for one in audit[1:]] == [(found.status, winner)]
    made = [await stores.ask(lambda s, n=n: s.tasks.find(TaskId(f"k1-s{n}"))) for n in (1, 2)]
    assert [task is not None for task in made] == [found.status == "approved"] * 2


@pytest.mark.parametrize(
    "rounds", [25, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
async def test_of_two_processes_one_decides_and_tasks_are_made_as_it_said(
    tmp_path: Path, stores: Handle[Stores], rounds: int
) -> None:
    names = [f"k{n}" for n in range(rounds)]
    for name in names:
        proposal = make_proposal(name, subtasks=1, parent=None)
        await stores.ask(lambda s, proposal=proposal: s.consensus.create(proposal))
    context = workers.processes()
    start, verdicts = context.Barrier(2), context.Queue()
    started = [
        context.Process(
            target=workers.race,
            args=(database_path(tmp_path), names, party, party == "ana", start, verdicts),
        )
        for party in ("ana", "ben")
    ]
    for process in started:
        process.start()
    heard = [*verdicts.get(timeout=workers.TIMEOUT_S * 10)]
    heard += verdicts.get(timeout=workers.TIMEOUT_S)
    workers.join(started)
    winners = {verdict.round: verdict for verdict in heard if verdict.won}
    assert sum(verdict.won for verdict in heard) == len(winners) == rounds
    for name in names:
        task = await stores.ask(lambda s, name=name: s.tasks.find(TaskId(f"{name}-s1")))
        assert (task is not None) == winners[name].approved


async def test_g6_a_run_decides_by_none_of_the_verbs(
    tmp_path: Path, stores: Handle[Stores], monkeypatch: pytest.MonkeyPatch
) -> None:
    await stores.ask(lambda s: s.consensus.create(make_proposal(subtasks=2, parent=None)))
    desk = desk_on(tmp_path, stores)
    monkeypatch.setenv("PERSTACK_JOB_ID", "some-job")
    some = [SubtaskId("k1-s1")]
    with pytest.raises(DeniedError, match="a run cannot decide"):
        await desk.approve(K1, reviewed_by="a person, honestly")
    with pytest.raises(DeniedError, match="a run cannot decide"):
        await desk.approve(K1, reviewed_by="a person, honestly", allow_self=True)
    with pytest.raises(DeniedError, match="a run cannot decide"):
        await desk.reject(K1, reviewed_by="a person, honestly", rejected_subtask_ids=some)
    assert (await desk.get(K1)).status == "pending"
    assert await desk.expire() == ()


async def test_g7_inside_a_run_a_task_that_names_no_parent_is_no_root(
    tmp_path: Path, stores: Handle[Stores]
) -> None:
    run = Task(id=TaskId("run1"), agent_type="lead", created_at=NOW_MS)
    await stores.ask(lambda s: s.tasks.add(run))
    outside = await desk_on(tmp_path, stores).check("coder", "write it", None, "low")
    inside = await desk_on(tmp_path, stores, within=run.id).check("coder", "write it", None, "low")
    unknown = await desk_on(tmp_path, stores, within=TaskId("gone")).check("coder", "write it")
    assert (outside.requires_consensus, outside.depth) == (False, 0)
    assert (inside.requires_consensus, inside.depth, inside.risk_level) == (True, 1, "high")
    assert unknown.requires_consensus


@given(
    st.sampled_from(["coder", "architect", "researcher", "Coder", "who?"]),
    st.sampled_from(["", "read", "Update it", "DROP the table", "delete production"]),
    RISKS,
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_g7_what_a_model_says_or_how_deep_it_nests_only_raises(
    agent_type: str, text: str, claimed: RiskLevel, depth: int, more: int
) -> None:
    estimate = estimate_risk(agent_type, text, RULES)
    plain = check_required(estimate, depth, RULES)
    raised: list[tuple[RiskLevel, int]] = [
        (highest([estimate, claimed]), depth),
        (estimate, depth + more),
    ]
    for risk, deeper in raised:
        found = check_required(risk, deeper, RULES)
        assert found.requires_consensus >= plain.requires_consensus
        assert highest([found.risk_level, plain.risk_level]) == found.risk_level
    assert estimate_risk(agent_type, text + " and delete it", RULES) == "high"


async def test_g8_an_approved_task_is_there_to_be_done_without_asking_again(
    tmp_path: Path, stores: Handle[Stores]
) -> None:
    desk = desk_on(tmp_path, stores)
    await stores.ask(
        lambda s: s.tasks.add(Task(id=TaskId("p1"), agent_type="lead", created_at=NOW_MS))
    )
    check = await desk.check("devops", "deploy the docs", TaskId("p1"), "low")
    assert (check.requires_consensus, check.risk_level) == (True, "high")
    gated = await desk.propose_task(
        TaskProposal(
            agent_type="devops",
            input="deploy the docs",
            parent_task_id=TaskId("p1"),
            risk_level="low",
            depth=check.depth,
            reason=check.reason,
        )
    )
    assert (gated.risk_level, gated.expert_key) == ("high", "lead")
    await desk.approve(gated.id, reviewed_by="ana")
    task = await stores.ask(lambda s: s.tasks.get(TaskId(gated.task_id)))
    queued = await stores.ask(
        lambda s: s.tasks.start(task.id, agent_id=AgentId("a1"), now_ms=CLOCK.now_ms())
    )
    assert (queued.status, queued.input) == ("running", "deploy the docs")


async def test_feedback_of_a_rejection_waits_for_whoever_asked(
    tmp_path: Path, stores: Handle[Stores]
) -> None:
    await stores.ask(lambda s: s.consensus.create(make_proposal(parent=None)))
    desk = desk_on(tmp_path, stores)
    await desk.reject(K1, reviewed_by="ana", feedback="docs only")
    found = await desk.get(K1)
    assert found.decision is not None
    assert (found.status, found.decision.feedback) == ("rejected", "docs only")
