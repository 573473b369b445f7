"""Creating a task that must wait, by the task service itself, to the task that comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.ids import AgentId, ConsensusId, TaskId
from perstack.domain.settings import ConsensusSettings
from perstack.ports.system import Uuids
from perstack.ports.tasks import TaskConsensus, TaskFilter
from perstack.services.checkpoints import CheckpointService
from perstack.services.consensus import ConsensusService
from perstack.services.task_creation import NewTask
from tests.fakes.consensus import SetClock
from tests.fakes.tasks import open_desk, stores_at

pytestmark = pytest.mark.anyio


async def test_a_gated_task_is_made_by_its_approval_and_done_like_any_other(
    database_target: Path | str, tmp_path: Path
) -> None:
    clock = SetClock()
    stores = stores_at(database_target, clock)
    consensus = ConsensusService(stores, clock=clock, workspace=tmp_path)
    verbs = CheckpointService(
        consensus, stores, rules=ConsensusSettings(enabled=True), clock=clock, ids=Uuids()
    )
    gate: TaskConsensus = verbs
    async with open_desk(database_target, consensus=gate, clock=clock) as desk:
        root = await desk.tasks.create(NewTask(agent_type="coordinator", input="release 1.2"))
        assert root.task is not None
        wanted = NewTask(agent_type="devops", input="deploy it", parent_task_id=root.task.id)
        gated = await desk.tasks.create(wanted)
        assert (gated.success, gated.consensus_required, gated.task) == (False, True, None)
        assert gated.checkpoint is not None
        every = await stores.ask(lambda s: s.tasks.list(TaskFilter()))
        assert [task.id for task in every] == [root.task.id]

        await verbs.approve(ConsensusId(str(gated.checkpoint_id)), reviewed_by="ana")
        task_id = TaskId(gated.checkpoint.task_id)
        made = await desk.tasks.get(task_id)
        assert (made.status, made.input, made.depth) == ("pending", "deploy it", 1)
        again = await verbs.check("devops", "deploy more", made.id)
        assert (again.requires_consensus, again.depth) == (True, 2)
        await stores.ask(lambda s: s.tasks.start(task_id, AgentId("a1"), now_ms=clock.now_ms()))
        await desk.tasks.complete(task_id, output="deployed")
        assert (await desk.tasks.get(task_id)).status == "completed"
    await stores.aclose()
