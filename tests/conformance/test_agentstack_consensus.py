"""Rows 94 to 109 of AgentStack's conformance table: consensus, over a real database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from perstack.domain.consensus import ConsensusCheckpoint, estimate_risk
from perstack.domain.ids import ConsensusId, SubtaskId, TaskId
from perstack.domain.settings import ConsensusSettings, ReviewerStrategy
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.ports.tasks import TaskProposal
from perstack.services.checkpoints import CheckpointService
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.services.review_run import ReviewParts
from perstack.services.reviewing import open_reviewer
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.consensus import NOW_MS, SetClock, make_checkpoint
from tests.fakes.runner import FakeRunner, make_answer

pytestmark = pytest.mark.anyio

ON = ConsensusSettings(enabled=True, reviewer_strategy="human")
PARENT = TaskId("p1")


class Desk:
    """The services over one workspace, with a chain of tasks `p1`, `p2` … below each other."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.clock = SetClock()
        self.stores: Handle[Stores] = Handle(
            lambda: open_stores(database_path(workspace), clock=self.clock, ids=Uuids())
        )
        self.consensus = ConsensusService(self.stores, clock=self.clock, workspace=workspace)
        self.rules = ON

    @property
    def service(self) -> CheckpointService:
        return CheckpointService(
            self.consensus, self.stores, rules=self.rules, clock=self.clock, ids=Uuids()
        )

    async def chain(self, length: int) -> TaskId:
        above: TaskId | None = None
        for n in range(1, length + 1):
            task = Task(
                id=TaskId(f"p{n}"), agent_type="lead", parent_task_id=above, created_at=NOW_MS
            )
            await self.stores.ask(lambda stores, task=task: stores.tasks.add(task))
            above = task.id
        return TaskId(f"p{length}")

    async def find_task(self, name: str) -> Task | None:
        return await self.stores.ask(lambda stores: stores.tasks.find(TaskId(name)))

    async def propose(self) -> ConsensusCheckpoint:
        check = await self.service.check("coder", "write it", PARENT)
        return await self.service.propose_task(
            TaskProposal(
                agent_type="coder",
                input="write it",
                parent_task_id=PARENT,
                risk_level=check.risk_level,
                depth=check.depth,
                reason=check.reason,
            )
        )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    made = Desk(tmp_path)
    yield made
    await made.stores.aclose()


async def test_agentstack_row_94_disabled_never_requires(desk: Desk) -> None:
    desk.rules = ConsensusSettings()
    await desk.chain(9)
    found = await desk.service.check("devops", "delete production", TaskId("p9"), "high")
    assert (found.requires_consensus, found.reason) == (False, "Consensus is disabled")


async def test_agentstack_rows_95_and_96_high_risk_waits_below_a_parent(desk: Desk) -> None:
    await desk.chain(1)
    root = await desk.service.check("coder", "write it", None, "high")
    assert (root.requires_consensus, root.depth) == (False, 0)
    assert root.reason == "Root tasks do not require consensus"
    below = await desk.service.check("coder", "write it", PARENT)
    assert below.requires_consensus
    assert below.model_dump(by_alias=True) == {
        "requiresConsensus": True,
        "reason": "Risk level 'high' at depth 1 requires consensus",
        "riskLevel": "high",
        "depth": 1,
    }


async def test_agentstack_row_97_low_risk_does_not_wait(desk: Desk) -> None:
    await desk.chain(1)
    found = await desk.service.check("researcher", "read it", PARENT)
    assert not found.requires_consensus
    assert found.reason == "Risk level 'low' does not require consensus"


@pytest.mark.parametrize("agent_type", ["coder", "researcher"])
async def test_agentstack_row_98_too_deep_waits_whatever_the_risk(
    desk: Desk, agent_type: str
) -> None:
    desk.rules = ON.model_copy(update={"max_depth": 3})
    found = await desk.service.check(agent_type, "read it", await desk.chain(4))
    assert (found.requires_consensus, found.depth) == (True, 4)
    assert found.reason == "Task depth 4 exceeds maximum allowed depth 3"


@pytest.mark.parametrize(
    ("agent_type", "text", "risk"),
    [
        ("coder", "", "high"),
        ("devops", "", "high"),
        (" Coder ", "", "high"),
        ("architect", "", "medium"),
        ("researcher", "", "low"),
        ("researcher", "Delete the production database", "high"),
        ("architect", "delete production", "high"),
    ],
)
def test_agentstack_rows_99_and_100_risk_is_the_higher_of_name_and_words(
    agent_type: str, text: str, risk: str
) -> None:
    assert estimate_risk(agent_type, text, ON) == risk


async def test_agentstack_row_101_what_is_gated_has_no_task_row_yet(desk: Desk) -> None:
    await desk.chain(1)
    gated = await desk.propose()
    (subtask,) = gated.proposed_subtasks
    assert (gated.status, gated.task_id, gated.parent_task_id) == ("pending", subtask.id, "p1")
    assert (subtask.agent_type, subtask.input, subtask.parent_task_id) == (
        "coder",
        "write it",
        "p1",
    )
    assert gated.expires_at == NOW_MS + ON.timeout
    assert await desk.find_task(gated.task_id) is None
    assert await desk.service.get(gated.id) == gated


async def test_agentstack_row_102_a_second_decision_is_told_so(desk: Desk) -> None:
    gated = await desk.propose()
    approved = await desk.service.approve(gated.id, reviewed_by="user-1", feedback="fine")
    assert (approved.reviewer_id, approved.reviewer_type) == ("user-1", "human")
    with pytest.raises(ConflictError) as caught:
        await desk.service.approve(gated.id, reviewed_by="user-2")
    assert caught.value.message == "Checkpoint is already approved"
    assert "by user-1" in (caught.value.hint or "")
    with pytest.raises(ConflictError, match=r"^Checkpoint is already approved$"):
        await desk.service.reject(gated.id, reviewed_by="user-2")


async def test_agentstack_row_103_an_approval_after_the_expiry_expires_it(desk: Desk) -> None:
    gated = await desk.propose()
    desk.clock.move(ON.timeout)
    with pytest.raises(ConflictError, match=r"^Checkpoint has expired$"):
        await desk.service.approve(gated.id, reviewed_by="user-1")
    assert (await desk.consensus.show(gated.id)).status == "expired"
    assert [one.event for one in await desk.service.events(gated.id)] == ["created", "expired"]


async def test_agentstack_row_104_only_overdue_pending_ones_expire(desk: Desk) -> None:
    for name, expires_at in (("a", 10), ("b", 10), ("c", 11), ("d", None), ("e", 10)):
        due = None if expires_at is None else NOW_MS + expires_at
        await desk.consensus.propose(make_checkpoint(name, expires_at=due))
    await desk.consensus.decide(ConsensusId("e"), approved=True)
    desk.clock.move(10)
    assert {one.id for one in await desk.service.expire()} == {"a", "b"}
    assert await desk.service.expire() == ()
    left = await desk.service.list_pending()
    assert {one.id for one in left.checkpoints} == {"c", "d"}


async def test_agentstack_row_105_rejecting_some_approves_the_others(desk: Desk) -> None:
    await desk.consensus.propose(make_checkpoint(subtasks=2))
    decided = await desk.service.reject(
        ConsensusId("k1"), reviewed_by="ana", rejected_subtask_ids=[SubtaskId("s1")]
    )
    assert decided.status == "approved"
    assert [task.id for task in decided.approved_subtasks] == ["s2"]


@pytest.mark.parametrize("named", [(), ("s1", "s2")])
async def test_rejecting_none_or_all_by_name_rejects_the_whole(
    desk: Desk, named: tuple[SubtaskId, ...]
) -> None:
    await desk.consensus.propose(make_checkpoint(subtasks=2))
    decided = await desk.service.reject(
        ConsensusId("k1"), reviewed_by="ana", feedback="no", rejected_subtask_ids=named
    )
    assert (decided.status, decided.approved_subtasks) == ("rejected", ())


async def test_agentstack_row_106_approving_makes_the_task(desk: Desk) -> None:
    await desk.chain(1)
    gated = await desk.propose()
    await desk.service.approve(gated.id, reviewed_by="ana")
    made = await desk.find_task(gated.task_id)
    assert made is not None
    assert (made.status, made.agent_type, made.input) == ("pending", "coder", "write it")
    assert (made.consensus_checkpoint_id, made.parent_task_id) == (gated.id, "p1")


async def test_agentstack_row_107_auto_reject_rejects_what_is_overdue(desk: Desk) -> None:
    desk.consensus.auto_reject = True
    gated = await desk.propose()
    desk.clock.move(ON.timeout)
    found = await desk.service.get(gated.id)
    assert (found.status, found.reviewer_id) == ("rejected", "system")
    assert found.decision is not None
    assert found.decision.feedback == "Nobody decided in time."
    said = [(one.event, one.actor_type) for one in await desk.service.events(gated.id)]
    assert said == [("created", "agent"), ("expired", "system"), ("rejected", "system")]
    assert await desk.find_task(gated.task_id) is None


async def test_agentstack_row_108_pages_say_how_many_there_are(desk: Desk) -> None:
    for n in range(3):
        await desk.consensus.propose(make_checkpoint(f"k{n}", created_at=NOW_MS + n))
    page = await desk.service.list_pending(limit=1)
    assert ([one.id for one in page.checkpoints], page.total) == (["k0"], 3)


@pytest.mark.parametrize(("strategy", "started"), [("human", False), ("adversarial", True)])
async def test_agentstack_row_109_what_waits_for_a_human_starts_no_agent(
    desk: Desk, strategy: ReviewerStrategy, started: bool
) -> None:
    runner = FakeRunner(lambda _: make_answer("no verdict"))
    parts = ReviewParts(
        consensus=desk.consensus,
        stores=desk.stores,
        runner=lambda: runner,
        experts={},
        rules=ON,
        workspace=desk.workspace,
        clock=desk.clock,
        ids=Uuids(),
    )
    asked = make_checkpoint().model_copy(update={"reviewer_strategy": strategy})
    await desk.consensus.propose(asked)
    async with open_reviewer(parts) as reviewer:
        start = await reviewer.start_review(asked.id)
    assert start.started is started
    assert runner.asked == []
    assert (await desk.consensus.show(asked.id)).status == "pending"


@pytest.mark.parametrize("name", ["nope", "' OR 1=1 --", "\ud800", "a\0b", "", "%"])
async def test_an_id_that_is_none_is_not_found_by_any_verb(desk: Desk, name: str) -> None:
    await desk.consensus.propose(make_checkpoint())
    service, wanted = desk.service, ConsensusId(name)
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: service.get(wanted),
        lambda: service.events(wanted),
        lambda: service.approve(wanted, reviewed_by="ana"),
        lambda: service.reject(wanted, reviewed_by="ana"),
        lambda: service.reject(wanted, reviewed_by="ana", rejected_subtask_ids=[SubtaskId("s")]),
    ]
    for verb in verbs:
        with pytest.raises(NotFoundError, match=r"^Checkpoint not found$"):
            await verb()


async def test_bounds_are_checked_before_anything_is_asked(desk: Desk) -> None:
    await desk.consensus.propose(make_checkpoint(subtasks=2))
    service, k1 = desk.service, ConsensusId("k1")
    for limit, offset in ((0, 0), (1_001, 0), (1, -1)):
        with pytest.raises(UsageError, match="must be"):
            await service.list_pending(limit=limit, offset=offset)
    for by in ("", "  ", "x" * 201):
        with pytest.raises(UsageError, match="reviewedBy"):
            await service.approve(k1, reviewed_by=by)
    with pytest.raises(UsageError, match="no subtask 's9'"):
        await service.reject(k1, reviewed_by="ana", rejected_subtask_ids=[SubtaskId("s9")])
    assert (await service.get(k1)).status == "pending"
