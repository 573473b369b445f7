"""Terminals, a cockpit and a reviewer decide the same checkpoint at the same moment (G3)."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from perstack.config.builtin import builtin_experts
from perstack.domain.consensus import Decision
from perstack.domain.ids import ConsensusId
from perstack.domain.settings import ConsensusSettings
from perstack.errors import ConflictError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.services.review_run import ReviewParts
from perstack.services.reviewing import open_reviewer
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.consensus import make_checkpoint
from tests.fakes.runner import FakeRunner, make_answer, use

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1abcdefghijklmnopqrstuv")
CLOCK = SystemClock()


async def test_terminals_a_cockpit_and_a_reviewer_that_decide_at_once_leave_one_decision(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, SCRIPTED + '[experts."lead"]\ninstruction = "x"\n')
    stores: Handle[Stores] = Handle(
        lambda: open_stores(database_path(program.workspace), clock=CLOCK, ids=Uuids())
    )
    consensus = ConsensusService(stores, clock=CLOCK, workspace=program.workspace)
    go = anyio.Event()

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        await go.wait()
        await use(request, "submitReview", approved=False, feedback="no")
        return make_answer()

    parts = ReviewParts(
        consensus=consensus,
        stores=stores,
        runner=lambda: FakeRunner(answer),
        experts=builtin_experts(),
        rules=ConsensusSettings(enabled=True),
        workspace=program.workspace,
        clock=CLOCK,
        ids=Uuids(),
    )
    asked = make_checkpoint(K1).model_copy(update={"reviewer_strategy": "adversarial"})
    codes: list[int] = []
    refused: list[str] = []

    async def terminal(verb: str) -> None:
        codes.append((await program.run("consensus", verb, K1)).code)
        go.set()

    async def cockpit() -> None:
        await go.wait()
        decision = Decision(approved=True, reviewed_by="ana at the cockpit")
        try:
            await consensus.record(K1, decision, allow_self=True)
        except ConflictError as error:
            refused.append(error.message)

    async with open_reviewer(parts) as reviewer:
        await reviewer.propose(asked)
        async with anyio.create_task_group() as group:
            for verb in ("approve", "reject", "approve"):
                group.start_soon(terminal, verb)
            group.start_soon(cockpit)
        found = await reviewer.wait(K1)
    audit = [one.event for one in await consensus.audit(K1)]
    await stores.aclose()
    decided = [event for event in audit if event in ("approved", "rejected")]
    assert decided == [found.status]
    winners = codes.count(0) + (not refused) + (found.reviewer_id == "adversarial")
    assert winners == 1
    assert set(codes) <= {0, 4}
